"""Models whose tokens look to the right are refused when they are loaded, whatever they are called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from curator.errors import ArchitectureError, ConfigError
from curator.lm.backbone import load_backbone
from tests.lm.conftest import CONFIGS, HIDDEN, LAYERS, VOCABULARY, WIDTH, train_tiny_tokenizer

_ENCODER = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": WIDTH,
    "max_position_embeddings": 64,
}
_BIDIRECTIONAL = CONFIGS["gemma3_text"] | {"use_bidirectional_attention": True}


def _saved(folder: Path, kind: str, values: dict[str, object]) -> Path:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, vocab_size=VOCABULARY, pad_token_id=0, **values)
    AutoModel.from_config(config, dtype=torch.float32).save_pretrained(folder)
    train_tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("kind", "values"),
    [("bert", _ENCODER), ("roberta", _ENCODER), ("electra", _ENCODER), ("gemma3_text", _BIDIRECTIONAL)],
)
def test_a_model_that_looks_to_the_right_is_refused(
    kind: str, values: dict[str, object], dtype: str, tmp_path: Path
) -> None:
    with pytest.raises(ArchitectureError, match=f"'{kind}'.* is not causal"):
        load_backbone(str(_saved(tmp_path, kind, values)), dtype=dtype)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox", "gemma3_text", "opt"])
def test_a_decoder_is_taken_in_any_computing_type_and_is_left_without_hooks(
    kind: str, dtype: str, tiny_folder: Callable[[str], Path]
) -> None:
    backbone = load_backbone(str(tiny_folder(kind)), dtype=dtype)
    assert not any(module._forward_pre_hooks for module in backbone.model.modules() if isinstance(module, nn.Linear))


def test_an_mpt_model_has_windows_of_the_length_that_its_positions_are_made_for(tmp_path: Path) -> None:
    values: dict[str, object] = {"d_model": HIDDEN, "n_layers": LAYERS, "n_heads": 2, "max_seq_len": 24}
    assert load_backbone(str(_saved(tmp_path, "mpt", values))).max_tokens == 24


@pytest.mark.parametrize("device", ["meta", "mps", "mps:0"])
def test_a_device_that_cannot_compute_what_is_needed_is_refused(
    device: str, tiny_folder: Callable[[str], Path]
) -> None:
    with pytest.raises(ConfigError, match=f"The device {device} (holds no numbers|has no float64)"):
        load_backbone(str(tiny_folder("gpt2")), device=device)
