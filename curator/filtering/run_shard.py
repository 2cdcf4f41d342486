"""Score one piece of the input: the step of the first phase, a pure function of the job, the piece's number and the scorer.

    piece ─► records ─► rows (whole documents or windows; hash, size, annotations) ─► batches ─► scores ─► score file ─► ledger

The score file appears by one rename and counts from the moment its ledger entry is there; a process that dies in between leaves
a file that the next attempt replaces by the same bytes. Pieces can be made in any order, by any process that sees the work
folder. Memory: two batches of text being read ahead, the one being scored, and 16,384 rows of results. It does not know
policies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curator import fingerprint
from curator.files import atomic_file
from curator.filtering.batches import ReadAhead, in_batches, score_batch
from curator.filtering.inputs import read_records, require_current
from curator.filtering.job import Job
from curator.filtering.ledger import Ledger, ShardRecord, step_name
from curator.filtering.rows import to_line, user_record
from curator.filtering.score_file import HASH_BYTES, SCORES, ScoreFileWriter, ScoreRow, score_file_name, text_hash
from curator.filtering.shards import describe
from curator.filtering.windows import WHOLE, Window, window_documents
from curator.records import Document, Rejection, TargetScorer
from curator.text.pieces import Piece

Report = Callable[[int, int], None]
"""Hears of records and tokens that are done within a step, as they are done."""


_NO_TEXT = Window(WHOLE, 0, 0)


@dataclass(frozen=True, slots=True)
class Unit:
    """One row to be: a record that could not be read, or a document (or window of one) with what is known without a model."""

    record: Document | Rejection
    document_id: str = ""
    size: int = 0
    text_hash: bytes = bytes(HASH_BYTES)
    annotations: Mapping[str, Any] | None = None
    window: Window = _NO_TEXT

    @property
    def characters(self) -> int:
        """Length of the text, 0 without one."""
        return len(self.record.text) if isinstance(self.record, Document) else 0


def score_step(job: Job, number: int) -> tuple[str, str]:
    """Name and inputs of the step that scores a piece."""
    scoring = job.plan.scoring
    return step_name(SCORES, number, len(scoring.pieces)), fingerprint.of_parts([scoring.fingerprint, str(number)])


def run_shard(
    job: Job, number: int, scorer: TargetScorer, report: Report = lambda records, tokens: None
) -> ShardRecord:
    """Score piece ``number`` of the job and commit its score file.

    Args:
        job: the plan and its work folder.
        number: place of the piece in the plan.
        scorer: gives one score per target of the plan.
        report: called after every batch with the records and the tokens in it.

    Raises SourceError when the piece cannot be read, FingerprintError when its file changed, and what ends a scorer.
    """
    step, inputs = score_step(job, number)
    path, piece = job.work / score_file_name(step), job.plan.scoring.pieces[number]
    records = documents = 0
    with (
        ReadAhead(in_batches(units_of(job, piece), lambda unit: unit.characters)) as batches,
        atomic_file(path) as handle,
        ScoreFileWriter(handle, job.targets) as writer,
    ):
        for batch in batches:
            before = writer.tokens
            for row in scored_rows(batch, scorer):
                writer.write(row)
                records += row.window <= 0
                documents += row.window <= 0 and not row.place
            report(len(batch), writer.tokens - before)
        require_current(piece, job.work)
    pa.default_memory_pool().release_unused()  # it would keep what a whole score file needed, in every process
    info = describe(path, job.work, documents=documents, tokens=writer.tokens)
    counts = {"records": records, "rows": writer.rows, "documents": documents, "tokens": writer.tokens}
    return Ledger(job.work).commit(ShardRecord(step=step, inputs=inputs, files=(info,), **counts))


def units_of(job: Job, piece: Piece) -> Iterator[Unit]:
    """The rows of a piece before they are scored, in order."""
    for record in read_records(piece, job.plan.scoring.source_options, job.work):
        if isinstance(record, Rejection):
            yield Unit(record)
        else:
            yield from _units_of_document(job, record)


def _units_of_document(job: Job, document: Document) -> Iterator[Unit]:
    """One row for the whole document, or one for each window where the job cuts it into several."""
    whole = [(Window(WHOLE, 0, len(document.text.encode("utf-8", "surrogatepass"))), document)]
    pieces = window_documents(document, job.window_characters) if job.window_characters else whole
    columns = [annotator.columns([part for _, part in pieces]) for annotator in job.annotators]
    for number, (window, part) in enumerate(pieces):
        annotations: dict[str, Any] = {}
        for column in columns:
            annotations.update(column[number])
        size = len(to_line(user_record(part)))
        yield Unit(part, document.id, size, text_hash(part.text), annotations, window)


def scored_rows(batch: list[Unit], scorer: TargetScorer) -> Iterator[ScoreRow]:
    """The rows of a batch with their scores, in order."""
    results = iter(score_batch(scorer, [unit.record for unit in batch if isinstance(unit.record, Document)]))
    for unit in batch:
        record = unit.record
        if isinstance(record, Rejection):
            yield ScoreRow("", record.place, str(record.reason), record.detail)
            continue
        result = next(results)
        failure = result if isinstance(result, Rejection) else None
        yield ScoreRow(
            unit.document_id,
            reason=str(failure.reason) if failure else "",
            detail=failure.detail if failure else "",
            size=unit.size,
            scores=() if isinstance(result, Rejection) else result,
            text_hash=unit.text_hash,
            annotations=unit.annotations,
            window=unit.window.number,
            window_start=unit.window.start,
            window_end=unit.window.end,
        )
