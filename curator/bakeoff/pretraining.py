"""Continued pretraining on what selectors keep: the measure that counts (SCIENCE section 7).

A base model that took no part in the selection is trained on equal tokens of each selector's best documents, by the recipe that
trained the zoo (AdamW, warm-up and cosine, full weights), and its loss is measured on documents of other sources: of the
target, and of all other domains, for forgetting. The gain that a selector recovers is (random - selector) / (random - oracle).
A run is a pure function of texts, settings and seed; each finished one is a line in a file, so that a stopped bake-off goes on.

Cost: training and two short evaluations a run; the bundled 96x3 models take about ten seconds on a core for 120,000 tokens.
It does not know scores: it is given the texts in the order of the ranking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field

from curator.bakeoff.language import CausalModel, read_language
from curator.bakeoff.training import token_counts, trained_copy
from curator.errors import InsufficientDataError
from curator.settings import Settings
from curator.zoo.trainer import learning_rate, pack


class PretrainingSettings(Settings):
    """How the base model is trained on."""

    base: str = "zoo:llama-96x3"
    """A model that took no part in choosing neurons."""
    peak_rate: float = Field(default=5e-4, gt=0)
    """Highest learning rate."""
    sequences_per_step: int = Field(default=16, ge=1)
    """Rows of 128 tokens a step."""
    share_of_oracle: float = Field(default=0.95, gt=0, le=1)
    """Tokens of a run, as a share of those of all the target's documents in the pool."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each draws examples, pool and the order of training anew."""
    regime: str = "k10"
    """The regime whose selections are trained on."""
    targets: tuple[str, ...] = ()
    """Domains to train for; all when empty."""
    selectors: tuple[str, ...] = (
        "random",
        "oracle",
        "blended, Rosetta (default)",
        "linear, Rosetta",
        "one Rosetta neuron",
        "one matched neuron",
        "TF-IDF logistic",
        "byte n-gram logistic",
        "DSIR",
    )
    """Those whose choices are trained on; random and oracle are what the others are measured between."""
    general_per_domain: int = Field(default=3, ge=1)
    """Test documents of every other domain that forgetting is measured on."""


@dataclass(frozen=True, slots=True)
class Losses:
    """Held-out losses in nats per token after training, and what was trained on."""

    target: float
    general: float
    tokens: int
    documents: int


def token_budget(causal: CausalModel, oracle_texts: Sequence[str], settings: PretrainingSettings) -> int:
    """Tokens of each run: whole steps within the wanted share of the oracle's text. Raises InsufficientDataError."""
    step = settings.sequences_per_step * causal.backbone.max_tokens
    tokens = sum(token_counts(causal, oracle_texts))
    steps = int(settings.share_of_oracle * tokens) // step
    if not steps:
        raise InsufficientDataError(
            f"The target's {tokens} tokens in the pool make no training step of {step}; give the pool more text."
        )
    return steps * step


def continue_pretraining(
    causal: CausalModel,
    ranked_texts: Sequence[str],
    tokens: int,
    target_texts: Sequence[str],
    general_texts: Sequence[str],
    settings: PretrainingSettings,
    seed: int,
) -> Losses:
    """Train a copy of the base model on the first ``tokens`` tokens of the ranking, and measure it.

    Raises ValueError when the ranking holds too little text.
    """
    running = np.cumsum(token_counts(causal, ranked_texts))
    kept = ranked_texts[: int(np.searchsorted(running, tokens)) + 1]
    context, size = causal.backbone.max_tokens, settings.sequences_per_step
    rows_SC = pack(causal.backbone.tokenizer, kept, seed, tokens // context)
    steps, peak = len(rows_SC) // size, settings.peak_rate
    batches = ((rows_SC[step * size : (step + 1) * size], learning_rate(step, steps, peak)) for step in range(steps))
    trained = trained_copy(causal, batches, peak)
    return Losses(mean_loss(trained, target_texts), mean_loss(trained, general_texts), tokens, len(kept))


@torch.inference_mode()
def mean_loss(causal: CausalModel, texts: Sequence[str]) -> float:
    """Mean over texts of the loss in nats per token of each text's first two windows."""
    return float(np.nanmean(read_language(causal, texts, skip_tokens=1, max_windows=2).nats_D))


def recovered_gain(random: float, oracle: float, selector: float) -> float:
    """Share of the oracle's gain over a random choice that a selector's loss recovers; NaN where the oracle gains nothing."""
    return (random - selector) / (random - oracle) if random > oracle else float("nan")
