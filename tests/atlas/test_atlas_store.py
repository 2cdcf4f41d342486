"""An atlas on disk: the same after a round trip, refused when anything in it was changed."""

import json
from pathlib import Path

import numpy as np
import pytest

from curator.atlas.store import load_atlas, save_atlas
from curator.errors import ArtifactError, ArtifactNotFoundError
from curator.records import NeuronId
from tests.atlas.core_world import make_atlas


@pytest.fixture
def folder(world: Path, tmp_path: Path) -> Path:
    save_atlas(make_atlas("gpt2", world), tmp_path / "atlas")
    return tmp_path / "atlas"


def test_a_round_trip_changes_nothing(world: Path, folder: Path) -> None:
    atlas, loaded = make_atlas("gpt2", world), load_atlas(folder)
    assert loaded.manifest == atlas.manifest
    assert loaded.fingerprint == atlas.fingerprint
    assert loaded.arrays.keys() == atlas.arrays.keys()
    for name, array in atlas.arrays.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)


def test_neurons_are_named_by_layer_and_unit(world: Path) -> None:
    atlas = make_atlas("gpt2", world)
    assert atlas.neurons == 96
    assert atlas.neuron(48) == NeuronId(1, 0)
    assert [atlas.index(atlas.neuron(index)) for index in range(96)] == list(range(96))


def test_no_atlas_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(ArtifactNotFoundError, match="curator atlas build"):
        load_atlas(tmp_path / "nothing")


def test_one_changed_byte_of_the_numbers_is_refused(folder: Path) -> None:
    tensors = folder / "atlas.safetensors"
    data = bytearray(tensors.read_bytes())
    data[-10] ^= 1
    tensors.write_bytes(data)
    with pytest.raises(ArtifactError, match="do not match"):
        load_atlas(folder)


def test_truncated_or_lost_numbers_are_refused_even_unverified(folder: Path) -> None:
    tensors = folder / "atlas.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:100])
    with pytest.raises(ArtifactError):
        load_atlas(folder, verify=False)
    tensors.unlink()
    with pytest.raises(ArtifactError):
        load_atlas(folder)


@pytest.mark.parametrize(("field", "value"), [("probe_fingerprint", "0" * 64), ("format", "other"), ("spans", 3)])
def test_a_changed_manifest_is_refused(folder: Path, field: str, value: object) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {field: value}))
    with pytest.raises(ArtifactError):
        load_atlas(folder)


def test_a_manifest_that_is_not_an_object_is_refused(folder: Path) -> None:
    (folder / "manifest.json").write_text("[]")
    with pytest.raises(ArtifactError):
        load_atlas(folder)
