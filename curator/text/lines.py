"""Lines of plain, gzip and zstd streams in bounded memory, whatever the streams hold.

Memory is bounded by the line cap plus one block, for compressed streams too: gzip is asked for at most 1 MiB at a time, and
zstd is fed 1 KiB at a time, which no frame can blow up to more than about 32 MiB (its densest block turns 4 bytes into
128 KiB); smaller feeds cost no measurable time. A stream that ends in the middle, or is damaged, gives what was whole before
and then one Rejection. Streams of several members or frames are read as one.

Two ways lead into the middle. A plain file is entered at any byte (``blocks_between``): a line belongs to the range that holds
its first byte, so ranges that tile the file tile its lines, whatever lies on their borders, and entering costs the rest of one
line. A compressed stream is entered at a line (``after_lines``), which costs decompressing, but not parsing, all before it.

What it does not know: the encoding of the lines; they come as bytes. A zstd frame with a window above 128 MiB counts as
damaged. What a damaged block or a wrong checksum leaves readable of the 1 KiB around it is not delivered.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from typing import IO

import zstandard

from curator.records import Rejection, RejectReason

_BLOCK_BYTES = 1 << 20
_ZSTD_FEED_BYTES = 1 << 10


def blocks_of(handle: IO[bytes], name: str) -> Iterator[bytes]:
    """Decompressed blocks of an open file, by the suffix of its name. Raises EOFError where the stream breaks off."""
    name = name.lower()
    if name.endswith(".gz"):
        return _gzip_blocks(handle)
    if name.endswith((".zst", ".zstd")):
        return _zstd_blocks(handle)
    read = getattr(handle, "read1", handle.read)  # a pipe gives what it has; read() would wait for a whole block
    return iter(lambda: read(_BLOCK_BYTES), b"")


def _gzip_blocks(handle: IO[bytes]) -> Iterator[bytes]:
    stream = gzip.GzipFile(fileobj=handle, mode="rb")
    try:
        while block := stream.read1(_BLOCK_BYTES):  # read() would lose what came before the break in the same call
            yield block
    except (gzip.BadGzipFile, zlib.error) as error:
        raise EOFError(f"the gzip stream is damaged ({error})") from error
    except EOFError as error:
        raise EOFError("the gzip stream ends before its end mark") from error


def _zstd_blocks(handle: IO[bytes]) -> Iterator[bytes]:
    frame = None
    for feed in iter(lambda: handle.read(_ZSTD_FEED_BYTES), b""):
        rest = feed
        while rest:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            try:
                block = frame.decompress(rest)
            except zstandard.ZstdError as error:
                raise EOFError(f"the zstd stream is damaged ({error})") from error
            if block:
                yield block
            rest, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    if frame is not None:
        raise EOFError("the zstd stream ends in the middle of a frame")


def blocks_between(handle: IO[bytes], start: int, end: int) -> Iterator[bytes]:
    """Blocks of exactly those lines of a plain seekable file whose first byte lies in ``[start, end)``, the last one whole.

    A line starts at byte 0 and after each newline. Reads from ``start - 1`` to the first newline at or after ``end - 1``.
    """
    if start >= end:
        return
    position = max(start - 1, 0)
    if position:  # a stream that cannot seek can still be read from its beginning
        handle.seek(position)
    inside = start == 0
    while block := handle.read(_BLOCK_BYTES):
        first, last = 0, max(end - 1 - position, 0)
        if not inside:
            first = block.find(b"\n", 0, last) + 1
            inside = first > 0
        if inside:
            stop = block.find(b"\n", max(first, last)) + 1
            if stop:
                yield block[first:stop]
                return
            yield block[first:]
        elif len(block) >= last:
            return
        position += len(block)


def after_lines(blocks: Iterable[bytes], number: int) -> Iterator[bytes]:
    """The blocks of a stream without its first ``number`` lines, which are counted and dropped unread."""
    for block in blocks:
        start = 0
        if number and (found := block.count(b"\n")) < number:
            number -= found
            continue
        while number:
            start, number = block.find(b"\n", start) + 1, number - 1
        if start < len(block):
            yield block[start:]


def count_lines(blocks: Iterable[bytes]) -> int:
    """How many lines ``bounded_lines`` gives for these blocks, the one under way when they break off among them."""
    lines, under_way = 0, False
    try:
        for block in blocks:
            lines += block.count(b"\n")
            under_way = not block.endswith(b"\n")
    except EOFError:
        return lines + 1
    return lines + under_way


def bounded_lines(
    blocks: Iterable[bytes], place: str, max_bytes: int, first: int = 1
) -> Iterator[tuple[int, bytes | Rejection]]:
    r"""Lines without their ``\n``, numbered from ``first``; a line over ``max_bytes`` is skipped unread and rejected.

    Where the blocks raise EOFError, the line under way becomes one STREAM_TRUNCATED rejection and the lines end.
    """
    pending, too_large, number = bytearray(), False, first
    try:
        for block in blocks:
            start = 0
            while (end := block.find(b"\n", start)) >= 0:
                too_large = too_large or len(pending) + end - start > max_bytes
                line = bytes(pending) + block[start:end] if not too_large else b""
                yield number, _too_large(place, number, max_bytes) if too_large else line
                pending.clear()
                too_large, number, start = False, number + 1, end + 1
            too_large = too_large or len(pending) + len(block) - start > max_bytes
            if too_large:
                pending.clear()
            else:
                pending += block[start:]
    except EOFError as error:
        yield number, Rejection(f"{place}:{number}", RejectReason.STREAM_TRUNCATED, str(error))
        return
    if too_large or pending:
        yield number, _too_large(place, number, max_bytes) if too_large else bytes(pending)


def _too_large(place: str, number: int, max_bytes: int) -> Rejection:
    return Rejection(
        f"{place}:{number}", RejectReason.RECORD_TOO_LARGE, f"the line is over the cap of {max_bytes} bytes"
    )
