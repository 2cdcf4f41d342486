"""A trained model becomes a folder that the catalogue lists and the loader takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import zstandard

from curator.errors import ArtifactError, ModelNotFoundError
from curator.lm.backbone import load_backbone
from curator.zoo import build, corpus, recipe, trainer
from curator.zoo.catalog import bundled_models, resolve_model, training_log, zoo_path
from curator.zoo.recipe import ZooModel, zoo_model

NAMES = ["gpt2-32x2", "llama-64x2"]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two zoo models after two steps of training on a few sentences, built by the real ``train_zoo``."""
    root = tmp_path_factory.mktemp("zoo")
    lines = [
        {
            "id": f"d{number}",
            "text": f"Sentence {number} of a small corpus. " * 12,
            "domain": "d",
            "source": f"s{number}",
        }
        for number in range(150)
    ]
    data = "\n".join(json.dumps(line) for line in lines).encode() + b"\n"
    (root / "d.jsonl.zst").write_bytes(zstandard.compress(data))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "EMBEDDED_DOMAINS", ())
        patch.setattr(trainer, "steps_in_budget", lambda: 2)
        patch.setattr(recipe, "SEQUENCES_PER_STEP", 8)
        patch.setattr(trainer, "SEQUENCES_PER_STEP", 8)
        build.train_zoo(_specs(), root, root / "out", root / "work")
    return root


def _specs() -> list[ZooModel]:
    return [trainer.smaller(zoo_model(name), 290) for name in NAMES]


def test_a_built_model_is_complete_and_leaves_no_checkpoint(zoo: Path) -> None:
    for name in NAMES:
        files = {path.name for path in (zoo / "out" / name).iterdir()}
        assert files >= {"config.json", "model.safetensors", "tokenizer.json", "README.md", "training.json"}
    assert {path.name for path in (zoo / "out").iterdir()} == set(NAMES)
    assert list((zoo / "work").iterdir()) == []


def test_a_second_run_trains_nothing_again(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "EMBEDDED_DOMAINS", ())
    before = (zoo / "out" / NAMES[0] / "training.json").read_bytes()
    monkeypatch.setattr(trainer, "train_model", lambda *_, **__: pytest.fail("trained again"))
    build.train_zoo(_specs(), zoo, zoo / "out", zoo / "work")
    assert (zoo / "out" / NAMES[0] / "training.json").read_bytes() == before


def test_the_log_says_how_a_model_came_to_be(zoo: Path) -> None:
    log = training_log("zoo:gpt2-32x2", zoo / "out")
    assert (log["name"], log["seed"], log["neurons"]) == ("gpt2-32x2", 20_032, 256)
    assert log["training_tokens"] == 2 * 8 * 128
    assert log["held_out"]["nats_per_token"] > 0
    assert [step for step, _ in log["loss_curve"]] == [2]
    assert len(log["training_corpus"]) == 64
    assert f"{log['held_out']['bits_per_byte']:.3f} bits per byte" in (zoo / "out" / NAMES[0] / "README.md").read_text()


def test_the_catalogue_lists_what_is_there_cheapest_first(zoo: Path, tmp_path: Path) -> None:
    assert bundled_models(zoo / "out") == NAMES
    (tmp_path / "neox-32x2").mkdir()  # without a log it is not finished
    (tmp_path / "stranger").mkdir()
    (tmp_path / "stranger" / "training.json").write_text("{}")
    assert bundled_models(tmp_path) == []


def test_zoo_names_become_folders_and_other_names_stay(zoo: Path) -> None:
    assert resolve_model("zoo:llama-64x2", zoo / "out") == str(zoo / "out" / "llama-64x2")
    assert zoo_path("llama-64x2", zoo / "out") == zoo / "out" / "llama-64x2"
    for name in ("EleutherAI/pythia-160m", "./folder", "llama-64x2"):
        assert resolve_model(name, zoo / "out") == name


@pytest.mark.parametrize("name", ["zoo:neox-999x9", "zoo:", "zoo:../out/gpt2-32x2", "zoo:neox-32x2"])
def test_a_zoo_name_that_is_not_there_lists_those_that_are(name: str, zoo: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="it has gpt2-32x2, llama-64x2"):
        resolve_model(name, zoo / "out")


def test_a_damaged_log_is_an_artifact_error(zoo: Path, tmp_path: Path) -> None:
    (tmp_path / "gpt2-32x2").mkdir()
    (tmp_path / "gpt2-32x2" / "training.json").write_text("{")
    with pytest.raises(ArtifactError):
        training_log("gpt2-32x2", tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_zoo_model_loads_offline_and_computes_in_float32(name: str, zoo: Path) -> None:
    backbone = load_backbone(resolve_model(f"zoo:{name}", zoo / "out"), device="cpu", local_files_only=True)
    assert backbone.neurons == zoo_model(name).neurons
    assert backbone.gated is name.startswith("llama")
    assert backbone.max_tokens == 128
    assert backbone.start_tokens == ((0,) if zoo_model(name).family.starts_with_bos else ())
    assert {parameter.dtype for parameter in backbone.model.parameters()} == {torch.float32}
