"""Texts to what one forward pass needs for their features: padded token ids, and what each token counts for.

A group of documents is tokenised at once, its windows sorted by length into batches, and every token given its weight in its
document's mean over universal spans (``atlas.pooling`` says how tokens and spans meet). All documents of a group lie behind
each other on one line of bytes, so that the weights are a few array operations for the whole group: 0.3 s for a million
tokens, where one document after the other took 0.6. Groups are a function of the texts and of the model's widest layer
alone. Cost beside that: tokenising. Nothing here touches the model, so one thread can prepare what another computes with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from curator.atlas.pooling import intersections, owning_window
from curator.lm.backbone import Backbone
from curator.lm.batching import Window, fitting_budget, micro_batches, windows
from curator.text.segmentation import universal_spans

_FIRST_BATCHES, _BATCHES, _CHARACTERS_PER_TOKEN = 2, 16, 3
_MOST_DOCUMENTS = 8192


@dataclass(frozen=True, slots=True, eq=False)
class FeatureBatch:
    """Windows that the model reads at once.

    ``input_ids`` (B, T) int64; ``scored`` (B, T) bool; ``weight`` (B, T) float32, a token's weight in its document's mean;
    ``rows`` (B,) int64, places of the windows in the group.
    """

    input_ids: torch.Tensor
    scored: torch.Tensor
    weight: torch.Tensor
    rows: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """A group of ``documents`` documents, cut into W windows; ``owner_W`` is each window's document, ascending.

    ``tokens_D`` int64 are the tokens scored of each document.
    """

    documents: int
    owner_W: np.ndarray
    tokens_D: np.ndarray
    batches: list[FeatureBatch]


def pieces(batches: Iterable[Sequence[str]], budget: int) -> Iterator[tuple[Sequence[str], bool]]:
    """The documents of each group, about 16 batches of ``budget`` tokens or 8,192 documents, and whether a batch of texts ends.

    The first groups are smaller, of 2, 4 and 8 batches: nothing can be read before the first group is prepared. No group is
    of two batches of texts, and a batch of no texts is a group of none.
    """
    most = _FIRST_BATCHES
    for texts in batches:
        start = characters = 0
        for place, text in enumerate(texts):
            full = characters + len(text) > budget * most * _CHARACTERS_PER_TOKEN or place - start == _MOST_DOCUMENTS
            if full and place > start:
                yield texts[start:place], False
                start, characters, most = place, 0, min(2 * most, _BATCHES)
            characters += len(text)
        yield texts[start:], True
        most = min(2 * most, _BATCHES)


def batch_budget(backbone: Backbone) -> int:
    """Tokens of a batch that the device likes."""
    return fitting_budget(max(site.width for site in backbone.sites), backbone.device)


def make_group(backbone: Backbone, texts: Sequence[str], skip_tokens: int) -> Group:
    """Tokenise, weigh and batch some texts. Raises as ``lm.batching.windows`` does."""
    found = windows(backbone.tokenizer, texts, backbone.max_tokens, skip_tokens)
    owner_W = np.asarray([window.document for window in found], dtype=np.int64)
    scored_W = np.asarray([np.count_nonzero(window.scored) for window in found], dtype=np.int64)
    tokens_D = np.bincount(owner_W, weights=scored_W, minlength=len(texts)).astype(np.int64)
    weights = span_weights(texts, found, owner_W)
    batches = [
        FeatureBatch(
            batch.input_ids,
            _padded([found[index].scored for index in batch.indices], batch.input_ids.shape[1]),
            _padded([weights[index] for index in batch.indices], batch.input_ids.shape[1]),
            np.asarray(batch.indices, dtype=np.int64),
        )
        for batch in micro_batches(found, batch_budget(backbone))
    ]
    return Group(len(texts), owner_W, tokens_D, batches)


def span_weights(texts: Sequence[str], found: Sequence[Window], owner_W: np.ndarray) -> list[np.ndarray]:
    """For every window the weight of each token in its document's mean over spans, (T,) float32."""
    if not found:
        return []
    spans = [universal_spans(text) for text in texts]
    span_counts_D = np.asarray([len(part) for part in spans])
    ends_D = np.cumsum([int(part[-1, 1]) if len(part) else 0 for part in spans])
    base_D = np.concatenate([[0], ends_D[:-1]])
    document_S = np.repeat(np.arange(len(texts)), span_counts_D)
    spans_S2 = np.concatenate(spans) + base_D[document_S][:, None]
    lengths_W = np.asarray([len(window) for window in found])
    window_T = np.repeat(np.arange(len(found)), lengths_W)
    kept_K = np.flatnonzero(np.concatenate([window.scored for window in found]))
    bytes_K2 = (
        np.concatenate([window.bytes_T2 for window in found])[kept_K] + base_D[owner_W[window_T[kept_K]]][:, None]
    )
    span_P, token_P, common_P = intersections(spans_S2, bytes_K2)
    token_P = kept_K[token_P]
    mine_P = _in_owning_window(span_P, window_T[token_P], common_P, len(spans_S2))
    span_P, token_P, common_P = span_P[mine_P], token_P[mine_P], common_P[mine_P]
    covered_S = np.bincount(span_P, weights=common_P, minlength=len(spans_S2))
    covered_D = np.bincount(document_S[covered_S > 0], minlength=len(texts))
    share_P = common_P / (covered_S[span_P] * covered_D[document_S[span_P]])
    weight_T = np.bincount(token_P, weights=share_P, minlength=len(window_T)).astype(np.float32)
    return np.split(weight_T, np.cumsum(lengths_W)[:-1])


def _in_owning_window(span_P: np.ndarray, window_P: np.ndarray, common_P: np.ndarray, spans: int) -> np.ndarray:
    """Which pairs are of the window that owns their span; few spans are touched by two windows. (P,) bool."""
    first_S, last_S = np.zeros(spans, dtype=np.int64), np.zeros(spans, dtype=np.int64)
    first_S[span_P[::-1]] = window_P[::-1]  # windows ascend along the pairs, and the last one written stays
    last_S[span_P] = window_P
    contested = np.flatnonzero(first_S[span_P] != last_S[span_P])
    mine_P = np.ones(len(span_P), dtype=bool)
    if len(contested):
        names, span_C = np.unique(span_P[contested], return_inverse=True)
        owner = owning_window(span_C, window_P[contested], common_P[contested], len(names))
        mine_P[contested] = owner[span_C] == window_P[contested]
    return mine_P


def _padded(rows: Sequence[np.ndarray], length: int) -> torch.Tensor:
    out = np.zeros((len(rows), length), dtype=rows[0].dtype)
    for index, row in enumerate(rows):
        out[index, : len(row)] = row
    return torch.from_numpy(out)
