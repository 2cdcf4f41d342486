"""Exact mode: the Pearson correlation of every pair of neurons over every span, without sketch or candidates [S, section 4.1].

Both models run together over the corpus, and the products of all pairs are summed by fold (see ``products``), so that the same
errors and halves come out as from sketches. The sums of all pairs would not fit for large models: A's neurons are taken in
blocks whose sums stay under a memory budget. Every further block is a further pass, as in the paper's own code, but runs A only
up to the block's deepest layer. Pairs that can still matter go on to the code that decides what is mutual for sketches as
well; ties go to the lower (layer, unit). A neuron is dead by the atlas's rule, counted over the spans in use.

The spans are the atlas's universal ones, or in paper mode those between boundaries that both tokenizers share, with the
unweighted mean of tokens [S]. Cost: a forward pass a block, 2 N_A N_B T operations in all, 8 F bytes a pair in memory.
It is the referee of the sketch and knows nothing of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch

from curator.atlas.spankeys import SpanKeys
from curator.atlas.spanvalues import Reading, SpanMode, span_values
from curator.errors import ConfigError, InsufficientDataError
from curator.lm.backbone import Backbone
from curator.rosetta.matching import MEMORY_BYTES, MatchTable, View, tabulate
from curator.rosetta.pairwise import row_blocks
from curator.rosetta.products import BlockProducts
from curator.rosetta.verify import PairSums, covered, filled
from curator.settings import AtlasSettings, MatchSettings
from curator.text.probe import ProbeCorpus

log = logging.getLogger(__name__)
_TILE_SPANS = 4096

Tile = tuple[int, torch.Tensor, torch.Tensor]
Tiles = Callable[[np.ndarray], Iterator[Tile]]
"""Consecutive flat indices of A's neurons to tiles: fold, their values (K, R), all of B's values (K, M)."""


def exact_matches(
    first: Backbone,
    second: Backbone,
    corpus: ProbeCorpus,
    settings: AtlasSettings,
    match: MatchSettings,
    *,
    spans: SpanMode = "universal",
    memory_bytes: int = MEMORY_BYTES,
) -> MatchTable:
    """Mutual k-nearest neighbours of two models among all pairs, over all spans that both cover.

    ``spans`` is ``universal``, or ``shared`` for the boundaries that both tokenizers have [S, section 4.1]. ``sketch_rho`` of
    the table is ρ itself, its certificate is over 256 random pairs a block. ``memory_bytes`` bounds the sums of pairs; the
    values of a group of documents come on top (see ``atlas.spanvalues``).

    Raises:
        InsufficientDataError: the two models have no span in common.
        ConfigError: the budget does not hold the sums of one neuron.
        ModelError: activations that are not finite.
    """
    keys = SpanKeys(corpus, settings)

    def tiles(rows_R: np.ndarray) -> Iterator[Tile]:
        for table in span_values([Reading(first, rows_R), Reading(second)], keys, spans=spans):
            a_KR, b_KM = table.values
            yield table.fold, a_KR, b_KM.to(a_KR.device)

    shape = (first.neurons, second.neurons)
    absolute = match.by_magnitude(gated=first.gated or second.gated)
    return all_pairs(tiles, shape, settings, match, absolute, memory_bytes=memory_bytes)


def exact_views(
    first: View,
    second: View,
    fold_V: np.ndarray,
    settings: AtlasSettings,
    match: MatchSettings,
    absolute: bool,
    *,
    memory_bytes: int = MEMORY_BYTES,
) -> MatchTable:
    """The same among all pairs of living neurons of two views, over their held-back spans: no model is run.

    Only over those that both views cover, as where candidates are verified.
    """
    shape = (len(first.held_NV), len(second.held_NV))
    alive = (np.asarray(first.alive), np.asarray(second.alive))
    covered_V = covered(first.held_NV, np.flatnonzero(alive[0])) & covered(second.held_NV, np.flatnonzero(alive[1]))

    def tiles(rows_R: np.ndarray) -> Iterator[Tile]:
        for fold in range(settings.folds):
            columns = np.flatnonzero((fold_V == fold) & covered_V)
            if len(columns):
                yield fold, _held(first.held_NV, rows_R, columns), _held(second.held_NV, np.arange(shape[1]), columns)

    return all_pairs(tiles, shape, settings, match, absolute, memory_bytes=memory_bytes, alive=alive)


def all_pairs(
    tiles: Tiles,
    shape: tuple[int, int],
    settings: AtlasSettings,
    match: MatchSettings,
    absolute: bool,
    *,
    memory_bytes: int = MEMORY_BYTES,
    alive: tuple[np.ndarray, np.ndarray] | None = None,
) -> MatchTable:
    """The matches among all pairs of ``shape`` (N_A, N_B) neurons; ``tiles`` is called once for each block of A's neurons.

    ``alive`` are the neurons that may match, two bool arrays; by the atlas's rule from the tiles themselves when None.
    """
    blocks = _blocks(shape, settings.folds, memory_bytes)
    if len(blocks) > 1:
        log.info("exact matching in several passes", extra={"passes": len(blocks), "memory_bytes": memory_bytes})
    kept = [_block_pairs(tiles, rows_R, settings, match, absolute, alive) for rows_R in blocks]
    pairs_P2 = np.concatenate([pairs for pairs, _ in kept])
    sums = PairSums.joined([part for _, part in kept])
    return tabulate(pairs_P2, sums.correlation(), sums, match, absolute, shape[0])


def _block_pairs(
    tiles: Tiles,
    rows_R: np.ndarray,
    settings: AtlasSettings,
    match: MatchSettings,
    absolute: bool,
    alive: tuple[np.ndarray, np.ndarray] | None,
) -> tuple[np.ndarray, PairSums]:
    """One pass: the pairs of a block of A's neurons that can still matter, (P, 2), and their sums, certified."""
    products = BlockProducts(settings.folds, match.seed)
    for fold, a_KR, b_KM in tiles(rows_R):
        for tile in zip(a_KR.split(_TILE_SPANS), b_KM.split(_TILE_SPANS), strict=True):
            products.add(fold, *tile)
    spans = float(products.count_F.sum())
    if not spans:
        raise InsufficientDataError("The two models have no span in common; use a longer probe corpus.")
    if alive is None:
        living = (products.a.alive(spans, settings), products.b.alive(spans, settings))
    else:
        living = (alive[0][rows_R], alive[1])
    pairs_P2, sums = products.best(living, match.neighbours + 1, absolute)  # one more, for the margin
    return pairs_P2 + np.asarray([rows_R[0], 0]), replace(sums, certificate=products.certificate())


def _blocks(shape: tuple[int, int], folds: int, memory_bytes: int) -> list[np.ndarray]:
    """A's neurons in blocks whose sums and float32 product stay under the budget."""
    one_row = shape[1] * (8 * folds + 4)
    rows = memory_bytes // one_row
    if rows < 1:
        raise ConfigError(f"A budget of {memory_bytes} bytes does not hold one neuron's sums ({one_row}); raise it.")
    return [np.arange(*block) for block in row_blocks(shape[0], rows)]


def _held(held_NV: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> torch.Tensor:
    """Some held-back values of consecutive neurons, (K, R) float32."""
    return torch.from_numpy(filled(held_NV[rows[0] : rows[-1] + 1][:, columns])).T
