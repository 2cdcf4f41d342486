"""Which files a path, folder or glob stands for, and what is said of the others."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from curator.errors import ConfigError, SourceError, SourceNotFoundError
from curator.text.cutting import cuts_of
from curator.text.folders import find_files
from curator.text.places import LocalPlace
from curator.text.sources import open_source


def test_folders_and_globs_stand_for_their_readable_files_in_order(tmp_path: Path) -> None:
    for name in (
        "b.jsonl.gz",
        "a.jsonl",
        "c.parquet",
        "README.md",
        ".hidden.jsonl",
        "d.jsonl.partial-12",
        "manifest.json",
    ):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "e.ndjson.zst").touch()
    assert [path.name for path in find_files(str(tmp_path))] == ["a.jsonl", "b.jsonl.gz", "c.parquet"]
    assert [path.name for path in find_files(f"{tmp_path}/[ab].*")] == ["a.jsonl", "b.jsonl.gz"]
    assert [path.name for path in find_files(f"{tmp_path}/**/*.ndjson*")] == ["e.ndjson.zst"]


def test_a_relative_glob_is_taken_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    assert find_files("*.jsonl") == [Path("x.jsonl")]


@pytest.mark.parametrize("place", ["absent.jsonl", "absent/", "*.jsonl", "."])
def test_nothing_to_read_is_an_error(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceNotFoundError, match="check the path"):
        find_files(place)


def test_an_unknown_suffix_is_an_error_that_says_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.csv").touch()
    with pytest.raises(ConfigError, match=r"\.jsonl\.zst.*\.parquet"):
        find_files(str(tmp_path / "x.csv"))


@pytest.mark.parametrize("name", ["A.JSONL", "a.Jsonl.GZ", "a.PARQUET", "a.ndjson.ZST", "a.JSON"])
def test_suffixes_are_compared_without_case(name: str, tmp_path: Path) -> None:
    import gzip

    import pyarrow as pa
    import pyarrow.parquet as pq
    import zstandard

    path, line = tmp_path / name, b'{"id": "a", "text": "one"}\n'
    pack = {".gz": gzip.compress, ".zst": zstandard.compress}.get(path.suffix.lower(), bytes)
    if name == "a.PARQUET":
        pq.write_table(pa.table({"id": ["a"], "text": ["one"]}), path)
    else:
        path.write_bytes(pack(line))
    assert [getattr(record, "id", None) for record in open_source(str(tmp_path))] == ["a"]
    assert cuts_of(LocalPlace(path), 1 << 20)[0].kind == {"a.PARQUET": "rows"}.get(
        name, "whole" if pack is not bytes else "bytes"
    )


@pytest.mark.parametrize(
    ("text", "is_lines"),
    [
        ('{"text": "a"}\n{"text": "b"}\n', True),
        ('\ufeff\n {"text": "a"}', True),
        ('{"text": "' + "x" * (1 << 20) + '"}\n', True),
        ('[{"text": "a"}]', False),
        ('[\n  {"text": "a"}\n]', False),
        ('{\n  "text": "a"\n}', False),
        ('"text"', False),
        ("", False),
    ],
)
def test_a_json_file_is_read_where_each_line_is_a_record_and_else_refused_with_how_to_convert_it(
    text: str, is_lines: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    if is_lines:
        assert find_files(str(path)) == find_files(str(tmp_path)) == [path]
        return
    with pytest.raises(ConfigError, match=r"one record a line; convert it, as by: jq .* > .*x\.jsonl"):
        find_files(str(path))
    with pytest.raises(SourceNotFoundError, match=r"only \.json; .* where each line is a record"):
        find_files(str(tmp_path))


def test_what_a_folder_has_besides_is_counted_in_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in (
        "a.jsonl",
        "b.csv",
        "c.txt",
        "d.txt",
        "README.md",
        "LICENSE",
        ".hidden",
        "e.jsonl.partial-1",
        "manifest.json",
    ):
        (tmp_path / name).touch()
    with caplog.at_level(logging.WARNING):
        find_files(str(tmp_path))
        assert caplog.messages == [
            f"{tmp_path}: 3 files or folders that are not read are passed over: b.csv, c.txt, d.txt"
        ]
        (tmp_path / "sub").mkdir()
        find_files(str(tmp_path))
        assert caplog.messages[1].endswith("b.csv, c.txt, d.txt and 1 more")
        find_files(f"{tmp_path}/*.jsonl")
    assert len(caplog.messages) == 2


def test_a_folder_without_text_says_what_is_in_it_and_how_its_folders_are_named(tmp_path: Path) -> None:
    for name in ("b.csv", "c.txt", "d.txt"):
        (tmp_path / name).touch()
    with pytest.raises(
        SourceNotFoundError, match=r"only \.csv, \.txt; check the path: read are \.jsonl, .*\.parquet\.$"
    ):
        find_files(str(tmp_path))
    (tmp_path / "sub").mkdir()
    with pytest.raises(SourceNotFoundError, match=r"\.txt, folders; .* named by a glob, '.*/\*\*/\*\.jsonl'"):
        find_files(str(tmp_path))


def test_the_output_of_a_filter_is_no_source_but_what_it_kept_is(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    for name in ("kept/kept-00000.jsonl.zst", "decisions.parquet", "unreadable.jsonl", "manifest.json"):
        (tmp_path / name).write_text(json.dumps({}))
    with pytest.raises(ConfigError, match=rf"output of a filter; .* kept: {tmp_path}/kept"):
        find_files(str(tmp_path))
    assert [path.name for path in find_files(str(tmp_path / "kept"))] == ["kept-00000.jsonl.zst"]


def test_a_name_that_is_too_long_for_a_path_is_one_sentence() -> None:
    with pytest.raises(SourceNotFoundError, match=r"x\.\.\., a name that is too long; check the path") as refused:
        find_files("x" * 5_000)
    assert len(str(refused.value)) < 200


def test_a_folder_that_may_not_be_looked_at_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(SourceError, match=r"cannot be looked at .Permission denied."):
        find_files(str(tmp_path))


def test_what_a_client_has_filtered_is_a_source_without_the_names_of_what_it_could_not_send(tmp_path: Path) -> None:
    for name in ("kept-0000000001.jsonl.zst", "manifest.json", "README.md", "unreadable.jsonl", "refused.jsonl"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in find_files(str(tmp_path))] == ["kept-0000000001.jsonl.zst"]
    (tmp_path / "manifest.json").unlink()
    assert len(find_files(str(tmp_path))) == 3, "names that mean nothing elsewhere"


def test_of_a_filter_s_kept_folder_one_format_is_read_for_each_holds_the_same_documents(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    for name in ("kept-00000.jsonl.zst", "kept-00000.parquet"):
        (kept / name).write_bytes(b"")
    assert len(find_files(str(kept))) == 2
    for name in ("manifest.json", "decisions.parquet"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in find_files(str(kept))] == ["kept-00000.jsonl.zst"]
