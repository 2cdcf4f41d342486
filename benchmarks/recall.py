"""How far the sketch agrees with exact correlation: ``sketch_recall``, ``sketch_extra``, ``shared_spans_jaccard``.

Pairs of bundled models of one size are matched by sketch and verification and by the exact product of all pairs; what counts
as a match above ρ = 0.15, and in which two ways a match is verified, is told by ``curator.rosetta.agreement``. The recall is the
lowest of any pair of models, the extras those of all of them together. Nothing here is timed.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from itertools import combinations
from typing import Any

from benchmarks.harness import Row, note
from benchmarks.worlds import build, probe, scratch, zoo
from curator.rosetta.agreement import MIN_RHO, SketchStudy, match_every_way, recall_and_extra
from curator.settings import AtlasSettings, MatchSettings
from curator.zoo.recipe import SIZES, zoo_models


def recall_rows(quick: bool) -> Iterator[Row]:
    """All three rows; every pair of models of equal size, or with ``quick`` one pair."""
    spans, sizes = (10_000, ("64x2",)) if quick else (24_000, tuple(map(str, SIZES)))
    settings = AtlasSettings(held_back_spans=2_500) if quick else AtlasSettings()
    studies = [study for size in sizes for study in _studies(size, spans, settings, quick)]
    recall, extra = recall_and_extra(studies)
    detail = {
        "min_rho": MIN_RHO,
        "spans": spans,
        "sketch_dimensions": settings.sketch_dimensions,
        "held_back_spans": settings.held_back_spans,
        "pairs": {f"{study.first} and {study.second}": _counts(study) for study in studies},
    }
    about = f"matches with ρ >= {MIN_RHO} of the exact product that sketch and verification find; the lowest of {len(studies)}"
    yield Row("sketch_recall", recall, "share", {"goal": "at least 0.995", "about": about, **detail})
    about = f"matches with ρ >= {MIN_RHO} of sketch and verification that the exact product does not have, in all"
    yield Row("sketch_extra", extra, "matches", {"goal": "0", "about": about, **detail})
    agreement = statistics.median(study.shared_spans.jaccard for study in studies)
    about = f"exact matches with ρ >= {MIN_RHO} on universal against shared-boundary spans, the median pair of models"
    yield Row("shared_spans_jaccard", agreement, "Jaccard", {"goal": "reported", "about": about, **detail})


def _studies(size: str, spans: int, settings: AtlasSettings, quick: bool) -> Iterator[SketchStudy]:
    names = [model.name for model in zoo_models() if str(model.size) == size]
    backbones = [zoo(name) for name in (sorted(names)[:2] if quick else sorted(names))]
    corpus = probe(spans)
    with scratch() as folder:
        atlases = [build(backbone, corpus, settings, folder / backbone.name[4:]) for backbone in backbones]
        for first, second in combinations(range(len(backbones)), 2):
            pair = (backbones[first], backbones[second]), (atlases[first], atlases[second])
            study = match_every_way(*pair, corpus, MatchSettings()).study()
            note(f"{study.first} and {study.second}: {recall_and_extra([study])}")
            yield study


def _counts(study: SketchStudy) -> dict[str, Any]:
    return {
        "exact": study.second_pass.reference,
        "recall_of_candidates": round(study.held_back.recalled, 5),
        "recall_after_second_pass": round(study.second_pass.recalled, 5),
        "recall_without_second_pass": round(study.no_second_pass.recalled, 5),
        "extra": [study.held_back.extra, study.second_pass.extra],
        "shared_spans_recalled": round(study.shared_spans.recalled, 5),
        "shared_spans_jaccard": round(study.shared_spans.jaccard, 5),
    }
