"""Readers of columnar text: Parquet files, and Arrow folders that ``datasets`` wrote with ``save_to_disk``.

Rows are read 64 at a time. Parquet goes row group by row group, so damage costs the rest of its row group and one
STREAM_TRUNCATED rejection, and a range of rows opens only its own row groups; a file without its footer is one rejection in
all. Memory is one row group's columns as stored. Arrow folders on this disk are mapped, not read; remote ones are copied to a
temporary folder by ``datasets`` each time they are opened. ``pyarrow`` and ``datasets`` are imported when first needed.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

from curator.errors import SourceError, SourceNotFoundError
from curator.records import Document, Rejection, RejectReason
from curator.text.extras import require
from curator.text.places import Place, changed
from curator.text.rows import SourceOptions, document_from_row
from curator.text.uris import PARQUET_SUFFIXES, has_suffix

_BATCH_ROWS = 64
_DICT_MARK = "dataset_dict.json"
_FOLDER_MARKS = ("state.json", "dataset_info.json")


@contextmanager
def parquet_file(place: Place) -> Generator[Any, None, None]:
    """An open ``pyarrow.parquet.ParquetFile``. Raises SourceError when the file cannot be opened, ValueError without a footer."""
    parquet = require("pyarrow.parquet")
    with place.open() as handle, parquet.ParquetFile(handle) as file:
        yield file


def read_parquet(place: Place, options: SourceOptions, rows: range | None = None) -> Iterator[Document | Rejection]:
    """Records of the row groups within ``rows`` (None: of all), all columns, in row order; rows count from 1.

    Raises SourceError when the file cannot be opened, or has no row groups that end where ``rows`` does.
    """
    try:
        with parquet_file(place) as file:
            counts = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            borders = list(accumulate(counts, initial=0))
            if rows is not None and not {rows.start, rows.stop} <= set(borders):
                raise changed(place)
            for group, first in enumerate(borders[:-1]):
                if rows is None or first in rows:
                    yield from _records_of_batches(_row_group(file, group), str(place), options, first)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError: no footer, or not Parquet at all
        if rows is not None:
            raise changed(place) from error
        yield Rejection(str(place), RejectReason.STREAM_TRUNCATED, f"the Parquet file is damaged ({error})")


def _row_group(file: Any, group: int) -> Iterator[Any]:
    yield from file.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group])


def arrow_parts(folder: Place) -> list[Place]:
    """The folders of one dataset each: the splits of a DatasetDict by name, or the folder itself."""
    try:
        with folder.inside(_FOLDER_MARKS[0]).open():
            return [folder]
    except SourceNotFoundError:
        return [folder.inside(name) for name in sorted(_listed(folder, _DICT_MARK, "splits"))]


def arrow_files(folder: Place) -> list[Place]:
    """The files that hold one dataset: what describes it, then its data in order."""
    data = [entry["filename"] for entry in _listed(folder, _FOLDER_MARKS[0], "_data_files")]
    return [folder.inside(name) for name in (*_FOLDER_MARKS, *data)]


def _listed(folder: Place, name: str, key: str) -> Any:
    """A list that ``datasets`` wrote beside the data. Raises SourceError when it is missing or damaged."""
    with folder.inside(name).open() as handle:
        try:
            return json.load(handle)[key]
        except (ValueError, KeyError) as error:
            raise _incomplete(folder, error) from error


def load_arrow_folder(folder: Place) -> dict[str, Any]:
    """The datasets of a folder by split, or one under ``""``. Raises SourceError when the folder is incomplete."""
    datasets = require("datasets")
    try:
        loaded = datasets.load_from_disk(folder.location)
    except (OSError, ValueError, KeyError) as error:
        raise _incomplete(folder, error) from error
    return dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"": loaded}


def read_arrow_folder(
    folder: Place, options: SourceOptions, rows: range | None = None
) -> Iterator[Document | Rejection]:
    """Records of a folder of ``save_to_disk``, all or some rows; of a DatasetDict, all splits by name.

    Raises SourceError when the folder is incomplete, or has become shorter than ``rows``.
    """
    parts = load_arrow_folder(folder)
    if rows is not None and any(len(part) < rows.stop for part in parts.values()):
        raise changed(folder)
    for name in sorted(parts):
        place = f"{folder}/{name}" if name else str(folder)
        part = parts[name] if rows is None else parts[name].select(rows)
        batches = part.with_format("arrow").iter(batch_size=_BATCH_ROWS)
        yield from _records_of_batches(batches, place, options, rows.start if rows else 0)


def columnar_schema(place: Place) -> Any:
    """The Arrow schema of a Parquet file or Arrow folder; an empty one of a damaged file, None of any other file."""
    if place.is_folder:
        (schema, *_) = (part.features.arrow_schema for part in load_arrow_folder(place).values())
        return schema
    if not has_suffix(place.name, PARQUET_SUFFIXES):
        return None
    try:
        with parquet_file(place) as file:
            return file.schema_arrow
    except (OSError, ValueError):
        return require("pyarrow").schema([])


def _incomplete(folder: Place, error: Exception) -> SourceError:
    return SourceError(f"{folder} is no complete save_to_disk folder ({error}); save it again.")


def _records_of_batches(
    batches: Iterable[Any], place: str, options: SourceOptions, number: int
) -> Iterator[Document | Rejection]:
    """Records of Arrow tables or record batches, after ``number`` rows; the first is row ``number + 1``."""
    iterator = iter(batches)
    while True:
        try:
            batch = next(iterator, None)
        except (OSError, ValueError) as error:
            where, why = f"{place}:{number + 1}", f"rows from here on are damaged ({error})"
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
