"""Builds an atlas in one forward pass over the probe corpus.

Documents are read in groups; their windows run through the model in length-bucketed micro-batches; each layer's activations
are pooled onto universal spans and added to the layer's sums as soon as they exist. Nothing above the last MLP is computed.
Cost: the forward pass, plus about ten additions per neuron and span. Groups and batches are a function of the corpus and the
token budget alone, so two runs on one CPU give the same bytes; a GPU adds in no fixed order, and its last bits may move.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from curator.atlas.accumulators import BatchPlaces, LayerAccumulator, certificate, moments
from curator.atlas.pooling import Overlaps, pooling_matrix, window_overlaps
from curator.atlas.spankeys import Places, SpanKeys
from curator.atlas.store import Atlas, AtlasManifest, DocumentEntry
from curator.errors import InsufficientDataError
from curator.lm.backbone import Backbone
from curator.lm.batching import MicroBatch, Window, micro_batches, windows
from curator.lm.taps import Tapped, tap
from curator.settings import AtlasSettings
from curator.text.probe import ProbeCorpus

log = logging.getLogger(__name__)
Progress = Callable[[int, int], None]
_GROUP_DOCUMENTS = 128
_BATCH_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class _Placed:
    """Where the spans of one document go, under its own identity and under its decoy's."""

    true: Places
    decoy: Places


def build_atlas(
    backbone: Backbone, corpus: ProbeCorpus, settings: AtlasSettings, *, progress: Progress | None = None
) -> Atlas:
    """The atlas of one model on one probe corpus.

    ``progress`` is called with (documents done, documents). Raises InsufficientDataError when the corpus is too small for the
    settings (fewer spans than dimensions of the sketch).
    """
    keys = SpanKeys(corpus, settings)
    if keys.total_spans < settings.sketch_dimensions:
        raise InsufficientDataError(
            f"The probe corpus has {keys.total_spans} spans; a sketch of {settings.sketch_dimensions} dimensions needs "
            "more. Raise the token budget or lower sketch_dimensions."
        )
    layers = [
        LayerAccumulator(site.width, len(corpus.documents), keys.held_back, settings, backbone.device)
        for site in backbone.sites
    ]
    counts = _Counts()
    with torch.inference_mode(), tap(backbone) as tapped:
        for start in range(0, len(corpus.documents), _GROUP_DOCUMENTS):
            group = range(start, min(start + _GROUP_DOCUMENTS, len(corpus.documents)))
            _add_group(backbone, tapped, keys, group, layers, counts)
            if progress:
                progress(group.stop, len(corpus.documents))
    return _finish(backbone, corpus, keys, layers, counts)


@dataclass(slots=True)
class _Counts:
    tokens: int = 0
    covered: int = 0


def _add_group(
    backbone: Backbone, tapped: Tapped, keys: SpanKeys, group: range, layers: list[LayerAccumulator], counts: _Counts
) -> None:
    found = windows(
        backbone.tokenizer,
        [keys.documents[index].text for index in group],
        backbone.max_tokens,
        keys.settings.skip_tokens,
    )
    weights = window_overlaps(found, lambda local: keys.spans_S2[group.start + local])
    placed = {
        local: _Placed(keys.places(group.start + local), keys.places(group.start + local, decoy=True))
        for local in {window.document for window in found}
    }
    budget = max(256, _BATCH_BYTES // (4 * sum(site.width for site in backbone.sites)))
    for batch in micro_batches(found, min(8192, budget)):
        pooling, places = _batch_places(batch, found, weights, placed, group.start, backbone.device)
        activations = tapped.run(batch.input_ids, batch.attention_mask)
        for site, accumulator in zip(backbone.sites, layers, strict=True):
            accumulator.add(activations[site.layer].flatten(0, 1), pooling, places)
        counts.tokens += int(sum(found[index].scored.sum() for index in batch.indices))
        counts.covered += len(places.span)


def _batch_places(
    batch: MicroBatch,
    found: list[Window],
    overlaps: list[Overlaps],
    placed: dict[int, _Placed],
    first_document: int,
    device: torch.device,
) -> tuple[torch.Tensor, BatchPlaces]:
    """The pooling matrix (K spans × padded tokens) of a micro-batch and the places of its K spans."""
    length = int(batch.input_ids.shape[1])
    rows, columns, weights = [], [], []
    columns_of: dict[str, list[np.ndarray]] = {name: [] for name in BatchPlaces.__dataclass_fields__}
    taken = 0
    for number, position in enumerate(batch.indices):
        document, weight = placed[found[position].document], overlaps[position]
        used = document.true.used[weight.spans]
        new_row = np.cumsum(used) - 1 + taken
        pairs = used[weight.row]
        rows.append(new_row[weight.row][pairs])
        columns.append(weight.token[pairs] + number * length)
        weights.append(weight.weight[pairs])
        spans = weight.spans[used]
        taken += len(spans)
        for name, column in _columns(document, spans, first_document + found[position].document).items():
            columns_of[name].append(column)
    shape = (taken, int(batch.input_ids.shape[0]) * length)
    pooling = pooling_matrix(np.concatenate(rows), np.concatenate(columns), np.concatenate(weights), shape, device)
    tensors = {name: torch.from_numpy(np.concatenate(parts)).to(device) for name, parts in columns_of.items()}
    return pooling, BatchPlaces(**tensors)


def _columns(document: _Placed, spans: np.ndarray, index: int) -> dict[str, np.ndarray]:
    true, decoy = document.true, document.decoy
    sketched = true.slot[spans] < 0
    decoy_sketched = (decoy.slot[spans] < 0) & decoy.used[spans]
    return {
        "document": np.full(len(spans), index, dtype=np.int64),
        "span": spans.astype(np.int64),
        "fold": np.full(len(spans), true.fold, dtype=np.int64),
        "sketched": sketched,
        "bucket": true.bucket[spans],
        "sign": true.sign[spans] * sketched,
        "slot": true.slot[spans],
        "decoy_bucket": decoy.bucket[spans],
        "decoy_sign": decoy.sign[spans] * decoy_sketched,
        "decoy_slot": np.where(decoy.used[spans], decoy.slot[spans], -1),
    }


def _finish(
    backbone: Backbone, corpus: ProbeCorpus, keys: SpanKeys, layers: list[LayerAccumulator], counts: _Counts
) -> Atlas:
    settings = keys.settings
    parts = [_layer_arrays(accumulator, settings) for accumulator in layers]
    worst = max(certificate(accumulator, moments(accumulator)) for accumulator in layers)
    arrays = {
        name: np.concatenate([part[name] for part in parts], axis=1 if name == "document_mean_DN" else 0)
        for name in parts[0]
    }
    arrays["held_fold_V"] = keys.held_back_folds
    arrays["document_spans_D"] = layers[0].document_count_D.long().cpu().numpy()
    ignored = sum(min(settings.skip_spans, len(spans)) for spans in keys.spans_S2)
    manifest = AtlasManifest(
        model=backbone.name,
        revision=backbone.revision,
        model_fingerprint=backbone.fingerprint,
        tokenizer_fingerprint=backbone.tokenizer_fingerprint,
        probe_fingerprint=corpus.fingerprint,
        settings=settings,
        layer_widths=tuple(site.width for site in backbone.sites),
        gated=any(site.gated for site in backbone.sites),
        spans=int(layers[0].count_F.sum()),
        held_back=keys.held_back,
        uncovered_spans=keys.total_spans - ignored - counts.covered,
        tokens=counts.tokens,
        dead_neurons=int((~arrays["alive"]).sum()),
        certificate=worst,
        domains=corpus.domains,
        documents=tuple(DocumentEntry(id=d.id, domain=d.domain, source=d.source) for d in corpus.documents),
    )
    log.info("atlas built", extra={"model": backbone.name, "spans": manifest.spans, "dead": manifest.dead_neurons})
    return Atlas(manifest, arrays)


def _layer_arrays(accumulator: LayerAccumulator, settings: AtlasSettings) -> dict[str, np.ndarray]:
    found = moments(accumulator)
    nonzero = accumulator.nonzero_U.cpu().numpy()
    alive = (found.deviation > settings.min_standard_deviation) & (nonzero >= settings.min_active_spans)
    device = accumulator.power_F4U.device
    shift = torch.from_numpy(found.shift).to(device)
    scale = torch.from_numpy(np.where(alive, found.deviation, np.inf)).to(device)
    mean = torch.from_numpy(found.mean).to(device)
    counts = accumulator.document_count_D.clamp(min=1)[:, None]
    out: dict[str, np.ndarray] = {}
    for name, held, sketch in (
        ("signature_Nd", "held_NV", accumulator.true),
        ("decoy_Nd", "decoy_held_NV", accumulator.decoy),
    ):
        out[name] = sketch.signatures_Ud(shift, scale, found.spans).cpu().numpy()
        standardised = (
            sketch.held_VU.sub_(mean.float()).div_(scale.float()).clamp_(-6e4, 6e4)
        )  # half precision ends at 65504
        out[held] = standardised.to(torch.float16).T.contiguous().cpu().numpy()
    out |= {
        "document_mean_DN": (accumulator.document_sum_DU / counts).cpu().numpy(),
        "mean": found.mean,
        "deviation": found.deviation,
        "skewness": found.skewness,
        "excess_kurtosis": found.excess_kurtosis,
        "low": accumulator.low_U.cpu().numpy(),
        "high": accumulator.high_U.cpu().numpy(),
        "positive_fraction": accumulator.positive_U.cpu().numpy() / max(1, found.spans),
        "alive": alive,
        "top_value_Nk": accumulator.top_value_kU.T.contiguous().cpu().numpy(),
        "top_document_Nk": accumulator.top_place_kU2[..., 0].T.contiguous().cpu().numpy(),
        "top_span_Nk": accumulator.top_place_kU2[..., 1].T.contiguous().cpu().numpy(),
    }
    return out
