"""One document on its way into a shard, as a JSON record, and back: what a line of a shard holds.

The user's fields stay at the top level, untouched; ours carry the prefix ``curator_`` and are always present, so that every
shard has one schema. A metadata field whose name is taken (``id``, ``text``, ``domain``, ``source``, ``curator_*``) moves
into ``curator_metadata``, where ``metadata_of`` finds it again: nothing of the user's is ever overwritten, and the output of
one filter can be the input of the next.

    curator_target         the target that the row was kept for, "" where it was not kept
    curator_score          raw score for that target; for a row that was not kept, the one of the highest probability
    curator_probability, curator_tokens, curator_neurons      of the same score
    curator_probabilities  the probability for each target, where a job has several
    curator_reason, curator_detail                            why a row was not kept, "" where it was

Cost: one JSON encoding per record, 10 to 20 microseconds for 3 kB of text. What JSON cannot hold does not survive as it was:
dates and times become ISO text, bytes base64, decimals and other types their text, tuples and sets lists, keys text, NaN and
infinities null; numbers, text, lists and nested records come through untouched. It does not know files or shards.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curator.records import Document, Score

DOCUMENT_FIELDS = ("id", "text", "domain", "source")
OWN_PREFIX = "curator_"
MOVED = "curator_metadata"


@dataclass(frozen=True, slots=True)
class Row:
    """A decided document: its scores in the order of the job's targets (none where it was not scored) and the verdict."""

    document: Document
    scores: Mapping[str, Score]
    target: str = ""
    """Target that the row was kept for; empty where it was not kept."""
    reason: str = ""
    detail: str = ""

    @property
    def shown(self) -> Score | None:
        """The score that the single columns show: of the target, else the one of the highest probability."""
        if self.target:
            return self.scores.get(self.target)
        return max(self.scores.values(), key=lambda score: score.probability, default=None)


def user_record(document: Document) -> dict[str, object]:
    """The user's part of a record; its length as a JSON line is the size by which shards are packed."""
    record: dict[str, object] = {name: getattr(document, name) for name in DOCUMENT_FIELDS}
    record.update((name, value) for name, value in document.metadata.items() if not _is_taken(name))
    if moved := {name: value for name, value in document.metadata.items() if _is_taken(name)}:
        record[MOVED] = moved
    return record


def to_record(row: Row) -> dict[str, object]:
    """The JSON object of one row: document, metadata at the top level, then our ``curator_`` fields."""
    record = user_record(row.document)
    moved = record.pop(MOVED, None)
    record.update(own_fields(row))
    if moved:
        record[MOVED] = moved
    return record


def own_fields(row: Row) -> dict[str, object]:
    """Our fields of one row. Absent texts are empty, not null: a column of nulls would have no type for readers."""
    score = row.shown
    fields: dict[str, object] = {
        "curator_target": row.target,
        "curator_score": score.value if score else None,
        "curator_probability": score.probability if score else None,
        "curator_tokens": score.tokens if score else None,
        "curator_neurons": list(score.top_neurons) if score else [],
        "curator_reason": row.reason,
        "curator_detail": row.detail,
    }
    if len(row.scores) > 1:
        fields["curator_probabilities"] = {target: score.probability for target, score in row.scores.items()}
    return fields


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
