"""Parquet, Arrow folders of save_to_disk, and datasets through ``datasets``, local and offline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator.errors import ConfigError, MissingExtraError, SourceError, SourceNotFoundError
from curator.records import Document, Rejection, RejectReason
from curator.text import extras
from curator.text.pieces import cut_pieces, read_piece
from curator.text.sources import SourceOptions, open_source
from curator.text.splits import Split, split_of


@pytest.fixture(autouse=True)
def quiet_and_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def rows(count: int) -> dict[str, list[Any]]:
    return {"id": [f"r{i}" for i in range(count)], "text": [f"text {i}" for i in range(count)], "n": list(range(count))}


def summary(records: Iterator[Document | Rejection]) -> list[str]:
    return [str(record.reason) if isinstance(record, Rejection) else record.id for record in records]


def test_parquet_rows_become_documents_with_their_columns_as_metadata(tmp_path: Path) -> None:
    pq.write_table(pa.table(rows(150)), tmp_path / "x.parquet", row_group_size=40)
    found = list(open_source(str(tmp_path / "x.parquet")))
    assert found[149] == Document("r149", "text 149", metadata={"n": 149})
    assert len(found) == 150


def test_bad_parquet_rows_are_rejected_alone(tmp_path: Path) -> None:
    text = pa.array([b"fine", b"\xff\xfe", None, b" ", b"x" * 50, b"also fine"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"id": list("abcdef"), "text": text}), tmp_path / "x.parquet")
    uri = str(tmp_path / "x.parquet")
    found = list(open_source(uri, SourceOptions(max_record_bytes=20)))
    assert summary(iter(found)) == ["a", "invalid_utf8", "missing_field", "empty_text", "record_too_large", "f"]
    assert [record.place for record in found if isinstance(record, Rejection)] == [
        f"{uri}:{row}" for row in (2, 3, 4, 5)
    ]


def test_a_column_that_is_missing_or_no_text_rejects_each_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "x.parquet")
    assert summary(open_source(str(tmp_path / "x.parquet"))) == ["field_not_text"] * 2
    options = SourceOptions(text_field="content")
    assert summary(open_source(str(tmp_path / "x.parquet"), options)) == ["missing_field"] * 2


def test_a_truncated_parquet_file_is_one_rejection_and_the_next_file_is_read(tmp_path: Path) -> None:
    pq.write_table(pa.table(rows(100)), tmp_path / "b.parquet")
    (tmp_path / "a.parquet").write_bytes((tmp_path / "b.parquet").read_bytes()[:-20])
    found = list(open_source(str(tmp_path)))
    assert isinstance(found[0], Rejection)
    assert (found[0].place, found[0].reason) == (str(tmp_path / "a.parquet"), RejectReason.STREAM_TRUNCATED)
    assert len(found) == 101


def test_a_damaged_parquet_page_rejects_the_rest_of_its_row_group_alone(tmp_path: Path) -> None:
    pq.write_table(pa.table(rows(500)), tmp_path / "x.parquet", row_group_size=100, compression="zstd")
    data = bytearray((tmp_path / "x.parquet").read_bytes())
    start = pq.ParquetFile(tmp_path / "x.parquet").metadata.row_group(3).column(1).dictionary_page_offset
    data[start + 20 : start + 60] = bytes(40)
    (tmp_path / "x.parquet").write_bytes(bytes(data))
    found = list(open_source(str(tmp_path / "x.parquet")))
    (at,) = (index for index, record in enumerate(found) if isinstance(record, Rejection))
    assert 300 <= at < 400
    assert summary(iter(found[:at])) == [f"r{i}" for i in range(at)]
    assert summary(iter(found[at:])) == ["stream_truncated", *(f"r{i}" for i in range(400, 500))]
    rejection = found[at]
    assert isinstance(rejection, Rejection)
    assert rejection.place == f"{tmp_path}/x.parquet:{at + 1}"


def test_a_save_to_disk_folder_opens_by_itself_and_inside_a_folder(tmp_path: Path) -> None:
    datasets.Dataset.from_dict(rows(130)).with_format("numpy").save_to_disk(tmp_path / "all" / "saved")
    found = list(open_source(str(tmp_path / "all" / "saved")))
    assert found[129] == Document("r129", "text 129", metadata={"n": 129})
    assert list(open_source(str(tmp_path / "all"))) == found
    assert list(open_source(str(tmp_path / "*" / "saved"))) == found


def test_a_saved_dataset_dict_gives_all_its_splits_by_name(tmp_path: Path) -> None:
    parts = {
        name: datasets.Dataset.from_dict({"id": [name], "text": [text]}) for name, text in (("b", "x"), ("a", " "))
    }
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    found = list(open_source(str(tmp_path / "saved")))
    assert summary(iter(found)) == ["empty_text", "b"]
    assert isinstance(found[0], Rejection)
    assert found[0].place == f"{tmp_path}/saved/a:1"


@pytest.fixture
def saved(tmp_path: Path) -> str:
    parts = {
        name: datasets.Dataset.from_dict({"id": [f"{name}{i}" for i in range(20)], "text": ["x"] * 20})
        for name in ("train", "validation")
    }
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    return str(tmp_path / "saved")


@pytest.mark.parametrize("name", ["train", "validation"])
def test_a_split_of_a_saved_dataset_dict_is_the_saved_one_whole_and_in_pieces(saved: str, name: str) -> None:
    wanted = [f"{name}{i}" for i in range(20)]
    assert summary(open_source(f"{saved}?split={name}")) == wanted
    pieces = cut_pieces([f"{saved}?split={name}"], SourceOptions())
    assert {piece.uri for piece in pieces} == {f"{saved}/{name}"}
    assert [row for piece in pieces for row in summary(read_piece(piece, SourceOptions()))] == wanted


@pytest.mark.parametrize("split", ["", "split=train&"])
def test_a_part_by_hash_is_taken_of_all_or_of_one_saved_split(saved: str, split: str) -> None:
    names = [f"{name}{i}" for name in ("train", *([] if split else ["validation"])) for i in range(20)]
    wanted = [name for name in names if split_of(name) is Split.POOL]
    uri = f"{saved}?{split}part=pool"
    assert summary(open_source(uri)) == wanted != []
    pieces = cut_pieces([uri], SourceOptions())
    assert [row for piece in pieces for row in summary(read_piece(piece, SourceOptions()))] == wanted


def test_a_split_that_was_not_saved_is_refused_with_those_that_were(saved: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no saved split 'pool'; choose \?split= of: train, validation, or \?part="):
        open_source(f"{saved}?split=pool")
    datasets.Dataset.from_dict(rows(3)).save_to_disk(tmp_path / "one")
    with pytest.raises(ConfigError, match="choose one of: train, pool, test"):
        open_source(f"{tmp_path}/one?split=validation")
    assert summary(open_source(f"{tmp_path}/one?split=pool")) == summary(open_source(f"{tmp_path}/one?part=pool"))


def test_a_part_by_hash_is_taken_of_a_hub_dataset(tmp_path: Path) -> None:
    lines = [json.dumps({"id": f"r{i}", "text": "x"}) for i in range(20)]
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "train.jsonl").write_text("\n".join(lines))
    uri = f"hf:{tmp_path}/hub?part=pool"
    assert summary(open_source(uri)) == [f"r{i}" for i in range(20) if split_of(f"r{i}") is Split.POOL]
    (piece,) = cut_pieces([uri], SourceOptions())
    assert list(read_piece(piece, SourceOptions())) == list(open_source(uri))


def test_an_incomplete_save_to_disk_folder_is_a_source_error(tmp_path: Path) -> None:
    datasets.Dataset.from_dict(rows(3)).save_to_disk(tmp_path / "saved")
    next((tmp_path / "saved").glob("*.arrow")).unlink()
    with pytest.raises(SourceError, match="save it again"):
        list(open_source(str(tmp_path / "saved")))


def test_hf_streams_a_local_folder_of_jsonl(tmp_path: Path) -> None:
    folder = tmp_path / "local"
    folder.mkdir()
    lines = [{"id": "a", "text": "one", "k": 1}, {"id": "b", "text": "", "k": 2}]
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "test.jsonl").write_text(json.dumps({"id": "c", "text": "three", "k": 3}) + "\n")
    found = list(open_source(f"hf:{folder}"))
    assert found == [Document("a", "one", metadata={"k": 1}), Rejection(f"hf:{folder}:2", RejectReason.EMPTY_TEXT)]
    assert summary(open_source(f"hf:{folder}?split=test")) == ["c"]
    with pytest.raises(ConfigError, match="cannot be opened"):
        list(open_source(f"hf:{folder}?split=absent"))


def test_hf_passes_config_split_and_revision_on_and_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def load_dataset(path: str, **options: Any) -> Iterator[dict[str, str]]:
        asked.update(options, path=path)
        return iter([{"text": "hello"}])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    (document,) = open_source("hf:org/name?config=en&split=validation&revision=abc123")
    assert asked == {"path": "org/name", "name": "en", "split": "validation", "revision": "abc123", "streaming": True}
    assert isinstance(document, Document)
    assert document.id.startswith("name-")


def test_a_dataset_that_is_not_in_reach_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match="HF_HUB_OFFLINE"):
        open_source("hf:no-such-organisation/no-such-dataset")
    with pytest.raises(SourceNotFoundError):
        open_source(f"hf:{tmp_path}/absent")


def test_a_stream_that_breaks_off_is_a_source_error_with_its_position(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[dict[str, str]]:
        yield {"text": "one"}
        raise ConnectionError("reset by peer")

    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: broken())
    records = open_source("hf:org/name")
    assert isinstance(next(records), Document)
    with pytest.raises(SourceError, match="broke off after 1 records: reset by peer"):
        next(records)


def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(pa.table(rows(1)), tmp_path / "x.parquet")

    def absent(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(extras.importlib, "import_module", absent)
    for uri in (str(tmp_path / "x.parquet"), "hf:org/name", "s3://bucket/x.jsonl"):
        with pytest.raises(MissingExtraError, match=r"pip install 'rosetta-curator\[engine\]'"):
            list(open_source(uri))
