"""How good a kept set is when the true labels are known: precision, recall and F1 with their counts.

The unit is the document. A labelled document that is not among the kept ones counts as rejected, even when it never came
out of its source: a positive that was lost is a miss, whatever lost it. Kept documents without a label are counted and
left out of precision. Cost: one set of ids. It does not know scores, so it judges one policy, not a ranking.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from curator.filtering.output import load_manifest
from curator.filtering.shards import read_shard
from curator.text.rows import label


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The confusion counts of a kept set, and the ratios that follow; a ratio without a denominator is 0."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    unlabelled: int = 0

    @property
    def precision(self) -> float:
        """Share of the kept labelled documents that are positive."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Share of the positive documents that were kept."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return _ratio(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)


def evaluate(kept_ids: Iterable[str], truth: Mapping[str, bool]) -> Evaluation:
    """Compare the ids of the kept documents with the true labels of the whole pool, by document id."""
    kept = set(kept_ids)
    hits = sum(truth.get(name, False) for name in kept)
    labelled = sum(name in truth for name in kept)
    positives = sum(truth.values())
    return Evaluation(
        true_positives=hits,
        false_positives=labelled - hits,
        false_negatives=positives - hits,
        true_negatives=len(truth) - positives - (labelled - hits),
        unlabelled=len(kept) - labelled,
    )


def kept_ids(out: Path) -> Iterator[str]:
    """Ids of the kept documents of a finished output, in order. Raises ArtifactError when it is missing or damaged."""
    manifest = load_manifest(out)
    id_field = str(json.loads(manifest.context["source_options"])["id_field"])
    for shard in manifest.shards("kept"):
        for record in read_shard(out / shard.name):
            yield label(record[id_field] if id_field in record else record["id"])


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
