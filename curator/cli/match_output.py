"""A matching as rows for other programs: one for each pair, to JSON or Parquet, and the numbers that belong to the whole.

Pairs are all mutual matches of the anchor with each peer, in the order of the anchor's neurons; whether a pair's anchor neuron
is in the three named sets (for which it needs a partner in every peer) stands beside it. Files appear whole or not at all.
Cost: a few hundred bytes a pair. It prints nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curator.files import atomic_file, write_json

if TYPE_CHECKING:
    from curator.neuronset.identify import IdentifySettings
    from curator.rosetta.neurons import RosettaNeurons

FORMAT = "curator-match-1"


@dataclass(frozen=True, slots=True)
class Pair:
    """One match of the anchor with one peer.

    ``rho`` is verified, ``sketch_rho`` the signatures' estimate; ``standard_error`` is None where too few folds hold spans;
    ``margin`` is to the anchor neuron's runner-up, ``hubness`` how many anchor neurons have this partner as their best,
    ``excess`` the anchor neuron's correlation above the rotated null; ``q`` and it are None where chance was not measured over
    the same spans. ``paper``, ``strict`` and ``universal`` say which sets the anchor's neuron is in.
    """

    anchor_neuron: str
    peer: str
    peer_neuron: str
    rho: float
    standard_error: float | None
    q: float | None
    margin: float
    hubness: int
    sketch_rho: float
    excess: float | None
    replicated: bool
    paper: bool
    strict: bool
    universal: bool


def pair_rows(found: RosettaNeurons) -> list[Pair]:
    """Every match of the anchor with every peer, peers in their order."""
    members = {rule: set(found.index[found.chosen_by(rule)].tolist()) for rule in ("paper", "strict", "universal")}
    rows = []
    for peer in found.peers:
        table, model = peer.matches, peer.peer.manifest.model
        for row in range(len(table)):
            neuron = int(table.first[row])
            rows.append(
                Pair(
                    anchor_neuron=str(found.anchor.neuron(neuron)),
                    peer=model,
                    peer_neuron=str(peer.peer.neuron(int(table.second[row]))),
                    rho=float(table.rho[row]),
                    standard_error=_finite(table.error[row]),
                    q=_finite(peer.q[row]),
                    margin=float(table.margin[row]),
                    hubness=int(table.hubness[row]),
                    sketch_rho=float(table.sketch_rho[row]),
                    excess=_finite(peer.excess[neuron]),
                    replicated=bool(table.replicated[row]),
                    **{rule: neuron in members[rule] for rule in ("paper", "strict", "universal")},
                )
            )
    return rows


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def summary(found: RosettaNeurons) -> dict[str, Any]:
    """The numbers of the whole matching: counts beside their nulls, agreement of the halves, mean ρ, worst differences."""
    models = [found.anchor, *(peer.peer for peer in found.peers)]
    return {
        "neurons": found.anchor.neurons,
        "counts": found.counts(),
        "null_counts": dict(found.null_counts),
        "half_jaccard": found.half_jaccard,
        "mean_rho": float(found.mean_rho.mean()) if len(found.mean_rho) else 0.0,
        "match_certificate": found.certificate,
        "atlas_certificate": max(atlas.manifest.certificate for atlas in models),
    }


def write_pairs(
    found: RosettaNeurons,
    pairs: Sequence[Pair],
    settings: IdentifySettings,
    *,
    json_file: Path | None = None,
    parquet: Path | None = None,
) -> None:
    """Write what was asked for: JSON with the summary and the models' fingerprints, Parquet with the pairs alone."""
    if json_file:
        write_json(json_file, _document(found, pairs, settings))
    if parquet:
        _write_parquet(pairs, parquet)


def _document(found: RosettaNeurons, pairs: Sequence[Pair], settings: IdentifySettings) -> dict[str, Any]:
    manifests = [found.anchor.manifest, *(peer.peer.manifest for peer in found.peers)]
    anchor, *peers = (
        {"model": m.model, "revision": m.revision, "model_fingerprint": m.model_fingerprint} for m in manifests
    )
    return {
        "format": FORMAT,
        "anchor": anchor,
        "peers": peers,
        "probe_fingerprint": found.anchor.manifest.probe_fingerprint,
        "atlas_settings": found.anchor.manifest.settings.model_dump(mode="json"),
        "match_settings": settings.match.model_dump(mode="json"),
        **summary(found),
        "pairs": [asdict(pair) for pair in pairs],
    }


def _write_parquet(pairs: Sequence[Pair], target: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"str": pa.string(), "float": pa.float64(), "int": pa.int64(), "bool": pa.bool_()}
    schema = pa.schema([(n, kinds[str(kind).removesuffix(" | None")]) for n, kind in Pair.__annotations__.items()])
    table = pa.Table.from_pylist([asdict(pair) for pair in pairs], schema=schema)
    with atomic_file(target) as handle:
        pq.write_table(table, handle)
