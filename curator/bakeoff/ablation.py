"""Does the target need the neurons? Zero them, and compare the loss with that after zeroing as many others.

The set is the neurons of a population that tell the target best on the probe corpus; against it stand random neurons of the same
layers and neurons outside the population matched on layer and active fraction, equally many. If the set is specific, the
target's loss rises more than with either, and more than the loss on other text. Cost: four forward passes over the test
documents of a target. It does not know selectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from transformers import PreTrainedModel

from curator.atlas.domains import auroc_N
from curator.atlas.store import Atlas
from curator.bakeoff.language import CausalModel
from curator.bakeoff.populations import mask_of, matched_like, probe_means, random_like
from curator.bakeoff.pretraining import mean_loss
from curator.lm.families import locate_mlps


class Ablated(BaseModel):
    """Rise of the loss in nats per token when neurons are zeroed, on the target's text and on that of other domains."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    domain: str
    zeroed: str
    neurons: int
    target: float
    general: float


def ablate(
    causal: CausalModel,
    atlas: Atlas,
    population_N: np.ndarray,
    domain: str,
    target_texts: Sequence[str],
    general_texts: Sequence[str],
    *,
    neurons: int = 16,
    seed: int = 0,
) -> list[Ablated]:
    """The three rises for one domain."""
    index = np.flatnonzero(population_N)
    auroc_K = auroc_N(*probe_means(atlas, index, domain))
    set_N = mask_of(index[np.argsort(-auroc_K, kind="stable")[:neurons]], atlas.neurons)
    compared = {
        "set": set_N,
        "random": random_like(set_N, atlas.layer_of, seed),
        "matched": matched_like(set_N, atlas, excluded_N=population_N),
    }
    plain = [mean_loss(causal, texts) for texts in (target_texts, general_texts)]
    found = []
    for name, mask_N in compared.items():
        with zeroed(causal, mask_N):
            target, general = (mean_loss(causal, texts) for texts in (target_texts, general_texts))
        found.append(
            Ablated(
                domain=domain,
                zeroed=name,
                neurons=int(mask_N.sum()),
                target=target - plain[0],
                general=general - plain[1],
            )
        )
    return found


@contextmanager
def zeroed(causal: CausalModel, mask_N: np.ndarray) -> Iterator[None]:
    """The model with some neurons, in the order (layer, unit), held at zero while the block lasts."""
    with ExitStack() as stack:
        start = 0
        for site in locate_mlps(cast(PreTrainedModel, causal.model.base_model)):
            units = torch.from_numpy(np.flatnonzero(mask_N[start : start + site.width])).to(causal.backbone.device)
            start += site.width
            if len(units):
                handle = site.down.register_forward_pre_hook(_silence(units))
                stack.callback(handle.remove)
        yield


def _silence(units: torch.Tensor) -> Any:
    def hook(_: Any, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (arguments[0].index_fill(-1, units, 0.0), *arguments[1:])

    return hook
