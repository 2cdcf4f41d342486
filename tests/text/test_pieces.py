"""Pieces: what each kind of source is cut into, that nothing is lost between them, and that a changed source is noticed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from curator.errors import ConfigError, SourceError, SourceNotFoundError
from curator.records import Document, Rejection, RejectReason
from curator.text import sources
from curator.text.pieces import Piece, current_fingerprint, cut_pieces, piece_is_current, read_piece
from curator.text.sources import SourceOptions, open_sources

OPTIONS = SourceOptions()
Record = Document | Rejection


@pytest.fixture(autouse=True)
def quiet_and_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def lines(count: int, start: int = 0) -> bytes:
    rows = [{"text": f"text {i} é", "source": f"book {i % 7}", "n": i} for i in range(start, start + count)]
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def table(count: int) -> dict[str, list[Any]]:
    return {"text": [f"text {i}" for i in range(count)], "n": list(range(count))}


def together(pieces: list[Piece], options: SourceOptions = OPTIONS) -> list[Record]:
    return [record for piece in pieces for record in read_piece(piece, options)]


def ranges(pieces: list[Piece]) -> list[tuple[str, int, int]]:
    return [(piece.kind, piece.start, piece.end) for piece in pieces]


def assert_same_as_whole(uris: list[str], piece_bytes: int, at_least: int) -> list[Piece]:
    pieces = cut_pieces(uris, OPTIONS, piece_bytes=piece_bytes)
    assert len(pieces) >= at_least
    assert together(pieces) == list(open_sources(uris))
    assert [Piece.model_validate_json(piece.model_dump_json()) for piece in pieces] == pieces
    return pieces


def test_plain_jsonl_is_cut_by_bytes_and_every_line_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "pool.jsonl").write_bytes(lines(200))
    size = (tmp_path / "pool.jsonl").stat().st_size
    pieces = assert_same_as_whole([str(tmp_path / "pool.jsonl")], 1000, 10)
    assert ranges(pieces)[:2] == [("bytes", 0, 1000), ("bytes", 1000, 2000)]
    assert pieces[-1].end == size
    assert 500 <= pieces[-1].end - pieces[-1].start < 1500
    assert len({piece.fingerprint for piece in pieces}) == 1


def test_a_file_below_the_piece_size_and_an_empty_one_are_one_piece(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(3))
    (tmp_path / "b.jsonl").touch()
    pieces = assert_same_as_whole([str(tmp_path)], 64 << 20, 2)
    assert ranges(pieces) == [("bytes", 0, (tmp_path / "a.jsonl").stat().st_size), ("bytes", 0, 0)]


def test_places_in_later_pieces_count_the_lines_that_start_in_them(tmp_path: Path) -> None:
    path = tmp_path / "pool.jsonl"
    path.write_bytes(b'{"text": "one"}\nbroken\n{"text": "two"}\n\nbad\n{"text": "three"}\n')
    pieces = cut_pieces([str(path)], OPTIONS, piece_bytes=20)
    found = [
        [record.place for record in read_piece(piece, OPTIONS) if isinstance(record, Rejection)] for piece in pieces
    ]
    assert ranges(pieces) == [("bytes", 0, 20), ("bytes", 20, 40), ("bytes", 40, 62)]
    # byte 20 lies in "broken", which starts at 16; line starts from 20 on: 23 ("two"), 39 (blank); from 40 on: 40 ("bad")
    assert found == [[f"{path}:2"], [], [f"{path}@40:1"]]


def test_a_line_longer_than_several_pieces_is_in_the_piece_that_it_starts_in(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"text": "a"}\n{"text": "' + b"x" * (3 << 20) + b'"}\n{"text": "b"}\n')
    pieces = cut_pieces([str(path)], OPTIONS, piece_bytes=400_000)
    sizes = [
        [len(record.text) for record in read_piece(piece, OPTIONS) if isinstance(record, Document)] for piece in pieces
    ]
    assert sizes == [[1, 3 << 20], *([[]] * (len(pieces) - 2)), [1]]
    small = OPTIONS.model_copy(update={"max_record_bytes": 1000})
    assert [type(record) for record in together(pieces, small)] == [Document, Rejection, Document]


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_compressed_jsonl_is_whole_when_small_and_cut_by_lines_when_large(suffix: str, tmp_path: Path) -> None:
    data = lines(500) + b"broken\n\n" + lines(500, 500)
    packed = gzip.compress(data) if suffix == "gz" else zstandard.ZstdCompressor().compress(data)
    path = tmp_path / f"x.jsonl.{suffix}"
    path.write_bytes(packed)
    whole = cut_pieces([str(path)], OPTIONS, piece_bytes=len(packed) // 4 + 1)
    assert ranges(whole) == [("whole", 0, len(packed))]
    told: list[tuple[str, int, int]] = []
    pieces = cut_pieces([str(path)], OPTIONS, piece_bytes=len(packed) // 6, progress=lambda *step: told.append(step))
    assert told[-1] == (str(path), len(packed), len(packed))
    assert ranges(pieces)[0] == ("rows", 0, 143)
    assert pieces[-1].end == 1002
    assert [piece.start for piece in pieces[1:]] == [piece.end for piece in pieces[:-1]]
    assert together(pieces) == together(whole) == list(open_sources([str(path)]))


def test_a_truncated_gzip_file_keeps_its_one_rejection_when_it_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(lines(2000))[:-100])
    pieces = assert_same_as_whole([str(path)], 1000, 5)
    found = together(pieces)
    assert [record.reason for record in found if isinstance(record, Rejection)] == [RejectReason.STREAM_TRUNCATED]


def test_parquet_is_cut_on_row_groups_and_rows_count_from_the_start_of_the_file(tmp_path: Path) -> None:
    rows = table(1000)
    rows["text"][777] = " "
    pq.write_table(pa.table(rows), tmp_path / "x.parquet", row_group_size=100)
    group = pq.ParquetFile(tmp_path / "x.parquet").metadata.row_group(0).total_byte_size
    pieces = assert_same_as_whole([str(tmp_path / "x.parquet")], int(group * 2.5), 4)
    assert ranges(pieces)[:2] == [("rows", 0, 200), ("rows", 200, 400)]
    (rejection,) = (record for record in together(pieces) if isinstance(record, Rejection))
    assert rejection.place == f"{tmp_path}/x.parquet:778"


def test_parquet_without_rows_or_without_its_footer_is_one_piece(tmp_path: Path) -> None:
    pq.write_table(pa.table(table(10)), tmp_path / "b.parquet")
    (tmp_path / "a.parquet").write_bytes((tmp_path / "b.parquet").read_bytes()[:-20])
    pq.write_table(pa.table(table(10)).slice(0, 0), tmp_path / "c.parquet")
    pieces = assert_same_as_whole([str(tmp_path)], 10, 3)
    assert [piece.kind for piece in pieces] == ["whole", "rows", "rows"]


def test_a_damaged_row_group_costs_the_same_records_whole_and_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table(table(500)), path, row_group_size=100, compression="zstd")
    data = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(2).column(0).dictionary_page_offset
    data[start + 20 : start + 60] = bytes(40)
    path.write_bytes(bytes(data))
    pieces = assert_same_as_whole([str(path)], 1000, 5)
    assert sum(isinstance(record, Rejection) for record in together(pieces)) == 1
    assert sum(isinstance(record, Document) for record in together(pieces)) >= 400


def test_arrow_folders_and_dataset_dicts_are_cut_by_rows(tmp_path: Path) -> None:
    datasets.Dataset.from_dict(table(300)).save_to_disk(tmp_path / "one", num_shards=3)
    parts = {name: datasets.Dataset.from_dict(table(50)) for name in ("train", "dev")}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "two")
    pieces = assert_same_as_whole([str(tmp_path)], 2000, 6)
    assert {Path(piece.uri).name for piece in pieces} == {"one", "dev", "train"}
    assert {piece.kind for piece in pieces} == {"rows"}


def test_a_hub_dataset_is_one_piece_a_shard_and_ids_do_not_know_it(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for index in range(3):
        (folder / f"train-{index}.jsonl").write_bytes(lines(5, 5 * index) + b'{"text": " "}\n')
    uri = f"hf:{folder}"
    pieces = cut_pieces([uri], OPTIONS)
    assert ranges(pieces) == [("shard", 0, 3), ("shard", 1, 3), ("shard", 2, 3)]
    found, whole = together(pieces), list(open_sources([uri]))
    assert [r for r in found if isinstance(r, Document)] == [r for r in whole if isinstance(r, Document)]
    assert [r.place for r in found if isinstance(r, Rejection)] == [f"{uri}@{shard}:6" for shard in range(3)]
    assert piece_is_current(pieces[0])
    (folder / "train-3.jsonl").write_bytes(lines(1))
    assert not piece_is_current(pieces[0])
    with pytest.raises(SourceError, match="has changed"):
        read_piece(pieces[0], OPTIONS)


def test_an_embedded_domain_is_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    harvested = [Document(str(i), "text", "legal", f"source {i}") for i in range(50)]
    monkeypatch.setattr(sources, "harvest", lambda *_, **__: list(harvested))
    (piece,) = assert_same_as_whole(["env:legal?split=pool&max_chars=9"], 1, 1)
    assert piece_is_current(piece)
    harvested.append(Document("51", "new", "legal", "source 0"))
    harvested.append(Document("52", "new", "legal", "source 7"))
    harvested.extend(Document(f"x{i}", "new", "legal", f"other {i}") for i in range(20))
    assert not piece_is_current(piece)


def test_several_uris_globs_and_splits_keep_their_order(tmp_path: Path) -> None:
    for name in ("b", "a", "c?x=1"):
        (tmp_path / f"{name}.jsonl").write_bytes(lines(40))
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(lines(40)))
    uris = [f"{tmp_path}/b.jsonl?split=train", f"{tmp_path}/*.jsonl", f"{tmp_path}?split=pool"]
    pieces = assert_same_as_whole(uris, 500, 20)
    assert pieces[0].uri == f"{tmp_path}/b.jsonl?split=train"


def test_what_cannot_be_cut_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="copy it to a file"):
        cut_pieces(["-"], OPTIONS)
    with pytest.raises(ConfigError, match="at least 1"):
        cut_pieces([str(tmp_path)], OPTIONS, piece_bytes=0)
    with pytest.raises(SourceNotFoundError):
        cut_pieces([str(tmp_path / "absent.jsonl")], OPTIONS)
    datasets.Dataset.from_dict(table(3)).save_to_disk(tmp_path / "saved")
    next((tmp_path / "saved").glob("*.arrow")).unlink()
    with pytest.raises(SourceError, match=r"\.arrow"):
        cut_pieces([str(tmp_path / "saved")], OPTIONS)

    (tmp_path / "saved" / "state.json").write_text("{}")
    with pytest.raises(SourceError, match="save it again"):
        cut_pieces([str(tmp_path / "saved")], OPTIONS)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "x.jsonl").write_bytes(lines(1))
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SourceError, match="Permission denied"):
        cut_pieces([str(tmp_path / "x.jsonl")], OPTIONS)


def test_a_changed_or_missing_file_is_no_longer_current_and_known_ones_are_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(lines(10))
    (piece,) = cut_pieces([str(path)], OPTIONS)
    known: dict[str, str] = {}
    assert piece_is_current(piece, known)
    assert known == {str(path): piece.fingerprint} == {str(path): current_fingerprint(str(path))}
    path.write_bytes(lines(10).replace(b"text 3", b"tixt 3"))
    assert piece_is_current(piece, known)
    assert not piece_is_current(piece)
    path.unlink()
    assert not piece_is_current(piece)


def test_a_piece_of_a_file_that_became_shorter_is_an_error_and_not_a_loss(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(lines(100))
    pq.write_table(pa.table(table(1000)), tmp_path / "x.parquet", row_group_size=100)
    datasets.Dataset.from_dict(table(300)).save_to_disk(tmp_path / "saved")
    last = [
        cut_pieces([str(tmp_path / name)], OPTIONS, piece_bytes=1000)[-1] for name in ("x.jsonl", "x.parquet", "saved")
    ]
    (tmp_path / "x.jsonl").write_bytes(lines(50))
    pq.write_table(pa.table(table(500)), tmp_path / "x.parquet", row_group_size=100)
    datasets.Dataset.from_dict(table(30)).save_to_disk(tmp_path / "saved")
    for piece in last:
        with pytest.raises(SourceError, match="has changed since the job began"):
            list(read_piece(piece, OPTIONS))
    (tmp_path / "x.parquet").write_bytes(b"no parquet")
    with pytest.raises(SourceError, match="has changed since the job began"):
        list(read_piece(last[1], OPTIONS))
