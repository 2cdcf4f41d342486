"""What an atlas and a match will cost, from numbers alone: bytes in memory and on disk, floating-point operations, seconds.

Pure functions, nothing is read or run; ``curator plan`` prints them. (A build itself reserves disk by the exact shapes of its
arrays, ``PartHeader.specs``.) N neurons, d sketch dimensions in F folds, V held-back spans, D
documents, k top contexts (twice for gated models, whose lowest values are kept too):

    memory of the pass    N (2·8·d/F + 4·8 + 8·8 + 20 k)          one fold's true and decoy sketch; sums; contexts
    work files            N (2·8·d + 2·4·V + 4·D)                 kept until the atlas is complete
    finished atlas        N (2·4·d + 2·2·V + 4·D + 20 k + 80)

FLOP are counted as two for a multiply-add. Both methods of finding Rosetta neurons get the same price for a forward pass and
for a product; the paper's is that of its released code: one pass of both models for the statistics, then one of both for every
block of layers of the second model, and all pairs of neurons by matrix product. It does not know a model's speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from curator.settings import AtlasSettings, MatchSettings

BATCH_BYTES = 256 << 20
"""Allowance for one layer's activations in one micro-batch and what the forward pass needs beside them; the pooled spans are
about as large. On a CPU a layer's activations are 24 MB a lane, on a GPU up to 1 GB where it has that to spare."""
PASS_FLOP = 22
"""Of the pass per neuron and span: pooling 2, centring 1, four power sums 7, two sketches 4, document sum 1, counts of positive
and other than zero 4, least, greatest and top contexts 3. Memory bandwidth bounds them, not arithmetic."""
MATCHINGS = 5
"""The true one, two derangement nulls and, for a large model, two rotated ones all go through the same code."""
PAPER_BLOCK_LAYERS = 2
"""Layers of the second model whose correlations the paper's code accumulates in one pass, by default."""
_PAPER_ACCUMULATOR_BYTES = 2  # bfloat16, its default
_PRODUCTS = 5  # sums over spans for one correlation with missing values: a, b, aa, bb, ab
_LARGEST_POWER = 20


@dataclass(frozen=True, slots=True)
class AtlasCost:
    """Bytes of one atlas.

    Attributes:
        neurons: N.
        pass_bytes: memory of the running sums, beside the weights and one batch.
        batch_bytes: memory of one batch: activations and pooled spans.
        work_bytes: disk for work files, until the atlas is complete.
        artifact_bytes: disk for the finished atlas.
    """

    neurons: int
    pass_bytes: int
    batch_bytes: int
    work_bytes: int
    artifact_bytes: int

    @property
    def memory_bytes(self) -> int:
        """Memory of the pass beside the weights."""
        return self.pass_bytes + self.batch_bytes

    @property
    def disk_bytes(self) -> int:
        """Disk at the moment when the atlas is written and its work files are still there."""
        return self.work_bytes + self.artifact_bytes


@dataclass(frozen=True, slots=True)
class MatchCost:
    """Cost of matching two atlases, nulls included; ``read_bytes`` are signatures and held-back values of both, read once."""

    search_flop: int
    verify_flop: int
    rotation_flop: int
    read_bytes: int

    @property
    def flop(self) -> int:
        """Everything."""
        return self.search_flop + self.verify_flop + self.rotation_flop


@dataclass(frozen=True, slots=True)
class PaperCost:
    """Cost of the released code of [S] for a pair; ``passes`` are forward passes of both models over all the text."""

    passes: int
    gemm_flop: int
    accumulator_bytes: int


def atlas_cost(widths: Sequence[int], gated: bool, settings: AtlasSettings, documents: int) -> AtlasCost:
    """Bytes of an atlas of a model with layers of these ``widths`` over a corpus of so many ``documents``."""
    neurons, d, held = sum(widths), settings.sketch_dimensions, settings.held_back_spans
    contexts = 20 * settings.top_contexts * (2 if gated else 1)
    return AtlasCost(
        neurons=neurons,
        pass_bytes=neurons * (2 * 8 * d // settings.folds + 4 * 8 + 8 * 8 + contexts),
        batch_bytes=2 * BATCH_BYTES,
        work_bytes=neurons * (2 * 8 * d + 2 * 4 * held + 4 * documents),
        artifact_bytes=neurons * (2 * 4 * d + 2 * 2 * held + 4 * documents + contexts + 80),
    )


def largest_sketch(
    widths: Sequence[int],
    gated: bool,
    settings: AtlasSettings,
    documents: int,
    *,
    memory: int | None = None,
    disk: int | None = None,
    spans: int | None = None,
) -> int | None:
    """The most sketch dimensions, a power of two times the folds and at least 64, that fit; None when none do.

    Args:
        widths: neurons of each layer.
        gated: whether the MLPs are gated.
        settings: everything but the dimensions.
        documents: documents of the corpus.
        memory: bytes free beside the weights; no bound when None.
        disk: bytes free where the atlas is built; no bound when None.
        spans: spans of the corpus: a sketch has no use for more dimensions.
    """
    for power in reversed(range(_LARGEST_POWER + 1)):
        dimensions = settings.folds << power
        if dimensions < 64 or (spans is not None and dimensions > spans):
            continue
        cost = atlas_cost(widths, gated, settings.model_copy(update={"sketch_dimensions": dimensions}), documents)
        if (memory is None or cost.memory_bytes <= memory) and (disk is None or cost.disk_bytes <= disk):
            return dimensions
    return None


def pass_flop(neurons: int, spans: int) -> int:
    """What the one pass does beside the forward: pooling, moments, sketches, contexts."""
    return PASS_FLOP * neurons * spans


def match_cost(
    first_neurons: int, second_widths: Sequence[int], settings: AtlasSettings, match: MatchSettings
) -> MatchCost:
    """Cost of matching an atlas of N_A neurons with one whose layers have ``second_widths``, N_B in all.

    Candidates by flat search cost 2·N_A·N_B·d in each direction, verification 2·5·V for each of at most m (N_A + N_B) pairs, both
    four times over; the rotated null multiplies every layer of B by an orthogonal matrix (2·w²·(d + V)) from a QR (4·w³).
    """
    second, d, held = sum(second_widths), settings.sketch_dimensions, settings.held_back_spans
    pairs = match.candidates * (first_neurons + second)
    return MatchCost(
        search_flop=MATCHINGS * 2 * 2 * first_neurons * second * d,
        verify_flop=MATCHINGS * 2 * _PRODUCTS * held * pairs,
        rotation_flop=sum(2 * width**2 * (d + held) + 4 * width**3 for width in second_widths),
        read_bytes=(first_neurons + second) * (2 * 4 * d + 2 * 2 * held),
    )


def paper_cost(first_neurons: int, second_widths: Sequence[int], spans: int) -> PaperCost:
    """Cost of [S]'s code with its defaults: 1 + ⌈L_B/2⌉ passes of both models, 2·N_A·N_B·T, one block's accumulators in bf16."""
    blocks = [
        sum(second_widths[at : at + PAPER_BLOCK_LAYERS]) for at in range(0, len(second_widths), PAPER_BLOCK_LAYERS)
    ]
    return PaperCost(
        passes=1 + ceil(len(second_widths) / PAPER_BLOCK_LAYERS),
        gemm_flop=2 * first_neurons * sum(second_widths) * spans,
        accumulator_bytes=_PAPER_ACCUMULATOR_BYTES * first_neurons * max(blocks),
    )
