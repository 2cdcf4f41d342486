"""The users' columns of Parquet and Arrow shards: those of the input where it has columns, else one fixed schema.

    all of the input is Parquet or Arrow    its columns by name and type, and an ``id`` where it has none; then ours
    anything else                           id, text, domain, source, all else as a JSON string ``metadata``; then ours

All shards of a job have one schema, whatever files their rows come from: columns that a file lacks are null, numbers of several
sizes take the largest. The fixed one stands where types contradict each other or do not survive the way through Python (unions,
intervals, half floats, views), where windows are kept on their own, and where a label is given to all documents. Labels (id,
domain, source) that are neither text nor numbers become text, and an empty label null. Columns that begin with ``curator_``
move into ``curator_metadata``, a JSON string. Cost: the footer of every file, once in each process that writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curator.filtering.job import Job
from curator.filtering.rows import DOCUMENT_FIELDS, MOVED, OWN_PREFIX, metadata_json, to_line
from curator.records import Document
from curator.text.columnar import columnar_schema
from curator.text.pieces import place_of
from curator.text.rows import SourceOptions

_AT_A_TIME = 8
_TEXT = pa.string()
types: Any = pa.types


@dataclass(frozen=True, slots=True)
class FixedColumns:
    """The same columns for every input."""

    @property
    def fields(self) -> list[Any]:
        """Names and types of the columns, in order."""
        return [pa.field(name, _TEXT) for name in (*DOCUMENT_FIELDS, "metadata")]

    def values(self, document: Document) -> dict[str, object]:
        """One document's values by column."""
        return {**{name: getattr(document, name) for name in DOCUMENT_FIELDS}, "metadata": metadata_json(document)}


FIXED = FixedColumns()


@dataclass(frozen=True, slots=True)
class InputColumns:
    """The columns of an input; ``labels`` are the attributes of a document that some of them are read into."""

    fields: list[Any]
    labels: Mapping[str, str]

    @classmethod
    def of(cls, schema: Any, options: SourceOptions) -> InputColumns:
        """The columns of a schema that is ``_writable``, as these options read them."""
        read_into = {
            options.source_field: "source",
            options.domain_field: "domain",
            options.id_field: "id",
            options.text_field: "text",
        }
        labels = {name: attribute for name, attribute in read_into.items() if name in schema.names}
        own = [name for name in schema.names if name.startswith(OWN_PREFIX)]
        fields = [_field(field, labels.get(field.name)) for field in schema if field.name not in own]
        if options.id_field not in labels and "id" not in schema.names:
            fields.insert(0, pa.field("id", _TEXT))
            labels["id"] = "id"
        return cls([*fields, *([pa.field(MOVED, _TEXT)] if own else [])], labels)

    def values(self, document: Document) -> dict[str, object]:
        """One document's values by column."""
        found = {field.name: document.metadata.get(field.name) for field in self.fields}
        if MOVED in found:
            moved = {name: value for name, value in document.metadata.items() if name.startswith(OWN_PREFIX)}
            found[MOVED] = to_line(moved).decode().rstrip("\n")
        for field in self.fields:
            if field.name in self.labels:
                found[field.name] = _restored(getattr(document, self.labels[field.name]), field.type)
        return found


Columns = FixedColumns | InputColumns


def columns_of(job: Job) -> Columns:
    """The users' columns of a job's columnar shards; of a job without such shards nothing is looked at."""
    plan, options = job.plan, job.plan.scoring.source_options
    if set(plan.options.formats) == {"jsonl"} or plan.policy.windows == "window" or options.domain is not None:
        return FIXED
    uris = dict.fromkeys(piece.uri for piece in plan.scoring.pieces)
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        schema = _unified(pool.map(_schema_at, uris))
    return FIXED if schema is None else InputColumns.of(schema, options)


def _schema_at(uri: str) -> Any:
    place = place_of(uri)
    return None if place is None else columnar_schema(place)


def _unified(schemas: Iterable[Any]) -> Any:
    """One schema for all, or None where there is none, or none that can be written again."""
    found = list(schemas)
    if not found or any(schema is None for schema in found):
        return None
    try:
        unified = pa.unify_schemas(found, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return None
    return unified if _writable(unified) else None


def _writable(schema: Any) -> bool:
    return 0 < len(schema.names) == len(set(schema.names)) and all(_survives(field.type) for field in schema)


def _survives(kind: Any) -> bool:
    """Whether values of a type are the same after they were Python objects."""
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind) or types.is_dictionary(kind):
        return _survives(kind.value_type)
    if types.is_struct(kind):
        return all(_survives(field.type) for field in kind)
    if types.is_map(kind):
        return _survives(kind.key_type) and _survives(kind.item_type)
    numbers = types.is_integer(kind) or types.is_float32(kind) or types.is_float64(kind) or types.is_decimal(kind)
    texts = types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind)
    times = types.is_date(kind) or types.is_time(kind) or types.is_timestamp(kind) or types.is_duration(kind)
    return (
        numbers or texts or times or types.is_boolean(kind) or types.is_null(kind) or types.is_fixed_size_binary(kind)
    )


def _field(field: Any, label: str | None) -> Any:
    kept = label is None or _is_text(field.type) or _is_number(field.type)
    return pa.field(field.name, field.type if kept else _TEXT)


def _restored(label: str, kind: Any) -> object:
    """A label as its column had it; None for an empty one, and for the name that a document without a number was given."""
    if not label or not _is_number(kind):
        return label or None
    try:
        return json.loads(label)
    except ValueError:
        return None


def _is_text(kind: Any) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _is_number(kind: Any) -> bool:
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))
