"""Trains copies of a causal model, by the zoo's optimiser: what continued pretraining and the tuned baseline share.

Cost: the training. It does not know what the texts are for, nor how the learning rate moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from curator.bakeoff.language import CausalModel
from curator.zoo.trainer import adamw, training_step


def token_counts(causal: CausalModel, texts: Sequence[str]) -> list[int]:
    """Tokens that each text has in packed rows: its own, and the end-of-text token between documents."""
    encoded = causal.backbone.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return [1 + len(ids) for ids in encoded]


def trained_copy(causal: CausalModel, batches: Iterable[tuple[np.ndarray, float]], peak_rate: float) -> CausalModel:
    """A copy after one step on each batch: packed rows (sequences x context) and the step's learning rate."""
    trained = causal.copy()
    model = trained.model.train().requires_grad_(True)
    model.set_attn_implementation("eager")
    optimiser, device = adamw(model, peak_rate), str(causal.backbone.device)
    for rows_SC, rate in batches:
        training_step(model, optimiser, rows_SC, rate, device)
    model.eval()
    return trained
