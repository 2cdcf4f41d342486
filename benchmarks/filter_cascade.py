"""The cascade on pools with 1, 5 and 20 % of the target: ``cascade_speedup_1pct`` and ``cascade_recall_1pct``.

The full scorer is a real neuron set on a bundled model; it keeps what reaches a probability of one half. Its scores of a sample
train the prefilter; the sample is a random part of the same mixture as the pool. Speed-up is documents per second of the cascade
over those of the full scorer, without the training, whose cost is the sample's; recall is the share of what the full scorer
keeps of the pool that the cascade keeps (it keeps nothing else). With ``--quick`` a recall of 0.8 is asked for: a sample of
seconds cannot promise 0.99. Bundled models read fifty times as fast as those that one would filter with, so the speed-up is a
lower bound for those.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.filter_world import TARGET, mixed, world
from benchmarks.harness import Row, note, seconds
from curator.records import Rejection, RejectReason, Score
from curator.scoring.cascade import train_cascade
from curator.scoring.scorer import NeuronSetScorer
from curator.settings import PrefilterSettings

_CUTOFF = 0.5
_PASSAGE_CHARS = 400


@dataclass(frozen=True, slots=True)
class _Setting:
    size: str
    spans: int
    chars: int
    samples: dict[float, int]
    pool: int
    recall: float


_QUICK = _Setting("32x2", 24_000, 1_000_000, {0.01: 4_000}, 2_000, 0.8)
_FULL = _Setting("128x4", 160_000, 8_000_000, {0.01: 48_000, 0.05: 12_000, 0.2: 5_000}, 10_000, 0.99)


def cascade_rows(quick: bool) -> Iterator[Row]:
    """Both rows; the other shares are in their detail."""
    setting = _QUICK if quick else _FULL
    made = world(setting.spans, setting.size)
    scorer = NeuronSetScorer(made.backbone, made.neuron_set)
    found = {share: _measured(scorer, share, documents, setting) for share, documents in setting.samples.items()}
    detail = {"model": made.backbone.name, "target": TARGET, "recall_asked": setting.recall, "pools": found}
    first = found[0.01]
    about = "documents per second of cascade over full scorer, 1 % of the pool on target"
    yield Row("cascade_speedup_1pct", first["speedup"], "ratio, higher is better", {"about": about, **detail})
    goal = {
        "goal": f"at least {setting.recall}",
        "about": "of what the full scorer keeps of that pool, kept by the cascade",
    }
    yield Row("cascade_recall_1pct", first["recall"], "share", {**goal, **detail})


def _measured(scorer: NeuronSetScorer, share: float, sample: int, setting: _Setting) -> dict[str, Any]:
    drawn = mixed(sample + setting.pool, share, chars=_PASSAGE_CHARS, max_chars=setting.chars)
    pool = drawn[sample:]
    cascade = train_cascade(scorer, drawn[:sample], {TARGET: _CUTOFF}, PrefilterSettings(recall=setting.recall))
    scorer.score_targets(pool[:64])
    results: dict[str, list[tuple[Score, ...] | Rejection]] = {}
    full_s = seconds(lambda: results.update(full=scorer.score_targets(pool)))
    cascade_s = seconds(lambda: results.update(cascade=cascade.score_targets(pool)))
    kept, kept_too = _kept(results["full"]), _kept(results["cascade"])
    stopped = sum(isinstance(r, Rejection) and r.reason is RejectReason.PREFILTERED for r in results["cascade"])
    on_target = np.asarray([document.domain == TARGET for document in pool])
    note(f"{share:.0%}: {full_s:.1f} s, cascade {cascade_s:.1f} s, {stopped} of {len(pool)} stopped")
    return {
        "documents_per_second": round(len(pool) / cascade_s, 1),
        "full_documents_per_second": round(len(pool) / full_s, 1),
        "speedup": full_s / cascade_s,
        "pool": len(pool),
        "sample": sample,
        "kept_by_full": int(kept.sum()),
        "recall": float((kept & kept_too).sum() / max(1, kept.sum())),
        "precision": float((kept & kept_too).sum() / max(1, kept_too.sum())),
        "recall_of_target": [float(k[on_target].mean()) for k in (kept, kept_too)],
        "stopped": stopped / len(pool),
        "promised": cascade.prefilter.report["targets"][0],
    }


def _kept(results: Sequence[tuple[Score, ...] | Rejection]) -> np.ndarray:
    return np.asarray([isinstance(result, tuple) and result[0].probability >= _CUTOFF for result in results])
