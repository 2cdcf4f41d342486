"""Vocabulary kurtosis reads the right columns and the right unembedding, whatever the architecture."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.stats import kurtosis
from transformers import AutoModelForCausalLM

from curator.errors import ModelError
from curator.lm import outputs
from curator.lm.backbone import load_backbone
from curator.lm.outputs import _columns, unembedding, vocabulary_kurtosis

COLUMNS = {
    "gpt2": lambda m: [layer.mlp.c_proj.weight for layer in m.transformer.h],
    "gpt_neox": lambda m: [layer.mlp.dense_4h_to_h.weight.T for layer in m.gpt_neox.layers],
    "llama": lambda m: [layer.mlp.down_proj.weight.T for layer in m.model.layers],
    "opt": lambda m: [layer.fc2.weight.T for layer in m.model.decoder.layers],
    "gemma2": lambda m: [
        layer.mlp.down_proj.weight.T * (1 + layer.post_feedforward_layernorm.weight) for layer in m.model.layers
    ],
    "gemma3_text": lambda m: [
        layer.mlp.down_proj.weight.T * (1 + layer.post_feedforward_layernorm.weight) for layer in m.model.layers
    ],
    "olmo2": lambda m: [
        layer.mlp.down_proj.weight.T * layer.post_feedforward_layernorm.weight for layer in m.model.layers
    ],
    "glm4": lambda m: [layer.mlp.down_proj.weight.T * layer.post_mlp_layernorm.weight for layer in m.model.layers],
}


@pytest.mark.parametrize("kind", sorted(COLUMNS))
def test_it_is_the_kurtosis_of_the_cosines_with_the_whole_models_own_head(
    kind: str, tiny_folder: Callable[[str], Path]
) -> None:
    folder = tiny_folder(kind)
    whole = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    written = torch.cat([*COLUMNS[kind](whole)]).detach().double()
    if kind == "opt" and whole.model.decoder.project_out is not None:
        written = written @ whole.model.decoder.project_out.weight.detach().double().T
    backbone = load_backbone(str(folder), device="cpu")
    vocabulary = backbone.tokenizer.backend_tokenizer.get_vocab_size(with_added_tokens=True)
    tokens = whole.get_output_embeddings().weight.detach().double()[:vocabulary]
    cosines = torch.nn.functional.normalize(written, dim=1) @ torch.nn.functional.normalize(tokens, dim=1).T
    wanted = np.asarray([0, 3, backbone.sites[0].width + 1])
    found = vocabulary_kurtosis(backbone, unembedding(backbone, str(folder)), wanted)
    np.testing.assert_allclose(found, kurtosis(cosines.numpy()[wanted], axis=1), rtol=1e-4, atol=1e-4)


def test_without_a_head_of_its_own_the_input_embeddings_are_the_unembedding(
    tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    for file in tiny_folder("gpt_neox").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    head = tensors.pop("embed_out.weight")
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    rows = unembedding(load_backbone(str(tmp_path), device="cpu"), str(tmp_path))
    assert torch.equal(rows, tensors["gpt_neox.embed_in.weight"][: len(rows)])
    assert not torch.equal(rows, head[: len(rows)])


def test_a_neuron_that_writes_one_token_stands_out(tiny_folder: Callable[[str], Path]) -> None:
    backbone = load_backbone(str(tiny_folder("llama")), device="cpu")
    head_VH = torch.randn(300, backbone.hidden_size, generator=torch.Generator().manual_seed(0))
    backbone.sites[0].down.weight.data[:, 5] = head_VH[17]
    single, plain = vocabulary_kurtosis(backbone, head_VH, np.asarray([5, 6]))
    assert single > plain + 1


@pytest.mark.parametrize("kind", ["gemma2", "gemma3_text", "olmo2", "olmo3", "exaone4", "glm4"])
def test_where_a_norm_follows_the_mlp_a_neuron_moves_the_stream_along_its_column_times_the_gain(
    kind: str, tiny_folder: Callable[[str], Path]
) -> None:
    """The MLP's output goes through the norm itself; only its scale, one number, may differ."""
    backbone = load_backbone(str(tiny_folder(kind)), device="cpu")
    site = backbone.sites[0]
    assert site.after is not None
    written_H = site.after(site.down.weight[:, 5])
    column_H = _columns(backbone, np.asarray([5]))[0]
    assert float(torch.cosine_similarity(written_H, column_H, dim=0)) == pytest.approx(1, abs=1e-5)


def test_only_so_many_columns_are_in_memory_as_a_block_has(
    tiny_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = load_backbone(str(tiny_folder("gpt2")), device="cpu")
    head_VH = torch.randn(60, backbone.hidden_size, generator=torch.Generator().manual_seed(0))
    wanted = np.arange(backbone.neurons)[::-1]
    whole = vocabulary_kurtosis(backbone, head_VH, wanted)
    sizes: list[int] = []
    monkeypatch.setattr(outputs, "_BLOCK", 7)
    monkeypatch.setattr(outputs, "_columns", lambda model, some: sizes.append(len(some)) or _columns(model, some))
    # float32 cosines: products of another shape are summed in another order, and a kurtosis may lie near 0
    np.testing.assert_allclose(vocabulary_kurtosis(backbone, head_VH, wanted), whole, rtol=1e-5, atol=1e-5)
    assert max(sizes) == 7
    assert sum(sizes) == backbone.neurons


def test_weights_that_are_not_in_memory_are_refused(tiny_folder: Callable[[str], Path]) -> None:
    backbone = load_backbone(str(tiny_folder("llama")), device="cpu")
    backbone.sites[1].down.to("meta")
    with pytest.raises(ModelError, match="not in memory"):
        vocabulary_kurtosis(backbone, torch.ones(4, backbone.hidden_size), np.asarray([backbone.sites[0].width]))
