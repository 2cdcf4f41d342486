"""The files of output shards: ``kept-00000.jsonl.zst``, ``.parquet`` and ``.arrow``, the same bytes on every run.

    .jsonl.zst  one zstd frame of fixed level with content size and checksum, single-threaded; one JSON record per line
    .parquet    zstd, row groups of 1,000 rows, one schema for all of a job: the users' columns (``columns``), then ours
    .arrow      an Arrow stream of the same schema in batches of 1,000 rows, as ``save_to_disk`` of ``datasets`` writes them

Cost: zstd level 3, and one more read of the compressed file for its SHA-256. Memory: a block of rows. Parquet bytes also depend
on the pyarrow version, which it writes into the footer. It does not know which rows belong together: see ``packing``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Literal, Protocol

import zstandard

from curator import fingerprint
from curator.errors import ArtifactError, MissingExtraError
from curator.filtering.rows import Row, own_fields, to_line, to_record
from curator.records import Document

ShardFormat = Literal["jsonl", "parquet", "arrow"]
SUFFIXES: dict[ShardFormat, str] = {"jsonl": ".jsonl.zst", "parquet": ".parquet", "arrow": ".arrow"}
DEFAULT_SHARD_BYTES = 128 << 20
_ZSTD_LEVEL = 3
ROWS_AT_A_TIME = 1_000
"""Rows of a block; a row group of Parquet, a batch of Arrow."""


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


def describe(path: Path, root: Path, *, documents: int = 0, tokens: int = 0) -> ShardInfo:
    """Size and hash of a finished file, under its name relative to ``root``."""
    name = path.relative_to(root).as_posix()
    return ShardInfo(name, documents, tokens, path.stat().st_size, fingerprint.of_file(path))


class UserColumns(Protocol):
    """The users' part of a columnar schema: see ``columns``."""

    @property
    def fields(self) -> Sequence[Any]:
        """Arrow fields, in order."""
        ...

    def values(self, document: Document) -> dict[str, object]:
        """One document's values by column."""
        ...


Add = Callable[[Sequence[Row]], None]


@contextmanager
def open_shard(handle: IO[bytes], kind: ShardFormat, targets: Sequence[str], columns: UserColumns) -> Iterator[Add]:
    """Write a shard in one format, block by block; columnar formats have one schema for all shards of a job.

    Blocks of 1,000 rows, but for the last, give the bytes that any other call with such blocks gives. When the block ends
    without an error the shard is complete.
    """
    if kind == "jsonl":
        with _open_jsonl(handle) as add:
            yield add
        return
    pyarrow, parquet = load_pyarrow()
    schema = shard_schema(pyarrow, targets, columns)
    options = {"compression": "zstd", "compression_level": _ZSTD_LEVEL}
    columnar = kind == "parquet"
    opened = parquet.ParquetWriter(handle, schema, **options) if columnar else pyarrow.ipc.new_stream(handle, schema)
    with opened as writer:
        yield lambda rows: writer.write_batch(
            pyarrow.RecordBatch.from_pylist(
                [columns.values(row.document) | own_fields(row) for row in rows], schema=schema
            )
        )


@contextmanager
def _open_jsonl(handle: IO[bytes]) -> Iterator[Add]:
    """One zstd frame that states its content size, for which the lines wait in an unnamed file, and ends in a checksum."""
    beside = Path(handle.name).parent if isinstance(getattr(handle, "name", None), str) else None
    with TemporaryFile(dir=beside) as lines:
        yield lambda rows: lines.writelines(to_line(to_record(row)) for row in rows)
        size = lines.tell()
        lines.seek(0)
        compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True, write_content_size=True)
        compressor.copy_stream(lines, handle, size=size)


def shard_schema(pyarrow: Any, targets: Sequence[str], columns: UserColumns) -> Any:
    """The schema of every columnar shard of a job with these targets, kept or rejected."""
    text, real = pyarrow.string(), pyarrow.float64()
    fields = [
        *columns.fields,
        ("curator_target", text),
        ("curator_score", real),
        ("curator_probability", real),
        ("curator_tokens", pyarrow.int64()),
        ("curator_neurons", pyarrow.list_(text)),
        ("curator_reason", text),
        ("curator_detail", text),
    ]
    if len(targets) > 1:
        fields.append(("curator_probabilities", pyarrow.struct([(target, real) for target in targets])))
    return pyarrow.schema(fields)


def read_shard(path: Path) -> Iterator[dict[str, Any]]:
    """The records of one shard of any format, in order. Raises ArtifactError when it is damaged."""
    reader = {".parquet": _read_parquet, ".arrow": _read_arrow}.get(path.suffix, _read_jsonl)
    try:
        yield from reader(path)
    except (zstandard.ZstdError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path} is damaged; run the filter again into a new folder.") from error


def load_pyarrow() -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet, imported late. Raises MissingExtraError when they are not installed."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("Filtering needs pyarrow; install rosetta-curator[engine].") from error
    return pa, pq


def _read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as handle, zstandard.ZstdDecompressor().stream_reader(handle) as stream:
        for line in io.TextIOWrapper(stream, encoding="utf-8", newline="\n"):
            yield json.loads(line)


def _read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    pyarrow, parquet = load_pyarrow()
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=ROWS_AT_A_TIME):
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise ArtifactError(f"{path} is damaged; run the filter again into a new folder.") from error


def _read_arrow(path: Path) -> Iterator[dict[str, Any]]:
    pyarrow, _ = load_pyarrow()
    try:
        with path.open("rb") as handle, pyarrow.ipc.open_stream(handle) as reader:
            for batch in reader:
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise ArtifactError(f"{path} is damaged; run the filter again into a new folder.") from error
