"""How far the sketch agrees with exact correlation: recall and false extras, and universal against shared-boundary spans.

Pairs of bundled models of one size are matched by sketch and verification and by the exact product of all pairs; what counts
as a match above ρ = 0.15, and in which two ways a match is verified, is told by ``curator.rosetta.agreement``. The recall is the
lowest of any pair of models, the extras those of all of them together. ``sketch_recall`` and ``sketch_extra`` verify in a second
pass over all spans, ``held_back_recall`` and ``held_back_extra`` on the held-back sample alone. Nothing here is timed.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from itertools import combinations
from typing import Any

from benchmarks.harness import Row, note
from benchmarks.worlds import build, probe, scratch, zoo
from curator.rosetta.agreement import MIN_RHO, SketchStudy, Verification, match_every_way, recall_and_extra
from curator.settings import AtlasSettings, MatchSettings
from curator.zoo.recipe import SIZES, zoo_models


def recall_rows(quick: bool) -> Iterator[Row]:
    """All rows; every pair of models of equal size, or with ``quick`` one pair."""
    spans, sizes = (10_000, ("64x2",)) if quick else (24_000, tuple(map(str, SIZES)))
    settings = AtlasSettings(held_back_spans=2_500) if quick else AtlasSettings()
    studies = [study for size in sizes for study in _studies(size, spans, settings, quick)]
    detail = {
        "min_rho": MIN_RHO,
        "spans": spans,
        "sketch_dimensions": settings.sketch_dimensions,
        "held_back_spans": settings.held_back_spans,
    }
    pairs = {"pairs": {f"{study.first} and {study.second}": _counts(study) for study in studies}}
    goals: dict[Verification, tuple[str, str]] = {
        "second_pass": ("at least 0.995", "0"),
        "held_back": ("reported", "reported"),
    }
    for verification, (goal, goal_extra) in goals.items():
        recall, extra = recall_and_extra(studies, verification=verification)
        name, spans_used = ("held_back", "held-back spans") if verification == "held_back" else ("sketch", "all spans")
        matches = f"matches with ρ >= {MIN_RHO} of the exact product of {spans_used}"
        about = f"{matches} that sketch and verification find; the lowest of {len(studies)}"
        yield Row(f"{name}_recall", recall, "share", {"goal": goal, "about": about, **detail})
        about = f"found by sketch and verification and not among the {matches}, in all"
        yield Row(f"{name}_extra", extra, "matches", {"goal": goal_extra, "about": about, **detail})
    agreement = statistics.median(study.shared_spans.jaccard for study in studies)
    about = f"exact matches with ρ >= {MIN_RHO} on universal against shared-boundary spans, the median pair of models"
    yield Row("shared_spans_jaccard", agreement, "Jaccard", {"goal": "reported", "about": about, **detail, **pairs})


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
