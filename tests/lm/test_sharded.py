"""Loading over several devices, of which a test machine has two at least: RAM and disk."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModel

from curator.errors import ConfigError, MissingExtraError, ModelError
from curator.lm import backbone as backbone_module
from curator.lm import sharded
from curator.lm.backbone import load_backbone
from curator.lm.families import MlpSite
from curator.lm.taps import tap

IDS = torch.randint(1, 300, (3, 11), generator=torch.Generator().manual_seed(5))
CPU = torch.device("cpu")


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with so little RAM that accelerate leaves all weights or some of them on disk."""
    monkeypatch.setattr("transformers.integrations.accelerate.accelerate_max_memory", lambda _=None: {"cpu": 60_000})


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox", "opt", "llama", "phi3"])
def test_a_sharded_load_gives_the_same_activations(kind: str, tiny_folder: Callable[[str], Path]) -> None:
    plain = load_backbone(str(tiny_folder(kind)), device="cpu")
    spread = load_backbone(str(tiny_folder(kind)), device="sharded")
    assert (spread.fingerprint, spread.revision, spread.dtype) == (plain.fingerprint, plain.revision, plain.dtype)
    _same_activations(plain, spread)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox", "opt", "llama"])
def test_weights_left_on_disk_give_the_same_activations(kind: str, tiny_folder: Callable[[str], Path]) -> None:
    plain = load_backbone(str(tiny_folder(kind)), device="cpu")
    spread = load_backbone(str(tiny_folder(kind)), device="sharded")
    assert any(parameter.is_meta for parameter in spread.model.parameters())
    assert spread.site_devices == (CPU, CPU)
    assert spread.device == CPU
    _same_activations(plain, spread)
    _same_activations(plain, spread)  # a pass that stops early leaves nothing behind


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("kind", ["gpt_neox", "llama"])
def test_wanted_rows_of_an_offloaded_layer_come_from_its_full_computation(
    kind: str, tiny_folder: Callable[[str], Path]
) -> None:
    plain = load_backbone(str(tiny_folder(kind)), device="cpu")
    spread = load_backbone(str(tiny_folder(kind)), device="sharded")
    with tap(plain) as tapped:
        full = tapped.run(IDS)
    with tap(spread, rows={1: [41, 0, 7]}) as tapped:
        assert torch.equal(tapped.run(IDS)[1], full[1][..., [41, 0, 7]])


@pytest.mark.usefixtures("little_memory")
def test_offloading_is_silent(tiny_folder: Callable[[str], Path], capfd: pytest.CaptureFixture[str]) -> None:
    load_backbone(str(tiny_folder("gpt2")), device="sharded")
    assert capfd.readouterr() == ("", "")


def test_a_plain_load_has_all_its_sites_on_its_device(tiny_folder: Callable[[str], Path]) -> None:
    loaded = load_backbone(str(tiny_folder("gpt2")), device="cpu")
    assert loaded.site_devices == (CPU, CPU)
    elsewhere = replace(loaded, site_devices=(CPU, torch.device("meta")))
    assert elsewhere.site_devices[1] == torch.device("meta")


@pytest.mark.parametrize(
    ("hook", "device"),
    [
        (SimpleNamespace(execution_device=torch.device("cuda", 1)), "cuda:1"),
        (SimpleNamespace(hooks=[SimpleNamespace(), SimpleNamespace(execution_device="cpu")]), "cpu"),
        (None, "cpu"),
    ],
)
def test_an_offloaded_module_computes_where_its_hook_brings_it(hook: SimpleNamespace | None, device: str) -> None:
    module = torch.nn.Linear(2, 2, device="meta")
    object.__setattr__(module, "_hf_hook", hook)
    site = MlpSite(layer=0, width=2, gated=False, down=module)
    assert sharded.site_devices([site]) == (torch.device(device),)


def test_without_accelerate_one_sentence_says_what_to_install(
    tiny_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(sharded, "find_spec", lambda name: None if name == "accelerate" else find(name))
    with pytest.raises(MissingExtraError, match=r"pip install 'rosetta-curator\[sharded\]'"):
        load_backbone(str(tiny_folder("gpt2")), device="sharded")


def test_weights_larger_than_the_free_memory_are_refused_before_they_are_read(
    tiny_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backbone_module, "free_memory", lambda _: 1000)
    monkeypatch.setattr(AutoModel, "from_pretrained", None)
    with pytest.raises(ModelError, match=r"GB free; load it with --device sharded"):
        load_backbone(str(tiny_folder("gpt2")), device="cpu")


@pytest.mark.parametrize(
    ("error", "device", "advice"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "cpu", "--device sharded"),
        (MemoryError(), "cpu", "--device sharded"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "cpu", "--device sharded"),
        (torch.OutOfMemoryError("CUDA out of memory"), "sharded", "a machine with more memory"),
    ],
)
def test_running_out_of_memory_while_loading_is_one_sentence(
    error: Exception, device: str, advice: str, tiny_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(AutoModel, "from_pretrained", full)
    with pytest.raises(ModelError, match="does not fit into the memory") as caught:
        load_backbone(str(tiny_folder("gpt2")), device=device)
    assert advice in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_untrained_control_is_not_sharded(tiny_folder: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError, match="cannot be sharded"):
        load_backbone(str(tiny_folder("gpt2")), device="sharded", untrained=0)


def _same_activations(plain: backbone_module.Backbone, spread: backbone_module.Backbone) -> None:
    with tap(plain) as first, tap(spread) as second:
        expected, actual = first.run(IDS), second.run(IDS)
    assert sorted(actual) == [0, 1]
    assert all(torch.equal(actual[layer], expected[layer]) for layer in expected)
