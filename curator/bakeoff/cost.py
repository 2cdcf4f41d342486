"""What it costs to look at a million documents the way each selector does, measured on a sample of the pool.

Most of a selector's cost is reading: hashing words, a forward pass to the deepest wanted neuron, a whole pass with its head.
Every way of reading is timed once, in wall seconds and in core-seconds of this process, and a selector's cost is that of its
reading plus that of scoring what was read. Cost: six passes over the sample. Training before (fitting, tuning) is not in it,
nor is the tuned copy of the perplexity difference. Timings are of this machine, and of a busy one if it was busy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from curator.bakeoff.contest import Result
from curator.bakeoff.entrants import NOT_ROSETTA, SINGLE
from curator.bakeoff.language import read_language
from curator.bakeoff.lines import kept
from curator.bakeoff.run import Prepared
from curator.bakeoff.texts import TextViews
from curator.neuronset.features import NeuronChoice, document_features
from curator.neuronset.identify import Reporter

SAMPLE = 256
WORDS, WHOLE_MODEL, ALL, BROAD, PAPER, ONE = (
    "hashing words", "whole model", "all neurons", "Rosetta neurons", "Rosetta neurons, k=1", "one neuron",
)  # fmt: skip
_READS = {
    SINGLE: ONE,
    NOT_ROSETTA: ONE,
    "single, by the examples": ONE,
    "linear, Rosetta k=1": PAPER,
    "linear, all neurons": ALL,
    "NAG-style": ALL,
    "NAG-style less background": ALL,
}
_READS_BY_KIND = {"text": WORDS, "model": WHOLE_MODEL, "neurons": BROAD}


class ReadingCost(BaseModel):
    """One way of reading a million documents. ``documents`` is how many it was measured on."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    seconds: float
    core_seconds: float
    documents: int


def reading_costs(prepared: Prepared, folder: Path, reporter: Reporter) -> dict[str, ReadingCost]:
    """Cost of every way of reading; kept in ``folder``."""

    def measured() -> dict[str, dict[str, Any]]:
        ways = _ways(prepared)
        reporter.stage("timing the ways to read", len(ways))
        found: dict[str, dict[str, Any]] = {}
        for done, (name, way) in enumerate(ways.items()):
            found[name] = _timed(way, prepared).model_dump()
            reporter.advance(done + 1)
        return found

    found = kept(folder / "cost.json", prepared.identity, measured)
    return {name: ReadingCost.model_validate(one) for name, one in found.items()}


def selector_cost(costs: Mapping[str, ReadingCost], result: Result, score_s: float) -> float | None:
    """Seconds for a million documents: reading, and scoring what was read; None for the bounds, which read nothing."""
    way = _READS.get(result.selector, _READS_BY_KIND.get(result.kind, ""))
    return costs[way].seconds + score_s if way in costs else None


def _ways(prepared: Prepared) -> dict[str, Callable[[list[str]], object]]:
    groups, backbone = prepared.populations, prepared.backbone
    skip_tokens = prepared.atlas.manifest.settings.skip_tokens
    deepest = np.flatnonzero(groups.paper_N)[-1:]  # the dearest of those that one may be

    def neurons(index: np.ndarray) -> Callable[[list[str]], object]:
        chosen = NeuronChoice(tuple(map(prepared.atlas.neuron, index.tolist())), (1,) * len(index))
        return lambda texts: document_features(backbone, texts, chosen, skip_tokens=skip_tokens)

    return {
        WORDS: lambda texts: TextViews(texts, np.arange(len(texts))).weights,
        ONE: neurons(deepest),
        PAPER: neurons(np.flatnonzero(groups.paper_N)),
        BROAD: neurons(np.flatnonzero(groups.broad_N)),
        ALL: neurons(np.arange(len(groups.broad_N))),
        WHOLE_MODEL: lambda texts: read_language(prepared.causal, texts, skip_tokens=skip_tokens),
    }


def _timed(way: Callable[[list[str]], object], prepared: Prepared) -> ReadingCost:
    texts = prepared.fields[False].texts.texts
    pool = np.flatnonzero(prepared.in_pool_D)
    sample = [texts[row] for row in np.random.default_rng(0).permutation(pool)[:SAMPLE]]
    way(sample[:8])  # what is made once is made now
    wall, cores = time.perf_counter(), time.process_time()
    way(sample)
    share = 1e6 / len(sample)
    return ReadingCost(
        seconds=share * (time.perf_counter() - wall),
        core_seconds=share * (time.process_time() - cores),
        documents=len(sample),
    )
