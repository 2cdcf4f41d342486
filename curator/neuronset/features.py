"""What a neuron says of a document: three numbers, from one truncated forward pass (SCIENCE section 7).

``mean`` over universal spans [S, section 7]; ``rms`` of the positive part over tokens; ``peak``, the mean of the 16 highest.
A trial showed the three side by side to beat each alone. For a neuron of gauge sign -1 the activation is negated first. Only
the layers that hold wanted neurons are tapped, and nothing after the deepest one is computed. Documents come in any number;
they are read in groups, so memory is bounded. Cost: the forward pass to the deepest layer, and about a millisecond a document
for pooling weights. It does not know what the numbers are used for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from curator.atlas.pooling import window_overlaps
from curator.lm.backbone import Backbone
from curator.lm.batching import Window, micro_batches, windows
from curator.lm.taps import Tapped, tap
from curator.records import NeuronId
from curator.text.segmentation import universal_spans

FEATURES = ("mean", "rms", "peak")
PEAK_TOKENS = 16
_GROUP_DOCUMENTS = 256
_TOKENS_PER_BATCH = 8192


@dataclass(frozen=True, slots=True)
class NeuronChoice:
    """Which neurons are read, and with which sign."""

    neurons: tuple[NeuronId, ...]
    signs: tuple[int, ...]

    @property
    def layers(self) -> list[int]:
        """Layers that hold a wanted neuron, ascending."""
        return sorted({neuron.layer for neuron in self.neurons})

    @property
    def units(self) -> dict[int, list[int]]:
        """Wanted units by layer, ascending within each."""
        return {layer: sorted({n.unit for n in self.neurons if n.layer == layer}) for layer in self.layers}

    @property
    def order(self) -> list[int]:
        """Column of each wanted neuron when layers' units are put side by side."""
        flat = [NeuronId(layer, unit) for layer, units in self.units.items() for unit in units]
        return [flat.index(neuron) for neuron in self.neurons]


@dataclass(frozen=True, slots=True)
class DocumentFeatures:
    """Features of D documents.

    ``values_DfK`` float32 (documents, 3 features, neurons), NaN for a document without a scored token; ``tokens_D`` int64, the
    tokens scored.
    """

    values_DfK: np.ndarray
    tokens_D: np.ndarray


def document_features(
    backbone: Backbone,
    texts: Sequence[str],
    choice: NeuronChoice,
    *,
    skip_tokens: int,
    progress: Callable[[int], None] | None = None,
) -> DocumentFeatures:
    """Features of every text. ``progress`` is called with the number of documents done."""
    parts: list[DocumentFeatures] = []
    with torch.inference_mode(), tap(backbone, choice.layers, rows=choice.units) as tapped:
        for start in range(0, len(texts), _GROUP_DOCUMENTS):
            group = texts[start : start + _GROUP_DOCUMENTS]
            parts.append(_group_features(backbone, tapped, group, choice, skip_tokens))
            if progress:
                progress(start + len(group))
    if not parts:
        return DocumentFeatures(np.zeros((0, 3, len(choice.neurons)), np.float32), np.zeros(0, np.int64))
    return DocumentFeatures(
        np.concatenate([part.values_DfK for part in parts]), np.concatenate([part.tokens_D for part in parts])
    )


def _group_features(
    backbone: Backbone, tapped: Tapped, texts: Sequence[str], choice: NeuronChoice, skip_tokens: int
) -> DocumentFeatures:
    found = windows(backbone.tokenizer, texts, backbone.max_tokens, skip_tokens)
    weights = _span_weights(texts, found)
    signs_K = torch.tensor(choice.signs, dtype=torch.float32, device=backbone.device)
    width = len(choice.neurons)
    total_W2K = np.zeros((len(found), 2, width), np.float32)
    peak_WpK = np.full((len(found), PEAK_TOKENS, width), -np.inf, np.float32)
    for batch in micro_batches(found, _TOKENS_PER_BATCH):
        activations = tapped.run(batch.input_ids)
        values_BTK = torch.cat([activations[layer].float().to(backbone.device) for layer in choice.layers], dim=-1)
        values_BTK = values_BTK[..., choice.order] * signs_K
        length = values_BTK.shape[1]
        scored_BT = _padded([found[index].scored for index in batch.indices], length, backbone.device)
        weight_BT = _padded([weights[index] for index in batch.indices], length, backbone.device)
        means = torch.einsum("bt,btk->bk", weight_BT.float(), values_BTK)
        squares = torch.einsum("bt,btk->bk", scored_BT.float(), values_BTK.clamp(min=0) ** 2)
        masked = values_BTK.masked_fill(~scored_BT[..., None], -torch.inf)
        peaks = masked.topk(min(PEAK_TOKENS, length), dim=1).values
        rows = list(batch.indices)
        total_W2K[rows, 0], total_W2K[rows, 1] = means.cpu().numpy(), squares.cpu().numpy()
        peak_WpK[rows, : peaks.shape[1]] = peaks.cpu().numpy()
    return _merged(found, total_W2K, peak_WpK, len(texts))


def _merged(found: list[Window], total_W2K: np.ndarray, peak_WpK: np.ndarray, documents: int) -> DocumentFeatures:
    """Windows to documents: sums add, peaks are the highest of all windows."""
    values = np.full((documents, 3, total_W2K.shape[2]), np.nan, np.float32)
    tokens = np.zeros(documents, np.int64)
    owner = np.asarray([window.document for window in found], dtype=np.int64)
    scored = np.asarray([int(window.scored.sum()) for window in found], dtype=np.int64)
    np.add.at(tokens, owner, scored)
    edges = np.flatnonzero(np.diff(owner, prepend=-1, append=documents))  # windows come in the order of documents
    for start, stop in pairwise(edges):
        document = owner[start]
        if not tokens[document]:
            continue
        mean, square = total_W2K[start:stop].sum(axis=0)
        kept = min(PEAK_TOKENS, int(tokens[document]))
        candidates = peak_WpK[start:stop].reshape(-1, peak_WpK.shape[2])
        peak = np.partition(candidates, len(candidates) - kept, axis=0)[len(candidates) - kept :].mean(axis=0)
        values[document] = np.stack([mean, np.sqrt(square / tokens[document]), peak])
    return DocumentFeatures(values, tokens)


def _span_weights(texts: Sequence[str], found: list[Window]) -> list[np.ndarray]:
    """For every window the weight of each token in its document's mean over spans, (T,) float64."""
    parts = window_overlaps(found, lambda document: universal_spans(texts[document]))
    spans_D = np.zeros(len(texts), dtype=np.int64)
    for window, part in zip(found, parts, strict=True):
        spans_D[window.document] += len(part.spans)
    return [
        np.bincount(part.token, weights=part.weight, minlength=len(window)) / max(1, spans_D[window.document])
        for window, part in zip(found, parts, strict=True)
    ]


def _padded(rows: list[np.ndarray], length: int, device: torch.device) -> torch.Tensor:
    out = np.zeros((len(rows), length), dtype=rows[0].dtype)
    for index, row in enumerate(rows):
        out[index, : len(row)] = row
    return torch.from_numpy(out).to(device)
