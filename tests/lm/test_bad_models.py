"""Every way in which a model can be unusable ends in one sentence, none in a traceback of somebody else's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, normalizers
from transformers import PreTrainedTokenizerFast

from curator.errors import ModelError
from curator.lm.backbone import load_backbone


@pytest.fixture
def folder(tiny_folder: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder("llama"), tmp_path / "llama"))


def give_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)


def refused(folder: Path, untrained: int | None = None) -> str:
    with pytest.raises(ModelError) as caught:
        load_backbone(str(folder), device="cpu", untrained=untrained)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_tokenizer_that_drops_plain_text_has_no_offsets_to_give(folder: Path) -> None:
    give_tokenizer(Tokenizer(models.BPE(vocab={"z": 0, "y": 1, "zy": 2}, merges=[("z", "y")])), folder)
    assert "finds no token in plain text" in refused(folder)


def test_a_tokenizer_that_fails_on_plain_text_is_named(folder: Path) -> None:
    give_tokenizer(Tokenizer(models.WordLevel({"only-this": 0}, unk_token="<gone>")), folder)
    assert "offsets" in refused(folder)


def test_a_tokenizer_that_normalises_is_welcome(folder: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({"b": 0, "?": 1}, unk_token="?"))
    tokenizer.normalizer = normalizers.Replace("a", "b")
    give_tokenizer(tokenizer, folder)
    assert load_backbone(str(folder), device="cpu").start_tokens == ()


@pytest.mark.parametrize("content", ["{", '{"model": 7}', '{"version": "1.0", "model": {"type": "BPE", "vocab": 3}}'])
def test_a_damaged_tokenizer_file_is_one_sentence(content: str, folder: Path) -> None:
    (folder / "tokenizer.json").write_text(content)
    assert "tokenizer" in refused(folder)


@pytest.mark.parametrize("untrained", [None, 0])
@pytest.mark.parametrize(
    "change",
    [{"hidden_size": "wide"}, {"num_attention_heads": 0}, {"num_hidden_layers": 0}, {"hidden_act": "no_such_function"}],
    ids=lambda change: next(iter(change)),
)
def test_a_broken_configuration_is_one_sentence(change: dict[str, object], untrained: int | None, folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    refused(folder, untrained)


@pytest.mark.parametrize("change", [{"hidden_size": 64}, {"intermediate_size": 48}, {"num_hidden_layers": 3}])
def test_a_configuration_of_other_weights_is_one_sentence(change: dict[str, object], folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    refused(folder)
