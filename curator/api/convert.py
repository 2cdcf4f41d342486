"""Records to wire messages and back: ``x_to_wire`` and ``x_from_wire``, pure functions, one pair for each record.

Metadata travels as ``google.protobuf.Struct``, whose only number is the double. So an integral double comes back as ``int``
(``1.0`` becomes ``1``, equal in Python), an integer beyond 2^53 is refused instead of rounded, NaN and infinities are refused
because JSON shards could not hold them, and tuples come back as lists. Protobuf reads messages of at most 100 levels, and a
level of metadata is three of them: deeper than ``MAX_METADATA_DEPTH`` is refused, or the batch around it could not be read.
Anything that is not a JSON value is refused with DocumentError, which costs that one document only. Scores are doubles: remote
and local scores are the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from google.protobuf import struct_pb2

from curator.api.status import PLACE_CHARS, rejection_from_status, shortened, status_from_rejection
from curator.api.v1 import common_pb2, scoring_pb2
from curator.errors import DocumentError
from curator.records import NO_METADATA, Document, Rejection, RejectReason, Score

MAX_EXACT_INTEGER = 1 << 53
MAX_METADATA_DEPTH = 30
"""Objects and lists inside one another, the metadata itself counted; 30 is what a document still may have inside a job."""


def document_to_wire(document: Document, *, with_metadata: bool = True) -> common_pb2.Document:
    """One document as a message; scoring needs neither metadata nor labels, so they can stay behind.

    Raises DocumentError for text that UTF-8 cannot hold (lone surrogates) and for metadata that a Struct cannot hold.
    """
    try:
        wire = common_pb2.Document(id=document.id, text=document.text)
        if with_metadata:
            wire.domain, wire.source = document.domain, document.source
            if document.metadata:
                _fill_struct(wire.metadata, document.metadata)
    except UnicodeEncodeError as error:
        raise DocumentError("The document holds lone surrogates; decode its source with errors='replace'.") from error
    return wire


def document_from_wire(wire: common_pb2.Document, *, with_metadata: bool = True) -> Document:
    """The document of a message; its metadata stay behind where nobody will read them, for they cost most of the time."""
    carried = with_metadata and wire.HasField("metadata")
    metadata = _mapping_from_struct(wire.metadata) if carried else NO_METADATA
    return Document(wire.id, wire.text, wire.domain, wire.source, metadata)


def result_to_wire(seq: int, results: Sequence[Score | Rejection]) -> scoring_pb2.ScoreResult:
    """The results of one batch as columns; a failed document has NaN, NaN, 0 and an entry in ``errors``."""
    wire = scoring_pb2.ScoreResult(seq=seq)
    for index, result in enumerate(results):
        if isinstance(result, Rejection):
            wire.errors.add(index=index).status.CopyFrom(status_from_rejection(result))
        elif result.top_neurons:
            wire.explanations.add(index=index, top_neurons=result.top_neurons)
    scored = [result if isinstance(result, Score) else None for result in results]
    wire.scores.extend(math.nan if score is None else score.value for score in scored)
    wire.probabilities.extend(math.nan if score is None else score.probability for score in scored)
    wire.token_counts.extend(0 if score is None else score.tokens for score in scored)
    return wire


def result_from_wire(wire: scoring_pb2.ScoreResult, document_ids: Sequence[str]) -> list[Score | Rejection]:
    """The results of one batch, for the documents that were sent, in order; the ids stay with the client.

    A batch refused as a whole gives one rejection for each document. Raises DocumentError when the columns do not fit.
    """
    if wire.HasField("batch_error"):
        detail = f"The server refused the whole batch: {wire.batch_error.message}"
        return [Rejection(document_id, RejectReason.SCORING_FAILED, detail) for document_id in document_ids]
    columns = (wire.scores, wire.probabilities, wire.token_counts)
    if any(len(column) != len(document_ids) for column in columns):
        raise DocumentError(
            f"The server answered batch {wire.seq} with the wrong number of results; update the server."
        )
    neurons = {entry.index: tuple(entry.top_neurons) for entry in wire.explanations}
    results: list[Score | Rejection] = [
        Score(document_id, value, probability, tokens, neurons.get(index, ()))
        for index, (document_id, value, probability, tokens) in enumerate(zip(document_ids, *columns, strict=True))
    ]
    for error in wire.errors:
        if error.index >= len(results):
            raise DocumentError(f"The server reported an error outside batch {wire.seq}; update the server.")
        results[error.index] = _with_whole_place(rejection_from_status(error.status), document_ids[error.index])
    return results


def _with_whole_place(rejection: Rejection, document_id: str) -> Rejection:
    """The place as it was before the wire cut it; it is the document's id wherever there is one."""
    cut = shortened(document_id, PLACE_CHARS)
    return replace(rejection, place=document_id) if rejection.place == cut else rejection


def add_report(total: scoring_pb2.FilterReport, part: scoring_pb2.FilterReport) -> None:
    """Add ``part`` to ``total`` in place; the empty message is the zero."""
    for name in (
        "documents_in",
        "documents_kept",
        "documents_rejected",
        "documents_failed",
        "tokens_in",
        "tokens_kept",
    ):
        setattr(total, name, getattr(total, name) + getattr(part, name))
    if not total.probability_histogram:
        total.probability_histogram.extend([0] * len(part.probability_histogram))
        total.histogram_edges.extend(part.histogram_edges)
    for index, count in enumerate(part.probability_histogram):
        total.probability_histogram[index] += count
    for reason, count in part.not_kept_by_reason.items():
        total.not_kept_by_reason[reason] += count


def _fill_struct(struct: struct_pb2.Struct, values: Mapping[Any, Any], depth: int = 1) -> None:
    _check_depth(depth)
    for key, value in values.items():
        if not isinstance(key, str):
            raise DocumentError(f"The metadata key {shortened(repr(key))} is not a string; rename it.")
        _fill_value(struct.fields[key], value, key, depth)


def _check_depth(depth: int) -> None:
    if depth > MAX_METADATA_DEPTH:
        raise DocumentError(f"The metadata is nested deeper than {MAX_METADATA_DEPTH} levels; flatten it.")


def _fill_value(target: struct_pb2.Value, value: Any, key: str, depth: int) -> None:
    match value:
        case None:
            target.null_value = struct_pb2.NULL_VALUE
        case bool():
            target.bool_value = value
        case int() | float():
            target.number_value = _exact_number(value, key)
        case str():
            target.string_value = value
        case Mapping():
            target.struct_value.SetInParent()
            _fill_struct(target.struct_value, value, depth + 1)
        case list() | tuple():
            _check_depth(depth + 1)
            target.list_value.SetInParent()
            for item in value:
                _fill_value(target.list_value.values.add(), item, key, depth + 1)
        case _:
            raise DocumentError(f"Metadata {shortened(repr(key))} holds a {type(value).__name__}; pass it as a string.")


def _exact_number(value: float, key: str) -> float:
    if isinstance(value, int) and abs(value) > MAX_EXACT_INTEGER:
        raise DocumentError(
            f"Metadata {shortened(repr(key))} is an integer beyond 2^53, which a double cannot hold; pass a string."
        )
    if not math.isfinite(value):
        raise DocumentError(f"Metadata {shortened(repr(key))} is not a finite number; pass null or a string.")
    return float(value)


def _mapping_from_struct(struct: struct_pb2.Struct) -> dict[str, object]:
    # A protobuf map has no order; sorted keys make equal metadata equal bytes in the shards.
    return {key: _value_from_wire(struct.fields[key]) for key in sorted(struct.fields)}


def _value_from_wire(value: struct_pb2.Value) -> object:
    match value.WhichOneof("kind"):
        case "bool_value":
            return value.bool_value
        case "number_value":
            return _plain_number(value.number_value)
        case "string_value":
            return value.string_value
        case "struct_value":
            return _mapping_from_struct(value.struct_value)
        case "list_value":
            return [_value_from_wire(item) for item in value.list_value.values]
        case _:
            return None


def _plain_number(number: float) -> int | float:
    return int(number) if number.is_integer() and abs(number) <= MAX_EXACT_INTEGER else number
