"""Counts of a filter run that add up: every document that came in was kept or rejected for a reason, tokens likewise.

``FilterReport`` is a frozen value with a zero and a ``+``, so reports of parts of a corpus merge into the report of the whole,
in any grouping. ``Tally`` is its mutable counterpart while a run goes on. Records that never became a document (``unreadable``)
are counted apart. The score histogram has 20 equal bins of the calibrated probability on [0, 1], the same in every report.
Cost: constant memory. It does not know where the documents went.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from curator.errors import ArtifactError
from curator.records import Decision, Score

HISTOGRAM_BINS = 20
HISTOGRAM_EDGES = tuple(edge / HISTOGRAM_BINS for edge in range(HISTOGRAM_BINS + 1))
_NO_BINS: tuple[int, ...] = (0,) * HISTOGRAM_BINS


@dataclass(frozen=True, slots=True)
class FilterReport:
    """What a filter did, in counts; ``FilterReport()`` is the zero of ``+``.

    ``rejected`` and ``unreadable`` map a reason to a count. The histograms count scored documents by probability, bin ``i``
    covering ``[HISTOGRAM_EDGES[i], HISTOGRAM_EDGES[i + 1])`` and the last bin 1 as well. ``cutoff`` is the lowest score
    kept, in the policy's field; None when nothing was kept.
    """

    documents_in: int = 0
    documents_kept: int = 0
    tokens_in: int = 0
    tokens_kept: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    unreadable: Mapping[str, int] = field(default_factory=dict)
    histogram_kept: tuple[int, ...] = _NO_BINS
    histogram_rejected: tuple[int, ...] = _NO_BINS
    cutoff: float | None = None

    @property
    def documents_rejected(self) -> int:
        """Documents that were read and not kept."""
        return sum(self.rejected.values())

    @property
    def documents_unreadable(self) -> int:
        """Records that never became a document."""
        return sum(self.unreadable.values())

    @property
    def adds_up(self) -> bool:
        """Whether documents in equal kept plus rejected; false only while a run is going on."""
        return self.documents_in == self.documents_kept + self.documents_rejected

    def __add__(self, other: FilterReport) -> FilterReport:
        cutoffs = [cutoff for cutoff in (self.cutoff, other.cutoff) if cutoff is not None]
        return FilterReport(
            documents_in=self.documents_in + other.documents_in,
            documents_kept=self.documents_kept + other.documents_kept,
            tokens_in=self.tokens_in + other.tokens_in,
            tokens_kept=self.tokens_kept + other.tokens_kept,
            rejected=_merged(self.rejected, other.rejected),
            unreadable=_merged(self.unreadable, other.unreadable),
            histogram_kept=_summed(self.histogram_kept, other.histogram_kept),
            histogram_rejected=_summed(self.histogram_rejected, other.histogram_rejected),
            cutoff=min(cutoffs, default=None),
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the fields and the histogram's edges."""
        return {**asdict(self), "histogram_edges": list(HISTOGRAM_EDGES)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FilterReport:
        """Read ``to_json`` back. Raises ArtifactError when fields are missing or the bins differ."""
        try:
            fields = {name: value[name] for name in cls.__dataclass_fields__}
            bins = {
                name: tuple(int(count) for count in fields[name]) for name in ("histogram_kept", "histogram_rejected")
            }
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError("The report in a manifest is incomplete; run the filter again.") from error
        if list(value.get("histogram_edges", [])) != list(HISTOGRAM_EDGES):
            raise ArtifactError("The report in a manifest has other histogram bins; run the filter again.")
        return cls(**{**fields, **bins})


class Tally:
    """The running counts of one run; ``report`` freezes them."""

    def __init__(self) -> None:
        self._documents_in = 0
        self._documents_kept = 0
        self._tokens_in = 0
        self._tokens_kept = 0
        self._rejected: Counter[str] = Counter()
        self._unreadable: Counter[str] = Counter()
        self._histogram_kept = list(_NO_BINS)
        self._histogram_rejected = list(_NO_BINS)
        self._cutoff: float | None = None

    def came_in(self, score: Score | None) -> None:
        """A document was read, and scored unless ``score`` is None."""
        self._documents_in += 1
        self._tokens_in += score.tokens if score else 0

    def was_unreadable(self, reason: str) -> None:
        """A record could not become a document."""
        self._unreadable[reason] += 1

    def was_decided(self, decision: Decision, ranked_by: float | None) -> None:
        """A document was kept or rejected; ``ranked_by`` is the number that the policy compared."""
        score = decision.score
        if score:
            histogram = self._histogram_kept if decision.kept else self._histogram_rejected
            histogram[min(HISTOGRAM_BINS - 1, max(0, int(score.probability * HISTOGRAM_BINS)))] += 1
        if not decision.kept:
            self._rejected[str(decision.reason)] += 1
            return
        self._documents_kept += 1
        self._tokens_kept += score.tokens if score else 0
        if ranked_by is not None and (self._cutoff is None or ranked_by < self._cutoff):
            self._cutoff = ranked_by

    def report(self) -> FilterReport:
        """The counts so far, frozen."""
        return FilterReport(
            documents_in=self._documents_in,
            documents_kept=self._documents_kept,
            tokens_in=self._tokens_in,
            tokens_kept=self._tokens_kept,
            rejected=_merged(self._rejected, {}),
            unreadable=_merged(self._unreadable, {}),
            histogram_kept=tuple(self._histogram_kept),
            histogram_rejected=tuple(self._histogram_rejected),
            cutoff=self._cutoff,
        )


def _merged(left: Mapping[str, int], right: Mapping[str, int]) -> dict[str, int]:
    return {reason: left.get(reason, 0) + right.get(reason, 0) for reason in sorted({*left, *right})}


def _summed(left: Sequence[int], right: Sequence[int]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(left, right, strict=True))
