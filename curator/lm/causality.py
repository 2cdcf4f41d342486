"""Whether a model reads from left to right: one tiny forward pass, when it is loaded, asks the model itself.

Everything that pools or scores neurons relies on it. Windows are padded on the right and run without a mask, so in a model whose
tokens look to the right (BERT, or a decoder with bidirectional attention switched on) a document's values would change with
its neighbours in a batch. No list of names says which models these are, for one configuration flag is enough. Two rows
share their first tokens and no others; what a causal model computes for the shared ones is equal. Cost: 32 tokens through the
model, little beside reading its weights; offloaded weights would be read once more, so there it is left out. It does not
know about layers without an MLP of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from curator.errors import ArchitectureError, ModelError
from curator.lm.families import MlpSite
from curator.lm.memory import is_out_of_memory
from curator.lm.shape import UNUSABLE, reason

_TOKENS, _STRIDE = 16, 7


def require_causal(
    model: PreTrainedModel,
    sites: Sequence[MlpSite],
    name: str,
    *,
    device: torch.device,
    max_tokens: int,
    vocabulary: int,
) -> None:
    """Raise ArchitectureError where a token's neurons depend on the tokens after it, ModelError where the model cannot run.

    ``device`` is where token ids go, ``vocabulary`` how many there are.
    """
    if max_tokens < 2 or any(parameter.is_meta for site in sites for parameter in site.down.parameters()):
        return
    length = min(_TOKENS, max_tokens)
    ids_2T = torch.arange(2 * length).reshape(2, length) * _STRIDE % vocabulary
    ids_2T[1, : length // 2] = ids_2T[0, : length // 2]
    if _worst_difference(model, sites, ids_2T.to(device), length // 2, name) > torch.finfo(model.dtype).eps ** 0.5:
        raise ArchitectureError(
            f"{name} ('{model.config.model_type}') is not causal: what its neurons say of a token depends on the tokens after "
            "it; name a decoder-only language model."
        )


def _worst_difference(
    model: PreTrainedModel, sites: Sequence[MlpSite], ids_2T: torch.Tensor, shared: int, name: str
) -> float:
    """Largest difference of the two rows' neurons on their ``shared`` first tokens, in parts of a layer's largest value."""
    worst = 0.0

    def hook(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        nonlocal worst
        first, second = inputs[0].detach().reshape(*ids_2T.shape, -1)[:, :shared].float()
        scale = float(first.abs().max())
        if scale > 0:
            worst = max(worst, float((first - second).abs().max()) / scale)

    handles = [site.down.register_forward_pre_hook(hook) for site in sites]
    try:
        with torch.no_grad():
            model(input_ids=ids_2T, attention_mask=torch.ones_like(ids_2T), use_cache=False)
    except UNUSABLE as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(f"{name} cannot be run as a language model ({reason(error)}); name another.") from error
    finally:
        for handle in handles:
            handle.remove()
    return worst
