"""Write output shards: the step of the third phase, a pure function of the plan, the selection and the input.

The pieces that a shard spans are read again, their chosen records joined with what the score files say of them, and written in
every format; then the shard's ledger entry commits it. Shards that begin in the same piece are made in one pass, each with an
entry of its own, so no piece is read more than twice for what is kept, and twice for what is rejected. Every document is
compared with the id and the hash that it was scored under: a source that changed meanwhile is refused, never mixed in.

Memory: the scores of a piece and a thousand rows. It does not know policies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curator import fingerprint
from curator.errors import ArtifactError, FingerprintError
from curator.files import atomic_file
from curator.filtering.arrays import REASONS
from curator.filtering.inputs import changed, read_records
from curator.filtering.job import Job
from curator.filtering.ledger import Ledger, ShardRecord, step_name
from curator.filtering.rows import Row
from curator.filtering.run_shard import Report, score_step
from curator.filtering.score_file import read_score_file, scores_of, text_hash
from curator.filtering.selection import Selection
from curator.filtering.shards import ROWS_AT_A_TIME, SUFFIXES, UserColumns, describe, open_shard
from curator.filtering.windows import Window, documents_of
from curator.records import Document, Rejection, Score
from curator.text.pieces import Piece


def shard_step(job: Job, selection: Selection, place: int) -> tuple[str, str]:
    """Name and inputs of the step that writes the shard at ``place`` of the selection."""
    shard = selection.shards[place]
    inputs = fingerprint.of_parts([job.plan.fingerprint, shard.kind, str(shard.number)])
    return step_name(shard.kind, shard.number, selection.total(shard.kind)), inputs


def write_shards(
    job: Job, selection: Selection, places: Sequence[int], report: Report, columns: UserColumns
) -> list[ShardRecord]:
    """Write those shards of one group that are not there yet; returns the entries of all of them.

    Args:
        job: the plan and its work folder.
        selection: the decisions.
        places: places of the shards in the selection, of one kind and ascending.
        report: called after each shard with its rows and tokens.
        columns: the users' columns of columnar shards.

    Raises FingerprintError when the input is not what was scored, ArtifactError when a score file is damaged.
    """
    ledger = Ledger(job.work)
    found = {place: ledger.find(*shard_step(job, selection, place)) for place in places}
    missing = [place for place, record in found.items() if record is None]
    for place, rows in groupby(_rows_of_shards(job, selection, missing), key=itemgetter(0)):
        record = _write_one(job, selection, place, (row for _, row in rows), columns)
        found[place] = ledger.commit(record)
        report(record.rows, record.tokens)
    done = [record for record in found.values() if record is not None]
    if len(done) != len(places):
        raise FingerprintError("The input ended before the rows that were scored; it changed, so run the job again.")
    return done


def _write_one(job: Job, selection: Selection, place: int, rows: Iterator[Row], columns: UserColumns) -> ShardRecord:
    shard = selection.shards[place]
    step, inputs = shard_step(job, selection, place)
    formats = job.plan.options.formats
    paths = [job.work / shard.kind / f"{step}{SUFFIXES[kind]}" for kind in formats]
    count = tokens = 0
    with ExitStack() as stack:
        adds = [
            stack.enter_context(open_shard(stack.enter_context(atomic_file(path)), kind, job.targets, columns))
            for kind, path in zip(formats, paths, strict=True)
        ]
        while block := list(islice(rows, ROWS_AT_A_TIME)):
            for add in adds:
                add(block)
            count += len(block)
            tokens += sum(row.shown.tokens for row in block if row.shown)
        if count != shard.rows:
            raise FingerprintError(f"Of {shard.rows} rows to be written {count} were found; the input changed.")
    pa.default_memory_pool().release_unused()  # it would keep what a whole shard needed
    files = [describe(path, job.work, documents=count, tokens=tokens) for path in paths]
    return ShardRecord(step=step, inputs=inputs, files=tuple(files), rows=count, documents=count, tokens=tokens)


def _rows_of_shards(job: Job, selection: Selection, places: Sequence[int]) -> Iterator[tuple[int, Row]]:
    """The rows of some shards of one kind with their places, in order."""
    if not places:
        return
    shards = [selection.shards[place] for place in places]
    for number in selection.pieces_of(shards[0].first_row, shards[-1].end_row):
        start, end = selection.piece_start_P[number : number + 2].tolist()
        shard_R = selection.places(start, end)
        wanted_R = np.isin(shard_R, places)
        if wanted_R.any():
            yield from _rows_of_piece(job, selection, number, start, shard_R, wanted_R)


def _rows_of_piece(
    job: Job, selection: Selection, number: int, start: int, shard_R: NDArray[np.int32], wanted_R: NDArray[np.bool_]
) -> Iterator[tuple[int, Row]]:
    """The wanted units of one piece, in order; ``start`` is the piece's first row in the corpus."""
    table = _score_table(job, number)
    record_R = np.cumsum(table["window"].to_numpy() <= 0) - 1
    piece = job.plan.scoring.pieces[number]
    units = iter(_units_of_piece(job, selection, table, record_R, np.flatnonzero(wanted_R)))
    unit = next(units, None)
    last = int(record_R[np.flatnonzero(wanted_R)[-1]])
    records = islice(read_records(piece, job.plan.scoring.source_options, job.work), last + 1)
    for index, record in enumerate(records):
        while unit is not None and int(record_R[unit[0]]) == index:
            row, score_rows = unit
            yield int(shard_R[row]), _joined(job, selection, record, score_rows, start + row, piece)
            unit = next(units, None)
    if unit is not None:
        raise changed(piece)


def _score_table(job: Job, number: int) -> pa.Table:
    record = Ledger(job.work).find(*score_step(job, number))
    if record is None:
        raise ArtifactError(f"The scores of piece {number} are gone from {job.work}; run the same job again.")
    return read_score_file(job.work, record.files[0])


def _units_of_piece(
    job: Job, selection: Selection, table: pa.Table, record_R: NDArray[np.int64], wanted_W: NDArray[np.int64]
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Each wanted unit as its first row and what the score file says of its rows; 1,000 units are read at a time."""
    by_window = job.plan.policy.windows == "window"
    ends = np.searchsorted(record_R, record_R[wanted_W], side="right")
    for begin in range(0, wanted_W.size, ROWS_AT_A_TIME):
        rows_B = wanted_W[begin : begin + ROWS_AT_A_TIME].tolist()
        ends_B = [row + 1 for row in rows_B] if by_window else ends[begin : begin + ROWS_AT_A_TIME].tolist()
        indices = [index for row, end in zip(rows_B, ends_B, strict=True) for index in range(row, end)]
        found = iter(table.take(pa.array(indices, pa.int64())).to_pylist())
        for row, end in zip(rows_B, ends_B, strict=True):
            yield row, list(islice(found, end - row))


def _joined(
    job: Job, selection: Selection, record: Document | Rejection, rows: list[dict[str, Any]], row: int, piece: Piece
) -> Row:
    """The output row of a unit, after the document was found to be the one that was scored."""
    if isinstance(record, Rejection) or record.id != rows[0]["document_id"]:
        raise changed(piece)
    windows = [Window(one["window"], one["window_start"], one["window_end"]) for one in rows]
    parts = documents_of(record, windows)
    if any(text_hash(part.text) != one["text_hash"] for part, one in zip(parts, rows, strict=True)):
        raise changed(piece)
    document = parts[0] if job.plan.policy.windows == "window" else record
    target, reason = int(selection.target_D[row]), REASONS[int(selection.reason_D[row])]
    scores = merged_scores(scores_of(rows, job.targets), job.targets, largest=job.plan.policy.windows == "document_max")
    detail = next((one["detail"] for one in rows if one["detail"]), "") if not scores else ""
    return Row(document, scores, selection.targets[target] if target >= 0 else "", reason, detail)


def merged_scores(rows: Sequence[dict[str, Score]], targets: Sequence[str], *, largest: bool) -> dict[str, Score]:
    """The scores of a unit from those of its rows: the token-weighted mean or the maximum, as ``units`` decides it."""
    if len(rows) == 1:
        return rows[0]
    found = {target: [row[target] for row in rows if target in row] for target in targets}
    return {target: _merged(scores, largest=largest) for target, scores in found.items() if scores}


def _merged(scores: Sequence[Score], *, largest: bool) -> Score:
    best = max(scores, key=lambda score: score.probability)
    tokens = sum(score.tokens for score in scores)
    if largest:
        return replace(best, value=max(score.value for score in scores), tokens=tokens)
    weights = [score.tokens if tokens else 1 for score in scores]
    value = sum(weight * score.value for weight, score in zip(weights, scores, strict=True)) / sum(weights)
    probability = sum(weight * score.probability for weight, score in zip(weights, scores, strict=True)) / sum(weights)
    return replace(best, value=value, probability=probability, tokens=tokens)
