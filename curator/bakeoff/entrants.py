"""Who takes part: builds every selector over shared views of the documents, from a world, a reading and the atlases.

The anchor is matched twice with its peers, once by the paper's mutual nearest neighbours and once as broadly as the product's
sets are chosen. Cost: the matching. It does not know tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curator.atlas.store import Atlas
from curator.bakeoff.fasttext import FastText
from curator.bakeoff.language import CausalModel
from curator.bakeoff.neurons import (
    HiddenCosine,
    HiddenLogistic,
    NagProfile,
    NeuronBlended,
    NeuronLinear,
    NeuronSignature,
    NeuronSingle,
    NeuronViews,
    Perplexity,
    ProbeSingle,
)
from curator.bakeoff.populations import best_single, mask_of, matched_like, random_like
from curator.bakeoff.selectors import (
    Dsir,
    LengthMatched,
    NgramLogistic,
    Oracle,
    RandomChoice,
    Selector,
    TfidfNearest,
)
from curator.bakeoff.texts import TextViews
from curator.bakeoff.tuned import FirstWindows, PerplexityDifference
from curator.rosetta.neurons import RosettaNeurons
from curator.settings import NeuronSetSettings

DEFAULT = "blended, Rosetta (default)"
LINEAR = "linear, Rosetta"
RANDOM_NEURONS = "linear, as many random neurons"
SINGLE = "one Rosetta neuron"
NOT_ROSETTA = "one matched neuron"


@dataclass(frozen=True, slots=True, eq=False)
class Populations:
    """Masks (N,) over the anchor's neurons: the paper's Rosetta neurons, the broad ones of the product's sets, and controls."""

    paper_N: np.ndarray
    broad_N: np.ndarray
    random_N: np.ndarray
    matched_N: np.ndarray
    paper_matched_N: np.ndarray

    @classmethod
    def of(cls, paper: RosettaNeurons, broad_index: np.ndarray, seed: int) -> Populations:
        """From the two matchings."""
        atlas = paper.anchor
        paper_N, broad_N = (mask_of(index, atlas.neurons) for index in (paper.index, broad_index))
        return cls(
            paper_N,
            broad_N,
            random_like(broad_N, atlas.layer_of, seed),
            matched_like(broad_N, atlas),
            matched_like(paper_N, atlas),
        )

    def sizes(self) -> dict[str, int]:
        """Neurons in each."""
        return {name.removesuffix("_N"): int(getattr(self, name).sum()) for name in self.__slots__}


def singles(populations: Populations, atlas: Atlas, targets: Sequence[str]) -> dict[str, dict[str, tuple[int, int]]]:
    """By selector and target, the neuron that the probe corpus chose and its direction."""
    return {
        name: {target: best_single(atlas, mask_N, target) for target in targets}
        for name, mask_N in ((SINGLE, populations.paper_N), (NOT_ROSETTA, populations.paper_matched_N))
    }


def text_selectors(views: TextViews, domain_D: np.ndarray) -> list[Selector]:
    """The bounds and all selectors that need no language model."""
    return [
        Oracle("oracle", "bound", 0, domain_D),
        RandomChoice("random", "bound", 0, len(views.texts)),
        LengthMatched("length-matched random", "bound", 1, views.length_D),
        Dsir("DSIR", "text", 1, views),
        TfidfNearest("TF-IDF nearest", "text", 1, views),
        FastText("fastText", "text", 1, views),
        NgramLogistic("n-gram logistic", "text", 1, views, "frequencies"),
        NgramLogistic("TF-IDF logistic", "text", 1, views, "weights"),
        NgramLogistic("byte n-gram logistic", "text", 1, views, "grams"),
    ]


def all_selectors(
    texts: TextViews,
    neurons: NeuronViews,
    domain_D: np.ndarray,
    populations: Populations,
    chosen: dict[str, dict[str, tuple[int, int]]],
    settings: NeuronSetSettings,
    *,
    gated: bool,
) -> list[Selector]:
    """Every selector but the perplexity difference, which reads the pool once for each lesson."""

    def linear(name: str, mask_N: np.ndarray) -> Selector:
        return NeuronLinear(name, "neurons", 1, neurons, np.flatnonzero(mask_N), settings)

    def blended(name: str, mask_N: np.ndarray) -> Selector:
        return NeuronBlended(name, "neurons", 1, neurons, np.flatnonzero(mask_N), settings, texts)

    everything_N = np.ones_like(populations.broad_N)
    broad = np.flatnonzero(populations.broad_N)
    return [
        *text_selectors(texts, domain_D),
        Perplexity("perplexity", "model", 0, neurons),
        HiddenCosine("hidden-state cosine", "model", 1, neurons),
        HiddenLogistic("hidden-state logistic", "model", 1, neurons),
        NagProfile("NAG-style", "model", 1, neurons, subtracted=False),
        NagProfile("NAG-style less background", "model", 1, neurons, subtracted=True),
        ProbeSingle(SINGLE, "neurons", 0, neurons, chosen[SINGLE]),
        ProbeSingle(NOT_ROSETTA, "neurons", 0, neurons, chosen[NOT_ROSETTA]),
        NeuronSingle("single, by the examples", "neurons", 1, neurons, np.flatnonzero(populations.paper_N), gated),
        NeuronSignature("signature, Rosetta", "neurons", 1, neurons, broad, settings),
        blended(DEFAULT, populations.broad_N),
        blended("blended, as many random neurons", populations.random_N),
        linear(LINEAR, populations.broad_N),
        linear("linear, Rosetta k=1", populations.paper_N),
        linear(RANDOM_NEURONS, populations.random_N),
        linear("linear, as many matched neurons", populations.matched_N),
        linear("linear, all neurons", everything_N),
    ]


def perplexity_difference(causal: CausalModel, texts: TextViews, skip_tokens: int) -> Selector:
    """The dearest baseline."""
    return PerplexityDifference("perplexity difference", "model", 10, FirstWindows(causal, texts.texts, skip_tokens))
