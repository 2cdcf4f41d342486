"""Every span's value for every wanted neuron, streamed group by group: what an atlas condenses, and exact methods need whole.

A group is some documents of one fold, as many as fit a memory budget; the groups follow each other in order of fold, so that a
consumer can add whole tables to per-fold sums. The spans are either the universal ones, pooled as an atlas pools them (same
windows, same skipped tokens and spans), or those of a pair of tokenizers: the byte ranges between boundaries that both have,
with the unweighted mean of tokens [S, section 4.1]. A span that no scored token covers is absent; of two models only the spans
that both cover are given. A model of which only some neurons are wanted computes nothing above the deepest of them.

Cost: the forward pass, and 4 bytes for each neuron and span of a group; of a batch one layer is in memory at a time. It does
not know what the values are used for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby, pairwise
from typing import Literal

import numpy as np
import torch

from curator.atlas.pooling import Bags, Overlaps, bags, window_overlaps
from curator.atlas.spankeys import SpanKeys
from curator.errors import ConfigError, ModelError
from curator.lm.backbone import Backbone
from curator.lm.batching import MicroBatch, Window, micro_batches, windows
from curator.lm.taps import Tapped, tap

SpanMode = Literal["universal", "shared"]
TABLE_BYTES = 256 << 20
_BATCH_BYTES = 256 << 20
_BATCH_TOKENS = 8192


@dataclass(frozen=True)
class Reading:
    """What is read of a model: all neurons, or those at the flat indices ``wanted_N``, distinct and ascending.

    A flat index counts units layer by layer, as an atlas does. Raises ConfigError for an index that the model does not have.
    """

    backbone: Backbone
    wanted_N: np.ndarray | None = None

    def __post_init__(self) -> None:
        wanted = self.wanted_N
        if wanted is None:
            return
        bad = not len(wanted) or wanted[0] < 0 or wanted[-1] >= self.backbone.neurons or (np.diff(wanted) <= 0).any()
        if bad:
            raise ConfigError(
                f"{self.backbone.name} has {self.backbone.neurons} neurons; ask for distinct ones of them in order."
            )

    @property
    def neurons(self) -> int:
        """Neurons read, N."""
        return self.backbone.neurons if self.wanted_N is None else len(self.wanted_N)

    @cached_property
    def units(self) -> dict[int, list[int]]:
        """Wanted units by layer, of the layers that have any; empty when all are wanted."""
        if self.wanted_N is None:
            return {}
        edges = np.cumsum([0, *(site.width for site in self.backbone.sites)])
        layer_N = np.searchsorted(edges, self.wanted_N, side="right") - 1
        return {
            self.backbone.sites[number].layer: (self.wanted_N[layer_N == number] - edges[number]).tolist()
            for number in np.unique(layer_N)
        }

    @cached_property
    def columns(self) -> dict[int, slice]:
        """Where each read layer's neurons stand among the N."""
        sizes = {site.layer: site.width for site in self.backbone.sites}
        if self.wanted_N is not None:
            sizes = {layer: len(units) for layer, units in self.units.items()}
        edges = np.cumsum([0, *sizes.values()]).tolist()
        return {layer: slice(*edge) for layer, edge in zip(sizes, pairwise(edges), strict=True)}


@dataclass(frozen=True, slots=True, eq=False)
class SpanTable:
    """K spans of one fold, in order of (document, span), and their values in one model or several.

    ``document_K`` index in the corpus and ``span_K`` index in the document, int64; ``values`` one (K, N) float32 tensor a
    model, on that model's device.
    """

    fold: int
    document_K: np.ndarray
    span_K: np.ndarray
    values: tuple[torch.Tensor, ...]

    @property
    def fold_K(self) -> np.ndarray:
        """The fold of every span, (K,) int64."""
        return np.full(len(self.span_K), self.fold, dtype=np.int64)


def span_values(
    readings: Sequence[Reading], keys: SpanKeys, *, spans: SpanMode = "universal", table_bytes: int = TABLE_BYTES
) -> Iterator[SpanTable]:
    """Tables of all spans that every one of the models covers, the held-back spans included.

    ``spans``: ``universal``, or ``shared`` for the boundaries that all the models' tokenizers have in common. ``table_bytes``
    bounds the values of one table, or what a single document needs. Raises ModelError when a value is not finite.
    """
    width = sum(reading.neurons for reading in readings)
    with ExitStack() as stack:
        taps = [
            stack.enter_context(tap(reading.backbone, sorted(reading.units) or None, rows=reading.units))
            for reading in readings
        ]
        for group in _groups(keys, max(1, table_bytes // (4 * width))):
            table = _table(readings, taps, keys, group, spans)
            if len(table.span_K):
                yield table


def shared_boundaries(tokens: Sequence[np.ndarray], size: int) -> np.ndarray:
    """The byte ranges between the boundaries that all tokenizations of a text share: (S, 2) int64, a partition of its bytes.

    ``tokens`` are one (T, 2) array of byte ranges a tokenization, in any order, repeats and empty ranges allowed; ``size`` is
    the text's length in bytes. A boundary is a place where a token ends and that no token crosses; bytes that no token claims
    (a space that a tokenizer leaves out) go to the token after them.
    """
    shared: np.ndarray | None = None
    for ranges_T2 in tokens:
        real = ranges_T2[ranges_T2[:, 1] > ranges_T2[:, 0]]
        ordered = real[np.lexsort((real[:, 1], real[:, 0]))]
        reach = np.maximum.accumulate(ordered[:, 1]) if len(ordered) else np.zeros(0, np.int64)
        ends = np.unique(reach[np.append(reach[:-1] <= ordered[1:, 0], True)[: len(reach)]])
        shared = ends if shared is None else np.intersect1d(shared, ends, assume_unique=True)
    inner = np.zeros(0, np.int64) if shared is None else shared[(shared > 0) & (shared < size)]
    edges = np.concatenate([[0], inner, [size]]).astype(np.int64)
    return np.stack([edges[:-1], edges[1:]], axis=1) if size else np.zeros((0, 2), np.int64)


def _groups(keys: SpanKeys, spans: int) -> Iterator[tuple[int, list[int]]]:
    """(fold, documents) in order of fold, each group at most so many universal spans or a single document."""
    for fold, members in groupby(keys.order_D.tolist(), key=lambda index: int(keys.fold_D[index])):
        group: list[int] = []
        taken = 0
        for index in members:
            size = int(keys.length_D[index])
            if group and taken + size > spans:
                yield fold, group
                group, taken = [], 0
            group.append(index)
            taken += size
        yield fold, group


@dataclass(frozen=True, slots=True)
class _Read:
    """One model's windows over a group, and what of each window goes into which span of the group's flat numbering."""

    found: list[Window]
    parts: list[Overlaps]
    first_G: np.ndarray

    def covered(self) -> np.ndarray:
        """(spans of the group,) bool."""
        out = np.zeros(int(self.first_G[-1]), dtype=bool)
        for window, part in zip(self.found, self.parts, strict=True):
            out[self.first_G[window.document] + part.spans] = True
        return out


def _table(
    readings: Sequence[Reading],
    taps: Sequence[Tapped],
    keys: SpanKeys,
    group: tuple[int, list[int]],
    mode: SpanMode,
) -> SpanTable:
    fold, documents = group
    texts = [keys.documents[index].text for index in documents]
    found = [
        windows(reading.backbone.tokenizer, texts, reading.backbone.max_tokens, keys.settings.skip_tokens)
        for reading in readings
    ]
    universal = [keys.spans(index) for index in documents]
    cut = universal if mode == "universal" else _shared_spans(found, universal)
    first_G = np.cumsum([0, *(len(spans) for spans in cut)])
    used = np.concatenate(
        [_used(spans, own, keys.settings.skip_spans) for spans, own in zip(cut, universal, strict=True)]
    )
    reads = [_Read(mine, _parts(mine, cut.__getitem__, mode), first_G) for mine in found]
    for read in reads:
        used &= read.covered()
    row_G = np.where(used, np.cumsum(used) - 1, -1)
    values = tuple(
        _values(reading, tapped, read, row_G) for reading, tapped, read in zip(readings, taps, reads, strict=True)
    )
    document_G = np.repeat(np.asarray(documents, dtype=np.int64), np.diff(first_G))
    span_G = np.arange(len(used)) - np.repeat(first_G[:-1], np.diff(first_G))
    return SpanTable(fold, document_G[used], span_G[used], values)


def _used(spans_S2: np.ndarray, universal_S2: np.ndarray, skip: int) -> np.ndarray:
    """Which spans begin after the leading universal spans that every model ignores, (S,) bool."""
    if len(universal_S2) <= skip:
        return np.zeros(len(spans_S2), dtype=bool)
    return spans_S2[:, 0] >= universal_S2[skip, 0]


def _shared_spans(found: Sequence[list[Window]], universal: Sequence[np.ndarray]) -> list[np.ndarray]:
    by_model = [
        {
            document: np.concatenate([window.bytes_T2 for window in mine])
            for document, mine in groupby(windows_of, key=lambda window: window.document)
        }
        for windows_of in found
    ]
    none = np.zeros((0, 2), np.int64)
    return [
        shared_boundaries([tokens.get(document, none) for tokens in by_model], int(spans[-1, 1]) if len(spans) else 0)
        for document, spans in enumerate(universal)
    ]


def _parts(found: list[Window], spans_of: Callable[[int], np.ndarray], mode: SpanMode) -> list[Overlaps]:
    parts = window_overlaps(found, spans_of)
    if mode == "universal":
        return parts
    return [replace(part, weight=(1 / np.bincount(part.row)[part.row]).astype(np.float32)) for part in parts]


def _values(reading: Reading, tapped: Tapped, read: _Read, row_G: np.ndarray) -> torch.Tensor:
    """Values of the kept spans of a group, (K, N) float32 on the model's device."""
    backbone = reading.backbone
    rows = int(row_G.max(initial=-1)) + 1
    table_KN = torch.empty(rows, reading.neurons, dtype=torch.float32, device=backbone.device)
    budget = max(256, min(_BATCH_TOKENS, _BATCH_BYTES // (4 * max(site.width for site in backbone.sites))))
    columns = reading.columns
    with torch.no_grad():
        for batch in micro_batches(read.found, budget):
            row, token, weight = _placed(batch, read, row_G)
            if not len(row):
                continue
            places, local = np.unique(row, return_inverse=True)
            pooled = bags(local, token, weight, len(places), backbone.device)
            places_K = torch.from_numpy(places).to(backbone.device)

            def consume(
                layer: int, values_BTU: torch.Tensor, pooled: Bags = pooled, places_K: torch.Tensor = places_K
            ) -> None:
                mine = pooled.to(values_BTU.device).sum(values_BTU.flatten(0, 1).float())
                table_KN[places_K, columns[layer]] = mine.to(backbone.device)

            tapped.run(batch.input_ids, consume=consume)
    if not bool(torch.isfinite(table_KN).all()):
        raise ModelError(f"{backbone.name} has activations that are not finite; load it in float32 or bfloat16.")
    return table_KN


def _placed(batch: MicroBatch, read: _Read, row_G: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(row of the table, padded token of the batch, weight) of every overlap whose span is kept."""
    length = int(batch.input_ids.shape[1])
    rows, tokens, weights = [], [], []
    for number, index in enumerate(batch.indices):
        part = read.parts[index]
        row = row_G[read.first_G[read.found[index].document] + part.spans][part.row]
        kept = row >= 0
        rows.append(row[kept])
        tokens.append(part.token[kept] + number * length)
        weights.append(part.weight[kept])
    return np.concatenate(rows), np.concatenate(tokens), np.concatenate(weights)
