"""Locating MLP neurons: the table, the structural search, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from curator.errors import ArchitectureError
from curator.lm import families
from curator.lm.families import FAMILIES, locate_mlps

KINDS = [
    "gpt2", "gpt_bigcode", "gpt_neo", "gptj", "codegen", "gpt_neox", "opt", "llama", "mistral", "qwen2", "qwen3", "gemma",
    "gemma2", "gemma3_text", "phi", "phi3", "glm", "glm4", "olmo", "olmo2", "granite", "cohere", "smollm3", "stablelm",
    "nemotron", "starcoder2", "falcon", "bloom", "mpt", "cohere2", "olmo3", "exaone4", "helium", "granite_swa", "ministral3",
    "seed_oss",
]  # fmt: skip
GATED = {
    "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3", "glm", "glm4", "olmo", "olmo2",
    "granite", "cohere", "smollm3", "stablelm", "cohere2", "olmo3", "exaone4", "helium", "granite_swa", "ministral3",
    "seed_oss",
}  # fmt: skip
FUSED = {"phi3", "glm", "glm4"}
_SMALL = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def _meta_model(kind: str, **values: object) -> nn.Module:
    with torch.device("meta"):
        return AutoModel.from_config(AutoConfig.for_model(kind, **values))


@pytest.fixture(scope="module")
def base_model(tiny_folder: Callable[[str], Path]) -> Callable[[str], nn.Module]:
    def load(kind: str) -> nn.Module:
        config = AutoConfig.from_pretrained(tiny_folder(kind))  # makes the folder, which needs real tensors
        with torch.device("meta"):
            return AutoModel.from_config(config)

    return load


def test_every_row_of_the_table_is_tested() -> None:
    assert set(KINDS) == set(FAMILIES) - {"gemma3"}  # which has a test of its own below


@pytest.mark.parametrize("kind", KINDS)
def test_a_listed_architecture_gives_one_site_a_layer(kind: str, base_model: Callable[[str], nn.Module]) -> None:
    sites = locate_mlps(base_model(kind))
    assert [site.layer for site in sites] == [0, 1]
    assert {site.width for site in sites} == {128 if kind in {"bloom", "mpt"} else 80}
    assert {site.gated for site in sites} == {kind in GATED}
    assert {site.fused for site in sites} == {kind in FUSED}
    assert all(site.computes_rows for site in sites)


@pytest.mark.parametrize("kind", KINDS)
def test_structure_alone_finds_the_same_down_projections(
    kind: str, base_model: Callable[[str], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = base_model(kind)
    known = locate_mlps(model)
    monkeypatch.setattr(families, "FAMILIES", {})
    found = locate_mlps(model)
    assert [site.down for site in found] == [site.down for site in known]
    assert [(site.width, site.gated) for site in found] == [(site.width, site.gated) for site in known]
    assert not any(site.computes_rows for site in found)


@pytest.mark.parametrize(
    ("kind", "values", "width", "gated"),
    [
        ("arcee", _SMALL | {"intermediate_size": 48, "num_key_value_heads": 2}, 48, False),
        ("ctrl", {"vocab_size": 64, "n_embd": 32, "dff": 48, "n_layer": 2, "n_head": 2}, 48, False),
        ("persimmon", _SMALL | {"intermediate_size": 48}, 48, False),
        ("cwm", _SMALL | {"intermediate_size": 48, "num_key_value_heads": 2}, 48, True),
    ],
)
def test_an_unlisted_architecture_is_found_by_structure(
    kind: str, values: dict[str, object], width: int, gated: bool
) -> None:
    assert kind not in FAMILIES
    sites = locate_mlps(_meta_model(kind, **values))
    assert [(site.layer, site.width, site.gated) for site in sites] == [(0, width, gated), (1, width, gated)]


def test_a_vision_tower_beside_the_text_is_not_taken_for_it() -> None:
    text = _SMALL | {"intermediate_size": 80, "num_key_value_heads": 1, "head_dim": 16}
    vision = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2,
              "image_size": 28, "patch_size": 14}  # fmt: skip
    model = _meta_model("gemma3", text_config=text, vision_config=vision, mm_tokens_per_image=4)
    assert [site.width for site in locate_mlps(model)] == [80, 80]


def test_a_row_that_does_not_fit_falls_back_to_structure(
    base_model: Callable[[str], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(families.FAMILIES, "llama", families.FAMILIES["gpt2"])
    sites = locate_mlps(base_model("llama"))
    assert [(site.width, site.gated, site.up) for site in sites] == [(80, True, None), (80, True, None)]


def test_a_mixture_of_experts_is_refused_by_name() -> None:
    model = _meta_model("mixtral", **_SMALL, intermediate_size=48, num_key_value_heads=2, num_local_experts=2)
    with pytest.raises(ArchitectureError, match="'mixtral' is a mixture of experts"):
        locate_mlps(model)


def test_an_encoder_decoder_is_refused() -> None:
    model = _meta_model("t5", vocab_size=64, d_model=32, d_kv=16, d_ff=48, num_layers=2, num_heads=2)
    with pytest.raises(ArchitectureError, match="encoder-decoder"):
        locate_mlps(model)


def test_a_state_space_mixer_is_not_taken_for_an_mlp() -> None:
    model = _meta_model("mamba", vocab_size=64, hidden_size=32, num_hidden_layers=2, state_size=4)
    with pytest.raises(
        ArchitectureError, match=r"looked outside attention for one linear map .* found these linear maps: none"
    ):
        locate_mlps(model)


class _Layer(nn.Module):
    def __init__(self, *shapes: tuple[int, int]) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(*shape) for shape in shapes)


def _model_of(layers: int, *shapes: tuple[int, int]) -> nn.Module:
    model = _meta_model("gpt2", vocab_size=64, n_embd=32, n_layer=layers, n_head=2)
    model.h = nn.ModuleList(_Layer(*shapes) for _ in range(2))
    return model


def test_the_widest_of_several_projections_back_is_the_mlp() -> None:
    sites = locate_mlps(_model_of(2, (32, 8), (8, 32), (32, 96), (96, 32)))
    assert [(site.width, site.gated) for site in sites] == [(96, False), (96, False)]


def test_a_fused_input_of_double_width_makes_the_mlp_gated() -> None:
    assert all(site.gated for site in locate_mlps(_model_of(2, (32, 192), (96, 32))))


@pytest.mark.parametrize(
    "shapes",
    [
        [(32, 96), (96, 32), (32, 96), (96, 32)],  # two MLPs in parallel
        [(32, 32), (32, 32)],  # no width of its own
        [(16, 96), (96, 32)],  # not fed from the residual stream
    ],
)
def test_what_shapes_leave_ambiguous_is_an_error_that_lists_them(shapes: list[tuple[int, int]]) -> None:
    with pytest.raises(ArchitectureError) as caught:
        locate_mlps(_model_of(2, *shapes))
    message = str(caught.value)
    assert "(h.0)" in message
    assert f"maps.0 {shapes[0][0]}->{shapes[0][1]}" in message


def test_a_model_without_a_stack_of_its_layer_count_is_an_error_that_lists_the_stacks() -> None:
    with pytest.raises(ArchitectureError, match=r"a module list of 3 decoder layers, found these lists: h \(2\)"):
        locate_mlps(_model_of(3, (32, 96), (96, 32)))
