"""However a JSONL file is cut, its pieces give the records of the whole, each once, in order."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from curator.records import Document, Rejection
from curator.text import lines as text_lines
from curator.text.pieces import cut_pieces, read_piece
from curator.text.sources import SourceOptions, open_sources

ROW = st.text(max_size=40).map(lambda text: json.dumps({"text": text, "k": 1}, ensure_ascii=False))
LINE = st.one_of(
    ROW.map(lambda row: row.encode("utf-8", "surrogatepass")),
    st.binary(max_size=12).map(lambda data: data.replace(b"\n", b"")),
    st.sampled_from([b"", b" ", b"\r", b"\xef\xbb\xbf", b"\xef\xbb\xbf{}", b'{"text": "' + "é".encode() * 90 + b'"}']),
)
FILE = st.builds(
    lambda mark, lines, end, last: mark + end.join(lines) + last,
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.lists(LINE, max_size=12),
    st.sampled_from([b"\n", b"\r\n"]),
    st.sampled_from([b"", b"\n", b"\n\n"]),
)


def without_place(record: Document | Rejection) -> object:
    return (record.reason, record.detail) if isinstance(record, Rejection) else record


@given(FILE, st.integers(1, 300), st.integers(1, 64), st.integers(20, 200))
@settings(deadline=None, max_examples=100)
def test_pieces_of_any_size_give_the_records_of_the_whole_file(
    data: bytes, piece_bytes: int, block_bytes: int, cap: int
) -> None:
    options = SourceOptions(max_record_bytes=cap)
    usual = text_lines._BLOCK_BYTES
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.jsonl"
        path.write_bytes(data)
        packed = Path(folder) / "x.jsonl.gz"
        packed.write_bytes(gzip.compress(data))
        whole = list(open_sources([str(path)], options))
        lines = [line for _, line in text_lines.bounded_lines([data] if data else [], "x", cap)]
        assert text_lines.count_lines([data] if data else []) == len(lines)
        try:
            text_lines._BLOCK_BYTES = block_bytes
            pieces = cut_pieces([str(path)], options, piece_bytes=piece_bytes)
            found = [list(read_piece(piece, options)) for piece in pieces]
            rows = cut_pieces([str(packed)], options, piece_bytes=max(1, piece_bytes % 20))
            by_rows = [record for piece in rows for record in read_piece(piece, options)]
        finally:
            text_lines._BLOCK_BYTES = usual
    assert [without_place(record) for records in found for record in records] == [without_place(r) for r in whole]
    assert [without_place(record) for record in by_rows] == [without_place(record) for record in whole]
    starts = [0, *(at + 1 for at, byte in enumerate(data) if byte == ord("\n"))]
    cut = [
        place_start(record, starts, piece.start) for piece, part in zip(pieces, found, strict=True) for record in part
    ]
    assert cut == [place_start(record, starts, 0) for record in whole]


def place_start(record: Document | Rejection, starts: list[int], piece_start: int) -> int | None:
    """The byte that a rejected line starts at, by its place: the n-th line that starts at or after the piece's first byte."""
    if isinstance(record, Document):
        return None
    where, number = record.place.rsplit(":", 1)
    assert where.endswith(f"x.jsonl@{piece_start}" if piece_start else "x.jsonl")
    return [start for start in starts if start >= piece_start][int(number) - 1]
