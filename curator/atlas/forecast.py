"""From the shapes of models, a text and a machine to a plan: the sums that a user should see before spending anything.

``plan_model`` says what one model's atlas takes and whether it fits, ``plan_pair`` what matching it with a peer takes and what
the paper's released code would take for the same pair. Speeds come from ``curator.lm.speed`` or are left out, and then so are the
times. Spans are counted as tokens, of which there are about as many, and every document as one full window, the dearest
case. Cost: none. It does not know how much faster an index that is not flat would search, and the time of a forward pass is
that of the forward alone: what the pass adds is bound by memory, and the benchmarks measure it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from curator.atlas.plan import (
    BATCH_BYTES,
    AtlasCost,
    MatchCost,
    PaperCost,
    atlas_cost,
    largest_sketch,
    match_cost,
    paper_cost,
    pass_flop,
)
from curator.lm.shape import ModelShape
from curator.lm.speed import Speed
from curator.settings import AtlasSettings, MatchSettings

_LEFT_WHEN_OFFLOADED = 0.1
"""Share of the memory that accelerate leaves free when it puts some of the weights elsewhere."""


@dataclass(frozen=True, slots=True)
class Text:
    """The probe corpus to be: ``tokens`` in windows of ``window``."""

    tokens: int
    window: int

    @property
    def documents(self) -> int:
        """As many as fill one window each."""
        return max(1, ceil(self.tokens / self.window))


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to spend: bytes an element in the computing type, free memory of the device (None: unknown), free disk."""

    itemsize: int
    memory: int | None
    disk: int | None


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """One model's atlas.

    Attributes:
        name: of the model.
        shape: its sizes.
        cost: bytes of its atlas at the chosen sketch.
        tokens: all the text.
        window: tokens it reads at once: the text's, or as many as its positions allow.
        weights_bytes: the weights in the computing type.
        fits: whether one device holds the weights and one batch.
        sketch_in_memory: most sketch dimensions for which the pass fits into memory, beside the weights; None: not even 64.
        sketch_on_disk: most for which work files and atlas fit on the disk.
        forward_flop: one pass over all the text.
        pass_flop: what pooling, moments and sketches add.
        speed: how fast the machine runs it, if measured.
    """

    name: str
    shape: ModelShape
    cost: AtlasCost
    tokens: int
    window: int
    weights_bytes: int
    fits: bool
    sketch_in_memory: int | None
    sketch_on_disk: int | None
    forward_flop: int
    pass_flop: int
    speed: Speed | None

    @property
    def seconds(self) -> float | None:
        """One forward pass over all the text."""
        return self.forward_flop / self.speed.flop_per_second if self.speed else None


@dataclass(frozen=True, slots=True)
class Products:
    """FLOP per second of matrix products: in float32 on the CPU, where FAISS searches, and on the device in its type."""

    search: float
    device: float


@dataclass(frozen=True, slots=True)
class PairPlan:
    """A model and its ``peer``: ours is two passes and the matching, the paper's is what [S]'s released code does.

    ``flop`` and ``seconds`` are of the matching alone, ``our_*`` and ``paper_*`` of everything from text to matches.
    """

    peer: str
    match: MatchCost
    paper: PaperCost
    our_flop: int
    paper_forward_flop: int
    seconds: float | None
    our_seconds: float | None
    paper_seconds: float | None

    @property
    def paper_flop(self) -> int:
        """Forward passes and all pairs of neurons."""
        return self.paper_forward_flop + self.paper.gemm_flop


def plan_model(
    name: str, shape: ModelShape, text: Text, machine: Machine, settings: AtlasSettings, speed: Speed | None = None
) -> ModelPlan:
    """What the atlas of one model takes."""
    weights = shape.parameters * machine.itemsize
    window = min(text.window, shape.max_positions or text.window)
    memory = machine.memory
    fits = memory is None or weights + 2 * BATCH_BYTES <= memory
    left = None if memory is None else memory - weights if fits else round(memory * _LEFT_WHEN_OFFLOADED)
    size = (shape.widths, shape.gated, settings, text.documents)
    return ModelPlan(
        name=name,
        shape=shape,
        cost=atlas_cost(*size),
        tokens=text.tokens,
        window=window,
        weights_bytes=weights,
        fits=fits,
        sketch_in_memory=largest_sketch(*size, memory=left, spans=text.tokens),
        sketch_on_disk=largest_sketch(*size, disk=machine.disk, spans=text.tokens),
        forward_flop=shape.forward_flop(window) * text.tokens,
        pass_flop=pass_flop(shape.neurons, text.tokens),
        speed=speed,
    )


def plan_pair(
    first: ModelPlan,
    second: ModelPlan,
    text: Text,
    settings: AtlasSettings,
    match_settings: MatchSettings,
    products: Products | None = None,
) -> PairPlan:
    """What matching two models takes, here and in the paper's code; forward passes cost the same in both."""
    match = match_cost(first.shape.neurons, second.shape.widths, settings, match_settings)
    paper = paper_cost(first.shape.neurons, second.shape.widths, text.tokens)
    both = first.forward_flop + second.forward_flop
    seconds = ours = theirs = None
    if products and first.seconds is not None and second.seconds is not None:
        seconds = match.flop / products.search
        ours = first.seconds + second.seconds + seconds
        theirs = paper.passes * (first.seconds + second.seconds) + paper.gemm_flop / products.device
    return PairPlan(
        peer=second.name,
        match=match,
        paper=paper,
        our_flop=both + first.pass_flop + second.pass_flop + match.flop,
        paper_forward_flop=paper.passes * both,
        seconds=seconds,
        our_seconds=ours,
        paper_seconds=theirs,
    )
