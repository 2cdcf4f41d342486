"""Sources behind fsspec addresses read like local ones, in every format, whole and in pieces; failures name the file."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import datasets
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from fsspec.implementations.memory import MemoryFileSystem

from curator.errors import ConfigError, MissingExtraError, SourceError, SourceNotFoundError
from curator.records import Document, Rejection
from curator.text.content import content_of
from curator.text.pieces import Piece, cut_pieces, piece_is_current, read_piece
from curator.text.places import find_places, place_at
from curator.text.sources import SourceOptions, open_source, open_sources
from curator.text.uris import parse_uri

OPTIONS = SourceOptions()


class FaultyFileSystem(MemoryFileSystem):
    """A store in memory that fails on request, the way a network does: with its own kind of error."""

    protocol = "faulty"
    store: dict[str, Any] = {}  # noqa: RUF012 - as in the base class
    trouble: Exception | None = None

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return MemoryFileSystem._strip_protocol(path.removeprefix("faulty:"))

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        file = super()._open(path, mode, **kwargs)
        return file if self.trouble is None or mode != "rb" else _Broken(file.getvalue(), self.trouble)


class _Broken(io.BytesIO):
    def __init__(self, data: bytes, trouble: Exception) -> None:
        super().__init__(data)
        self.trouble = trouble

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= 10:
            raise self.trouble
        return super().read(10)


@pytest.fixture(autouse=True)
def empty_memory_and_no_bars(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    fsspec.register_implementation("faulty", FaultyFileSystem, clobber=True)
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr(MemoryFileSystem, "pseudo_dirs", [""])
    monkeypatch.setattr(FaultyFileSystem, "store", {})
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def lines(count: int) -> bytes:
    return b"".join(json.dumps({"text": f"text {i}", "source": f"book {i % 5}"}).encode() + b"\n" for i in range(count))


def parquet(count: int) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": [f"text {i}" for i in range(count)]}), sink, row_group_size=100)
    return sink.getvalue()


def put(files: dict[str, bytes], protocol: str = "memory") -> None:
    fsspec.filesystem(protocol).pipe({f"/{name}": data for name, data in files.items()})


FILES = {
    "pool/a.jsonl": lines(60) + b"broken\n",
    "pool/b.jsonl.gz": gzip.compress(lines(500)),
    "pool/c.jsonl.zst": zstandard.ZstdCompressor().compress(lines(500)),
    "pool/d.parquet": parquet(1000),
    "pool/.hidden.jsonl": b"no",
    "pool/README.md": b"no",
    "pool/deep/e.jsonl": lines(3),
}


def local_uri(path: Path) -> str:
    return f"local://{path}"


def test_a_remote_folder_reads_like_the_same_folder_here_whole_and_in_pieces(tmp_path: Path) -> None:
    put(FILES)
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    here = list(open_source(str(tmp_path / "pool")))
    assert sum(isinstance(record, Document) for record in here) == 2060
    for uri in ("memory://pool", "memory://pool/", "memory:///pool", local_uri(tmp_path / "pool"), "memory://pool/?.*"):
        found = list(open_source(uri))
        assert [r for r in found if isinstance(r, Document)] == [r for r in here if isinstance(r, Document)]
        pieces = cut_pieces([uri], OPTIONS, piece_bytes=300)
        kinds = [piece.kind for piece in pieces]
        assert kinds.count("bytes") > 5
        assert kinds.count("rows") > 10  # ten row groups, and runs of lines
        in_pieces = [record for piece in pieces for record in read_piece(piece, OPTIONS)]
        assert [r for r in in_pieces if isinstance(r, Document)] == [r for r in found if isinstance(r, Document)]
        assert all(piece_is_current(piece) for piece in pieces)


def test_remote_globs_splits_and_places(tmp_path: Path) -> None:
    put(FILES)
    assert [str(place) for place in find_places(parse_uri("memory://pool/**/*.jsonl"))] == [
        "memory://pool/a.jsonl",
        "memory://pool/deep/e.jsonl",
    ]
    parts = [list(open_source(f"memory://pool/a.jsonl?split={split}")) for split in ("train", "pool", "test")]
    assert sum(isinstance(record, Document) for part in parts for record in part) == 60
    assert [part[-1] for part in parts] == [parts[0][-1]] * 3
    assert isinstance(parts[0][-1], Rejection)
    assert parts[0][-1].place == "memory://pool/a.jsonl:61"
    pieces = cut_pieces(["memory://pool/a.jsonl?split=pool"], OPTIONS, piece_bytes=500)
    assert [record for piece in pieces for record in read_piece(piece, OPTIONS) if isinstance(record, Document)] == [
        record for record in parts[1] if isinstance(record, Document)
    ]
    assert isinstance(next(open_sources(["memory://pool/a.jsonl"])), Document)


@pytest.mark.parametrize("scheme", ["local", "memory"])
def test_remote_arrow_folders_are_one_piece_for_each_split(scheme: str, tmp_path: Path) -> None:
    parts = {name: datasets.Dataset.from_dict({"text": [name, " "]}) for name in ("train", "dev")}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "all" / "saved")
    if scheme == "memory":
        fsspec.filesystem("memory").put(str(tmp_path / "all"), "/all", recursive=True)
    root = local_uri(tmp_path / "all") if scheme == "local" else "memory://all"
    for uri in (root, f"{root}/saved"):
        pieces = cut_pieces([uri], OPTIONS)
        assert [(piece.kind, piece.uri) for piece in pieces] == [
            ("whole", f"{root}/saved/dev"),
            ("whole", f"{root}/saved/train"),
        ]
        found = [record for piece in pieces for record in read_piece(piece, OPTIONS)]
        assert found == list(open_source(uri))
        assert [getattr(record, "text", None) for record in found] == ["dev", None, "train", None]


def test_what_is_not_there_or_not_read_is_said_at_once() -> None:
    put(FILES)
    for uri in ("memory://absent.jsonl", "memory://absent/", "memory://pool/*.csv", "memory://absent/*.jsonl"):
        with pytest.raises(SourceNotFoundError, match="check the address"):
            open_source(uri)
        with pytest.raises(SourceNotFoundError, match="check the address"):
            cut_pieces([uri], OPTIONS)
    with pytest.raises(ConfigError, match=r"\.jsonl\.zst.*\.parquet"):
        open_source("memory://pool/README.md")


def test_a_missing_package_is_named_when_the_source_is_opened() -> None:
    fsspec.register_implementation(
        "absentstore", "no_such_package.Files", clobber=True, errtxt="Install no_such_package to access it"
    )
    assert parse_uri("absentstore://x/y.jsonl").location == "absentstore://x/y.jsonl"
    for attempt in (open_source, lambda uri: cut_pieces([uri], OPTIONS)):
        with pytest.raises(MissingExtraError, match=r"no_such_package.*pip"):
            attempt("absentstore://x/y.jsonl")


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.jsonl.zst", "x.parquet"])
def test_a_connection_lost_while_reading_is_a_source_error_that_names_the_file_and_no_secret(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {"x.jsonl": lines(50), "x.jsonl.gz": gzip.compress(lines(50)), "x.parquet": parquet(10)}
    put({"x/" + name: data.get(name) or zstandard.ZstdCompressor().compress(lines(50))}, "faulty")
    assert len(list(open_source(f"faulty://x/{name}"))) in {10, 50}
    pieces = cut_pieces([f"faulty://x/{name}"], OPTIONS, piece_bytes=300)
    lost = RuntimeError("reset while getting https://cdn/x?Signature=hush&b=1 at last")
    monkeypatch.setattr(FaultyFileSystem, "trouble", lost)
    for records in (open_source(f"faulty://x/{name}"), read_piece(pieces[-1], OPTIONS)):
        with pytest.raises(
            SourceError, match=rf"faulty://x/{name} cannot be read \(reset while getting.* at last\)"
        ) as failure:
            list(records)
        assert "hush" not in str(failure.value)


def test_a_store_that_does_not_answer_is_a_source_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(FaultyFileSystem, "info", refuse)
    with pytest.raises(SourceError, match=r"Access Denied.*credentials"):
        cut_pieces(["faulty://x/a.jsonl"], OPTIONS)


def test_the_fingerprint_is_the_stores_checksum_before_its_time_and_a_change_shows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put({"a.jsonl": lines(3)})
    (piece,) = cut_pieces(["memory://a.jsonl"], OPTIONS)
    assert piece_is_current(piece)
    put({"a.jsonl": lines(3).replace(b"text 1", b"tixt 1")})
    assert not piece_is_current(piece)

    said: dict[str, Any] = {"name": "/a.jsonl", "size": 9, "type": "file", "ETag": '"5d41"', "LastModified": 1}
    monkeypatch.setattr(MemoryFileSystem, "info", lambda *_, **__: said)
    before = content_of(place_at(parse_uri("memory://a.jsonl")))
    said["LastModified"] = 2
    assert content_of(place_at(parse_uri("memory://a.jsonl"))) == before
    said["ETag"] = '"5d42"'
    assert content_of(place_at(parse_uri("memory://a.jsonl"))) != before


@pytest.mark.parametrize("said", [{"size": None}, {"partial": False}])
def test_a_file_without_size_or_ranges_is_one_piece(said: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    put({"a.jsonl": lines(30)})
    usual = MemoryFileSystem.info
    monkeypatch.setattr(MemoryFileSystem, "info", lambda *args, **rest: {**usual(*args, **rest), **said})
    (piece,) = cut_pieces(["memory://a.jsonl"], OPTIONS, piece_bytes=100)
    assert piece == Piece(uri="memory://a.jsonl", kind="whole", start=0, end=1, fingerprint=piece.fingerprint)
    assert len(list(read_piece(piece, OPTIONS))) == 30


def test_many_workers_read_pieces_that_travelled_as_json(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(300))
    uri = local_uri(tmp_path / "a.jsonl")
    sent = [piece.model_dump_json() for piece in cut_pieces([uri], OPTIONS, piece_bytes=1000)]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        texts = [text for part in pool.map(texts_of_piece, sent) for text in part]
    assert texts == [f"text {i}" for i in range(300)]


def texts_of_piece(sent: str) -> list[str]:
    return [
        record.text for record in read_piece(Piece.model_validate_json(sent), OPTIONS) if isinstance(record, Document)
    ]
