"""What the filtering benchmarks score with: neuron sets of bundled and of made-up models, and pools of passages.

The set of the cascade is a real one: for legal text among seven other kinds where the labelled corpora lie beside the checkout,
else for C++ among Python, docstrings and prose, which every installation has (``env:``) and which is the harder task. Where
only speed counts, and speed does not care what weights say, a set is made up: random weights on neurons spread over the layers.
It does not judge the set.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import cycle
from pathlib import Path

import numpy as np

from benchmarks.worlds import build, scratch, zoo
from curator.lm.backbone import Backbone
from curator.neuronset.artifact import MethodQuality, NeuronEvidence, NeuronSet, NeuronSetManifest, TargetFilter
from curator.neuronset.build import build_neuron_set
from curator.records import Document
from curator.rosetta.neurons import find_rosetta_neurons
from curator.settings import AtlasSettings, MatchSettings, NeuronSetSettings
from curator.text.probe import ProbeSpec, build_probe
from curator.text.rows import SourceOptions
from curator.text.sources import open_sources

_CORPORA = Path(__file__).resolve().parents[2] / "shared" / "corpora"
_FILES = {path.name.partition(".")[0]: path for path in sorted(_CORPORA.glob("*.jsonl.zst"))}
TARGET = "legal" if _FILES else "cpp"
OTHERS = tuple(name for name in _FILES if name != TARGET) or ("python", "docstrings", "prose")
_PROBE_CHARS = 2_000_000


@dataclass(frozen=True, slots=True)
class World:
    """A loaded model with a neuron set for ``TARGET``."""

    backbone: Backbone
    neuron_set: NeuronSet


@cache
def world(spans: int, size: str) -> World:
    """A set of the bundled GPT-NeoX of a size, shared with the GPT-2 of that size; made once a process, untimed."""
    domains = {name: (_uri(name, _PROBE_CHARS),) for name in (TARGET, *OTHERS)}
    corpus = build_probe(ProbeSpec(domains=domains, tokens_per_domain=spans // len(domains), max_document_spans=96))
    settings = AtlasSettings(sketch_dimensions=512, held_back_spans=1_024)
    anchor, peer = (zoo(f"{name}-{size}") for name in ("neox", "gpt2"))
    with scratch() as folder:
        first, second = (build(model, corpus, settings, folder / str(n)) for n, model in enumerate((anchor, peer)))
        rosetta = find_rosetta_neurons(first, [second], MatchSettings())
        made = build_neuron_set(
            anchor,
            rosetta,
            corpus,
            [TARGET],
            name="bench",
            settings=NeuronSetSettings(),
            match_settings=MatchSettings(),
        )
    return World(anchor, made)


def made_up_set(backbone: Backbone, depth: int, neurons: int = 64, seed: int = 0) -> NeuronSet:
    """Random weights on neurons spread evenly over the first ``depth`` layers; one target, ``made-up``."""
    generator = np.random.default_rng(seed)
    layers = np.arange(neurons) * depth // neurons
    units = [int(generator.integers(backbone.sites[layer].width)) for layer in layers]
    names = sorted({(int(layer), unit) for layer, unit in zip(layers, units, strict=True)})
    quality = MethodQuality(
        validation_average_precision=0.5,
        report_average_precision=None,
        report_auroc=None,
        calibration="platt",
        reliability=(),
        operating_points=(),
        report_documents=0,
        report_positives=0,
    )
    target = TargetFilter(default="linear", single_neuron=0, single_direction=1, methods={"linear": quality})
    manifest = NeuronSetManifest(
        name="made-up", model=backbone.name, revision=backbone.revision, model_fingerprint=backbone.fingerprint,
        tokenizer_fingerprint=backbone.tokenizer_fingerprint, probe_fingerprint="", atlas_fingerprint="", peers={},
        rosetta_rule="paper", rosetta_counts={}, null_counts={}, mean_correlation=0.0, certificate=0.0,
        targets={"made-up": target}, layers=len(backbone.sites), skip_tokens=4, settings=NeuronSetSettings(),
        match_settings=MatchSettings(), version="0",
        neurons=tuple(
            NeuronEvidence(
                id=f"L{layer}/U{unit}", sign=1, strict=False, universal=False, matches=(), targets={}
            )
            for layer, unit in names
        ),
    )  # fmt: skip
    arrays = {
        "mean_fK": np.zeros((3, len(names)), np.float32),
        "scale_fK": np.ones((3, len(names)), np.float32),
        "made-up.linear.weight": generator.standard_normal(3 * len(names)),
        "made-up.linear.intercept": np.zeros(1),
        "made-up.linear.calibration.score": np.asarray([-100.0, 100.0]),
        "made-up.linear.calibration.probability": np.asarray([0.0, 1.0]),
    }
    return NeuronSet(manifest, arrays, "made-up")


def mixed(documents: int, share: float, *, chars: int, max_chars: int, seed: int = 0) -> list[Document]:
    """So many passages of which ``share`` are the target's, in random order; real ones come again where they run out."""
    generator = np.random.default_rng(seed)
    mine, *rest = (_shuffled(passages(name, chars, max_chars), generator) for name in (TARGET, *OTHERS))
    drawn = generator.random(documents) < share
    texts = (next(mine) if on else next(rest[place % len(rest)]) for place, on in enumerate(drawn))
    return [replace(document, id=f"{document.domain}-{place}") for place, document in enumerate(texts)]


@cache
def passages(domain: str, chars: int, max_chars: int) -> tuple[Document, ...]:
    """Passages of about so many characters from the first ``max_chars`` of a domain."""
    found: list[Document] = []
    for document in open_sources([_uri(domain, max_chars)], SourceOptions()):
        if isinstance(document, Document):
            found += _passages(replace(document, domain=domain), chars)
        if len(found) * chars >= max_chars:
            break
    return tuple(found)


def _uri(domain: str, max_chars: int) -> str:
    return str(_FILES[domain]) if domain in _FILES else f"env:{domain}?max_chars={max_chars}"


def _shuffled(documents: tuple[Document, ...], generator: np.random.Generator) -> Iterator[Document]:
    return cycle([documents[place] for place in generator.permutation(len(documents))])


def _passages(document: Document, chars: int) -> Iterator[Document]:
    for start in range(0, max(1, len(document.text) - chars // 2), chars):
        yield replace(document, text=document.text[start : start + chars])
