"""Arrays in one safetensors file, through memory maps: ordinary files, whole or refused, and room made beforehand."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from curator.errors import ArtifactError, StorageError
from curator.tensorfile import create_tensors, flush, open_tensors, read_metadata, total_bytes

SPECS = {"a": (np.float32, (3, 5)), "flags": (np.bool_, (7,)), "b": (np.float64, (2, 2, 2)), "none": (np.int64, (0, 4))}


def test_what_is_written_in_place_is_an_ordinary_safetensors_file(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    arrays = create_tensors(path, SPECS, {"counts": "7"})
    arrays["a"][1:] = np.arange(10).reshape(2, 5)
    arrays["flags"][::2] = True
    flush(arrays)
    for found in (open_tensors(path), load_file(path)):
        assert found.keys() == SPECS.keys()
        for name, (dtype, shape) in SPECS.items():
            assert found[name].dtype == dtype
            assert found[name].shape == shape
            np.testing.assert_array_equal(found[name], arrays[name])
    assert read_metadata(path) == {"counts": "7"}
    assert path.stat().st_size > total_bytes(SPECS)


@settings(deadline=None, max_examples=50)
@given(
    shapes=st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=3), min_size=1, max_size=5),
    kinds=st.lists(st.sampled_from([np.float16, np.float32, np.float64, np.int32, np.bool_]), min_size=5, max_size=5),
)
def test_any_shapes_and_types_survive(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[list[int]], kinds: list[type]
) -> None:
    path = tmp_path_factory.mktemp("tensors") / "x"
    specs = {f"t{i}": (kind, tuple(shape)) for i, (shape, kind) in enumerate(zip(shapes, kinds, strict=False))}
    written = create_tensors(path, specs)
    for number, array in enumerate(written.values()):
        array[...] = number + 1
    flush(written)
    loaded = load_file(path)
    for name, array in written.items():
        np.testing.assert_array_equal(loaded[name], array)


def test_views_are_read_only_unless_asked_for(tmp_path: Path) -> None:
    create_tensors(tmp_path / "x", SPECS)
    with pytest.raises(ValueError, match="read-only"):
        open_tensors(tmp_path / "x")["a"][0] = 1
    open_tensors(tmp_path / "x", writable=True)["a"][0] = 4
    assert open_tensors(tmp_path / "x")["a"][0, 0] == 4


@pytest.mark.parametrize("keep", [0, 4, 8, 60, -1])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "x"
    create_tensors(path, SPECS)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ArtifactError, match="no complete safetensors"):
        open_tensors(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError):
        open_tensors(tmp_path / "x")


def test_a_disk_without_room_is_an_error_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StorageError, match="free space there or name another folder"):
        create_tensors(tmp_path / "x", SPECS)
