"""Sizes and FLOP from a configuration alone: the published counts of large models, and torch's own counter on small ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from curator.errors import ArchitectureError, ModelError, ModelNotFoundError
from curator.lm.backbone import load_backbone
from curator.lm.families import FAMILIES
from curator.lm.shape import ModelShape, model_shape, shape_of
from curator.lm.taps import tap

KINDS = sorted(set(FAMILIES) - {"gemma3"})
LARGE = {
    "pythia-12b": (
        {"model_type": "gpt_neox", "hidden_size": 5120, "num_hidden_layers": 36, "num_attention_heads": 40,
         "intermediate_size": 20480, "vocab_size": 50688, "max_position_embeddings": 2048},
        (737_280, 11_846_072_320 - 50_688 * 5120, False),
    ),
    "opt-30b": (
        {"model_type": "opt", "hidden_size": 7168, "word_embed_proj_dim": 7168, "num_hidden_layers": 48,
         "num_attention_heads": 56, "ffn_dim": 28672, "vocab_size": 50272, "max_position_embeddings": 2048},
        (1_376_256, 29_974_540_288, False),
    ),
    "qwen2.5-32b": (
        {"model_type": "qwen2", "hidden_size": 5120, "num_hidden_layers": 64, "num_attention_heads": 40,
         "num_key_value_heads": 8, "intermediate_size": 27648, "vocab_size": 152064, "tie_word_embeddings": False},
        (1_769_472, 32_763_876_352 - 152_064 * 5120, True),
    ),
}  # fmt: skip


def folder_with(config: dict[str, object], folder: Path) -> str:
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.mark.parametrize("name", LARGE)
def test_a_large_model_is_known_from_its_configuration_alone(name: str, tmp_path: Path) -> None:
    config, (neurons, parameters, gated) = LARGE[name]
    shape = model_shape(folder_with(config, tmp_path))
    assert (shape.neurons, shape.parameters, shape.gated) == (neurons, parameters, gated)
    assert len(shape.widths) == config["num_hidden_layers"]
    assert shape.attention_width == len(shape.widths) * shape.hidden_size


def test_the_arithmetic_of_pythia_12b_is_that_of_its_published_sizes(tmp_path: Path) -> None:
    shape = model_shape(folder_with(LARGE["pythia-12b"][0], tmp_path))
    layer = 12 * 5120**2  # query, key, value, output: 4 h²; the MLP: 2 * 4 h²
    assert shape.linear_weights == 36 * layer - 4 * 5120**2  # the deepest down projection is not computed
    assert shape.forward_flop(1024) == 2 * shape.linear_weights + 4 * 1024 * 36 * 5120


@pytest.mark.parametrize("kind", KINDS)
def test_the_flop_of_a_tapped_pass_are_those_that_torch_counts(kind: str, tiny_folder: Callable[[str], Path]) -> None:
    backbone = load_backbone(str(tiny_folder(kind)), device="cpu")
    backbone.model.set_attn_implementation("eager")  # torch's counter does not know the fused kernel of a CPU
    shape, tokens = shape_of(backbone.model), 24
    ids = torch.randint(1, 300, (2, tokens), generator=torch.Generator().manual_seed(1))
    with FlopCounterMode(display=False) as counter, tap(backbone) as tapped:
        tapped.run(ids)
    embedding = 2 * 16 * 32 if kind == "opt" else 0  # this OPT has embeddings of 16 and a projection to its width
    assert 2 * tokens * (shape.forward_flop(tokens) + embedding) == pytest.approx(counter.get_total_flops(), rel=0.02)


@pytest.mark.parametrize("kind", ["gpt2", "opt", "llama", "phi3", "bloom"])
def test_counts_on_the_meta_device_are_those_of_the_loaded_model(kind: str, tiny_folder: Callable[[str], Path]) -> None:
    backbone = load_backbone(str(tiny_folder(kind)), device="cpu")
    shape = model_shape(str(tiny_folder(kind)))
    assert shape == shape_of(backbone.model)
    assert shape.parameters == sum(parameter.numel() for parameter in backbone.model.parameters())
    assert shape.layer_parameters < shape.parameters


@settings(deadline=None, max_examples=50)
@given(window=st.integers(1, 10_000), more=st.integers(1, 10_000))
def test_longer_windows_cost_more_a_token_by_attention_alone(window: int, more: int) -> None:
    shape = ModelShape(32, (80, 80), False, 10_000, 4_000, 9_000, 64, 64)
    assert shape.forward_flop(window + more) - shape.forward_flop(window) == 4 * more * shape.attention_width


def test_no_tokenizer_and_no_weights_are_needed_but_a_configuration_is(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        model_shape(str(tmp_path))
    with pytest.raises(ModelNotFoundError, match="offline"):
        model_shape("nobody/no-such-model", cache_dir=tmp_path, local_files_only=True)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"model_type": "unheard_of"}, ArchitectureError),
        ({"hidden_size": "wide"}, ModelError),
        ({"hidden_size": None}, ModelError),
        ({"num_attention_heads": 0}, ModelError),
        ({"num_attention_heads": 7}, ModelError),
        ({"num_hidden_layers": 0}, ArchitectureError),
        ({"num_hidden_layers": -1}, ArchitectureError),
        ({"intermediate_size": -5}, ModelError),
        ({"hidden_act": "no_such_function"}, ModelError),
    ],
    ids=lambda value: next(iter(value)) + "=" + str(next(iter(value.values()))) if isinstance(value, dict) else "",
)
def test_a_configuration_that_contradicts_itself_is_one_sentence(
    change: dict[str, object], error: type[ModelError], tmp_path: Path
) -> None:
    sound = {"model_type": "llama", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
             "intermediate_size": 80, "vocab_size": 64}  # fmt: skip
    model_shape(folder_with(sound, tmp_path))
    with pytest.raises(error) as caught:
        model_shape(folder_with(sound | change, tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"hidden_size": 3}', '{"model_type": 7}'])
def test_a_damaged_configuration_file_is_one_sentence(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ModelError, match=r"config\.json"):
        model_shape(str(tmp_path))
