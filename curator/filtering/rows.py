"""One decision as a JSON record, and back: what a line of a shard or of the spill file holds.

The user's fields stay at the top level, untouched; ours carry the prefix ``curator_`` and are always present, so that every
shard has one schema. A metadata field whose name is taken (``id``, ``text``, ``domain``, ``source``, ``curator_*``) moves
into ``curator_metadata``, where ``metadata_of`` finds it again: nothing of the user's is ever overwritten, and the output of
one filter can be the input of the next.

Cost: one JSON encoding per record, 10 to 20 microseconds for 3 kB of text. Values that JSON cannot hold are written as
text (dates in ISO form, bytes in base64) and NaN as null. It does not know files or shards.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curator.records import Decision, Document, RejectReason, Score

DOCUMENT_FIELDS = ("id", "text", "domain", "source")
OWN_PREFIX = "curator_"
MOVED = "curator_metadata"


@dataclass(frozen=True, slots=True)
class Row:
    """A decision on its way to a shard; ``detail`` explains a failed scoring."""

    decision: Decision
    detail: str = ""


def to_record(row: Row) -> dict[str, object]:
    """The JSON object of one row: document, metadata at the top level, then our ``curator_`` fields."""
    document = row.decision.document
    record: dict[str, object] = {name: getattr(document, name) for name in DOCUMENT_FIELDS}
    moved = {name: value for name, value in document.metadata.items() if _is_taken(name)}
    record.update((name, value) for name, value in document.metadata.items() if name not in moved)
    record.update(own_fields(row))
    if moved:
        record[MOVED] = moved
    return record


def own_fields(row: Row) -> dict[str, object]:
    """Our fields of one row. Absent texts are empty, not null: a column of nulls would have no type for readers."""
    score, reason = row.decision.score, row.decision.reason
    return {
        "curator_score": score.value if score else None,
        "curator_probability": score.probability if score else None,
        "curator_tokens": score.tokens if score else None,
        "curator_neurons": list(score.top_neurons) if score else [],
        "curator_reason": str(reason) if reason else "",
        "curator_detail": row.detail,
    }


def metadata_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """The user's metadata of a record that ``to_record`` made."""
    plain = {name: value for name, value in record.items() if not _is_taken(name)}
    return plain | record.get(MOVED, {})


def to_line(value: object) -> bytes:
    """One line of UTF-8 JSON with its line feed; never fails on what a metadata field may hold."""
    try:
        return _dumps(value, ensure_ascii=False).encode() + b"\n"
    except (TypeError, ValueError):  # a date, bytes, NaN, or half a surrogate pair: rare, so the plain path stays fast
        return _dumps(_plain(value), ensure_ascii=True).encode() + b"\n"


def metadata_json(document: Document) -> str:
    """All metadata of a document as one JSON string, for formats with a fixed schema."""
    return to_line(dict(document.metadata)).decode().rstrip("\n")


def to_spill(row: Row) -> bytes:
    """One line of the spill file: everything that is known of a document before the selection."""
    document, score = row.decision.document, row.decision.score
    identity = [getattr(document, name) for name in DOCUMENT_FIELDS]
    numbers = [score.value, score.probability, score.tokens, list(score.top_neurons)] if score else None
    return to_line([identity, dict(document.metadata), numbers, row.decision.reason, row.detail])


def from_spill(line: bytes) -> Row:
    """The row that ``to_spill`` wrote, undecided rows as not kept and without a reason."""
    (name, text, domain, source), metadata, numbers, reason, detail = json.loads(line)
    score = Score(name, numbers[0], numbers[1], numbers[2], tuple(numbers[3])) if numbers else None
    document = Document(name, text, domain, source, metadata)
    return Row(Decision(document, score, kept=False, reason=RejectReason(reason) if reason else None), detail)


def _is_taken(name: str) -> bool:
    return name in DOCUMENT_FIELDS or name.startswith(OWN_PREFIX)


def _dumps(value: object, *, ensure_ascii: bool) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, separators=(",", ":"), allow_nan=False)


def _plain(value: Any) -> Any:
    """A copy that JSON can hold; what it has no form for becomes text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | float):
        return None if isinstance(value, float) and not math.isfinite(value) else value
    return _plain(value.tolist()) if hasattr(value, "tolist") else _as_text(value)  # tolist: NumPy scalars and arrays


def _as_text(value: Any) -> str:
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode("ascii")
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)
