"""Parts to an atlas: adds the sums of all workers, standardises, turns everything into neurons by rows, and writes it.

All sums are in float64, so an atlas from W workers differs from that of one in the last bits of float64 sums, which rounding to
float32 mostly hides. Layers are done one after the other and a few thousand neurons at a time; the file is filled in place, so
memory does not grow with model or corpus. Cost: reading the parts and writing the atlas once. It runs no model.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from curator.atlas.accumulators import LayerMoments, moments, signatures_wU
from curator.atlas.audit import WORST_ALLOWED, Compared, audited_units, certificate
from curator.atlas.batches import IDENTITIES
from curator.atlas.part import Part, PartHeader, Snapshot
from curator.atlas.store import Atlas, AtlasIdentity, AtlasManifest, atlas_specs, load_atlas, write_atlas
from curator.errors import ArtifactError, FingerprintError

log = logging.getLogger(__name__)
_BLOCK_NEURONS = 2048
_HALF_PRECISION_END = 6e4  # float16 ends at 65504
_SIGNATURES = ("signature_Nd", "decoy_Nd")
_HELD = ("held_NV", "decoy_held_NV")


@dataclass(frozen=True, slots=True)
class Finished:
    """One part, and its sums at the end."""

    part: Part
    sums: Snapshot

    @property
    def header(self) -> PartHeader:
        """What it is of."""
        return self.part.header


def read_part(folder: Path) -> Finished:
    """A part from its folder. Raises ArtifactError when there is none, or it is damaged or has not begun."""
    part = Part.open(folder)
    return Finished(part, part.snapshot())


def merge_parts(read: Sequence[Finished], folder: Path) -> Atlas:
    """The atlas of all parts, written to ``folder`` whole or not at all.

    Raises FingerprintError when parts are of different passes, ArtifactError when one is missing or not complete or when the
    numerics certificate fails, StorageError when the disk is full.
    """
    _require_whole(read)
    header = read[0].header
    counts = {name: sum(one.sums.counts[name] for one in read) for name in ("spans", "tokens", "covered")}
    with write_atlas(folder, atlas_specs(header)) as (arrays, finish):
        worst = [_fill_layer(number, read, arrays, counts["spans"]) for number in range(len(header.layer_widths))]
        _fill_rest(read, arrays)
        _require_certified(max(worst), header)
        manifest = AtlasManifest(
            **{name: getattr(header, name) for name in AtlasIdentity.model_fields},
            spans=counts["spans"],
            held_back=sum(header.held_back_F),
            uncovered_spans=header.total_spans - header.ignored_spans - counts["covered"],
            tokens=counts["tokens"],
            dead_neurons=int((~arrays["alive"]).sum()),
            certificate=max(worst),
        )
        finish(manifest)
    log.info("atlas built", extra={"model": header.model, "spans": manifest.spans, "dead": manifest.dead_neurons})
    return load_atlas(folder, verify=False)


def _require_whole(read: Sequence[Finished]) -> None:
    first = read[0].header
    for one in read:
        if one.header.identity != first.identity:
            raise FingerprintError(
                f"{one.part.folder} is a part of another atlas than {read[0].part.folder}; merge parts of one model, "
                "corpus and settings."
            )
        if one.sums.counts["next_chunk"] != one.header.end_chunk:
            raise ArtifactError(f"The part in {one.part.folder} is not complete; run its build again, it goes on.")
    done = sorted((one.header.first_chunk, one.header.end_chunk) for one in read)
    edges = [0, *(end for _, end in done)]
    if [start for start, _ in done] != edges[:-1] or edges[-1] != first.chunks:
        raise ArtifactError(
            f"The parts given cover the chunks {done} of {first.chunks}; name every part of one build, each once."
        )


def _require_certified(worst: float, header: PartHeader) -> None:
    if not worst <= WORST_ALLOWED:
        raise ArtifactError(
            f"The sums over {header.model} differ by {worst:.1e} from their float64 referee, where {WORST_ALLOWED:.0e} is "
            "allowed; no atlas was written: report this with the hardware that it ran on."
        )


def _fill_layer(number: int, read: Sequence[Finished], arrays: dict[str, np.ndarray], spans: int) -> float:
    """Write one layer's rows; returns its certificate."""
    header = read[0].header
    start = sum(header.layer_widths[:number])
    rows = slice(start, start + header.layer_widths[number])
    added = {name: _added(read, f"{number}.{name}") for name in ("power_4U", "positive_U", "nonzero_U")}
    found = moments(added["power_4U"], read[0].sums.arrays[f"{number}.pilot_U"], spans)
    settings = header.settings
    alive = (found.deviation > settings.min_standard_deviation) & (added["nonzero_U"] >= settings.min_active_spans)
    for name in ("mean", "deviation", "skewness", "excess_kurtosis"):
        arrays[name][rows] = getattr(found, name)
    arrays["alive"][rows] = alive
    arrays["positive_fraction"][rows] = added["positive_U"] / max(1, spans)
    arrays["low"][rows] = np.min([one.sums.arrays[f"{number}.low_U"] for one in read], axis=0)
    arrays["high"][rows] = np.max([one.sums.arrays[f"{number}.high_U"] for one in read], axis=0)
    for side, prefix in (("strongest", "top"), ("weakest", "low")) if header.gated else (("strongest", "top"),):
        for name, values in _merged_contexts(read, f"{number}.{side}").items():
            arrays[f"{prefix}_{name}_Nk"][rows] = values if prefix == "top" or name != "value" else -values
    scale_U = np.where(alive, found.deviation, np.inf)
    _fill_signatures(number, read, arrays, rows, found, scale_U)
    for one in read:
        _fill_rows(one, arrays, rows, found, scale_U)
    return _certify(number, read, arrays, rows, found)


def _added(read: Sequence[Finished], name: str) -> np.ndarray:
    return np.sum([one.sums.arrays[name] for one in read], axis=0)


def _merged_contexts(read: Sequence[Finished], prefix: str) -> dict[str, np.ndarray]:
    """The k best over all parts, (U, k) each; equal values in the order of the corpus."""
    joined = {
        name: np.concatenate([one.sums.arrays[f"{prefix}.{name}_kU"] for one in read]).T
        for name in ("value", "document", "span")
    }
    wanted = len(read[0].sums.arrays[f"{prefix}.value_kU"])
    order_Uk = np.lexsort((joined["span"], joined["document"], -joined["value"]), axis=1)[:, :wanted]
    return {name: np.take_along_axis(values, order_Uk, axis=1) for name, values in joined.items()}


def _fill_signatures(
    number: int,
    read: Sequence[Finished],
    arrays: dict[str, np.ndarray],
    rows: slice,
    found: LayerMoments,
    scale_U: np.ndarray,
) -> None:
    settings = read[0].header.settings
    width = settings.sketch_dimensions // settings.folds
    ones_2d = _added(read, "ones_2d")
    for fold in range(settings.folds):
        columns = slice(fold * width, (fold + 1) * width)
        blocks_2wU = [
            one.part.sketch[str(number)][fold - one.header.first_fold]
            for one in read
            if one.header.first_fold <= fold < one.header.end_fold
        ]
        for identity, name in enumerate(_SIGNATURES):
            block_wU = np.sum([block[identity] for block in blocks_2wU], axis=0) if blocks_2wU else np.zeros((width, 1))
            centred = signatures_wU(block_wU, ones_2d[identity, columns], found.shift, scale_U, found.spans)
            arrays[name][rows, columns] = centred.T


def _fill_rows(
    one: Finished, arrays: dict[str, np.ndarray], rows: slice, found: LayerMoments, scale_U: np.ndarray
) -> None:
    """Standardise a part's held-back values and put its documents' means in the order of the corpus."""
    documents = list(one.header.mine_D)
    slots = np.asarray(one.header.slots)
    for block in _blocks(rows):
        mine = slice(block.start - rows.start, block.stop - rows.start)
        mean, scale = (torch.from_numpy(values[mine].astype(np.float32)) for values in (found.mean, scale_U))
        arrays["document_mean_DN"][documents, block] = one.part.rows["document_DN"][:, block]
        for identity, (name, stored) in enumerate(zip(_HELD, IDENTITIES, strict=True)):
            seen = np.flatnonzero(one.sums.arrays["seen_2V"][identity])
            values_HU = torch.from_numpy(np.array(one.part.rows[f"{stored}_VN"][seen, block]))
            standardised = values_HU.sub_(mean).div_(scale).clamp_(-_HALF_PRECISION_END, _HALF_PRECISION_END)
            arrays[name][block, slots[seen]] = standardised.to(torch.float16).T.contiguous().numpy()


def _blocks(rows: slice) -> Iterator[slice]:
    for start in range(rows.start, rows.stop, _BLOCK_NEURONS):
        yield slice(start, min(start + _BLOCK_NEURONS, rows.stop))


def _fill_rest(read: Sequence[Finished], arrays: dict[str, np.ndarray]) -> None:
    header = read[0].header
    arrays["held_fold_V"][...] = np.repeat(np.arange(header.settings.folds), header.held_back_F)
    for one in read:
        arrays["document_spans_D"][list(one.header.mine_D)] = one.part.rows["document_spans_D"]


def _certify(
    number: int, read: Sequence[Finished], arrays: dict[str, np.ndarray], rows: slice, found: LayerMoments
) -> float:
    header = read[0].header
    units = audited_units(header.layer_widths[number])
    before = sum(len(audited_units(width)) for width in header.layer_widths[:number])
    mine = slice(before, before + len(units))
    ours = Compared(
        shift_A=found.shift[units],
        deviation_A=found.deviation[units],
        alive_A=np.asarray(arrays["alive"][rows.start + units]),
        signature_dA=arrays["signature_Nd"][rows.start + units].T.astype(np.float64),
    )
    return certificate(
        ours,
        _added(read, "audit.power_2A")[:, mine],
        _added(read, "audit.sketch_dA")[:, mine],
        _added(read, "ones_2d")[0],
        found.spans,
    )
