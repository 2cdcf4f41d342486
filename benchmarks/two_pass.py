"""The paper's identification of a pair of models, written from its description: the yardstick of ``speedup_over_two_pass``.

As in the paper and its released code [S, section 4.1]: a first pass over the text gives mean and deviation of every neuron
of both models; then, for every block of two layers of the second model, one more forward pass of both whole models, LM head
included, feeds a matrix product into an accumulator of all N_A neurons of the first model by the block's neurons of the
second. Tokens are averaged over the spans between byte boundaries that both tokenizations share. Mutual nearest neighbours
over all layers are the result. No document is longer than a window, for the released code reads first windows only.

Where the description leaves a choice, it is made in this code's favour: batches are ours, bucketed by length; values and
accumulators are float32, where the released bfloat16 accumulator is wrong; one best partner is kept, not a hundred.
Cost: 1 + ceil(L_B / 2) forward passes of both models and 2 N_A N_B T multiplications and additions.
It has no null, no error estimate and no test, as the released code has none.

[S] Dravid, Bahri, Efros, Gandelsman, Neuron Populations Exhibit Divergent Selectivity with Scale, arXiv 2606.03990.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from curator.lm.batching import Window, micro_batches, windows
from curator.lm.families import MlpSite, locate_mlps

BLOCK_LAYERS = 2
TOKENS_PER_BATCH = 8_192


@dataclass(frozen=True, slots=True)
class WholeModel:
    """A causal language model with its LM head, its tokenizer and where its neurons are."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    sites: tuple[MlpSite, ...]

    @property
    def neurons(self) -> int:
        """MLP neurons over all layers."""
        return sum(site.width for site in self.sites)


@dataclass(frozen=True, slots=True)
class PairedBatch:
    """The same documents for both models, with the shared span of every token.

    ``ids`` and ``mask`` (B, T) of each model; ``token`` (P,) int64 positions in the flattened batch, ``span`` (P,) int64 the
    shared span of each, of ``spans`` in all.
    """

    ids: tuple[torch.Tensor, torch.Tensor]
    mask: tuple[torch.Tensor, torch.Tensor]
    token: tuple[torch.Tensor, torch.Tensor]
    span: tuple[torch.Tensor, torch.Tensor]
    spans: int


@dataclass(frozen=True, slots=True)
class Pairs:
    """Mutual nearest neighbours: flat neuron indices (M,) of both models, and their correlation (M,)."""

    first: np.ndarray
    second: np.ndarray
    rho: np.ndarray
    forwards: int
    """Forward passes over the text, of each model."""
    spans: int


@dataclass(slots=True)
class _Best:
    """The best partner so far of every neuron of both models."""

    value_A: torch.Tensor
    index_A: torch.Tensor
    index_B: list[torch.Tensor] = field(default_factory=list)

    def add(self, rho_AK: torch.Tensor, first_column: int) -> None:
        """Take in the correlations with one block of the second model."""
        value_A, index_A = rho_AK.max(dim=1)
        better = value_A > self.value_A
        self.value_A[better], self.index_A[better] = value_A[better], index_A[better] + first_column
        self.index_B.append(rho_AK.max(dim=0).indices)


def load_whole(folder: Path) -> WholeModel:
    """A saved causal language model in float32."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)
    base = cast(PreTrainedModel, model.base_model)
    return WholeModel(model, AutoTokenizer.from_pretrained(folder), locate_mlps(base))


@torch.inference_mode()
def two_pass(first: WholeModel, second: WholeModel, texts: Sequence[str], max_tokens: int) -> Pairs:
    """Mutual nearest neighbours of two models, in 1 + ceil(L_B / 2) passes over the texts."""
    batches = list(paired_batches(first, second, texts, max_tokens))
    spans = sum(batch.spans for batch in batches)
    moments = _pass_of_moments(first, second, batches, spans)
    best = _Best(torch.full((first.neurons,), -2.0), torch.zeros(first.neurons, dtype=torch.int64))
    forwards, column = 1, 0
    for start in range(0, len(second.sites), BLOCK_LAYERS):
        block = second.sites[start : start + BLOCK_LAYERS]
        rho_AK = _pass_of_products(first, second, block, batches, moments) / spans
        best.add(rho_AK.nan_to_num_(0.0), column)
        forwards, column = forwards + 1, column + rho_AK.shape[1]
    return _mutual(best, forwards, spans)


def paired_batches(
    first: WholeModel, second: WholeModel, texts: Sequence[str], max_tokens: int
) -> Iterator[PairedBatch]:
    """The first window of every text, batched by the first model's lengths, with the shared-boundary spans."""
    found_A = windows(first.tokenizer, texts, max_tokens, 0, max_windows=1)
    found_B = windows(second.tokenizer, texts, max_tokens, 0, max_windows=1)
    for batch in micro_batches(found_A, TOKENS_PER_BATCH):
        chosen_A, chosen_B = [found_A[i] for i in batch.indices], [found_B[i] for i in batch.indices]
        ids_A, ids_B = _padded(chosen_A), _padded(chosen_B)
        parts: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        taken = 0
        for a, b in zip(chosen_A, chosen_B, strict=True):
            span_A, span_B, count = shared_spans(a, b)
            parts[0].append(np.where(span_A >= 0, span_A + taken, -1))
            parts[1].append(np.where(span_B >= 0, span_B + taken, -1))
            taken += count
        token_A, in_span_A = _flattened(parts[0], ids_A.shape[1])
        token_B, in_span_B = _flattened(parts[1], ids_B.shape[1])
        mask = (_mask(chosen_A, ids_A.shape[1]), _mask(chosen_B, ids_B.shape[1]))
        yield PairedBatch((ids_A, ids_B), mask, (token_A, token_B), (in_span_A, in_span_B), taken)


def shared_spans(first: Window, second: Window) -> tuple[np.ndarray, np.ndarray, int]:
    """The span of every token of two windows on one text, -1 for none, and the number of spans.

    A span ends where a token of either tokenization ends; special tokens, and tokens after the last shared end, are in none.
    """
    real_A, real_B = first.bytes_T2[:, 1] > 0, second.bytes_T2[:, 1] > 0
    shared = np.intersect1d(first.bytes_T2[real_A, 1], second.bytes_T2[real_B, 1])
    place_A = np.searchsorted(shared, first.bytes_T2[:, 1])
    place_B = np.searchsorted(shared, second.bytes_T2[:, 1])
    span_A = np.where(real_A & (place_A < len(shared)), place_A, -1)
    span_B = np.where(real_B & (place_B < len(shared)), place_B, -1)
    return span_A, span_B, len(shared)


def _padded(chosen: Sequence[Window]) -> torch.Tensor:
    ids_BT = np.zeros((len(chosen), max(map(len, chosen))), dtype=np.int64)
    for row, window in enumerate(chosen):
        ids_BT[row, : len(window)] = window.input_ids
    return torch.from_numpy(ids_BT)


def _mask(chosen: Sequence[Window], length: int) -> torch.Tensor:
    lengths = torch.tensor([len(window) for window in chosen])
    return (torch.arange(length) < lengths[:, None]).long()


def _flattened(span_of_token: Sequence[np.ndarray], length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions in the flattened padded batch of the tokens that are in a span, and their spans."""
    tokens = [np.flatnonzero(span >= 0) + row * length for row, span in enumerate(span_of_token)]
    spans = [span[span >= 0] for span in span_of_token]
    return torch.from_numpy(np.concatenate(tokens)), torch.from_numpy(np.concatenate(spans))


def _pass_of_moments(
    first: WholeModel, second: WholeModel, batches: Sequence[PairedBatch], spans: int
) -> list[list[tuple[torch.Tensor, torch.Tensor]]]:
    """Mean and deviation of every layer of both models."""
    found = []
    for side, whole in enumerate((first, second)):
        sums = [torch.zeros(2, site.width, dtype=torch.float64) for site in whole.sites]
        for batch in batches:
            for layer, values_SU in enumerate(_pooled(whole, whole.sites, batch, side)):
                sums[layer][0] += values_SU.sum(dim=0, dtype=torch.float64)
                sums[layer][1] += values_SU.square().sum(dim=0, dtype=torch.float64)
        means = [total / spans for total in sums]
        found.append([(mean.float(), (square - mean.square()).sqrt().float()) for mean, square in means])
    return found


def _pass_of_products(
    first: WholeModel,
    second: WholeModel,
    block: Sequence[MlpSite],
    batches: Sequence[PairedBatch],
    moments: list[list[tuple[torch.Tensor, torch.Tensor]]],
) -> torch.Tensor:
    """Sums of products of standardised values, (N_A, neurons of the block): one forward pass of both models."""
    sum_AK = torch.zeros(first.neurons, sum(site.width for site in block))
    for batch in batches:
        values_A = _pooled(first, first.sites, batch, 0)
        values_B = _pooled(second, block, batch, 1)
        z_SK = torch.cat(
            [(v - moments[1][s.layer][0]) / moments[1][s.layer][1] for v, s in zip(values_B, block, strict=True)], dim=1
        )
        for rows, values_SU, (mean, deviation) in zip(_rows(first), values_A, moments[0], strict=True):
            sum_AK[rows].addmm_(((values_SU - mean) / deviation).T, z_SK)
    return sum_AK


def _pooled(whole: WholeModel, sites: Sequence[MlpSite], batch: PairedBatch, side: int) -> list[torch.Tensor]:
    """Mean over the tokens of each shared span, (spans, width) of each layer, by a forward pass of the whole model."""
    with _captured(sites) as captured:
        whole.model(input_ids=batch.ids[side], attention_mask=batch.mask[side], use_cache=False)
    span = batch.span[side]
    share = 1.0 / torch.bincount(span, minlength=batch.spans).float()
    return [
        torch.zeros(batch.spans, site.width)
        .index_add_(0, span, captured[site.layer][batch.token[side]])
        .mul_(share[:, None])
        for site in sites
    ]


@contextmanager
def _captured(sites: Sequence[MlpSite]) -> Iterator[dict[int, torch.Tensor]]:
    """The input of each site's down projection, (B·T, width), by layer."""
    captured: dict[int, torch.Tensor] = {}

    def hook_of(layer: int) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
        def hook(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            captured[layer] = inputs[0].reshape(-1, inputs[0].shape[-1])  # OPT flattens batch and position itself

        return hook

    handles = [site.down.register_forward_pre_hook(hook_of(site.layer)) for site in sites]
    try:
        yield captured
    finally:
        for handle in handles:
            handle.remove()


def _rows(whole: WholeModel) -> list[slice]:
    """Where each layer's neurons stand among all."""
    ends = np.cumsum([site.width for site in whole.sites]).tolist()
    return [slice(end - site.width, end) for site, end in zip(whole.sites, ends, strict=True)]


def _mutual(best: _Best, forwards: int, spans: int) -> Pairs:
    index_B = torch.cat(best.index_B)
    first = torch.arange(len(best.index_A))
    mutual = (index_B[best.index_A] == first) & (best.value_A > -1)
    chosen = torch.nonzero(mutual).flatten()
    return Pairs(chosen.numpy(), best.index_A[chosen].numpy(), best.value_A[chosen].numpy(), forwards, spans)
