"""Scores inside ``datasets``: a callable for ``Dataset.map`` and ``IterableDataset.map``, and a test for ``filter``.

    scored = dataset.map(Scorer("medicine"), batched=True)
    kept = scored.filter(keep(probability=0.5))

``map`` adds the columns ``curator_score``, ``curator_probability``, ``curator_neurons``, ``curator_tokens`` and
``curator_reason``; for several targets the first three are called ``curator_score:medicine`` and so on. A text without a score
has NaN, NaN, an empty list, 0 and the reason. Every batch has the same types, so no first batch can spoil a column.

``datasets`` caches by a hash of the callable: see ``integrations.lazy`` for what goes into it. The same call again is read from
the cache and loads no model. With ``num_proc`` each process loads the model; with CUDA, ``datasets`` must start them by
``spawn`` (its documentation on multiprocessing says how), and ``with_rank=True`` spreads them over several GPUs. Cost: that of
scoring. It does not know other formats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any, Unpack

import numpy as np

from curator.errors import ConfigError
from curator.integrations.lazy import LazyScorer, ScorerSettings, score_fields


class Scorer(LazyScorer):
    """A callable for ``dataset.map(scorer, batched=True)``."""

    def __init__(
        self, neuron_set: str | PathLike[str], *, text_column: str = "text", **settings: Unpack[ScorerSettings]
    ) -> None:
        """Name the set, the column with the text, and anything of ``ScorerSettings``; raises as ``LazyScorer`` does."""
        super().__init__(neuron_set, **settings)
        self.text_column = text_column

    def __call__(self, batch: Mapping[str, Any], rank: int | None = None) -> dict[str, list[Any]]:
        """The new columns of a batch; by ``rank`` (``map(..., with_rank=True)``) processes take the next GPU each.

        Raises ConfigError for a single row, or for a batch without the text column.
        """
        if self.text_column not in batch:
            raise ConfigError(f"There is no column {self.text_column!r}; pass text_column= to the Scorer.")
        texts = batch[self.text_column]
        if isinstance(texts, str):
            raise ConfigError("The Scorer reads batches; call map(scorer, batched=True).")
        rows = [score_fields(result, self.targets) for result in self.score(list(texts), rank or 0)]
        return {name: _typed([row[name] for row in rows]) for name in rows[0]} if rows else {}


@dataclass(frozen=True, slots=True)
class Keep:
    """A test for ``dataset.filter``, with ``batched=True`` or without."""

    column: str
    at_least: float

    def __call__(self, rows: Mapping[str, Any]) -> bool | list[bool]:
        """Whether a row, or each row of a batch, reaches the threshold; a text without a score never does.

        Raises ConfigError when the column is not there.
        """
        if self.column not in rows:
            raise ConfigError(
                f"There is no column {self.column!r}; map a Scorer first, and name one of several targets."
            )
        value = rows[self.column]
        return (np.asarray(value, dtype=np.float64) >= self.at_least).tolist()


def keep(*, probability: float | None = None, score: float | None = None, target: str | None = None) -> Keep:
    """Keep rows whose calibrated probability, or whose raw score, is at least this; ``target`` where a Scorer had several.

    Raises ConfigError unless exactly one of the two is given, or for a probability outside [0, 1].
    """
    if probability is not None and score is None:
        if not 0.0 <= probability <= 1.0:
            raise ConfigError(f"probability is {probability}; it lies in [0, 1], or use score=.")
        name, at_least = "curator_probability", probability
    elif score is not None and probability is None:
        name, at_least = "curator_score", score
    else:
        raise ConfigError("Give keep() one of probability= and score=.")
    return Keep(name if target is None else f"{name}:{target}", at_least)


def _typed(values: list[Any]) -> list[Any]:
    """The same values in a form that has a type even where a whole batch has none, since the first batch types the column."""
    if all(isinstance(value, list) for value in values) and not any(values):
        return [np.array([], dtype=np.str_) for _ in values]
    return [float("nan") if value is None else value for value in values]
