"""Where to cut one file, dataset or domain: borders that a reader can enter without reading what lies before them.

    plain JSONL          every ``piece_bytes`` bytes; nothing is read
    .gz, .zst JSONL      whole up to 4 × ``piece_bytes`` as compressed, else 5 to 8 runs of lines, after one counting pass
    Parquet              runs of row groups, ``piece_bytes`` of them as decoded by the footer, which is all that is read
    Arrow folder         rows in proportion, one folder for each split; a remote folder is not cut

Entering a compressed file in the middle costs decompressing what lies before: with 8 pieces all of them together decompress
4.5 times the file, and finer cuts would cost more than they help. Corpora meant to be read by many workers should come as many
files, as Parquet, or plain. It does not know what a piece costs to score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import IO, Literal, NamedTuple

from curator.text.columnar import arrow_files, arrow_parts, load_arrow_folder, parquet_file
from curator.text.lines import blocks_of, count_lines
from curator.text.places import Place
from curator.text.remote import RemotePlace
from curator.text.uris import COMPRESSIONS, PARQUET_SUFFIXES, has_suffix

Kind = Literal["bytes", "rows", "shard", "whole"]
Progress = Callable[[str, int, int], None]
_WHOLE_PIECES = 4
_MOST_PIECES = 8
_REPORT_BYTES = 32 << 20


class Cut(NamedTuple):
    """One part of a place: its kind and its half-open range."""

    kind: Kind
    start: int
    end: int


def parts_of(place: Place) -> list[Place]:
    """The places that are cut apart: the splits of a saved DatasetDict by name; of anything else the place itself."""
    return arrow_parts(place) if place.is_folder else [place]


def cuts_of(place: Place, piece_bytes: int, progress: Progress | None = None) -> list[Cut]:
    """The parts of one file or Arrow folder, in order; never empty, even for an empty file.

    ``progress(name, bytes read, bytes in all)`` hears of a counting pass. Raises SourceError when the place cannot be read.
    """
    if place.is_folder:
        return _cut_arrow(place, piece_bytes)
    if has_suffix(place.name, PARQUET_SUFFIXES):
        return _cut_parquet(place, piece_bytes)
    size = place.size()
    if size is None:
        return [Cut("whole", 0, 1)]
    if has_suffix(place.name, COMPRESSIONS):
        return _cut_compressed(place, size, piece_bytes, progress)
    return _evenly("bytes", size, piece_bytes)


def _evenly(kind: Kind, length: int, step: int) -> list[Cut]:
    """Ranges of ``step``, which stay where they are when a file grows; a last one below half a step joins its neighbour."""
    borders = [*range(0, max(length - step // 2, 1), step), length]
    return [Cut(kind, start, end) for start, end in pairwise(borders)]


def _cut_compressed(place: Place, size: int, piece_bytes: int, progress: Progress | None) -> list[Cut]:
    if size <= _WHOLE_PIECES * piece_bytes:
        return [Cut("whole", 0, size)]
    with place.open() as handle:
        blocks = blocks_of(handle, place.name)
        lines = count_lines(_reported(blocks, handle, str(place), size, progress) if progress else blocks)
    pieces = min(_MOST_PIECES, math.ceil(size / piece_bytes))
    borders = sorted({index * lines // pieces for index in range(pieces + 1)})
    return [Cut("rows", start, end) for start, end in pairwise(borders)] or [Cut("whole", 0, size)]


def _reported(blocks: Iterable[bytes], handle: IO[bytes], name: str, size: int, progress: Progress) -> Iterator[bytes]:
    told = 0
    for block in blocks:
        yield block
        if handle.tell() >= told + _REPORT_BYTES:
            told = handle.tell()
            progress(name, told, size)
    progress(name, size, size)


def _cut_parquet(place: Place, piece_bytes: int) -> list[Cut]:
    try:
        with parquet_file(place) as file:
            groups = [file.metadata.row_group(index) for index in range(file.num_row_groups)]
            sizes = [(group.num_rows, group.total_byte_size) for group in groups]
    except (OSError, ValueError):  # no footer: the reader rejects the file in one piece
        return [Cut("whole", 0, place.size() or 1)]
    borders, rows, filled = [0], 0, 0
    for group_rows, group_bytes in sizes:
        if filled and filled + group_bytes > piece_bytes and rows > borders[-1]:
            borders.append(rows)
            filled = 0
        rows, filled = rows + group_rows, filled + group_bytes
    return [Cut("rows", start, end) for start, end in pairwise([*borders, rows])]


def _cut_arrow(folder: Place, piece_bytes: int) -> list[Cut]:
    size = sum(file.size() or 0 for file in arrow_files(folder))
    if isinstance(folder, RemotePlace):
        return [Cut("whole", 0, size)]
    rows = sum(map(len, load_arrow_folder(folder).values()))
    return _evenly("rows", rows, max(1, rows * piece_bytes // max(size, 1)))
