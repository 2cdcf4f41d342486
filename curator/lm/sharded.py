"""Models larger than one device: their layers spread over all of them by accelerate, the rest kept in RAM or on disk.

``device_map="auto"`` fills the accelerators first, then RAM, then leaves weights in their safetensors file and reads each of them
when its layer runs. Nothing else changes: the hooks of accelerate move inputs to where a layer computes, so activations appear on
that layer's own execution device, and the pass is the same arithmetic. Cost: a copy of the residual stream where two devices
meet; offloaded weights are read again for every batch, which bounds the speed by that of the disk or the bus. An
offloaded model serves one thread at a time. It does not know how the layers were shared out better than accelerate does.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import cast

import torch
from torch import nn
from transformers import PreTrainedModel

from curator.errors import MissingExtraError
from curator.lm.families import MlpSite

SHARDED = "sharded"


def require_accelerate() -> None:
    """Raise MissingExtraError where accelerate is not installed."""
    if find_spec("accelerate") is None:
        raise MissingExtraError(
            "A model spread over several devices needs accelerate, which is not installed; "
            "run: pip install 'rosetta-curator[sharded]'."
        )


def site_devices(sites: Sequence[MlpSite]) -> tuple[torch.device, ...]:
    """The device on which each MLP's neurons appear."""
    return tuple(_execution_device(site.down) for site in sites)


def input_device(model: PreTrainedModel) -> torch.device:
    """The device that token ids go to."""
    return _execution_device(cast(nn.Module, model.get_input_embeddings()))


def _execution_device(module: nn.Module) -> torch.device:
    """Where a module computes: where its weight is, or for an offloaded one where its accelerate hook brings it to."""
    device = next(module.parameters()).device
    if device.type != "meta":
        return device
    hook = getattr(module, "_hf_hook", None)
    for part in (hook, *getattr(hook, "hooks", ())):  # a hook, or a sequence of them
        execution = getattr(part, "execution_device", None)
        if execution is not None:
            return torch.device(execution)
    return torch.device("cpu")
