"""Kept documents as a stream of shards: JSON lines, zstd level 3, one frame a shard, cut at batch boundaries.

Pure state over records, no I/O. A shard ends with the batch that brings its uncompressed lines to ``target_shard_bytes``, or
what was read since the last commit to ``commit_every_bytes``: whole payloads as they are when open, with ids, labels and
metadata, for the client holds all of that to send it again. Both depend on the input alone, never on what zstd has buffered,
so that two runs over the same batches give the same bytes. A shard's name is the seq of its first batch, so a resumed run
names it alike. The rows are those of ``curator.filtering.rows``: a remote shard reads like a local one.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import zstandard

from curator.api.convert import add_report
from curator.api.payload import ZSTD_LEVEL
from curator.api.v1 import scoring_pb2
from curator.errors import ConfigError
from curator.filtering.rows import Row, to_line, to_record
from curator.records import Document, Rejection, RejectReason, Score

CHUNK_BYTES = 1 << 20
HISTOGRAM_BINS = 20
DEFAULT_SHARD_BYTES = 64 << 20
DEFAULT_COMMIT_BYTES = 256 << 20
_FORMATS = (scoring_pb2.FilterConfig.FORMAT_UNSPECIFIED, scoring_pb2.FilterConfig.FORMAT_JSONL_ZST)

Entry = Document | Rejection
Result = Score | Rejection
Event = scoring_pb2.ShardChunk | scoring_pb2.ShardCommit


@dataclass(frozen=True, slots=True)
class Threshold:
    """The line between kept and rejected; exactly one of the two is set."""

    min_score: float | None = None
    min_probability: float | None = None

    @classmethod
    def from_wire(cls, config: scoring_pb2.FilterConfig) -> Threshold:
        """The threshold of a request. Raises ConfigError when there is none or it is NaN."""
        match config.WhichOneof("threshold"):
            case "min_score" if config.min_score == config.min_score:
                return cls(min_score=config.min_score)
            case "min_probability" if 0 <= config.min_probability <= 1:
                return cls(min_probability=config.min_probability)
            case _:
                raise ConfigError("Filtering needs a threshold; set min_score, or min_probability between 0 and 1.")

    def keeps(self, score: Score) -> bool:
        """Whether a scored document reaches the threshold; NaN never does."""
        if self.min_score is not None:
            return score.value >= self.min_score
        return self.min_probability is not None and score.probability >= self.min_probability


def _check_config(config: scoring_pb2.FilterConfig) -> None:
    if config.format not in _FORMATS:
        raise ConfigError(
            f"This server writes FORMAT_JSONL_ZST alone, not format {config.format}; leave it unspecified."
        )
    if config.resume_after_seq and not config.score.etag:
        raise ConfigError("A resumed stream must not mix neuron sets; pin score.etag to the neuron_set_etag of Opened.")


def empty_report() -> scoring_pb2.FilterReport:
    """The zero of reports."""
    edges = [index / HISTOGRAM_BINS for index in range(HISTOGRAM_BINS + 1)]
    return scoring_pb2.FilterReport(probability_histogram=[0] * HISTOGRAM_BINS, histogram_edges=edges)


class ShardStream:
    """Turns scored batches, in seq order, into chunks and commits, and counts what happened."""

    def __init__(self, config: scoring_pb2.FilterConfig, target: str) -> None:
        """``target`` is what the rows say they were kept for.

        Raises ConfigError without a threshold, for a format that is not offered, and for a resume that pins no neuron set.
        """
        _check_config(config)
        self._target = target
        self._threshold = Threshold.from_wire(config)
        self._target_bytes = config.target_shard_bytes or DEFAULT_SHARD_BYTES
        self._commit_bytes = config.commit_every_bytes or DEFAULT_COMMIT_BYTES
        self._seq = config.resume_after_seq
        self._committed_seq = config.resume_after_seq
        self.report = empty_report()
        self._start_shard()

    def add(self, seq: int, entries: Sequence[Entry], results: Sequence[Result], size: int) -> Iterator[Event]:
        """Filter one batch of ``size`` bytes; yields the chunks that are full and, when the shard is, its commit."""
        for entry, result in zip(entries, results, strict=True):
            self._add_one(entry, result)
        yield from self._read(seq, size)

    def refuse(self, seq: int, documents: int, reason: RejectReason, size: int) -> Iterator[Event]:
        """Count a batch that was refused as a whole; yields what ``add`` does."""
        self._partial.documents_in += documents
        self._partial.documents_failed += documents
        self._partial.not_kept_by_reason[reason] += documents
        yield from self._read(seq, size)

    def finish(self) -> Iterator[Event]:
        """Commit what is left; nothing when everything read is committed."""
        if self._seq > self._committed_seq:
            yield from self._finish_shard()

    def _read(self, seq: int, size: int) -> Iterator[Event]:
        self._seq = seq
        self._read_bytes += size
        yield from self._full_chunks()
        if self._line_bytes >= self._target_bytes or self._read_bytes >= self._commit_bytes:
            yield from self._finish_shard()

    def _start_shard(self) -> None:
        self._shard_id = f"kept-{self._committed_seq + 1:010d}"
        self._partial = empty_report()
        self._compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True).compressobj()
        self._buffer = bytearray()
        self._digest = hashlib.sha256()
        self._offset = self._line_bytes = self._read_bytes = self._documents = 0

    def _add_one(self, entry: Entry, result: Result) -> None:
        report = self._partial
        report.documents_in += 1
        if isinstance(result, Rejection) or isinstance(entry, Rejection):
            rejection = entry if isinstance(entry, Rejection) else result
            report.documents_failed += 1
            report.not_kept_by_reason[rejection.reason] += 1  # type: ignore[union-attr]
            return
        report.tokens_in += result.tokens
        if 0 <= result.probability <= 1:
            report.probability_histogram[min(int(result.probability * HISTOGRAM_BINS), HISTOGRAM_BINS - 1)] += 1
        if not self._threshold.keeps(result):
            report.documents_rejected += 1
            report.not_kept_by_reason[RejectReason.BELOW_THRESHOLD] += 1
            return
        report.documents_kept += 1
        report.tokens_kept += result.tokens
        self._write(to_line(to_record(Row(entry, {self._target: result}, self._target))))

    def _write(self, line: bytes) -> None:
        self._documents += 1
        self._line_bytes += len(line)
        self._buffer += self._compressor.compress(line)

    def _full_chunks(self) -> Iterator[scoring_pb2.ShardChunk]:
        while len(self._buffer) >= CHUNK_BYTES:
            yield self._chunk(CHUNK_BYTES)

    def _chunk(self, size: int) -> scoring_pb2.ShardChunk:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._digest.update(data)
        chunk = scoring_pb2.ShardChunk(shard_id=self._shard_id, offset=self._offset, data=data, crc32=zlib.crc32(data))
        self._offset += len(data)
        return chunk

    def _finish_shard(self) -> Iterator[Event]:
        if self._documents:
            self._buffer += self._compressor.flush()
            yield from self._full_chunks()
            if self._buffer:
                yield self._chunk(len(self._buffer))
        add_report(self.report, self._partial)
        self._committed_seq = self._seq
        yield scoring_pb2.ShardCommit(
            shard_id=self._shard_id,
            byte_size=self._offset,
            sha256=self._digest.digest() if self._documents else b"",
            document_count=self._documents,
            committed_seq=self._seq,
            partial_report=self._partial,
        )
        self._start_shard()
