"""Tokens to spans: every tokenizer's activations are pooled onto the same spans (SCIENCE section 2), without a Python loop.

A span's value is the mean over the tokens that overlap it, weighted by bytes of overlap. Windows of a long document overlap
only in positions that are not scored, so every token counts once; a span cut by a window's end takes its value from the window
that covers more of it, so micro-batches need not wait for each other. A span that no scored token touches is uncovered.
Cost: O((tokens + spans) log spans) integer work and one pass over the tokens per layer. It does not know what a span means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch.nn import functional

from curator.lm.batching import Window


@dataclass(frozen=True, slots=True)
class Overlaps:
    """Sparse weights from the tokens of one window to the spans that the window owns.

    ``span`` and ``token`` are (P,) int64 indices (span within the document, token within the window), ``weight`` (P,) float32
    sums to one over each span. ``spans`` are the (K,) owned spans in order, ``row`` (P,) their position in it.
    """

    spans: np.ndarray
    row: np.ndarray
    token: np.ndarray
    weight: np.ndarray


def overlaps(spans_S2: np.ndarray, token_ranges: list[np.ndarray], scored: list[np.ndarray]) -> list[Overlaps]:
    """Weights of one document, a value for each window.

    Args:
        spans_S2: (S, 2) half-open byte ranges in order.
        token_ranges: for each window, (T, 2) byte ranges of its tokens within the document.
        scored: for each window, (T,) bool, which positions count.
    """
    lengths = [len(ranges) for ranges in token_ranges]
    ranges_T2 = np.concatenate(token_ranges) if lengths else np.zeros((0, 2), np.int64)
    window = np.repeat(np.arange(len(lengths)), lengths)
    position = np.concatenate([np.arange(length) for length in lengths]) if lengths else np.zeros(0, np.int64)
    kept = np.flatnonzero(np.concatenate(scored)) if lengths else np.zeros(0, np.int64)
    span, pair, common = intersections(spans_S2, ranges_T2[kept])
    pair_window, pair_token = window[kept][pair], position[kept][pair]
    owner = owning_window(span, pair_window, common, len(spans_S2))
    mine = owner[span] == pair_window
    return [
        _normalised(span[chosen], pair_token[chosen], common[chosen])
        for chosen in (np.flatnonzero(mine & (pair_window == index)) for index in range(len(lengths)))
    ]


def window_overlaps(found: Sequence[Window], spans_of: Callable[[int], np.ndarray]) -> list[Overlaps]:
    """Weights of every window, in order; windows of one document stand together, as ``lm.batching.windows`` leaves them.

    ``spans_of`` gives the (S, 2) spans of a document by ``Window.document``.
    """
    weights: list[Overlaps] = []
    for document, group in groupby(found, key=lambda window: window.document):
        mine = list(group)
        weights += overlaps(spans_of(document), [w.bytes_T2 for w in mine], [w.scored for w in mine])
    return weights


def intersections(spans_S2: np.ndarray, tokens_T2: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All overlapping pairs as (span index, token index, bytes in common)."""
    first = np.searchsorted(spans_S2[:, 1], tokens_T2[:, 0], side="right")
    last = np.searchsorted(spans_S2[:, 0], tokens_T2[:, 1], side="left")
    counts = np.maximum(0, last - first)
    token = np.repeat(np.arange(len(tokens_T2)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    span = first[token] + within
    common = np.minimum(spans_S2[span, 1], tokens_T2[token, 1]) - np.maximum(spans_S2[span, 0], tokens_T2[token, 0])
    positive = common > 0
    return span[positive], token[positive], common[positive]


def owning_window(span: np.ndarray, window: np.ndarray, common: np.ndarray, spans: int) -> np.ndarray:
    """For each span the window that covers most of its bytes, the earlier one on ties; -1 where none does. (S,) int64."""
    windows = int(window.max()) + 1 if window.size else 1
    cells, inverse = np.unique(span * windows + window, return_inverse=True)
    covered = np.bincount(inverse, weights=common, minlength=len(cells))
    cell_span, cell_window = cells // windows, cells % windows
    order = np.lexsort((-cell_window, covered, cell_span))  # the last entry of each span wins
    owner = np.full(spans, -1, dtype=np.int64)
    owner[cell_span[order]] = cell_window[order]
    return owner


def _normalised(span: np.ndarray, token: np.ndarray, common: np.ndarray) -> Overlaps:
    spans, row = np.unique(span, return_inverse=True)
    totals = np.bincount(row, weights=common, minlength=len(spans))
    return Overlaps(spans, row, token, (common / totals[row]).astype(np.float32))


@dataclass(frozen=True, slots=True)
class Bags:
    """Rows that are weighted sums of a table's rows: row r sums ``weight[p] * table[index[p]]`` from offsets[r] to offsets[r+1].

    ``index`` (P,) int64, ``offsets`` (R + 1,) int64, ``weight`` (P,) float32, all on one device. Every row is summed by one
    thread in the order of ``index``, so the result does not depend on the number of threads, on a GPU neither.
    """

    index: torch.Tensor
    offsets: torch.Tensor
    weight: torch.Tensor

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def sum(self, table_TU: torch.Tensor) -> torch.Tensor:
        """(T, U) float32 to (R, U) float32.

        On a CPU four to ten times as fast as a sparse product or ``index_add_``, which go row by row through the dispatcher.
        """
        if not len(self) or not len(self.index):
            return table_TU.new_zeros(len(self), table_TU.shape[1])
        return functional.embedding_bag(
            self.index, table_TU, self.offsets, mode="sum", per_sample_weights=self.weight, include_last_offset=True
        )

    def sum_double(self, table_TU: torch.Tensor) -> torch.Tensor:
        """The same for a few columns in float64, by differences of running sums: the referee's arithmetic."""
        running = torch.zeros(len(self.index) + 1, table_TU.shape[1], dtype=torch.float64, device=table_TU.device)
        terms = table_TU.double()[self.index] * self.weight.double()[:, None]
        torch.cumsum(terms, dim=0, out=running[1:])
        return running[self.offsets[1:]] - running[self.offsets[:-1]]

    def to(self, device: torch.device) -> Bags:
        """The same bags on another device."""
        return Bags(self.index.to(device), self.offsets.to(device), self.weight.to(device))


def bags(row: np.ndarray, column: np.ndarray, weight: np.ndarray, rows: int, device: torch.device) -> Bags:
    """Bags from (row, column, weight) triples in any order; entries of a row keep the order in which they come."""
    order = np.argsort(row, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=rows))])
    return Bags(
        torch.from_numpy(np.ascontiguousarray(column[order], dtype=np.int64)).to(device),
        torch.from_numpy(offsets.astype(np.int64)).to(device),
        torch.from_numpy(np.ascontiguousarray(weight[order], dtype=np.float32)).to(device),
    )
