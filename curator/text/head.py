"""A look at the first records of an input, before a model is loaded for it: is anything there, and is the text field?

One bad record hurts only itself, but an input of nothing else is a mistake of the whole: a field of another name, a file that
holds no records. It is said as early as it shows. The look ends at the first document, so it costs one record of a good input;
what was read of a stream is handed on, nothing is lost. It does not know models or jobs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice

from curator.errors import ConfigError, InsufficientDataError
from curator.records import Document, Rejection, RejectReason

HEAD_RECORDS = 1_000
"""So many records without the text field are enough to refuse an input."""
_WITHOUT_FIELD = {RejectReason.MISSING_FIELD, RejectReason.FIELD_NOT_TEXT}


def with_documents(records: Iterator[Document | Rejection]) -> Iterator[Document | Rejection]:
    """All the records, after a look at the first ones.

    Raises at once as ``require_text_field`` does for these, and at the end InsufficientDataError when no record was a document.
    """
    head = first_records(records)
    require_text_field(head)
    return chain(head, records if _holds_document(head) else _to_the_end(head, records))


def first_records(records: Iterable[Document | Rejection]) -> list[Document | Rejection]:
    """Records up to the first document, or the first thousand; empty where there are none at all."""
    head: list[Document | Rejection] = []
    for record in islice(records, HEAD_RECORDS):
        head.append(record)
        if isinstance(record, Document):
            break
    return head


def require_text_field(head: list[Document | Rejection]) -> None:
    """Refuse an input by its first records.

    Raises InsufficientDataError when there are none, ConfigError when none has the text field, as a string.
    """
    if not head:
        raise InsufficientDataError("The input holds no records; check that the sources are the files you mean.")
    rejected = [record for record in head if isinstance(record, Rejection) and record.reason in _WITHOUT_FIELD]
    if len(rejected) == len(head):
        raise ConfigError(
            f"None of the first {len(head):,} records has a usable text: {rejected[0].place} has {rejected[0].detail}; "
            "name the field that holds the text by --text-field (text_field)."
        )


def no_document(records: int, first: Rejection) -> InsufficientDataError:
    """The error for an input of which not one record is a document."""
    why = f"{first.reason}: {first.detail}" if first.detail else str(first.reason)
    return InsufficientDataError(
        f"None of the {records:,} records of the input is a document; {first.place} is rejected as {why}; "
        "check the sources and --text-field."
    )


def _holds_document(head: list[Document | Rejection]) -> bool:
    return isinstance(head[-1], Document)


def _to_the_end(
    head: list[Document | Rejection], records: Iterator[Document | Rejection]
) -> Iterator[Document | Rejection]:
    """The rest of an input that had no document so far."""
    number, found = len(head), False
    for record in records:
        number, found = number + 1, found or isinstance(record, Document)
        yield record
    if not found and isinstance(head[0], Rejection):
        raise no_document(number, head[0])
