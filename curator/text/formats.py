"""Readers of the file formats, by suffix: JSONL here (plain, gzip, zstd), Parquet and Arrow folders in ``columnar``.

Each yields one Document or one Rejection for each record and goes on after a bad one; only what breaks a stream off ends its
file, with one STREAM_TRUNCATED rejection. A reader gives a whole file or a part of it, rows or bytes; parts that tile a file
give the records of the whole file, in order. Cost: JSONL about 100 MB/s, most of it json. Blank JSONL lines are no records.
NaN and Infinity, which Python's own json writes, are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO

from curator.records import Document, Rejection, RejectReason
from curator.text.columnar import read_arrow_folder, read_parquet
from curator.text.lines import after_lines, blocks_between, blocks_of, bounded_lines
from curator.text.places import LocalPlace, Place, changed
from curator.text.rows import SourceOptions, document_from_row
from curator.text.uris import PARQUET_SUFFIXES, has_suffix

Record = Document | Rejection
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_file(place: Path | Place, options: SourceOptions, rows: range | None = None) -> Iterator[Record]:
    """Records of one file or Arrow folder, or of some of its rows, which count from 0; the rows of JSONL are its lines.

    Raises SourceError when it cannot be opened at all.
    """
    place = LocalPlace(place) if isinstance(place, Path) else place
    if place.is_folder:
        yield from read_arrow_folder(place, options, rows)
    elif has_suffix(place.name, PARQUET_SUFFIXES):
        yield from read_parquet(place, options, rows)
    else:
        with place.open() as handle:
            yield from read_jsonl(handle, str(place), options, rows)


def read_jsonl(handle: IO[bytes], place: str, options: SourceOptions, rows: range | None = None) -> Iterator[Record]:
    """Records of an open JSONL file; ``place`` names it in rejections, and its suffix tells the compression."""
    blocks, first = blocks_of(handle, place), rows.start if rows else 0
    lines = bounded_lines(after_lines(blocks, first), place, options.max_record_bytes, first + 1)
    wanted = lines if rows is None else islice(lines, len(rows))
    return _records_of_lines(wanted, place, options, marked_line=1)


def read_byte_range(place: Place, start: int, end: int, options: SourceOptions) -> Iterator[Record]:
    """Records of the lines of a plain JSONL file whose first byte lies in ``[start, end)``.

    Rejections of a range that starts at 0 are placed as ever (``pool.jsonl:3``), of others by counting the lines that start at
    or after ``start``: ``pool.jsonl@1048576:3`` is the third of them. Raises SourceError when the file cannot be opened, or has
    become shorter than ``end``.
    """
    if (place.size() or 0) < end:
        raise changed(place)
    where = f"{place}@{start}" if start else str(place)
    with place.open() as handle:
        lines = bounded_lines(blocks_between(handle, start, end), where, options.max_record_bytes)
        yield from _records_of_lines(lines, where, options, marked_line=0 if start else 1)


def _records_of_lines(
    lines: Iterable[tuple[int, bytes | Rejection]], place: str, options: SourceOptions, *, marked_line: int
) -> Iterator[Record]:
    """Records of numbered lines; of line ``marked_line`` a byte-order mark is taken off (0: of none)."""
    for number, line in lines:
        if isinstance(line, Rejection):
            yield line
            continue
        record = line.removeprefix(_BYTE_ORDER_MARK) if number == marked_line else line
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
