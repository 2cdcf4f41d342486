"""Tapped activations: bit for bit those of plain hooks on the raw model, nothing computed after them, no hook left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedTokenizerFast

from curator.errors import ConfigError, ModelError
from curator.lm.backbone import Backbone, load_backbone
from curator.lm.families import FAMILIES
from curator.lm.taps import tap

KINDS = sorted(set(FAMILIES) - {"gemma3"})
DOWN = {
    kind: f"{family.layers}.{{}}.{family.down}" for kind, family in FAMILIES.items()
}  # where plain hooks go on the raw model, below its base model
UNITS = [41, 0, 7, 79]


@pytest.fixture(scope="module")
def backbone_of(tiny_folder: Callable[[str], Path]) -> Callable[[str], Backbone]:
    loaded: dict[str, Backbone] = {}

    def backbone(kind: str) -> Backbone:
        if kind not in loaded:
            loaded[kind] = load_backbone(str(tiny_folder(kind)), device="cpu")
        return loaded[kind]

    return backbone


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(1, 300, (3, 11), generator=torch.Generator().manual_seed(5))
    mask = torch.ones_like(ids)
    mask[1, 6:] = mask[2, 9:] = 0
    return ids, mask


def _hooks(backbone: Backbone) -> int:
    return sum(len(module._forward_pre_hooks) for module in backbone.model.modules())


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_activations_equal_plain_hooks_on_the_raw_causal_model(
    kind: str, padded: bool, backbone_of: Callable[[str], Backbone], tiny_folder: Callable[[str], Path]
) -> None:
    raw = AutoModelForCausalLM.from_pretrained(tiny_folder(kind), dtype=torch.float32).eval()
    expected: dict[int, torch.Tensor] = {}
    for layer in range(2):
        module = raw.base_model.get_submodule(DOWN[kind].format(layer))
        module.register_forward_hook(lambda _, inputs, __, layer=layer: expected.update({layer: inputs[0]}))
    ids, mask = _batch()
    mask = mask if padded else torch.ones_like(ids)
    with torch.no_grad():
        raw(input_ids=ids, attention_mask=mask, use_cache=False)
    with tap(backbone_of(kind)) as tapped:
        actual = tapped.run(ids, mask)
    assert sorted(actual) == [0, 1]
    for layer, values in actual.items():
        assert values.shape == (3, 11, backbone_of(kind).sites[layer].width)
        assert torch.equal(values, expected[layer].reshape(values.shape))


@pytest.mark.parametrize("kind", KINDS)
def test_wanted_rows_equal_those_of_the_full_computation(kind: str, backbone_of: Callable[[str], Backbone]) -> None:
    backbone, batch = backbone_of(kind), _batch()
    with tap(backbone) as tapped:
        full = tapped.run(*batch)
    calls: list[int] = []
    handle = backbone.sites[1].down.register_forward_pre_hook(lambda *_: calls.append(1))
    with tap(backbone, rows={0: [3, 5], 1: UNITS}) as tapped:
        some = tapped.run(*batch)
    handle.remove()
    assert calls == []  # the last MLP's full width was never computed
    assert torch.equal(some[0], full[0][..., [3, 5]])
    torch.testing.assert_close(some[1], full[1][..., UNITS], rtol=1e-5, atol=1e-6)


def test_the_text_part_of_a_model_with_a_vision_tower_is_tapped(tmp_path: Path) -> None:
    text = {"vocab_size": 320, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "head_dim": 16,
            "intermediate_size": 80, "num_key_value_heads": 1}  # fmt: skip
    vision = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2,
              "image_size": 28, "patch_size": 14}  # fmt: skip
    config = AutoConfig.for_model("gemma3", text_config=text, vision_config=vision, mm_tokens_per_image=4)
    AutoModelForImageTextToText.from_config(config).save_pretrained(tmp_path)
    tiny = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    PreTrainedTokenizerFast(tokenizer_object=tiny, unk_token="a").save_pretrained(tmp_path)
    backbone = load_backbone(str(tmp_path), device="cpu")
    assert (backbone.hidden_size, backbone.gated) == (32, True)
    with tap(backbone) as tapped:
        full = tapped.run(*_batch())
    assert {layer: values.shape for layer, values in full.items()} == {0: (3, 11, 80), 1: (3, 11, 80)}
    with tap(backbone, [1], rows={1: UNITS}) as tapped:
        torch.testing.assert_close(tapped.run(*_batch())[1], full[1][..., UNITS])


def test_rows_of_a_site_found_by_structure_come_from_the_full_computation(
    tiny_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curator.lm.families.FAMILIES", {})
    backbone = load_backbone(str(tiny_folder("llama")), device="cpu")
    assert not backbone.sites[1].computes_rows
    with tap(backbone) as tapped:
        full = tapped.run(*_batch())
    with tap(backbone, [1], rows={1: UNITS}) as tapped:
        assert torch.equal(tapped.run(*_batch())[1], full[1][..., UNITS])


@pytest.mark.parametrize("kind", ["gpt2", "opt", "llama"])
def test_nothing_after_the_deepest_wanted_layer_is_computed(kind: str, backbone_of: Callable[[str], Backbone]) -> None:
    backbone, reached = backbone_of(kind), []
    handles = [
        site.down.register_forward_hook(lambda *_, layer=site.layer: reached.append(layer)) for site in backbone.sites
    ]
    with tap(backbone, [0]) as tapped:
        assert list(tapped.run(*_batch())) == [0]
    assert reached == []
    with tap(backbone, [0], stop=False) as tapped:
        assert list(tapped.run(*_batch())) == [0]
    assert reached == [0, 1]
    for handle in handles:
        handle.remove()


def test_without_a_mask_all_tokens_count(backbone_of: Callable[[str], Backbone]) -> None:
    ids, _ = _batch()
    with tap(backbone_of("gpt_neox"), [1]) as tapped:
        assert torch.equal(tapped.run(ids)[1], tapped.run(ids, torch.ones_like(ids))[1])


def test_hooks_go_when_the_block_ends_and_when_it_fails(backbone_of: Callable[[str], Backbone]) -> None:
    backbone = backbone_of("gpt2")
    with tap(backbone):
        assert _hooks(backbone) == 2
    assert _hooks(backbone) == 0
    with pytest.raises(RuntimeError, match="mine"), tap(backbone):
        raise RuntimeError("mine")
    assert _hooks(backbone) == 0


def test_an_error_inside_the_model_passes_through_and_the_tap_works_on(backbone_of: Callable[[str], Backbone]) -> None:
    with tap(backbone_of("gpt2")) as tapped:
        with pytest.raises(IndexError):
            tapped.run(torch.tensor([[100_000]]))
        assert sorted(tapped.run(*_batch())) == [0, 1]


def test_a_forward_pass_outside_run_is_not_disturbed(backbone_of: Callable[[str], Backbone]) -> None:
    backbone, (ids, mask) = backbone_of("gpt2"), _batch()
    before = backbone.model(input_ids=ids, attention_mask=mask).last_hidden_state
    with tap(backbone, [0]):
        assert torch.equal(backbone.model(input_ids=ids, attention_mask=mask).last_hidden_state, before)


def test_nested_taps_do_not_stop_each_other(backbone_of: Callable[[str], Backbone]) -> None:
    backbone, batch = backbone_of("gpt_neox"), _batch()
    with tap(backbone) as deep:
        alone = deep.run(*batch)
        with tap(backbone, [0]) as shallow:
            assert torch.equal(shallow.run(*batch)[0], alone[0])
            assert torch.equal(deep.run(*batch)[1], alone[1])


def test_threads_read_one_model_at_once(backbone_of: Callable[[str], Backbone]) -> None:
    backbone = backbone_of("gpt2")
    inputs = [torch.randint(1, 300, (2, 9), generator=torch.Generator().manual_seed(seed)) for seed in range(4)]
    with tap(backbone) as tapped:
        expected = [tapped.run(ids) for ids in inputs]
    wrong: list[int] = []

    def read(place: int, own: bool) -> None:
        with tap(backbone, None if own else [0]) as tapped:
            for _ in range(15):
                found = (tapped if own else shared).run(inputs[place])
                if not torch.equal(found[0], expected[place][0]):
                    wrong.append(place)

    with tap(backbone) as shared:
        threads = [threading.Thread(target=read, args=(place, place % 2 == 0)) for place in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert _hooks(backbone) == 0


def test_captured_values_may_be_changed_by_the_caller(backbone_of: Callable[[str], Backbone]) -> None:
    with tap(backbone_of("opt")) as tapped:
        first = tapped.run(*_batch())[1]
        kept = first.clone()
        first -= 1.0
        assert torch.equal(tapped.run(*_batch())[1], kept)


def test_a_module_that_the_forward_pass_avoids_is_an_error(
    backbone_of: Callable[[str], Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = backbone_of("gpt_neox")

    def shortened(**_: object) -> Iterator[None]:
        return iter(())

    monkeypatch.setattr(backbone.model, "forward", shortened)
    with tap(backbone) as tapped, pytest.raises(ModelError, match=r"computed no MLP in the layers \[0, 1\]"):
        tapped.run(*_batch())


@pytest.mark.parametrize(
    ("layers", "rows"),
    [([2], None), ([-1], None), ([], None), ([0], {1: [0]}), ([0], {0: [80]}), ([0], {0: [-1]}), ([0], {0: []})],
)
def test_layers_and_units_that_are_not_there_are_refused(
    layers: list[int], rows: dict[int, list[int]] | None, backbone_of: Callable[[str], Backbone]
) -> None:
    with pytest.raises(ConfigError), tap(backbone_of("gpt2"), layers, rows=rows):
        pass
    assert _hooks(backbone_of("gpt2")) == 0
