"""A causal language model with its head: what the perplexity baselines and continued pretraining need and neurons do not.

``read_language`` gives every document its mean hidden state after the last layer and its mean loss in nats per token, both over
the tokens that a neuron's features are over. The model is loaded a second time for it, with the head. Cost: the whole forward
pass, with logits. It does not know domains.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, PreTrainedModel

from curator.errors import ModelError
from curator.lm.backbone import Backbone
from curator.lm.batching import MicroBatch, Window, micro_batches, windows
from curator.lm.shape import UNUSABLE, quiet, reason
from curator.lm.weights import model_folder
from curator.zoo.catalog import resolve_model

_DOCUMENTS, _TOKENS = 256, 4_096


@dataclass(frozen=True, slots=True, eq=False)
class CausalModel:
    """A language model with its head, float32, and the backbone that names it and holds its tokenizer."""

    backbone: Backbone
    model: PreTrainedModel

    def copy(self) -> CausalModel:
        """The same weights, apart, to be trained."""
        return replace(self, model=deepcopy(self.model))

    def logits_and_hidden(self, input_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (B, T, vocabulary) and last hidden states (B, T, H)."""
        out: Any = self.model(input_ids=input_ids, use_cache=False, output_hidden_states=True)
        return out.logits, out.hidden_states[-1]


@dataclass(frozen=True, slots=True)
class LanguageReading:
    """What the language model says of D documents: ``hidden_DH`` float32 and ``nats_D`` float64, NaN where nothing is scored."""

    hidden_DH: np.ndarray
    nats_D: np.ndarray


def load_causal(backbone: Backbone, name: str) -> CausalModel:
    """The model ``name``, which ``backbone`` is of, with its head, on the same device. Raises ModelError."""
    path = resolve_model(name)
    folder = Path(path) if Path(path).is_dir() else model_folder(path)[0]
    try:
        with quiet():
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
            )
    except UNUSABLE as error:
        raise ModelError(f"{name} could not be loaded with its head ({reason(error)}).") from error
    model.eval().to(device=backbone.device)  # pyright: ignore[reportCallIssue, reportArgumentType] - transformers wraps `to`
    return CausalModel(backbone, model)


def read_language(
    causal: CausalModel, texts: Sequence[str], *, skip_tokens: int, max_windows: int | None = None
) -> LanguageReading:
    """Mean hidden state and mean loss of every text; with ``max_windows`` of its beginning alone."""
    hidden_DH = np.zeros((len(texts), causal.backbone.hidden_size))
    nats_D, count_D = np.zeros(len(texts)), np.zeros(len(texts))
    for start in range(0, len(texts), _DOCUMENTS):
        found = windows(
            causal.backbone.tokenizer,
            texts[start : start + _DOCUMENTS],
            causal.backbone.max_tokens,
            skip_tokens,
            max_windows=max_windows,
        )
        for batch in micro_batches(found, _TOKENS):
            owners = start + np.asarray([found[index].document for index in batch.indices])
            hidden_BH, nats_B, count_B = _sums(causal, found, batch)
            np.add.at(hidden_DH, owners, hidden_BH)
            np.add.at(nats_D, owners, nats_B)
            np.add.at(count_D, owners, count_B)
    with np.errstate(invalid="ignore"):
        return LanguageReading((hidden_DH / count_D[:, None]).astype(np.float32), nats_D / count_D)


@torch.inference_mode()
def _sums(causal: CausalModel, found: Sequence[Window], batch: MicroBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums over the scored tokens of each of B windows: hidden states (B, H), losses (B,), and their number (B,)."""
    ids_BT = batch.input_ids.to(causal.backbone.device)
    scored_BT = torch.zeros(ids_BT.shape)
    for row, index in enumerate(batch.indices):
        scored_BT[row, : len(found[index])] = torch.from_numpy(found[index].scored.astype(np.float32))
    scored_BT[:, 0] = 0  # the first token is predicted by nothing
    scored_BT = scored_BT.to(ids_BT.device)
    logits_BTV, hidden_BTH = causal.logits_and_hidden(ids_BT)
    loss_BT = functional.cross_entropy(
        logits_BTV[:, :-1].flatten(0, 1).float(), ids_BT[:, 1:].flatten(), reduction="none"
    )
    nats_B = (loss_BT.view(len(ids_BT), -1) * scored_BT[:, 1:]).sum(dim=1)
    hidden_BH = torch.bmm(scored_BT[:, None], hidden_BTH.float())[:, 0]
    return hidden_BH.cpu().numpy(), nats_B.cpu().numpy(), scored_BT.sum(dim=1).cpu().numpy()
