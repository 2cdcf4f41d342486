"""The one forward pass over the probe corpus: chunk by chunk, layer by layer, with a snapshot now and then.

Windows run through the model in length-bucketed micro-batches; each layer's activations are pooled and added to the layer's sums
in the hook that sees them, so one layer is in memory at a time; nothing above the last MLP is computed. Batches are a function
of the corpus and the model's widths alone, so two passes on one CPU give the same bytes, killed and resumed or not; a GPU adds
in no fixed order, and its last bits may move. Cost: the forward pass, and what ``accumulators`` says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from curator.atlas.accumulators import LayerSums, new_scratch
from curator.atlas.audit import Audit
from curator.atlas.batches import IDENTITIES, BatchSpans, ChunkSpans
from curator.atlas.chunks import Chunk
from curator.atlas.part import Part, Snapshot
from curator.atlas.spankeys import SpanKeys
from curator.errors import ModelError
from curator.lm.backbone import Backbone
from curator.lm.batching import MicroBatch, fitting_budget, micro_batches
from curator.lm.taps import Tapped, tap

Progress = Callable[[int, int], None]
SNAPSHOT_SECONDS = 30.0
_PILOT_TOKENS = 1024
_SNAPSHOT_SHARE = 20  # time between snapshots, in snapshots: 5 % at most goes into them


class PassState:
    """Everything that a pass has summed so far; ``next_chunk`` is the first that is not in it."""

    def __init__(self, backbone: Backbone, part: Part) -> None:
        header = part.header
        self.part, self.settings = part, header.settings
        self.first_slot = header.slots.start
        widest = max(header.layer_widths)
        scratch = {device: new_scratch(widest, device) for device in set(backbone.site_devices)}
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

    def close_fold(self, fold: int) -> None:
        """Write the fold's sketch blocks and begin the next with zeros."""
        for number, layer in enumerate(self.layers):
            self.part.sketch[str(number)][fold - self.part.header.first_fold] = layer.block_2wU.cpu().numpy()
            layer.block_2wU.zero_()


def run_pass(
    backbone: Backbone,
    keys: SpanKeys,
    chunks: list[Chunk],
    part: Part,
    *,
    progress: Progress | None = None,
    snapshot_seconds: float = SNAPSHOT_SECONDS,
    save_end: bool = True,
) -> Snapshot:
    """Make a part complete, from its last snapshot on, and return its sums.

    ``progress`` is called with (documents done, documents of the part). Without ``save_end`` the end is not saved: for a
    caller who merges at once.

    Raises ModelError when the model computes something that is not finite, StorageError when the disk is full.
    """
    header, state = part.header, PassState(backbone, part)
    with torch.inference_mode(), tap(backbone) as tapped:
        _resume(part, state, backbone, tapped, keys, chunks)
        saved, took = time.monotonic(), 0.0
        mine = range(state.next_chunk, header.end_chunk)
        for number, spans in zip(mine, _prepared(backbone, keys, [chunks[n] for n in mine]), strict=True):
            _add_chunk(backbone, tapped, spans, state)
            if number + 1 == header.end_chunk or chunks[number + 1].fold != chunks[number].fold:
                state.close_fold(chunks[number].fold)
            state.next_chunk = number + 1
            now, at_end = time.monotonic(), number + 1 == header.end_chunk
            wait = max(snapshot_seconds, _SNAPSHOT_SHARE * took) if snapshot_seconds else 0.0
            if save_end if at_end else now - saved >= wait:
                part.save(state.snapshot())
                saved, took = time.monotonic(), time.monotonic() - now
            if progress:
                done = sum(len(chunk.documents) for chunk in chunks[header.first_chunk : number + 1])
                progress(done, header.end_document - header.first_document)
    return state.snapshot()


def batches_of(backbone: Backbone, chunk: ChunkSpans) -> Iterator[MicroBatch]:
    """The micro-batches of a chunk, as large as memory and caches like them."""
    widest = max(site.width for site in backbone.sites)
    return micro_batches(chunk.windows, fitting_budget(widest, backbone.device))


def _prepared(
    backbone: Backbone, keys: SpanKeys, chunks: Sequence[Chunk]
) -> Iterator[tuple[ChunkSpans, list[tuple[MicroBatch, BatchSpans]]]]:
    """Every chunk with its batches; the next is tokenised and placed in a thread while the model is busy with this one."""

    def prepare(chunk: Chunk) -> tuple[ChunkSpans, list[tuple[MicroBatch, BatchSpans]]]:
        spans = ChunkSpans(backbone, keys, chunk)
        return spans, [(batch, spans.batch(batch)) for batch in batches_of(backbone, spans)]

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="atlas-chunks") as thread:
        ahead = thread.submit(prepare, chunks[0]) if chunks else None
        for following in [*chunks[1:], None]:
            if ahead is None:
                return
            ready = ahead.result()
            ahead = thread.submit(prepare, following) if following else None
            yield ready


def _resume(
    part: Part, state: PassState, backbone: Backbone, tapped: Tapped, keys: SpanKeys, chunks: list[Chunk]
) -> None:
    """Go back to the part's snapshot; without one, take the pilot means and make the first."""
    if part.has_snapshot:
        state.restore(part.snapshot())
        return
    for chunk in chunks:
        spans = ChunkSpans(backbone, keys, chunk)
        for whole in batches_of(backbone, spans):
            batch = _head(whole)
            mapped = spans.batch(batch)
            if mapped.spans:
                _take_pilot(state, backbone, tapped, batch, mapped)
                part.save(state.snapshot())
                return


def _head(batch: MicroBatch) -> MicroBatch:
    """The first windows of a batch, about 1,024 tokens: enough for means that are only taken off to keep sums small."""
    rows = max(1, _PILOT_TOKENS // batch.input_ids.shape[1])
    return MicroBatch(batch.input_ids[:rows], batch.attention_mask[:rows], batch.indices[:rows])


def _take_pilot(state: PassState, backbone: Backbone, tapped: Tapped, batch: MicroBatch, mapped: BatchSpans) -> None:
    """The means over the corpus' first windows, the same for every worker."""

    def consume(layer: int, values_BTU: torch.Tensor) -> None:
        number = _number(backbone)[layer]
        sums, pool = state.layers[number], mapped.tensors.pool.to(values_BTU.device)
        sums.pilot_U.copy_(pool.sum(values_BTU.flatten(0, 1).float()).double().mean(dim=0))

    tapped.run(batch.input_ids, consume=consume)
    pilots = [
        layer.pilot_U.cpu().double().numpy()[units]
        for layer, units in zip(state.layers, state.audit.units, strict=True)
    ]
    state.audit.pilot_A[...] = np.concatenate(pilots)


def _number(backbone: Backbone) -> Mapping[int, int]:
    return {site.layer: number for number, site in enumerate(backbone.sites)}


def _add_chunk(
    backbone: Backbone,
    tapped: Tapped,
    prepared: tuple[ChunkSpans, list[tuple[MicroBatch, BatchSpans]]],
    state: PassState,
) -> None:
    chunk = prepared[0].chunk
    for layer in state.layers:
        layer.open_chunk(len(chunk.documents))
    documents = np.zeros(len(chunk.documents), dtype=np.int64)
    for batch, mapped in prepared[1]:
        if mapped.spans:
            _add_batch(backbone, tapped, batch, mapped, state, chunk.fold)
            documents += np.diff(mapped.tensors.documents.offsets.numpy())
    _close_chunk(backbone, chunk, state, documents)


def _add_batch(
    backbone: Backbone, tapped: Tapped, batch: MicroBatch, mapped: BatchSpans, state: PassState, fold: int
) -> None:
    number, rows = _number(backbone), state.part.rows
    offsets = np.concatenate([[0], np.cumsum(state.part.header.layer_widths)])
    tensors = {device: mapped.tensors.to(device) for device in set(backbone.site_devices)}

    def consume(layer: int, values_BTU: torch.Tensor) -> None:
        tokens_TU = values_BTU.flatten(0, 1)
        at = number[layer]
        state.audit.watch(at, tokens_TU)
        sums = state.layers[at]
        held = sums.add(tokens_TU, tensors[sums.device], mapped.sketched)
        for identity, name in enumerate(IDENTITIES):
            slots = mapped.held_slot[identity] - state.first_slot
            rows[f"{name}_VN"][slots, offsets[at] : offsets[at + 1]] = getattr(held, name).cpu().numpy()

    tapped.run(batch.input_ids, consume=consume)
    width = mapped.ones_2w.shape[1]
    state.audit.close_batch(mapped.tensors, mapped.sketched, fold * width)
    state.add_counts(mapped, fold)


def _close_chunk(backbone: Backbone, chunk: Chunk, state: PassState, documents: np.ndarray) -> None:
    """Write the means of the chunk's documents, and stop at values that are not finite."""
    part = state.part
    order = part.header.order_D[part.header.first_document : part.header.end_document]
    row = order.index(chunk.documents[0])
    offsets = np.concatenate([[0], np.cumsum(part.header.layer_widths)])
    counts_D1 = np.maximum(1, documents)[:, None]
    part.rows["document_spans_D"][row : row + len(documents)] = documents
    for number, layer in enumerate(state.layers):
        if not bool(torch.isfinite(layer.power_4U).all()):
            raise ModelError(
                f"{backbone.name} computes values that are not finite in layer {number}, on one of the documents from "
                f"{part.header.documents[chunk.documents[0]].id!r} on; check its weights, or load it with --dtype float32."
            )
        means = layer.document_DU.cpu().numpy() / counts_D1
        part.rows["document_DN"][row : row + len(means), offsets[number] : offsets[number + 1]] = means
