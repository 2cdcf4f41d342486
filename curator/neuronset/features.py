"""What a neuron says of a document: three numbers, from one truncated forward pass (SCIENCE section 7).

``mean`` over universal spans [S, section 7]; ``rms`` of the positive part over tokens; ``peak``, the mean of the 16 highest.
A trial showed the three side by side to beat each alone. For a neuron of gauge sign -1 the activation is negated first. Only
the layers that hold wanted neurons are tapped, and nothing after the deepest one is computed. Documents come in any number;
they are read in groups (``groups``), so memory is bounded, and the cores are kept busy (``lanes``). A document's features depend
on its neighbours by rounding alone: about 1e-6 of a feature's scale in float32, 1e-2 in bfloat16. Cost: the forward pass to
the deepest layer, and little beside it. It does not know what the numbers are used for.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from curator.lm.backbone import Backbone
from curator.lm.lanes import lanes_for
from curator.lm.taps import Tapped, tap
from curator.neuronset.groups import FeatureBatch, Group, batch_budget, make_group, pieces
from curator.neuronset.lanes import open_lanes
from curator.records import NeuronId

FEATURES = ("mean", "rms", "peak")
PEAK_TOKENS = 16


@dataclass(frozen=True, slots=True)
class NeuronChoice:
    """Which neurons are read, each once, and with which sign."""

    neurons: tuple[NeuronId, ...]
    signs: tuple[int, ...]

    @property
    def layers(self) -> list[int]:
        """Layers that hold a wanted neuron, ascending."""
        return sorted({neuron.layer for neuron in self.neurons})

    @property
    def units(self) -> dict[int, list[int]]:
        """Wanted units by layer, ascending within each."""
        return {layer: sorted(n.unit for n in self.neurons if n.layer == layer) for layer in self.layers}

    @property
    def order(self) -> list[int]:
        """Column of each wanted neuron when layers' units are put side by side."""
        column = {neuron: place for place, neuron in enumerate(sorted(self.neurons))}
        return [column[neuron] for neuron in self.neurons]


@dataclass(frozen=True, slots=True)
class DocumentFeatures:
    """Features of D documents.

    ``values_DfK`` float32 (documents, 3 features, neurons), NaN for a document without a scored token; ``tokens_D`` int64, the
    tokens scored.
    """

    values_DfK: np.ndarray
    tokens_D: np.ndarray


@dataclass(frozen=True, slots=True)
class _Pooled:
    """What a batch leaves of its B windows: (B, K) weighted sums and sums of squares, and (B, P, K) highest values, falling."""

    mean: np.ndarray
    square: np.ndarray
    peak: np.ndarray


def document_features(
    backbone: Backbone,
    texts: Sequence[str],
    choice: NeuronChoice,
    *,
    skip_tokens: int,
    progress: Callable[[int], None] | None = None,
    lanes: int | None = None,
) -> DocumentFeatures:
    """Features of every text.

    ``progress`` is called with the number of documents done; ``lanes`` overrides how many threads read batches.
    """
    parts: list[DocumentFeatures] = []
    done = 0
    with closing(_groups(backbone, [texts], choice, skip_tokens, lanes)) as groups:
        for part, _ in groups:
            parts.append(part)
            done += len(part.tokens_D)
            if progress:
                progress(done)
    return _joined(parts)


def stream_features(
    backbone: Backbone, batches: Iterable[Sequence[str]], choice: NeuronChoice, *, skip_tokens: int
) -> Generator[DocumentFeatures]:
    """Features of each batch of texts, in order; the next is asked for before the one ahead of it is handed out.

    So the cores stay busy where one call for each batch would leave them idle at its end. What raises ends the stream.
    """
    parts: list[DocumentFeatures] = []
    with closing(_groups(backbone, batches, choice, skip_tokens)) as groups:
        for part, last in groups:
            parts.append(part)
            if last:
                yield _joined(parts)
                parts.clear()


def _groups(
    backbone: Backbone,
    batches: Iterable[Sequence[str]],
    choice: NeuronChoice,
    skip_tokens: int,
    lanes: int | None = None,
) -> Generator[tuple[DocumentFeatures, bool]]:
    """Features of group after group, and whether a batch of texts ends with it.

    To be closed by whoever asks: the collector may run in one of its threads, which cannot wait for itself.
    """
    order = np.asarray(choice.order, dtype=np.int64)
    signs_K = torch.zeros(len(order), device=backbone.device)
    signs_K[order] = torch.tensor(choice.signs, dtype=torch.float32, device=backbone.device)
    with (
        tap(backbone, choice.layers, rows=choice.units) as tapped,
        open_lanes(lanes or lanes_for(backbone)) as threads,
    ):
        for (group, last), pooled in threads.over(
            pieces(batches, batch_budget(backbone)),
            lambda piece: (make_group(backbone, piece[0], skip_tokens), piece[1]),
            lambda prepared: prepared[0].batches,
            lambda batch: _pooled(tapped, batch, signs_K),
        ):
            part = _merged(group, pooled, len(order))
            yield DocumentFeatures(part.values_DfK[..., order], part.tokens_D), last


def _joined(parts: Sequence[DocumentFeatures]) -> DocumentFeatures:
    return DocumentFeatures(
        np.concatenate([part.values_DfK for part in parts]), np.concatenate([part.tokens_D for part in parts])
    )


def _pooled(tapped: Tapped, batch: FeatureBatch, signs_K: torch.Tensor) -> _Pooled:
    """Read a batch and pool its wanted neurons, layer by layer and unit by unit in ascending order."""
    with torch.inference_mode():
        device = signs_K.device
        activations = tapped.run(batch.input_ids)
        values_BTK = torch.cat([activations[layer].to(device) for layer in tapped.layers], dim=-1).float() * signs_K
        mean_BK = torch.bmm(batch.weight.to(device)[:, None], values_BTK)[:, 0]
        values_BTK.masked_fill_(~batch.scored.to(device)[..., None], -torch.inf)
        peak_BPK = values_BTK.topk(min(PEAK_TOKENS, values_BTK.shape[1]), dim=1).values
        square_BK = values_BTK.clamp_(min=0).square_().sum(dim=1)
        return _Pooled(mean_BK.cpu().numpy(), square_BK.cpu().numpy(), peak_BPK.cpu().numpy())


def _merged(group: Group, pooled: Sequence[_Pooled], neurons: int) -> DocumentFeatures:
    """Windows to documents: sums add, peaks are the highest of all windows."""
    windows = len(group.owner_W)
    total_W2K = np.zeros((windows, 2, neurons), np.float32)
    peak_WPK = np.full((windows, PEAK_TOKENS, neurons), -np.inf, np.float32)
    for batch, part in zip(group.batches, pooled, strict=True):
        total_W2K[batch.rows, 0], total_W2K[batch.rows, 1] = part.mean, part.square
        peak_WPK[batch.rows, : part.peak.shape[1]] = part.peak
    values_DfK = np.full((group.documents, 3, neurons), np.nan, np.float32)
    edges = np.flatnonzero(np.diff(group.owner_W, prepend=-1, append=group.documents))
    whole = edges[:-1][np.diff(edges) == 1]  # documents of one window, nearly all, need no loop
    one = whole[group.tokens_D[group.owner_W[whole]] > 0]
    _fill(values_DfK, group, group.owner_W[one], total_W2K[one], peak_WPK[one])
    for start, stop in pairwise(edges):
        document = group.owner_W[start : start + 1]
        if stop - start > 1 and group.tokens_D[document[0]]:
            candidates = peak_WPK[start:stop].reshape(-1, neurons)
            highest = -np.sort(-candidates, axis=0)[:PEAK_TOKENS]
            _fill(values_DfK, group, document, total_W2K[start:stop].sum(axis=0)[None], highest[None])
    return DocumentFeatures(values_DfK, group.tokens_D)


def _fill(
    values_DfK: np.ndarray, group: Group, documents: np.ndarray, total_N2K: np.ndarray, peak_NPK: np.ndarray
) -> None:
    """Write the features of N documents from their sums and their highest values, which fall along the second axis."""
    tokens_N = group.tokens_D[documents]
    kept_N = np.minimum(PEAK_TOKENS, tokens_N)
    counted_NP = np.arange(PEAK_TOKENS) < kept_N[:, None]
    values_DfK[documents, 0] = total_N2K[:, 0]
    values_DfK[documents, 1] = np.sqrt(total_N2K[:, 1] / tokens_N[:, None])
    peak_NPK = np.where(counted_NP[..., None], peak_NPK, 0)
    values_DfK[documents, 2] = peak_NPK.sum(axis=1) / kept_N[:, None]
