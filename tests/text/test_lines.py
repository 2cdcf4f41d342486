"""Streams: several members, damage, bombs, caps."""

from __future__ import annotations

import gzip
import io
import os
import tracemalloc

import zstandard

from curator.records import Rejection, RejectReason
from curator.text.lines import blocks_of, bounded_lines


def lines_of(data: bytes, name: str = "x.jsonl", cap: int = 1 << 20) -> list[tuple[int, bytes | Rejection]]:
    return list(bounded_lines(blocks_of(io.BytesIO(data), name), name, cap))


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


def test_the_last_line_needs_no_newline() -> None:
    assert lines_of(b"a\nb") == [(1, b"a"), (2, b"b")]
    assert lines_of(b"a\n\nb\n") == [(1, b"a"), (2, b""), (3, b"b")]
    assert lines_of(b"") == []


def test_a_line_of_a_pipe_is_there_before_the_next_is_written() -> None:
    end, begin = os.pipe()
    with os.fdopen(end, "rb") as handle, os.fdopen(begin, "wb", buffering=0) as pipe:
        lines = bounded_lines(blocks_of(handle, "-"), "-", 1 << 20)
        for number, text in ((1, b"one"), (2, b"two")):
            pipe.write(text + b"\n")
            assert next(lines) == (number, text)


def test_streams_of_several_frames_are_read_as_one() -> None:
    expected = [(1, b"one"), (2, b"two"), (3, b"three")]
    assert lines_of(zstd(b"one\ntw") + zstd(b"o\nthree\n"), "x.zst") == expected
    assert lines_of(gzip.compress(b"one\ntw") + gzip.compress(b"o\nthree\n"), "x.gz") == expected


def test_a_stream_cut_between_two_frames_is_not_truncated_but_one_cut_inside_is() -> None:
    whole = zstd(b"one\n")
    assert lines_of(whole, "x.zst") == [(1, b"one")]
    cut = lines_of(whole + zstd(b"two\n")[:-3], "x.zst")
    assert cut[0] == (1, b"one")
    assert isinstance(cut[-1][1], Rejection)


def test_damage_is_one_rejection_that_names_the_line_and_the_cause() -> None:
    damaged = bytearray(gzip.compress(b"one\ntwo\n"))
    damaged[-6] ^= 0xFF  # the checksum
    for data, name in ((bytes(damaged), "x.gz"), (b"this is no zstd", "x.zst"), (b"this is no gzip", "x.gz")):
        (_, last) = lines_of(data, name)[-1]
        assert isinstance(last, Rejection)
        assert last.reason is RejectReason.STREAM_TRUNCATED
        assert "damaged" in last.detail


def test_a_line_over_the_cap_is_rejected_alone() -> None:
    found = lines_of(b"12345\n123456\n12345", cap=5)
    assert found[0] == (1, b"12345")
    assert found[2] == (3, b"12345")
    assert found[1] == (2, Rejection("x.jsonl:2", RejectReason.RECORD_TOO_LARGE, "the line is over the cap of 5 bytes"))


def test_an_endless_line_without_newline_is_rejected_once() -> None:
    assert [type(line) for _, line in lines_of(b"x" * (3 << 20), cap=10)] == [Rejection]


def test_a_decompression_bomb_stays_within_bounded_memory() -> None:
    size = 200 << 20
    bomb = zstandard.ZstdCompressor(level=3).compress(bytes(size))
    assert len(bomb) < size // 1000
    tracemalloc.start()
    found = lines_of(bomb + zstd(b"\nafter\n"), "x.zst", cap=1 << 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found[1] == (2, b"after")
    assert isinstance(found[0][1], Rejection)
    assert found[0][1].reason is RejectReason.RECORD_TOO_LARGE
    assert peak < 80 << 20
