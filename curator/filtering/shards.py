"""Shards that are the same bytes on every run: ``kept-00000.jsonl.zst``, ``kept-00000.parquet`` and so on.

A writer gathers rows until the next one would take the shard over its target size, measured as uncompressed JSON lines, then
writes the shard in every wanted format; so both formats share their boundaries, which depend on the rows alone. A row larger
than the target gets a shard of its own. Each file appears by an atomic rename, and nothing is open between two shards.

    .jsonl.zst  one zstd frame of fixed level with content size and checksum, single-threaded; one JSON record per line
    .parquet    zstd, row groups of 1,000 rows, one fixed schema with the metadata as a JSON string

Cost: the rows of one open shard in memory (about its target size for each format), zstd level 3, and one more read of the
compressed file for its SHA-256. Parquet bytes also depend on the pyarrow version, which it writes into the footer.
It does not know policies.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal, Self

import zstandard

from curator import fingerprint
from curator.errors import ArtifactError, MissingExtraError
from curator.files import atomic_file
from curator.filtering.rows import DOCUMENT_FIELDS, Row, metadata_json, own_fields, to_line, to_record

ShardFormat = Literal["jsonl", "parquet"]
SUFFIXES: dict[ShardFormat, str] = {"jsonl": ".jsonl.zst", "parquet": ".parquet"}
DEFAULT_SHARD_BYTES = 128 << 20
_ZSTD_LEVEL = 3
_ROW_GROUP = 1_000


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """One finished file: its name inside the output, what it holds, its size on disk and its SHA-256."""

    name: str
    documents: int
    tokens: int
    bytes: int
    sha256: str

    def to_json(self) -> dict[str, object]:
        """The manifest's entry."""
        return asdict(self)


class ShardWriter:
    """Writes rows of one kind (``kept`` or ``rejected``) into numbered shards of a folder; ``shards`` lists the finished ones.

    Use as a context manager: leaving it without an error writes the last shard, leaving it with one writes nothing more.
    """

    def __init__(
        self,
        folder: Path,
        kind: str,
        formats: Sequence[ShardFormat] = ("jsonl",),
        *,
        target_bytes: int = DEFAULT_SHARD_BYTES,
    ) -> None:
        self.shards: list[ShardInfo] = []
        self._folder = folder
        self._kind = kind
        self._formats = formats
        self._target_bytes = target_bytes
        self._rows: list[Row] = []  # filled for Parquet alone, as the lines are for JSONL
        self._lines: list[bytes] = []
        self._documents = self._tokens = self._bytes = 0
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None:
            self._close_shard()

    def write(self, row: Row) -> None:
        """Add one row; writes a shard first when the row would not fit into the present one."""
        line = to_line(to_record(row))
        if self._documents and self._bytes + len(line) > self._target_bytes:
            self._close_shard()
        if "parquet" in self._formats:
            self._rows.append(row)
        if "jsonl" in self._formats:
            self._lines.append(line)
        self._documents += 1
        self._tokens += row.decision.score.tokens if row.decision.score else 0
        self._bytes += len(line)

    def _close_shard(self) -> None:
        if not self._documents:
            return
        for kind_of_file in self._formats:
            path = self._folder / self._kind / f"{self._kind}-{self._number:05d}{SUFFIXES[kind_of_file]}"
            with atomic_file(path) as handle:
                write_jsonl(handle, self._lines) if kind_of_file == "jsonl" else write_parquet(handle, self._rows)
            self.shards.append(describe(path, self._folder, documents=self._documents, tokens=self._tokens))
        self._number += 1
        self._rows, self._lines = [], []
        self._documents = self._tokens = self._bytes = 0


def describe(path: Path, root: Path, *, documents: int = 0, tokens: int = 0) -> ShardInfo:
    """Size and hash of a finished file, under its name relative to ``root``."""
    name = path.relative_to(root).as_posix()
    return ShardInfo(name, documents, tokens, path.stat().st_size, fingerprint.of_file(path))


def write_jsonl(handle: IO[bytes], lines: Sequence[bytes]) -> None:
    """Write lines as one zstd frame that states its content size and ends in a checksum."""
    compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True, write_content_size=True)
    with compressor.stream_writer(handle, size=sum(map(len, lines)), closefd=False) as stream:
        for line in lines:
            stream.write(line)


def write_parquet(handle: IO[bytes], rows: Sequence[Row]) -> None:
    """Write rows as one Parquet file of the fixed schema. Raises MissingExtraError without pyarrow."""
    pyarrow, parquet = load_pyarrow()
    columns = [_parquet_row(row) for row in rows]
    table = pyarrow.Table.from_pylist(columns, schema=parquet_schema(pyarrow))
    parquet.write_table(table, handle, row_group_size=_ROW_GROUP, compression="zstd", compression_level=_ZSTD_LEVEL)


def parquet_schema(pyarrow: Any) -> Any:
    """The schema of every Parquet shard, kept or rejected."""
    text, real = pyarrow.string(), pyarrow.float64()
    return pyarrow.schema(
        [
            *((name, text) for name in DOCUMENT_FIELDS),
            ("metadata", text),
            ("curator_score", real),
            ("curator_probability", real),
            ("curator_tokens", pyarrow.int64()),
            ("curator_neurons", pyarrow.list_(text)),
            ("curator_reason", text),
            ("curator_detail", text),
        ]
    )


def read_shard(path: Path) -> Iterator[dict[str, Any]]:
    """The records of one shard of either format, in order. Raises ArtifactError when it is damaged."""
    try:
        yield from _read_parquet(path) if path.suffix == ".parquet" else _read_jsonl(path)
    except (zstandard.ZstdError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path} is damaged; run the filter again into a new folder.") from error


def load_pyarrow() -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet, imported late. Raises MissingExtraError when they are not installed."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("Parquet needs pyarrow; install rosetta-curator[engine] or choose jsonl.") from error
    return pa, pq


def _parquet_row(row: Row) -> dict[str, object]:
    document = row.decision.document
    return {
        **{name: getattr(document, name) for name in DOCUMENT_FIELDS},
        "metadata": metadata_json(document),
        **own_fields(row),
    }


def _read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as handle, zstandard.ZstdDecompressor().stream_reader(handle) as stream:
        for line in io.TextIOWrapper(stream, encoding="utf-8", newline="\n"):
            yield json.loads(line)


def _read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    pyarrow, parquet = load_pyarrow()
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROW_GROUP):
                yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise ArtifactError(f"{path} is damaged; run the filter again into a new folder.") from error
