"""The weights that ship with the package: all of them, small, safe to load, and the anchors better the larger they are."""

import json
from itertools import pairwise

import pytest
from safetensors import safe_open

from curator.scaling.points import Study
from curator.zoo.catalog import WEIGHTS, bundled_models, training_log, zoo_path
from curator.zoo.recipe import TOKEN_BUDGET, zoo_model, zoo_models

ALL = [model.name for model in zoo_models()]


def test_every_model_of_the_recipe_is_there() -> None:
    assert bundled_models() == ALL


def test_weights_and_tokenizers_take_at_most_forty_megabytes() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()) <= 40_000_000


@pytest.mark.parametrize("name", ALL)
def test_a_model_is_half_precision_safetensors_with_a_card_and_a_log(name: str) -> None:
    folder = zoo_path(name)
    with safe_open(folder / "model.safetensors", framework="numpy") as tensors:
        assert {tensors.get_tensor(key).dtype.name for key in tensors.keys()} == {"float16"}  # noqa: SIM118 - no dict
    log = training_log(name)
    assert log["training_tokens"] == TOKEN_BUDGET >= 8_000_000
    assert log["seed"] == zoo_model(name).seed
    assert f"{log['held_out']['nats_per_token']:.3f} nats" in (folder / "README.md").read_text()
    assert not list(folder.glob("*.bin"))


def _bits_per_byte(family: str) -> list[float]:
    names = [model.name for model in zoo_models() if model.family.name == family]
    return [training_log(name)["held_out"]["bits_per_byte"] for name in names]


@pytest.mark.parametrize("family", ["neox", "gpt2", "opt", "llama"])
def test_the_smallest_model_of_a_family_predicts_worst(family: str) -> None:
    losses = _bits_per_byte(family)
    assert max(losses) == losses[0]
    assert len(set(losses)) == len(losses)


def test_every_larger_anchor_predicts_better() -> None:
    losses = _bits_per_byte("neox")
    assert losses == sorted(losses, reverse=True)


def test_the_bundled_study_counts_all_five_sizes_of_the_bundled_models() -> None:
    study = Study.load(WEIGHTS / "study.json")
    assert [point.label for point in study.points] == ["32x2", "64x2", "96x3", "128x4", "192x6"]
    for small, large in pairwise(study.points):
        assert large.neurons_mean > small.neurons_mean
    named = {name.removeprefix("zoo:") for name in study.model_fingerprints}
    assert named == set(bundled_models()), "all of them, the gated ones beside their size"
    assert json.dumps(study.settings)
