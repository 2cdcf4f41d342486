"""How far one size's neurons keep to one domain: firing, ranking of documents, and an index, with and without token identity.

NormalizedFire is the paper's: share of a neuron's top contexts in a domain over the domain's share of the text, mean over
the neurons [S, section 6]. AUROC and average precision are of document means; the best neuron of a domain is chosen on one
half of the sources and reported on the other, so a larger group has no free luck. The index is 1 - H(domain | top
activation mass) / log(domains) (SCIENCE 6). Rosetta neurons stand beside others of the same layers and active fractions.
With token identity controlled for, the same numbers come from ``identity``.

Cost: sorts over documents, and where token identity is controlled for two passes over the text for at most 256 neurons of
each kind. AUROC depends on the domains of the probe, average precision also on their shares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curator.atlas.domains import auroc_N, average_precision_N, normalized_fire_Nc, specialisation_N
from curator.atlas.spankeys import SpanKeys
from curator.atlas.store import Atlas
from curator.lm.backbone import Backbone
from curator.neuronset.select import Part as Half
from curator.neuronset.select import document_parts
from curator.scaling.controls import on_firing_side, pole, same_activity
from curator.scaling.identity import Controlled, controlled_values
from curator.scaling.parts import DomainFiring, Kind, KindIndex, Rule, Specialisation
from curator.scaling.selectivity import interval
from curator.settings import NeuronSetSettings
from curator.text.probe import ProbeCorpus
from curator.text.splits import split_units

_MOST = 256
_TELLS = 0.9
_RESAMPLED = 1000


@dataclass(frozen=True, slots=True)
class _Group:
    """One kind of neurons: document means (D, n) and the domains and values of their top contexts (n, k)."""

    mean_Dn: np.ndarray
    top_domain_nk: np.ndarray
    top_value_nk: np.ndarray


@dataclass(frozen=True, slots=True)
class _Labels:
    """Domains of the documents: ``domain_D`` numbers, ``choosing_D`` the half that chooses, ``share_c`` shares of the text."""

    names: tuple[str, ...]
    domain_D: np.ndarray
    choosing_D: np.ndarray
    share_c: np.ndarray

    @classmethod
    def of(cls, atlas: Atlas) -> _Labels:
        names = atlas.manifest.domains
        domain_D = np.asarray([names.index(entry.domain) for entry in atlas.manifest.documents])
        spans_c = np.bincount(domain_D, weights=atlas["document_spans_D"], minlength=len(names))
        choosing_D = document_parts(atlas, NeuronSetSettings()) == Half.FIT
        return cls(names, domain_D, choosing_D, np.maximum(spans_c, 1) / max(1, spans_c.sum()))

    def of_documents(self, document_nk: np.ndarray) -> np.ndarray:
        return np.where(document_nk >= 0, self.domain_D[np.maximum(document_nk, 0)], -1)


def specialisation(
    atlas: Atlas,
    rule: Rule,
    chosen: np.ndarray,
    pool: np.ndarray,
    *,
    backbone: Backbone | None = None,
    corpus: ProbeCorpus | None = None,
    seed: int = 0,
) -> Specialisation | None:
    """Rosetta neurons (flat indices) and as many of ``pool``; None without any.

    With ``backbone``, the atlas's model, and ``corpus``, its text, token identity is controlled for.
    """
    alike = same_activity(atlas, chosen, pool)
    index: dict[Kind, np.ndarray] = {"rosetta": _some(chosen, seed), "others": _some(alike[alike >= 0], seed)}
    if not len(index["others"]) or len(atlas.manifest.domains) < 2:
        return None
    labels = _Labels.of(atlas)
    plain = {kind: _as_stored(atlas, labels, mine) for kind, mine in index.items()}
    controlled: Mapping[Kind, _Group | None] = dict.fromkeys(index)
    kept = None
    if backbone and corpus:
        controlled, kept = _controlled(atlas, labels, index, backbone, corpus)
    reporting_D = ~labels.choosing_D
    return Specialisation(
        rule=rule,
        documents=int(reporting_D.sum()),
        prevalence={
            name: float((labels.domain_D[reporting_D] == number).mean()) for number, name in enumerate(labels.names)
        },
        domains=tuple(
            _firing(labels, number, kind, plain[kind], controlled[kind])
            for number in range(len(labels.names))
            for kind in index
        ),
        index=tuple(_index(labels, kind, plain[kind], controlled[kind], seed) for kind in index),
        by_document=split_units(atlas.manifest.documents).by_document,
        controlled_spans=kept,
    )


def _some(index: np.ndarray, seed: int) -> np.ndarray:
    """At most 256 of them, drawn by seed, ascending."""
    if len(index) > _MOST:
        index = np.random.default_rng(seed).choice(index, _MOST, replace=False)
    return np.sort(index)


def _as_stored(atlas: Atlas, labels: _Labels, index: np.ndarray) -> _Group:
    sign_n = pole(atlas)[index]
    document_nk = on_firing_side(atlas, index, "document")
    value_nk = on_firing_side(atlas, index, "value") * sign_n[:, None]
    return _Group(np.asarray(atlas["document_mean_DN"])[:, index] * sign_n, labels.of_documents(document_nk), value_nk)


def _controlled(
    atlas: Atlas, labels: _Labels, index: Mapping[Kind, np.ndarray], backbone: Backbone, corpus: ProbeCorpus
) -> tuple[dict[Kind, _Group | None], float]:
    wanted = np.unique(np.concatenate(list(index.values())))
    settings = atlas.manifest.settings
    keys = SpanKeys(corpus, settings)
    read = controlled_values(backbone, keys, wanted, pole(atlas)[wanted], contexts=settings.top_contexts)
    return {kind: _group(read, labels, np.searchsorted(wanted, mine)) for kind, mine in index.items()}, read.kept


def _group(read: Controlled, labels: _Labels, rows: np.ndarray) -> _Group:
    return _Group(read.mean_Dn[:, rows], labels.of_documents(read.top_document_nk[rows]), read.top_value_nk[rows])


def _firing(labels: _Labels, number: int, kind: Kind, plain: _Group, controlled: _Group | None) -> DomainFiring:
    fire_nc = normalized_fire_Nc(plain.top_domain_nk, labels.share_c)
    auroc, ap, tellers = _best(labels, number, plain)
    again = (None, None, None) if controlled is None else _best(labels, number, controlled)
    return DomainFiring(
        domain=labels.names[number],
        kind=kind,
        normalized_fire=float(fire_nc[:, number].mean()),
        best_auroc=auroc,
        best_ap=ap,
        tellers=tellers or 0,
        controlled_auroc=again[0],
        controlled_ap=again[1],
        controlled_tellers=again[2],
    )


def _best(labels: _Labels, number: int, group: _Group) -> tuple[float | None, float | None, int | None]:
    """AUROC and AP on the reporting half of the neuron that the other half chooses, and how many tell the domain."""
    positive_D, choosing_D = labels.domain_D == number, labels.choosing_D
    if any(positive_D[half].all() or not positive_D[half].any() for half in (choosing_D, ~choosing_D)):
        return None, None, 0
    best = int(np.argmax(auroc_N(group.mean_Dn[choosing_D], positive_D[choosing_D])))
    reported_n = auroc_N(group.mean_Dn[~choosing_D], positive_D[~choosing_D])
    ap = average_precision_N(group.mean_Dn[~choosing_D][:, [best]], positive_D[~choosing_D])
    return float(reported_n[best]), float(ap[0]), int((reported_n > _TELLS).sum())


def _index(labels: _Labels, kind: Kind, plain: _Group, controlled: _Group | None, seed: int) -> KindIndex:
    median, between = _median(labels, plain, seed)
    again = (None, None) if controlled is None else _median(labels, controlled, seed)
    return KindIndex(
        kind=kind,
        neurons=len(plain.top_value_nk),
        median=median,
        interval=between,
        controlled_median=again[0],
        controlled_interval=again[1],
    )


def _median(labels: _Labels, group: _Group, seed: int) -> tuple[float, tuple[float, float]]:
    index_n = specialisation_N(group.top_domain_nk, group.top_value_nk, labels.share_c)
    rows_Bn = np.random.default_rng(seed).integers(len(index_n), size=(_RESAMPLED, len(index_n)))
    return float(np.median(index_n)), interval(np.median(index_n[rows_Bn], axis=1))
