"""The one forward pass over the probe corpus: chunk by chunk, layer by layer, with a snapshot now and then.

Windows run through the model in length-bucketed micro-batches; each layer's activations are pooled and added to the layer's sums
in the hook that sees them, so one layer is in memory at a time; nothing above the last MLP is computed. Narrow models run in
several lanes that add in the order of the batches. Batches are a function of the corpus and the model's widths alone, so two
passes on one CPU with one number of threads give the same bytes, killed and resumed or not; a GPU adds in no fixed order.
Cost: the forward pass, and what ``accumulators`` says.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
import torch

from curator.atlas.accumulators import LayerSums, Scratch
from curator.atlas.audit import Audit
from curator.atlas.batches import IDENTITIES, BatchSpans, ChunkSpans, Tensors
from curator.atlas.chunks import Chunk
from curator.atlas.lanes import Lanes, Turns
from curator.atlas.part import Part, Snapshot
from curator.atlas.spankeys import SpanKeys
from curator.errors import ModelError
from curator.lm.backbone import Backbone
from curator.lm.batching import MicroBatch, fitting_budget, micro_batches
from curator.lm.lanes import lanes_for
from curator.lm.taps import Tapped, tap

Progress = Callable[[int, int], None]
SNAPSHOT_SECONDS = 60.0
_PILOT_TOKENS = 256
_SNAPSHOT_SHARE = 20  # time between snapshots, in snapshots: 5 % at most goes into them


class PassState:
    """Everything that a pass has summed so far; ``next_chunk`` is the first that is not in it."""

    def __init__(self, backbone: Backbone, part: Part) -> None:
        header = part.header
        self.part, self.settings = part, header.settings
        self.first_slot = header.slots.start
        widest = max(header.layer_widths)
        scratch = {device: Scratch(widest, device) for device in set(backbone.site_devices)}
        self.layers = [
            LayerSums(site.width, header.settings, device, gated=header.gated, scratch=scratch[device])
            for site, device in zip(backbone.sites, backbone.site_devices, strict=True)
        ]
        self.audit = Audit(header.layer_widths, header.settings)
        self.ones_2d = np.zeros((2, header.settings.sketch_dimensions))
        self.seen_2V = np.zeros((2, len(header.slots)), dtype=bool)
        self.next_chunk, self.spans, self.tokens, self.covered = header.first_chunk, 0, 0, 0

    def snapshot(self) -> Snapshot:
        """The state as arrays; on a CPU they are views."""
        for layer in self.layers:
            layer.settle()
        arrays = {name: tensor.cpu().numpy() for name, tensor in self._tensors().items()}
        counts = {"next_chunk": self.next_chunk, "spans": self.spans, "tokens": self.tokens, "covered": self.covered}
        return Snapshot(arrays | self._own_arrays(), counts)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot."""
        for name, tensor in self._tensors().items():
            tensor.copy_(torch.from_numpy(np.array(snapshot.arrays[name])))
        for name, array in self._own_arrays().items():
            array[...] = snapshot.arrays[name]
        for name, value in snapshot.counts.items():
            setattr(self, name, value)

    def _tensors(self) -> dict[str, torch.Tensor]:
        named: dict[str, torch.Tensor] = {}
        for number, layer in enumerate(self.layers):
            for name in ("pilot_U", "power_4U", "positive_U", "nonzero_U", "low_U", "high_U", "block_2wU"):
                named[f"{number}.{name}"] = getattr(layer, name)
            for side in ("strongest", "weakest"):
                kept = getattr(layer, side)
                for name in ("value_kU", "document_kU", "span_kU") if kept else ():
                    named[f"{number}.{side}.{name}"] = getattr(kept, name)
        return named

    def _own_arrays(self) -> dict[str, np.ndarray]:
        audit = self.audit
        return {
            "audit.pilot_A": audit.pilot_A, "audit.power_2A": audit.power_2A, "audit.sketch_dA": audit.sketch_dA,
            "ones_2d": self.ones_2d, "seen_2V": self.seen_2V,
        }  # fmt: skip

    def add_counts(self, batch: BatchSpans, fold: int) -> None:
        """What a batch adds beside the layers' sums."""
        width = batch.ones_2w.shape[1]
        self.ones_2d[:, fold * width : (fold + 1) * width] += batch.ones_2w
        self.spans += batch.sketched
        self.tokens += batch.tokens
        self.covered += batch.spans
        for identity, slots in enumerate(batch.held_slot):
            self.seen_2V[identity, slots - self.first_slot] = True


@dataclass(frozen=True, slots=True)
class _Step:
    """One batch of a chunk, or the whole of a chunk that has none; the first step of a chunk opens it, the last closes it.

    ``spans_D`` are the used spans of the chunk's documents; ``ends_fold`` whether the fold's sketch is complete after it.
    """

    number: int
    chunk: Chunk
    spans_D: np.ndarray
    batch: tuple[MicroBatch, BatchSpans] | None
    opens: bool
    closes: bool
    ends_fold: bool


class _Feed:
    """Steps in order, until the first chunk that begins when ``pause_at`` is over."""

    def __init__(self, steps: Iterator[_Step]) -> None:
        self._steps = steps
        self._held: _Step | None = None
        self.pause_at = math.inf

    def __iter__(self) -> Iterator[_Step]:
        """The steps up to the next pause; ask again for those after it."""
        started = False
        for step in chain([self._held] if self._held else [], self._steps):
            self._held = None
            if step.opens and started and time.monotonic() >= self.pause_at:
                self._held = step
                return
            started = True
            yield step


class _Pass:
    """What every step of one pass needs."""

    def __init__(self, backbone: Backbone, tapped: Tapped, keys: SpanKeys, chunks: list[Chunk], part: Part) -> None:
        self.backbone, self.tapped, self.keys, self.chunks, self.part = backbone, tapped, keys, chunks, part
        self.header, self.state = part.header, PassState(backbone, part)
        self.place_of = {site.layer: place for place, site in enumerate(backbone.sites)}
        edges = np.concatenate([[0], np.cumsum(self.header.layer_widths)]).tolist()
        self.columns = [slice(start, end) for start, end in pairwise(edges)]
        mine = chunks[self.header.first_chunk : self.header.end_chunk]
        rows = np.cumsum([0, *(len(chunk.documents) for chunk in mine)])
        self.first_row = {self.header.first_chunk + number: int(row) for number, row in enumerate(rows)}

    def steps(self) -> Generator[_Step]:
        """What is left to do; the next chunk is tokenised and placed in a thread while the model is busy with this one.

        To be closed by whoever asks: the collector may run in that very thread, which cannot wait for itself.
        """
        left = range(self.state.next_chunk, self.header.end_chunk)
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="atlas-chunks") as thread:
            ahead = thread.submit(self._prepared, left[0]) if left else None
            for number in left:
                ready, ahead = ahead, thread.submit(self._prepared, number + 1) if number + 1 in left else None
                yield from ready.result() if ready else ()

    def _prepared(self, number: int) -> list[_Step]:
        chunk = self.chunks[number]
        spans = ChunkSpans(self.backbone, self.keys, chunk)
        batches = [(batch, spans.batch(batch)) for batch in batches_of(self.backbone, spans)]
        batches = [(batch, mapped) for batch, mapped in batches if mapped.spans]
        spans_D = np.zeros(len(chunk.documents), dtype=np.int64)
        for _, mapped in batches:
            spans_D += np.diff(mapped.tensors.documents.offsets.numpy())
        end = self.header.end_chunk
        ends_fold = number + 1 == end or self.chunks[number + 1].fold != chunk.fold
        last = max(0, len(batches) - 1)
        return [
            _Step(number, chunk, spans_D, batch, opens=place == 0, closes=place == last, ends_fold=ends_fold)
            for place, batch in enumerate(batches or [None])
        ]

    def do(self, step: _Step, number: int, turns: Turns) -> None:
        """Run the model on a step's batch and add it to every layer in turn, then to the counts."""
        watched: list[torch.Tensor] = []
        if step.batch is None:
            for place in range(len(self.columns)):
                with turns.at(place, number):
                    self._open(step, place)
                    self._close(step, place)
        else:
            batch, mapped = step.batch
            tensors = {device: mapped.tensors.to(device) for device in set(self.backbone.site_devices)}

            def consume(layer: int, values_BTU: torch.Tensor) -> None:
                place, tokens_TU = self.place_of[layer], values_BTU.flatten(0, 1)
                watched.append(self.state.audit.columns(place, tokens_TU))
                with turns.at(place, number):
                    self._open(step, place)
                    self._add(mapped, place, tokens_TU, tensors)
                    self._close(step, place)

            self.tapped.run(batch.input_ids, consume=consume)
        with turns.at(len(self.columns), number):
            self._count(step, watched)

    def _open(self, step: _Step, place: int) -> None:
        if step.opens:
            self.state.layers[place].open_chunk(len(step.chunk.documents))

    def _add(
        self, mapped: BatchSpans, place: int, tokens_TU: torch.Tensor, tensors: Mapping[torch.device, Tensors]
    ) -> None:
        sums = self.state.layers[place]
        held = sums.add(tokens_TU, tensors[sums.device], mapped.sketched)
        for name, slots, values_HU in zip(IDENTITIES, mapped.held_slot, held, strict=True):
            self.part.rows[f"{name}_VN"][slots - self.state.first_slot, self.columns[place]] = values_HU.cpu().numpy()

    def _close(self, step: _Step, place: int) -> None:
        """Write the means of the chunk's documents and a finished fold's sketch; stop at values that are not finite."""
        if not step.closes:
            return
        layer = self.state.layers[place]
        seen = (layer.power_4U, layer.document_DU, layer.low_U, layer.high_U)  # powers are without held-back spans
        if not all(bool(torch.isfinite(values).all()) for values in seen):
            raise ModelError(
                f"{self.backbone.name} computes values that are not finite in layer {place}, on one of the documents from "
                f"{self.header.documents[step.chunk.documents[0]].id!r} on; check its weights, or load it with "
                "--dtype float32."
            )
        means_DU = layer.document_DU.cpu().numpy() / np.maximum(1, step.spans_D)[:, None]
        row = self.first_row[step.number]
        self.part.rows["document_DN"][row : row + len(means_DU), self.columns[place]] = means_DU
        if step.ends_fold:
            self.part.sketch[str(place)][step.chunk.fold - self.header.first_fold] = layer.take_block()

    def _count(self, step: _Step, watched: list[torch.Tensor]) -> None:
        if step.batch is not None:
            mapped = step.batch[1]
            first_bucket = step.chunk.fold * mapped.ones_2w.shape[1]
            self.state.audit.add(watched, mapped.tensors, mapped.sketched, first_bucket)
            self.state.add_counts(mapped, step.chunk.fold)
        if step.closes:
            row = self.first_row[step.number]
            self.part.rows["document_spans_D"][row : row + len(step.spans_D)] = step.spans_D
            self.state.next_chunk = step.number + 1


def run_pass(
    backbone: Backbone,
    keys: SpanKeys,
    chunks: list[Chunk],
    part: Part,
    *,
    progress: Progress | None = None,
    snapshot_seconds: float = SNAPSHOT_SECONDS,
    save_end: bool = True,
    lanes: int | None = None,
) -> Snapshot:
    """Make a part complete, from its last snapshot on, and return its sums.

    ``progress`` is called with (documents done, documents of the part), a few times a second. Without ``save_end`` the end is
    not saved: for a caller who merges at once. ``lanes``, by default ``lanes_for`` the model, changes the speed, and last bits
    where it changes torch's threads in each.

    Raises ModelError when the model computes something that is not finite, StorageError when the disk is full.
    """
    lanes = lanes or lanes_for(backbone)
    with torch.inference_mode(), tap(backbone) as tapped:
        work = _Pass(backbone, tapped, keys, chunks, part)
        state, header, reported = work.state, part.header, -1
        _resume(work)

        def look() -> None:
            nonlocal reported
            done = work.first_row.get(state.next_chunk, 0)
            if progress and done != reported:
                reported = done
                progress(done, header.end_document - header.first_document)

        runner, took = Lanes(lanes, len(work.columns) + 1, work.do), 0.0
        with closing(work.steps()) as steps:
            feed = _Feed(steps)
            while state.next_chunk < header.end_chunk:
                feed.pause_at = time.monotonic() + max(
                    snapshot_seconds, _SNAPSHOT_SHARE * took if snapshot_seconds else 0.0
                )
                runner.run(iter(feed), look)
                if save_end or state.next_chunk < header.end_chunk:
                    started = time.monotonic()
                    part.save(state.snapshot())
                    took = time.monotonic() - started
                look()
    return state.snapshot()


def batches_of(backbone: Backbone, chunk: ChunkSpans) -> Iterator[MicroBatch]:
    """The micro-batches of a chunk, at most as large as memory and caches like them, and much alike for lanes that keep step."""
    widest = max(site.width for site in backbone.sites)
    return micro_batches(chunk.windows, fitting_budget(widest, backbone.device), even=True)


def _resume(work: _Pass) -> None:
    """Go back to the part's snapshot; without one, take the pilot means and make the first."""
    if work.part.has_snapshot:
        work.state.restore(work.part.snapshot())
        return
    for chunk in work.chunks:
        spans = ChunkSpans(work.backbone, work.keys, chunk)
        for whole in batches_of(work.backbone, spans):
            batch = _head(whole)
            mapped = spans.batch(batch)
            if mapped.spans:
                _take_pilot(work, batch, mapped)
                work.part.save(work.state.snapshot())
                return


def _head(batch: MicroBatch) -> MicroBatch:
    """The first windows of a batch, about 256 tokens: enough for means that are only taken off to keep sums small."""
    rows = max(1, _PILOT_TOKENS // batch.input_ids.shape[1])
    return MicroBatch(batch.input_ids[:rows], batch.attention_mask[:rows], batch.indices[:rows])


def _take_pilot(work: _Pass, batch: MicroBatch, mapped: BatchSpans) -> None:
    """The means over the corpus' first windows, the same for every worker."""
    state = work.state

    def consume(layer: int, values_BTU: torch.Tensor) -> None:
        sums, pool = state.layers[work.place_of[layer]], mapped.tensors.pool.to(values_BTU.device)
        sums.pilot_U.copy_(pool.sum(values_BTU.flatten(0, 1).float()).double().mean(dim=0))

    work.tapped.run(batch.input_ids, consume=consume)
    pilots = [
        layer.pilot_U.cpu().double().numpy()[units]
        for layer, units in zip(state.layers, state.audit.units, strict=True)
    ]
    state.audit.pilot_A[...] = np.concatenate(pilots)
