"""The perplexity difference [Moore and Lewis 2010]: how much a model gains on a document by being tuned on the examples.

Loss of the anchor minus loss of a copy that was trained on the positive examples for some passes; both over each document's
first window, for a whole pass over the pool a lesson is what makes this the dearest selector of all. It needs ten examples: of
three a tuned model learns the names in them. Cost: the training, and a forward pass over the pool for each lesson.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from curator.bakeoff.language import CausalModel, read_language
from curator.bakeoff.selectors import Lesson, Named, Score
from curator.bakeoff.training import token_counts, trained_copy
from curator.zoo.recipe import CONTEXT_TOKENS
from curator.zoo.trainer import pack

_ROWS_PER_STEP, _PASSES, _RATE = 8, 3, 3e-4


class FirstWindows:
    """The anchor's loss on the first window of every document, read when first asked for."""

    def __init__(self, causal: CausalModel, texts: list[str], skip_tokens: int) -> None:
        self.causal, self.texts, self.skip_tokens = causal, texts, skip_tokens

    def nats(self, causal: CausalModel, rows: np.ndarray) -> np.ndarray:
        """Loss of some documents under some model, (R,)."""
        texts = [self.texts[row] for row in rows]
        return read_language(causal, texts, skip_tokens=self.skip_tokens, max_windows=1).nats_D

    @cached_property
    def base_D(self) -> np.ndarray:
        """Loss of every document under the anchor."""
        return self.nats(self.causal, np.arange(len(self.texts)))


@dataclass(frozen=True, slots=True)
class PerplexityDifference(Named):
    """Loss before tuning on the examples minus loss after."""

    windows: FirstWindows

    def fit(self, lesson: Lesson) -> Score:
        """Tune a copy; scoring reads the documents with it."""
        texts = [self.windows.texts[row] for row in lesson.positive_P]
        tuned = trained_copy(self.windows.causal, _passes(self.windows.causal, texts, lesson.seed), _RATE)
        return lambda rows: self.windows.base_D[rows] - self.windows.nats(tuned, rows)


def _passes(causal: CausalModel, texts: list[str], seed: int) -> Iterator[tuple[np.ndarray, float]]:
    """The examples several times over, each time in another order, at one learning rate."""
    rows = sum(token_counts(causal, texts)) // CONTEXT_TOKENS
    for epoch in range(_PASSES):
        rows_SC = pack(causal.backbone.tokenizer, texts, seed + epoch, rows)
        for start in range(0, len(rows_SC), _ROWS_PER_STEP):
            yield rows_SC[start : start + _ROWS_PER_STEP], _RATE
