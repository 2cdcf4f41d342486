"""The files of output shards: ``kept-00000.jsonl.zst``, ``.parquet`` and ``.arrow``, the same bytes on every run.

    .jsonl.zst  one zstd frame of fixed level with content size and checksum, single-threaded; one JSON record per line
    .parquet    zstd, row groups of 1,000 rows, one fixed schema with the metadata as a JSON string
    .arrow      an Arrow stream of the same schema in batches of 1,000 rows, as ``save_to_disk`` of ``datasets`` writes them

Cost: zstd level 3, and one more read of the compressed file for its SHA-256. Parquet bytes also depend on the pyarrow version,
which it writes into the footer. It does not know which rows belong together: see ``packing``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

import zstandard

from curator import fingerprint
from curator.errors import ArtifactError, MissingExtraError
from curator.filtering.rows import DOCUMENT_FIELDS, Row, metadata_json, own_fields, to_line, to_record

ShardFormat = Literal["jsonl", "parquet", "arrow"]
SUFFIXES: dict[ShardFormat, str] = {"jsonl": ".jsonl.zst", "parquet": ".parquet", "arrow": ".arrow"}
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


def describe(path: Path, root: Path, *, documents: int = 0, tokens: int = 0) -> ShardInfo:
    """Size and hash of a finished file, under its name relative to ``root``."""
    name = path.relative_to(root).as_posix()
    return ShardInfo(name, documents, tokens, path.stat().st_size, fingerprint.of_file(path))


def write_rows(handle: IO[bytes], rows: Sequence[Row], kind: ShardFormat, targets: Sequence[str]) -> None:
    """Write the rows of one shard in one format; columnar formats have one schema for all shards of a job."""
    if kind == "jsonl":
        write_jsonl(handle, [to_line(to_record(row)) for row in rows])
    elif kind == "parquet":
        _write_parquet(handle, rows, targets)
    else:
        _write_arrow(handle, rows, targets)


def write_jsonl(handle: IO[bytes], lines: Sequence[bytes]) -> None:
    """Write lines as one zstd frame that states its content size and ends in a checksum."""
    compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True, write_content_size=True)
    with compressor.stream_writer(handle, size=sum(map(len, lines)), closefd=False) as stream:
        for line in lines:
            stream.write(line)


def _write_parquet(handle: IO[bytes], rows: Sequence[Row], targets: Sequence[str]) -> None:
    pyarrow, parquet = load_pyarrow()
    schema = shard_schema(pyarrow, targets)
    options = {"compression": "zstd", "compression_level": _ZSTD_LEVEL}
    with parquet.ParquetWriter(handle, schema, **options) as writer:
        for batch in _batches(pyarrow, rows, schema):
            writer.write_batch(batch)


def _write_arrow(handle: IO[bytes], rows: Sequence[Row], targets: Sequence[str]) -> None:
    pyarrow, _ = load_pyarrow()
    schema = shard_schema(pyarrow, targets)
    with pyarrow.ipc.new_stream(handle, schema) as writer:
        for batch in _batches(pyarrow, rows, schema):
            writer.write_batch(batch)


def _batches(pyarrow: Any, rows: Sequence[Row], schema: Any) -> Iterator[Any]:
    for start in range(0, len(rows), _ROW_GROUP):
        columns = [_columns_of(row) for row in rows[start : start + _ROW_GROUP]]
        yield pyarrow.RecordBatch.from_pylist(columns, schema=schema)


def shard_schema(pyarrow: Any, targets: Sequence[str]) -> Any:
    """The schema of every columnar shard of a job with these targets, kept or rejected."""
    text, real = pyarrow.string(), pyarrow.float64()
    fields = [
        *((name, text) for name in DOCUMENT_FIELDS),
        ("metadata", text),
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


def _columns_of(row: Row) -> dict[str, object]:
    document = row.document
    return {
        **{name: getattr(document, name) for name in DOCUMENT_FIELDS},
        "metadata": metadata_json(document),
        **own_fields(row),
    }


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
            for batch in file.iter_batches(batch_size=_ROW_GROUP):
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
