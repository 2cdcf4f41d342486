"""Readers of the file formats: JSONL (plain, gzip, zstd), Parquet, and Arrow folders of ``save_to_disk``.

Each yields one Document or one Rejection for each record and goes on after a bad one; only what breaks a whole file off (a
truncated stream, a Parquet file without its footer) ends that file, with one STREAM_TRUNCATED rejection. Columnar formats are
read 64 rows at a time. Cost: JSONL about 100 MB/s, most of it json. ``pyarrow`` and ``datasets`` are imported when first
needed. Blank JSONL lines are no records. NaN and Infinity, which Python's own json writes, are read.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from curator.errors import MissingExtraError, SourceError
from curator.records import Document, Rejection, RejectReason
from curator.text.lines import blocks_of, bounded_lines
from curator.text.rows import SourceOptions, document_from_row
from curator.text.uris import PARQUET_SUFFIXES, is_arrow_folder

Record = Document | Rejection
_BATCH_ROWS = 64
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def require(module: str) -> Any:
    """Import an optional dependency. Raises MissingExtraError with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".", maxsplit=1)[0]
        message = f"This source needs {package}; install it with: pip install 'rosetta-curator[engine]'."
        raise MissingExtraError(message) from error


def read_file(path: Path, options: SourceOptions) -> Iterator[Record]:
    """Records of one file or Arrow folder, by its suffix. Raises SourceError when it cannot be opened at all."""
    if is_arrow_folder(path):
        yield from read_arrow_folder(path, options)
    elif path.name.endswith(PARQUET_SUFFIXES):
        yield from read_parquet(path, options)
    else:
        try:
            handle = path.open("rb")
        except OSError as error:
            raise SourceError(f"{path} cannot be opened ({error.strerror}); check its permissions.") from error
        with handle:
            yield from read_jsonl(handle, str(path), options)


def read_jsonl(handle: IO[bytes], place: str, options: SourceOptions) -> Iterator[Record]:
    """Records of an open JSONL file; ``place`` names it in rejections, and its suffix tells the compression."""
    for number, line in bounded_lines(blocks_of(handle, place), place, options.max_record_bytes):
        if isinstance(line, Rejection):
            yield line
            continue
        record = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
        if record.strip():
            yield record_from_line(record, f"{place}:{number}", options)


def record_from_line(line: bytes, place: str, options: SourceOptions) -> Record:
    """One JSONL line as a Document, or as a Rejection at ``place``."""
    try:
        row = json.loads(line.decode())
        if b"\\u" in line:  # only an escape can bring in a lone surrogate, in any field
            json.dumps(row, ensure_ascii=False).encode()
    except UnicodeError as error:
        return Rejection(place, RejectReason.INVALID_UTF8, str(error))
    except (ValueError, RecursionError) as error:
        return Rejection(place, RejectReason.INVALID_JSON, str(error))
    if not isinstance(row, dict):
        return Rejection(place, RejectReason.NOT_A_RECORD, f"the line holds a {type(row).__name__}")
    return document_from_row(row, place, options)


def read_parquet(path: Path, options: SourceOptions) -> Iterator[Record]:
    """Records of one Parquet file, all columns, in row order."""
    parquet = require("pyarrow.parquet")
    try:
        with parquet.ParquetFile(path) as file:
            yield from _records_of_batches(file.iter_batches(batch_size=_BATCH_ROWS), str(path), options)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError: no footer, or not Parquet at all
        yield Rejection(str(path), RejectReason.STREAM_TRUNCATED, f"the Parquet file is damaged ({error})")


def read_arrow_folder(folder: Path, options: SourceOptions) -> Iterator[Record]:
    """Records of a folder that ``datasets`` wrote with ``save_to_disk``; of a DatasetDict, all splits by name."""
    datasets = require("datasets")
    try:
        loaded = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        raise SourceError(f"{folder} is no complete save_to_disk folder ({error}); save it again.") from error
    parts = loaded if isinstance(loaded, datasets.DatasetDict) else {"": loaded}
    for name in sorted(parts):
        place = f"{folder}/{name}" if name else str(folder)
        batches = parts[name].with_format("arrow").iter(batch_size=_BATCH_ROWS)
        yield from _records_of_batches(batches, place, options)


def _records_of_batches(batches: Iterable[Any], place: str, options: SourceOptions) -> Iterator[Record]:
    """Records of Arrow tables or record batches; rows count from 1."""
    number = 0
    iterator = iter(batches)
    while True:
        try:
            batch = next(iterator, None)
        except (OSError, ValueError) as error:
            where, why = f"{place}:{number + 1}", f"the rows from here on are damaged ({error})"
            yield Rejection(where, RejectReason.STREAM_TRUNCATED, why)
            return
        if batch is None:
            return
        for row in _rows(batch):
            number += 1
            where = f"{place}:{number}"
            if row is None:
                yield Rejection(where, RejectReason.INVALID_UTF8, "a string of the row is not UTF-8")
            else:
                yield document_from_row(row, where, options)


def _rows(batch: Any) -> list[dict[str, Any] | None]:
    """The rows of a batch; None for one that holds bytes which are not UTF-8."""
    try:
        return batch.to_pylist()
    except UnicodeDecodeError:
        if batch.num_rows == 1:
            return [None]
        return [row for index in range(batch.num_rows) for row in _rows(batch.slice(index, 1))]
