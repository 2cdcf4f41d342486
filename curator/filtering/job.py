"""From a stream of scored documents to a finished output: kept and rejected shards, scores, card, manifest.

    scored, Rejections ──► readable ──► judged ──► decided ──► shards, sidecar ──► card ──► manifest ──► one rename
                              └► unreadable.jsonl     └ threshold: as they come; fraction, budget: after all, from a spill

A threshold takes one pass in constant memory. A kept fraction or a token budget spills every document to a compressed
temporary file, keeps 24 bytes per document in memory, selects exactly, and reads the spill again: one compressed copy of the
corpus on disk and one more JSON encoding and decoding. On one busy core a threshold runs at about 30 MB of text a second
(10,000 documents of 3 kB), the two passes at about 20.

Everything is built in a temporary folder beside ``out`` and renamed at the end, so a crash or Ctrl-C leaves no output at all.
The cost of that simplicity: a killed run starts from the beginning, and no shard can be read before the last one is written.
It does not know models, sources or the network.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path
from typing import IO, NamedTuple

import zstandard

from curator.errors import ArtifactError
from curator.files import atomic_file, atomic_folder, write_json
from curator.filtering.output import CARD, MANIFEST, Manifest, OutputOptions, dataset_card, finished_report
from curator.filtering.policy import Policy, select
from curator.filtering.rows import Row, from_spill, to_line, to_spill
from curator.filtering.shards import ShardInfo, ShardWriter, describe, load_pyarrow
from curator.filtering.sidecar import SCORES, ScoreSidecar
from curator.filtering.tally import FilterReport, Tally
from curator.records import Decision, Document, DocumentScorer, Rejection, RejectReason, Score

UNREADABLE = "unreadable.jsonl"
Scored = tuple[Document, Score | Rejection]
_SPILL = "spill.jsonl.zst"
_SPILL_LEVEL = 1
_REPORT_EVERY = 64
_log = logging.getLogger(__name__)


def score_stream(
    records: Iterable[Document | Rejection], scorer: DocumentScorer, *, batch_documents: int = 64
) -> Iterator[Scored | Rejection]:
    """Score documents in batches and pass rejections on; feeds ``filter_stream``.

    Order is kept, except that a rejection overtakes the documents of its batch. Raises ArtifactError when the scorer does
    not give one result per document.
    """
    source = iter(records)
    while batch := list(islice(source, batch_documents)):
        yield from (record for record in batch if isinstance(record, Rejection))
        documents = [record for record in batch if isinstance(record, Document)]
        results = scorer.score(documents) if documents else []
        if len(results) != len(documents):
            raise ArtifactError(f"The scorer gave {len(results)} results for {len(documents)} documents; it is broken.")
        yield from zip(documents, results, strict=True)


def filter_stream(
    scored: Iterable[Scored | Rejection],
    policy: Policy,
    out: Path,
    *,
    options: OutputOptions | None = None,
    unreadable: Iterable[Rejection] = (),
    context: Mapping[str, str] | None = None,
    progress: Callable[[FilterReport], None] | None = None,
) -> FilterReport:
    """Decide every document and write the output folder ``out``, whole or not at all.

    Args:
        scored: documents with their score, or with the Rejection that says why they have none; a bare Rejection is a record
            that never became a document.
        policy: which documents to keep.
        out: a new or empty folder, or one that holds the same finished job: then nothing is read or written.
        options: layout of the output.
        unreadable: more bare rejections, read after ``scored`` has ended, so that a callback may fill it meanwhile.
        context: names and fingerprints that make the job what it is (model, neuron set, sources); part of its identity.
        progress: called with the counts so far every 64 documents and at the end.

    Raises:
        FingerprintError: ``out`` holds another job's output; the message names what differs.
        ConfigError: ``out`` is not free.
        MissingExtraError: Parquet was asked for and pyarrow is not installed.
    """
    out, options, context = out.absolute(), options or OutputOptions(), dict(context or {})
    finished = finished_report(out, policy, options, context)
    if finished is not None:
        _log.info("output is already finished", extra={"out": str(out)})
        return finished
    if "parquet" in options.formats:
        load_pyarrow()
    _remove_leftovers(out)
    run = _Run(policy, options, context, Tally(), progress or _no_progress)
    with atomic_folder(out) as folder:
        return run.build(chain(scored, unreadable), folder)


class _Judged(NamedTuple):
    """A readable document before the policy: its usable score, or the reason why it has none."""

    document: Document
    score: Score | None
    reason: RejectReason | None
    detail: str

    def row(self, *, kept: bool, reason: RejectReason | None) -> Row:
        """The row of this document under a verdict."""
        return Row(Decision(self.document, self.score, kept, reason), self.detail)


class _Run(NamedTuple):
    """One run's settings and its tally; the methods are the steps of the pipeline drawn above."""

    policy: Policy
    options: OutputOptions
    context: dict[str, str]
    tally: Tally
    progress: Callable[[FilterReport], None]

    def build(self, items: Iterable[Scored | Rejection], folder: Path) -> FilterReport:
        """Write every file of the output into ``folder``, the manifest last."""
        with atomic_file(folder / UNREADABLE) as unreadable:
            judged = self.judge(items, unreadable)
            decided = (
                self.decide_after_all(judged, folder) if self.policy.needs_all_scores else self.decide_each(judged)
            )
            files = self.write(decided, folder)
        report = self.tally.report()
        if not report.adds_up:
            raise ArtifactError("The counts of this run do not add up, which is a bug; nothing was written.")
        self.finish(files, report, folder)
        self.progress(report)
        return report

    def judge(self, items: Iterable[Scored | Rejection], unreadable: IO[bytes]) -> Iterator[_Judged]:
        """Log what is unreadable, and give every document its usable score or the reason why it has none."""
        for number, item in enumerate(items, start=1):
            rejection = item if isinstance(item, Rejection) else _unwritable(item[0])
            if rejection is not None:
                self.tally.was_unreadable(rejection.reason)
                line = {"place": rejection.place, "reason": rejection.reason, "detail": rejection.detail}
                unreadable.write(to_line(line))
            elif not isinstance(item, Rejection):
                judged = _judge(*item)
                self.tally.came_in(judged.score)
                yield judged
            if number % _REPORT_EVERY == 0:
                self.progress(self.tally.report())

    def decide_each(self, judged: Iterable[_Judged]) -> Iterator[Row]:
        """One pass: the threshold decides every document alone."""
        for item in judged:
            kept = item.score is not None and self.policy.passes(item.score)
            yield item.row(kept=kept, reason=None if kept else item.reason or RejectReason.BELOW_THRESHOLD)

    def decide_after_all(self, judged: Iterable[_Judged], folder: Path) -> Iterator[Row]:
        """Two passes: spill, select over all scores, read the spill again. Memory: 24 bytes per document."""
        import numpy as np

        spill = folder / _SPILL
        score_D, value_D, tokens_D = self.spill(judged, spill)
        mask_D = select(
            np.asarray(score_D, dtype=np.float64),
            np.asarray(tokens_D, dtype=np.int64),
            self.policy,
            tie_break_D=np.asarray(value_D, dtype=np.float64),
        )
        for row, keep in zip(_read_spill(spill), mask_D, strict=True):
            reason = None if keep else row.decision.reason or RejectReason.OVER_BUDGET
            yield replace(row, decision=replace(row.decision, kept=bool(keep), reason=reason))
        spill.unlink()

    def spill(self, judged: Iterable[_Judged], path: Path) -> tuple[array[float], array[float], array[int]]:
        """Write every document to the spill file; returns the policy's score, the value and the tokens of each."""
        score_D, value_D, tokens_D = array("d"), array("d"), array("q")
        compressor = zstandard.ZstdCompressor(level=_SPILL_LEVEL)
        with path.open("wb") as handle, compressor.stream_writer(handle, closefd=False) as stream:
            for item in judged:
                stream.write(to_spill(item.row(kept=False, reason=item.reason)))
                score_D.append(self.policy.score_of(item.score) if item.score else math.nan)
                value_D.append(item.score.value if item.score else math.nan)
                tokens_D.append(item.score.tokens if item.score else 0)
        return score_D, value_D, tokens_D

    def write(self, rows: Iterable[Row], folder: Path) -> list[ShardInfo]:
        """Write the decided rows to the shards and the sidecar; returns the files written."""
        formats, target = self.options.formats, self.options.target_shard_bytes
        with ExitStack() as stack:
            kept = stack.enter_context(ShardWriter(folder, "kept", formats, target_bytes=target))
            rejected = stack.enter_context(ShardWriter(folder, "rejected", formats, target_bytes=target))
            sidecar = self.open_sidecar(stack, folder)
            for number, row in enumerate(rows, start=1):
                self.tally.was_decided(
                    row.decision, self.policy.score_of(row.decision.score) if row.decision.score else None
                )
                if row.decision.kept:
                    kept.write(row)
                elif self.options.write_rejected:
                    rejected.write(row)
                if sidecar:
                    sidecar.write(row)
                if number % _REPORT_EVERY == 0:
                    self.progress(self.tally.report())
        return kept.shards + rejected.shards

    def open_sidecar(self, stack: ExitStack, folder: Path) -> ScoreSidecar | None:
        """The sidecar if it is wanted and can be written here; ``stack`` closes it."""
        if self.options.write_scores and find_spec("pyarrow") is None:
            _log.warning("no score sidecar, since pyarrow is not installed", extra={"file": SCORES})
        elif self.options.write_scores:
            return stack.enter_context(ScoreSidecar(stack.enter_context(atomic_file(folder / SCORES))))
        return None

    def finish(self, shards: Sequence[ShardInfo], report: FilterReport, folder: Path) -> None:
        """Write the card, then the manifest over everything."""
        decided = report.documents_in
        extras = [describe(folder / UNREADABLE, folder, documents=report.documents_unreadable)]
        if (folder / SCORES).exists():
            extras.append(describe(folder / SCORES, folder, documents=decided, tokens=report.tokens_in))
        fields = {"policy": self.policy, "options": self.options, "context": self.context, "report": report.to_json()}
        files = [*shards, *extras]
        with atomic_file(folder / CARD) as card:
            card.write(dataset_card(Manifest(**fields, files=tuple(files))).encode())
        manifest = Manifest(**fields, files=(*files, describe(folder / CARD, folder)))
        write_json(folder / MANIFEST, manifest.model_dump(mode="json"))


def _judge(document: Document, result: Score | Rejection) -> _Judged:
    """A score that is not finite or has a negative token count is a failed scoring, not a low score."""
    if isinstance(result, Rejection):
        return _Judged(document, None, result.reason, result.detail)
    if not (math.isfinite(result.value) and math.isfinite(result.probability)):
        detail = f"the score is not finite (value {result.value}, probability {result.probability})"
        return _Judged(document, None, RejectReason.SCORING_FAILED, detail)
    if result.tokens < 0:
        return _Judged(document, None, RejectReason.SCORING_FAILED, f"the scorer counted {result.tokens} tokens")
    return _Judged(document, result, None, "")


def _unwritable(document: Document) -> Rejection | None:
    """A text with half a surrogate pair has no UTF-8 form, so no shard can hold it."""
    try:
        for part in (document.id, document.text, document.domain, document.source):
            part.encode()
    except UnicodeEncodeError as error:
        return Rejection(document.id, RejectReason.INVALID_UTF8, f"cannot be encoded as UTF-8: {error.reason}")
    return None


def _read_spill(path: Path) -> Iterator[Row]:
    with path.open("rb") as handle, zstandard.ZstdDecompressor().stream_reader(handle) as stream:
        pending = b""
        while block := stream.read(1 << 20):
            *lines, pending = (pending + block).split(b"\n")
            yield from map(from_spill, lines)


def _remove_leftovers(out: Path) -> None:
    """Delete what a killed run left beside ``out``; the folders of runs that are alive stay."""
    for entry in out.parent.iterdir() if out.parent.is_dir() else ():
        owner = entry.name.rpartition("-")[2]
        if entry.name.startswith(f"{out.name}.partial-") and owner.isdigit() and not _is_running(int(owner)):
            shutil.rmtree(entry, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _no_progress(_: FilterReport) -> None:
    return None
