"""From one row of named values to one Document, or to one Rejection with its reason: the rules that all formats share.

The text must be a string that is not blank and is valid Unicode. Labels (id, domain, source) that are not strings are written
as JSON, so a number 7 becomes "7". A row without an id gets ``<stem>-<first 16 hex digits of its text's SHA-1>``, where the
stem is the file's name without suffixes: the same on every run, and equal texts of one file get equal ids. All other fields
travel on as metadata, untouched. Cost: one encoding of the text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha1
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from curator.records import NO_METADATA, Document, Rejection, RejectReason

DEFAULT_MAX_RECORD_BYTES = 16 << 20
_SHOWN_FIELDS = 8
_SHOWN_CHARACTERS = 40


class SourceOptions(BaseModel):
    """How rows become documents; the same for every kind of source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text_field: str = Field(default="text", min_length=1, description="Name of the field that holds the text.")
    id_field: str = Field(default="id", min_length=1, description="Name of the field that identifies the document.")
    domain_field: str = Field(default="domain", min_length=1, description="Name of the field with the domain label.")
    source_field: str = Field(
        default="source", min_length=1, description="Name of the field with the work it was cut from."
    )
    domain: str | None = Field(
        default=None, description="A label for all documents, in place of what the domain field says."
    )
    max_record_bytes: int = Field(
        default=DEFAULT_MAX_RECORD_BYTES, ge=1, description="Cap on a JSONL line, or on a column's text, in bytes."
    )


def document_from_row(
    row: Mapping[str, Any], place: str, options: SourceOptions, *, origin: str | None = None
) -> Document | Rejection:
    """One row as a Document; ``place`` is ``<where>:<row number>`` and names the row in a Rejection.

    Where ``place`` names a part of the source, ``origin`` is the place that ids are made of, for they know no parts.
    """
    text = row.get(options.text_field)
    if not isinstance(text, str):
        return _rejected(place, row, options)
    if (problem := _problem_with(text, options)) is not None:
        return Rejection(place, *problem)
    used = {options.text_field, options.id_field, options.domain_field, options.source_field}
    metadata = {key: value for key, value in row.items() if key not in used}
    return Document(
        id=label(row.get(options.id_field)) or content_id(text, origin or place),
        text=text,
        domain=label(row.get(options.domain_field)) if options.domain is None else options.domain,
        source=label(row.get(options.source_field)),
        metadata=metadata or NO_METADATA,
    )


def content_id(text: str, place: str) -> str:
    """The id of a document that came without one, from the stem of its place and its text."""
    where = place.rsplit(":", 1)[0]
    stem = Path(where).name.split(".")[0] or "stdin"
    return f"{'stdin' if stem == '-' else stem}-{sha1(text.encode(), usedforsecurity=False).hexdigest()[:16]}"


def _rejected(place: str, row: Mapping[str, Any], options: SourceOptions) -> Rejection:
    text = row.get(options.text_field)
    if text is None:
        value = "no value in the" if options.text_field in row else "no"
        why = f"{value} field {options.text_field!r}, its fields are {_shown(row)}"
        return Rejection(place, RejectReason.MISSING_FIELD, why)
    why = f"no text in the field {options.text_field!r}, which is a {type(text).__name__}"
    return Rejection(place, RejectReason.FIELD_NOT_TEXT, why)


def _shown(row: Mapping[str, Any]) -> str:
    """The names of a row's fields, those that hold text first, for they may be the one that was meant."""
    names = sorted(row, key=lambda name: not isinstance(row[name], str))
    more = [f"{len(names) - _SHOWN_FIELDS} more"] if len(names) > _SHOWN_FIELDS else []
    return ", ".join([*(repr(name[:_SHOWN_CHARACTERS]) for name in names[:_SHOWN_FIELDS]), *more]) or "none"


def _problem_with(text: str, options: SourceOptions) -> tuple[RejectReason, str] | None:
    if not text or text.isspace():
        return RejectReason.EMPTY_TEXT, ""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        return RejectReason.INVALID_UTF8, f"lone surrogate at character {error.start}"
    if size > options.max_record_bytes:
        return RejectReason.RECORD_TOO_LARGE, f"the text has {size} bytes, the cap is {options.max_record_bytes}"
    return None


def label(value: Any) -> str:
    """An id, domain or source as text: itself, or JSON; empty for None."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
