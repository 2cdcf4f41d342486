"""Files and folders appear whole or not at all; names never leave their folder."""

from __future__ import annotations

import errno
from functools import partial
from pathlib import Path

import pytest

from curator.errors import ArtifactError, ArtifactNotFoundError, ConfigError, StorageError
from curator.files import (
    atomic_file,
    atomic_folder,
    curator_home,
    exclusive,
    inside,
    local_path,
    partial_name,
    read_json,
    remove_partials,
    storage_errors,
    write_json,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_its_name_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "new" / "x"
    with atomic_file(target) as handle:
        handle.write(b"data")
        assert not target.exists()
    assert target.read_bytes() == b"data"
    assert names(target.parent) == ["x"]


def test_an_error_inside_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), atomic_file(tmp_path / "x") as handle:
        handle.write(b"half")
        raise KeyboardInterrupt
    assert (tmp_path / "x").read_bytes() == b"old"
    assert names(tmp_path) == ["x"]


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path: Path) -> None:
    for content in ("one", "two"):
        with atomic_folder(tmp_path / "artifact") as partial:
            (partial / content).touch()
    assert names(tmp_path) == ["artifact"]
    assert names(tmp_path / "artifact") == ["two"]


def test_an_error_inside_leaves_the_old_folder(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "artifact") as partial:
        (partial / "old").touch()
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "artifact") as partial:
        (partial / "new").touch()
        raise RuntimeError
    assert names(tmp_path) == ["artifact"]
    assert names(tmp_path / "artifact") == ["old"]


def test_writers_of_one_target_with_one_process_id_share_no_partial_file(tmp_path: Path) -> None:
    """As two machines have it whose processes happen to have the same number."""
    target = tmp_path / "x"
    with atomic_file(target) as first, atomic_file(target) as second:
        first.write(b"one, which is longer")
        second.write(b"two")
        assert len(names(tmp_path)) == 2
    assert target.read_bytes() == b"one, which is longer"  # whole, of the one who came last
    assert names(tmp_path) == ["x"]


def test_writers_of_one_folder_with_one_process_id_end_with_one_whole_folder(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "artifact") as first, atomic_folder(tmp_path / "artifact") as second:
        (first / "one").touch()
        (second / "two").touch()
    assert names(tmp_path) == ["artifact"]
    assert names(tmp_path / "artifact") == ["one"]


def test_what_a_killed_process_left_is_removed_and_only_that(tmp_path: Path) -> None:
    for _ in range(2):
        partial_name(tmp_path / "x").touch()
    partial_name(tmp_path / "folder").mkdir()
    (tmp_path / "x").touch()
    assert remove_partials(tmp_path) == 3
    assert names(tmp_path) == ["x"]


def test_json_comes_back_and_nan_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"b": [1, None], "a": "é"})
    assert read_json(tmp_path / "x.json") == {"b": [1, None], "a": "é"}
    assert (tmp_path / "x.json").read_text().index('"b"') < (tmp_path / "x.json").read_text().index('"a"')
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "y.json", float("inf"))
    assert names(tmp_path) == ["x.json"]


def test_json_that_is_absent_damaged_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactNotFoundError):
        read_json(tmp_path / "absent.json")
    for content in (b"{", b"\xff"):
        (tmp_path / "x.json").write_bytes(content)
        with pytest.raises(ArtifactError, match="not valid JSON"):
            read_json(tmp_path / "x.json")
    with pytest.raises(ArtifactError, match="larger"):
        read_json(tmp_path / "x.json", max_bytes=0)


def test_a_file_that_is_no_json_is_never_said_to_be_deleted(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1\xff")
    with pytest.raises(ArtifactError, match="check the path") as refused:
        read_json(tmp_path / "x.parquet")
    assert "delete" not in str(refused.value)
    with pytest.raises(ArtifactNotFoundError):
        read_json(tmp_path / "x.parquet" / "manifest.json")


@pytest.mark.parametrize(
    ("number", "kind", "message"),
    [
        (errno.ENOSPC, StorageError, "cannot be written .*; free space there or name another folder"),
        (errno.EACCES, ConfigError, "may not be written .*: check its permissions, or name another folder"),
        (errno.EROFS, ConfigError, "may not be written .*: the disk is mounted read-only, or"),
        (errno.EIO, OSError, "why"),
    ],
)
def test_a_full_disk_and_a_place_that_may_not_be_written_are_told_apart(
    number: int, kind: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=message), storage_errors(tmp_path / "x"):
        raise OSError(number, "why")


@pytest.mark.parametrize("place", ["file/x.json", "file/deeper/x.json"])
def test_a_file_in_the_way_of_a_folder_is_told(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"x\.json may not be written .*: a part of its path is a file"):
        write_json(tmp_path / place, {})


@pytest.mark.parametrize("place", ["s3://bucket/x", "gs://bucket/x", "file:///data/x", "memory://x"])
def test_an_address_is_no_place_to_write_and_nothing_is_made_of_its_name(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for writing in (atomic_file, atomic_folder, partial(exclusive, purpose="x")):
        with (
            pytest.raises(ConfigError, match=r"cannot be written to \w+:// addresses; name a folder"),
            writing(Path(place)),
        ):
            pass
    assert names(tmp_path) == []


@pytest.mark.parametrize("place", ["s3:bucket", "x/s3:/y", "/mnt/host:/data", "c:/data", "out"])
def test_a_path_with_a_colon_in_it_is_still_a_path(place: str) -> None:
    assert local_path(Path(place)) == Path.cwd() / place


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "link/x"])
def test_a_name_that_leaves_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="leaves the folder"):
        inside(root, name)
    assert inside(root, "a/b") == root.resolve() / "a" / "b"


def test_the_home_folder_can_be_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATOR_HOME", str(tmp_path))
    assert curator_home() == tmp_path
    monkeypatch.delenv("CURATOR_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert curator_home() == tmp_path / ".cache" / "curator"
