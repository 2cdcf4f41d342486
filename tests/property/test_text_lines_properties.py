"""Bounded line reading gives the same lines however the stream is cut into blocks, and never a line over the cap."""

from __future__ import annotations

import gzip
import io

import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.records import Rejection, RejectReason
from curator.text.lines import blocks_of, bounded_lines

CONTENT = st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b" ")), max_size=20)


def lines_in(blocks: list[bytes], cap: int) -> list[bytes | None]:
    found = bounded_lines(iter(blocks), "x", cap)
    return [None if isinstance(line, Rejection) else line for _, line in found]


@given(CONTENT, st.integers(1, 7), st.integers(1, 14))
@settings(deadline=None, max_examples=50)
def test_block_borders_do_not_matter_and_the_cap_holds(content: list[bytes], width: int, cap: int) -> None:
    data = b"".join(line + b"\n" for line in content)
    blocks = [data[at : at + width] for at in range(0, len(data), width)]
    assert lines_in(blocks, cap) == [line if len(line) <= cap else None for line in content]


@given(CONTENT, st.data())
@settings(deadline=None, max_examples=50)
def test_a_cut_stream_gives_a_prefix_of_its_lines_and_one_truncation(content: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(line + b"\n" for line in content)
    for suffix, packed in ((".gz", gzip.compress(whole)), (".zst", zstandard.ZstdCompressor().compress(whole))):
        cut = packed[: data.draw(st.integers(1, len(packed) - 1))]
        found = [line for _, line in bounded_lines(blocks_of(io.BytesIO(cut), f"x{suffix}"), "x", 1 << 20)]
        *lines, last = found
        assert lines == content[: len(lines)]
        assert isinstance(last, Rejection)
        assert last.reason is RejectReason.STREAM_TRUNCATED
