"""Untrained controls: a seed is a model, the configuration and the tokenizer are a real one's, and nothing else is touched."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from curator.lm.backbone import Backbone, load_backbone
from curator.zoo.catalog import zoo_path


@pytest.fixture
def bare(tiny_folder: Callable[[str], Path], tmp_path: Path) -> Callable[[str], str]:
    """A model's folder without its weights."""

    def folder(kind: str) -> str:
        target = Path(shutil.copytree(tiny_folder(kind), tmp_path / kind))
        (target / "model.safetensors").unlink()
        return str(target)

    return folder


def weights(backbone: Backbone) -> list[torch.Tensor]:
    return list(backbone.model.state_dict().values())


def same(first: Backbone, second: Backbone) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox", "opt", "llama"])
def test_one_seed_is_one_model_and_another_is_another(kind: str, bare: Callable[[str], str]) -> None:
    folder = bare(kind)
    first, again, other = (load_backbone(folder, untrained=seed, device="cpu") for seed in (3, 3, 4))
    assert same(first, again)
    assert not same(first, other)
    assert (first.fingerprint, first.revision) == (again.fingerprint, again.revision)
    assert first.fingerprint != other.fingerprint
    assert first.name == f"untrained:{folder}"


def test_it_is_not_the_trained_model_but_has_its_shape_and_tokenizer() -> None:
    folder = str(zoo_path("neox-32x2"))
    trained, untrained = load_backbone(folder, device="cpu"), load_backbone(folder, untrained=0, device="cpu")
    assert not same(trained, untrained)
    assert trained.fingerprint != untrained.fingerprint
    assert trained.tokenizer_fingerprint == untrained.tokenizer_fingerprint
    assert [site.width for site in trained.sites] == [site.width for site in untrained.sites]
    assert not untrained.model.training
    assert not any(parameter.requires_grad for parameter in untrained.model.parameters())


def test_the_weights_have_the_architecture_s_own_initial_spread() -> None:
    backbone = load_backbone(str(zoo_path("neox-64x2")), untrained=1, device="cpu")
    spread = backbone.model.get_input_embeddings().weight.std().item()  # pyright: ignore
    assert spread == pytest.approx(backbone.model.config.initializer_range, rel=0.05)


def test_another_computing_type_rounds_the_same_weights(bare: Callable[[str], str]) -> None:
    folder = bare("gpt2")
    full = load_backbone(folder, untrained=7, device="cpu")
    half = load_backbone(folder, untrained=7, device="cpu", dtype="bfloat16")
    assert half.fingerprint == full.fingerprint
    assert all(
        torch.equal(a.bfloat16(), b) for a, b in zip(full.model.parameters(), half.model.parameters(), strict=True)
    )


def test_the_generator_of_the_caller_is_left_as_it_was(bare: Callable[[str], str]) -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    load_backbone(bare("opt"), untrained=5, device="cpu")
    assert torch.equal(torch.rand(3), expected)


def test_the_configuration_is_part_of_what_it_is(bare: Callable[[str], str]) -> None:
    folder = bare("gpt2")
    first = load_backbone(folder, untrained=3, device="cpu")
    config = Path(folder) / "config.json"
    config.write_text(config.read_text().replace('"initializer_range": 0.02', '"initializer_range": 0.04'))
    assert load_backbone(folder, untrained=3, device="cpu").fingerprint != first.fingerprint
