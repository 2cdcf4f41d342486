"""Loading: weights equal to the causal model's, revisions and fingerprints, and one clear sentence for every failure."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from curator.errors import ArchitectureError, ConfigError, ModelError, ModelNotFoundError
from curator.lm.backbone import load_backbone, model_shape
from curator.lm.families import FAMILIES
from curator.lm.weights import model_folder

KINDS = sorted(set(FAMILIES) - {"gemma3"})


@pytest.fixture
def copy_of(tiny_folder: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    return lambda kind: Path(shutil.copytree(tiny_folder(kind), tmp_path / kind))


@pytest.mark.parametrize("kind", KINDS)
def test_the_loaded_weights_are_those_of_the_causal_model(kind: str, tiny_folder: Callable[[str], Path]) -> None:
    backbone = load_backbone(str(tiny_folder(kind)), device="cpu")
    expected = AutoModelForCausalLM.from_pretrained(tiny_folder(kind), dtype=torch.float32).base_model.state_dict()
    actual = backbone.model.state_dict()
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[name], expected[name]) for name in expected)
    assert backbone.model.get_output_embeddings() is None
    assert not backbone.model.training
    assert not any(parameter.requires_grad for parameter in backbone.model.parameters())


def test_loading_is_silent(
    tiny_folder: Callable[[str], Path], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger("transformers").propagate = True
    try:
        load_backbone(str(tiny_folder("gpt_neox")), device="cpu")
    finally:
        logging.getLogger("transformers").propagate = False
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert capfd.readouterr() == ("", "")


def test_a_backbone_knows_its_model(tiny_folder: Callable[[str], Path]) -> None:
    backbone = load_backbone(str(tiny_folder("llama")), device="cpu")
    assert (backbone.hidden_size, backbone.neurons, backbone.gated) == (32, 160, True)
    assert backbone.max_tokens == 48  # the tokenizer's limit, below the model's 64 positions
    assert backbone.start_tokens == (0,)
    assert (backbone.device, backbone.dtype) == (torch.device("cpu"), torch.float32)


def test_the_window_is_capped(tiny_folder: Callable[[str], Path]) -> None:
    assert load_backbone(str(tiny_folder("gpt2")), device="cpu", max_tokens=20).max_tokens == 20


def test_weights_stored_in_half_precision_are_computed_in_float32_on_a_cpu(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("opt")
    weights = load_file(folder / "model.safetensors")
    save_file({name: value.half() for name, value in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text()) | {"dtype": "float16"}
    (folder / "config.json").write_text(json.dumps(config))
    backbone = load_backbone(str(folder), device="cpu")
    assert {parameter.dtype for parameter in backbone.model.parameters()} == {torch.float32}


def test_a_chosen_type_is_used(tiny_folder: Callable[[str], Path]) -> None:
    backbone = load_backbone(str(tiny_folder("gpt2")), device="cpu", dtype="bfloat16")
    assert {parameter.dtype for parameter in backbone.model.parameters()} == {torch.bfloat16}


def test_fingerprints_ignore_what_saving_again_changes(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("gpt2")
    first = load_backbone(str(folder), device="cpu")
    config = json.loads((folder / "config.json").read_text())
    config |= {"transformers_version": "0.0", "_name_or_path": "elsewhere"}
    (folder / "config.json").write_text(json.dumps(config, indent=8))
    second = load_backbone(str(folder), device="cpu", dtype="bfloat16")
    assert (first.fingerprint, first.revision) == (second.fingerprint, second.revision)


def test_one_changed_weight_changes_fingerprint_and_revision(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("gpt2")
    first = load_backbone(str(folder), device="cpu")
    weights = load_file(folder / "model.safetensors")
    weights["transformer.ln_f.bias"][0] += 1
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    second = load_backbone(str(folder), device="cpu")
    assert first.fingerprint != second.fingerprint
    assert first.revision != second.revision
    assert first.tokenizer_fingerprint == second.tokenizer_fingerprint


def test_a_changed_configuration_changes_the_fingerprint_alone(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("gpt2")
    first = load_backbone(str(folder), device="cpu")
    config = json.loads((folder / "config.json").read_text()) | {"layer_norm_epsilon": 1e-3}
    (folder / "config.json").write_text(json.dumps(config))
    second = load_backbone(str(folder), device="cpu")
    assert first.fingerprint != second.fingerprint
    assert first.revision == second.revision


def test_a_tokenizer_that_was_used_with_truncation_keeps_its_fingerprint(tiny_folder: Callable[[str], Path]) -> None:
    first = load_backbone(str(tiny_folder("gpt2")), device="cpu")
    first.tokenizer(["some text"], truncation=True, max_length=3)
    assert first.tokenizer_fingerprint != load_backbone(str(tiny_folder("llama")), device="cpu").tokenizer_fingerprint
    from curator.lm.backbone import tokenizer_fingerprint

    assert tokenizer_fingerprint(first.tokenizer) == first.tokenizer_fingerprint


def test_sharded_weights_load_and_every_shard_counts(tiny_folder: Callable[[str], Path], tmp_path: Path) -> None:
    whole = AutoModelForCausalLM.from_pretrained(tiny_folder("gpt_neox"))
    whole.save_pretrained(tmp_path, max_shard_size="40KB")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_folder("gpt_neox") / name, tmp_path)
    shards = sorted(tmp_path.glob("*.safetensors"))
    assert len(shards) > 1
    first = load_backbone(str(tmp_path), device="cpu")
    last = load_file(shards[-1])
    next(iter(last.values())).view(-1)[0] += 1
    save_file(last, shards[-1], {"format": "pt"})
    assert load_backbone(str(tmp_path), device="cpu").fingerprint != first.fingerprint
    shards[0].unlink()
    with pytest.raises(ModelError, match="lacks 1 of"):
        load_backbone(str(tmp_path), device="cpu")


def test_a_missing_weight_is_an_error_not_a_random_number(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("gpt2")
    weights = load_file(folder / "model.safetensors")
    del weights["transformer.h.1.mlp.c_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"do not fit its configuration: 1 are missing .* h\.1\.mlp\.c_proj\.weight"):
        load_backbone(str(folder), device="cpu")


def test_pickled_weights_are_not_read(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("gpt2")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"only pickled \.bin weights; convert it"):
        load_backbone(str(folder), device="cpu")


def test_truncated_weights_are_one_sentence(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("gpt2")
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match="could not be loaded") as caught:
        load_backbone(str(folder), device="cpu")
    assert "\n" not in str(caught.value)


def test_code_from_a_model_repository_is_never_run(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("gpt2")
    marker = folder / "ran"
    (folder / "modeling_x.py").write_text(f"open({str(marker)!r}, 'w')\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "unheard_of", "auto_map": {"AutoModel": "modeling_x.X", "AutoConfig": "modeling_x.X"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ArchitectureError, match="never run"):
        load_backbone(str(folder), device="cpu")
    assert not marker.exists()


def test_a_tokenizer_of_another_model_is_refused(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("gpt2")
    config = json.loads((folder / "config.json").read_text()) | {"vocab_size": 100}
    weights = load_file(folder / "model.safetensors")
    for name in ("transformer.wte.weight", "lm_head.weight"):
        weights[name] = weights[name][:100].clone()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="do not belong together"):
        load_backbone(str(folder), device="cpu")


def test_a_model_without_a_tokenizer_is_one_sentence(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("gpt2")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ModelError, match="without a tokenizer"):
        load_backbone(str(folder), device="cpu")


def test_a_slow_tokenizer_is_refused(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("gpt2")
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps({"<unk>": 0, "a</w>": 1}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CTRLTokenizer"}))
    with pytest.raises(ModelError, match="slow tokenizer"):
        load_backbone(str(folder), device="cpu")


def test_a_hub_name_that_is_not_cached_says_that_offline_mode_is_on(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="offline mode is on") as caught:
        load_backbone("nobody/no-such-model", cache_dir=tmp_path, local_files_only=True, device="cpu")
    assert "\n" not in str(caught.value)


def test_a_cached_hub_model_has_its_commit_as_revision_and_the_folder_s_fingerprint(
    tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    commit, root = "0123456789abcdef0123456789abcdef01234567", tmp_path / "models--some--model"
    shutil.copytree(tiny_folder("gpt2"), root / "snapshots" / commit)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(commit)
    cached = load_backbone("some/model", cache_dir=tmp_path, local_files_only=True, device="cpu")
    local = load_backbone(str(tiny_folder("gpt2")), device="cpu")
    assert cached.revision == commit
    assert (cached.fingerprint, cached.tokenizer_fingerprint) == (local.fingerprint, local.tokenizer_fingerprint)


@pytest.mark.parametrize("name", ["./no/such/folder", "/nowhere/at/all", "zoo:neox-32x2", "a/b/c", "..", ""])
def test_what_is_neither_folder_nor_hub_name_is_not_found(name: str) -> None:
    with pytest.raises(ModelNotFoundError):
        model_folder(name, local_files_only=True)


def test_a_folder_has_no_revision(tiny_folder: Callable[[str], Path]) -> None:
    with pytest.raises(ModelError, match="no revisions"):
        load_backbone(str(tiny_folder("gpt2")), revision="main", device="cpu")


@pytest.mark.parametrize("choice", [{"device": "abacus"}, {"dtype": "int4"}, {"dtype": ""}])
def test_an_unknown_device_or_type_is_a_configuration_error(choice: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        load_backbone("irrelevant", **choice)


@pytest.mark.parametrize("kind", ["gpt2", "opt", "llama", "phi3"])
def test_the_shape_is_known_without_reading_weights(kind: str, copy_of: Callable[[str], Path]) -> None:
    folder = copy_of(kind)
    backbone = load_backbone(str(folder), device="cpu")
    (folder / "model.safetensors").unlink()
    shape = model_shape(str(folder))
    assert shape.widths == tuple(site.width for site in backbone.sites)
    assert (shape.hidden_size, shape.gated) == (backbone.hidden_size, backbone.gated)
    assert shape.parameters == sum(parameter.numel() for parameter in backbone.model.parameters())
