"""Counting what a source gives: documents, characters, and rejections by reason; tallies of shards merge by ``+``.

Every record that enters is counted once, so ``documents + rejected`` is the number of records read. Costs nothing next to
reading. It does not keep the rejections; whoever wants them passes a callback.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from curator.records import Document, Rejection, RejectReason


@dataclass(slots=True)
class SourceTally:
    """How many records became documents, and why the others did not. ``SourceTally()`` is the zero of ``+``."""

    documents: int = 0
    characters: int = 0
    rejected: Counter[RejectReason] = field(default_factory=Counter)

    @property
    def records(self) -> int:
        """All records read."""
        return self.documents + self.rejected.total()

    def count(self, record: Document | Rejection) -> None:
        """Count one record."""
        if isinstance(record, Rejection):
            self.rejected[record.reason] += 1
        else:
            self.documents += 1
            self.characters += len(record.text)

    def __add__(self, other: SourceTally) -> SourceTally:
        return SourceTally(
            self.documents + other.documents, self.characters + other.characters, self.rejected + other.rejected
        )

    def as_json(self) -> dict[str, object]:
        """The tally for manifests and reports, reasons in alphabetical order."""
        rejected = {str(reason): self.rejected[reason] for reason in sorted(self.rejected)}
        return {"documents": self.documents, "characters": self.characters, "rejected": rejected}


def tally(
    records: Iterable[Document | Rejection],
    counts: SourceTally,
    on_rejection: Callable[[Rejection], None] | None = None,
) -> Iterator[Document]:
    """Pass the documents on, add every record to ``counts``, and hand rejections to ``on_rejection``."""
    for record in records:
        counts.count(record)
        if isinstance(record, Document):
            yield record
        elif on_rejection is not None:
            on_rejection(record)
