"""What a neuron writes towards: how far its output direction singles out tokens of the vocabulary [S, section 5].

For neuron u the paper takes cos(W_out[u], W_U[v]) over all tokens v and the excess kurtosis of these: high when a few
tokens stand out. W_out[u] is the neuron's column of the down projection, times the gain of a norm that follows the MLP
(Gemma 2 and 3, OLMo 2 and 3, GLM-4, EXAONE 4; what such a norm divides by turns no direction). W_U is the unembedding as it
is stored: a head of its own where the checkpoint has one, else the input embeddings. As in the paper the gain of the final
norm is left out; where an OPT model projects its residual stream before the head, so is the column. Rows that no token of
the tokenizer has are padding and left out.

Cost: neurons x tokens x width multiplications, no text is read; in memory the unembedding in float32. It does not know
activations: a neuron may be selective in what it reads and not in what it writes, and the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors import safe_open
from torch import nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from curator.errors import ModelError
from curator.lm.backbone import Backbone
from curator.lm.families import MlpSite
from curator.lm.weights import model_folder, weight_files

_HEADS = ("lm_head.weight", "embed_out.weight", "output.weight")
_BLOCK = 128


def vocabulary_kurtosis(backbone: Backbone, unembedding_VH: torch.Tensor, wanted_N: np.ndarray) -> np.ndarray:
    """Excess kurtosis over the vocabulary of each wanted neuron's cosines, (N,) float64, in the order asked for.

    ``wanted_N`` are flat indices, counted layer by layer as in an atlas. Raises ModelError when weights are not in memory.
    """
    tokens_HV = functional.normalize(unembedding_VH.float(), dim=1).T
    kurtosis_N = np.zeros(len(wanted_N))
    for start in range(0, len(wanted_N), _BLOCK):
        columns_BH = functional.normalize(_columns(backbone, wanted_N[start : start + _BLOCK]), dim=1)
        kurtosis_N[start : start + _BLOCK] = _excess_kurtosis(columns_BH @ tokens_HV).cpu().numpy()
    return kurtosis_N


def unembedding(backbone: Backbone, name: str, revision: str | None = None) -> torch.Tensor:
    """The rows of the unembedding for the tokenizer's tokens, (V, H) on the model's device.

    ``name`` is a hub name or folder. Raises ModelError and ModelNotFoundError as loading does.
    """
    folder, _ = model_folder(name, revision=revision)
    head = _stored_head(weight_files(folder, name))
    rows = cast(nn.Embedding, backbone.model.get_input_embeddings()).weight if head is None else head
    vocabulary = backbone.tokenizer.backend_tokenizer.get_vocab_size(with_added_tokens=True)
    return _in_memory(rows[:vocabulary], backbone.name).to(backbone.device)


def _stored_head(files: Sequence[Path]) -> torch.Tensor | None:
    """A head that a checkpoint holds beside its input embeddings; None where the two are tied."""
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            names = [name for name in tensors.keys() if name in _HEADS]  # noqa: SIM118 - no dict
            if names:
                return cast(torch.Tensor, tensors.get_tensor(names[0]))
    return None


def _columns(backbone: Backbone, wanted_N: np.ndarray) -> torch.Tensor:
    """The wanted neurons' columns of their down projections, (N, H)."""
    edges = np.cumsum([0, *(site.width for site in backbone.sites)])
    site_N = np.searchsorted(edges, wanted_N, side="right") - 1
    rows = torch.zeros(len(wanted_N), backbone.hidden_size, device=backbone.device)
    for number in np.unique(site_N):
        mine = np.flatnonzero(site_N == number)
        units = torch.from_numpy(np.asarray(wanted_N)[mine] - edges[number])
        site = backbone.sites[number]
        written_UH = _in_memory(_written(site), backbone.name)
        chosen_RH = written_UH[units.to(written_UH.device)].float()
        rows[torch.from_numpy(mine)] = (chosen_RH * _gain(site, backbone.name)).to(backbone.device)
    project = getattr(getattr(backbone.model, "decoder", None), "project_out", None)
    return rows if project is None else functional.linear(rows, project.weight.float())


def _gain(site: MlpSite, name: str) -> torch.Tensor | float:
    """What the norm after the MLP multiplies each of its outputs by, (H,); 1 without one."""
    if site.after is None:
        return 1.0
    weight_H = _in_memory(cast(torch.Tensor, site.after.weight), name).float()
    return 1.0 + weight_H if site.gain_from_one else weight_H


def _written(site: MlpSite) -> torch.Tensor:
    """What each neuron of a layer makes the MLP put out, (U, H)."""
    weight = cast(torch.Tensor, site.down.weight)
    return weight if isinstance(site.down, Conv1D) else weight.T


def _in_memory(weight: torch.Tensor, name: str) -> torch.Tensor:
    if weight.is_meta:
        raise ModelError(f"The weights of {name} are not in memory; load it on one device to read them.")
    return weight.detach()


def _excess_kurtosis(values_BV: torch.Tensor) -> torch.Tensor:
    centred_BV = values_BV.double()
    centred_BV -= centred_BV.mean(dim=1, keepdim=True)
    square_B = centred_BV.square().mean(dim=1)
    return centred_BV.pow(4).mean(dim=1) / square_B.square().clamp(min=1e-300) - 3
