"""How far one size's neurons keep to one domain: firing, ranking of documents, and an index, with and without token identity.

NormalizedFire is the paper's: share of a neuron's top contexts in a domain over the domain's share of the text, mean over
the neurons [S, section 6]. AUROC, average precision, d' and mutual information are of document means; the best neuron of a
domain is chosen on one half of the sources and reported on the other, so a larger group has no free luck. The index is 1 -
H(domain | top activation mass) / log(domains) (SCIENCE 6), of one context a document and corrected for chance. Rosetta
neurons stand beside others of the same layers and active fractions.
With token identity controlled for, the same numbers come from ``neuronset.token_identity``.

Cost: sorts over documents, and where token identity is controlled for two passes over the text for at most 256 neurons of
each kind. AUROC depends on the domains of the probe, average precision also on their shares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curator.atlas.domains import (
    auroc_N,
    average_precision_N,
    discriminability_N,
    first_of_document_Nk,
    mutual_information_N,
    normalized_fire_Nc,
    specialisation_N,
)
from curator.atlas.spankeys import SpanKeys
from curator.atlas.store import Atlas
from curator.lm.backbone import Backbone
from curator.neuronset.parts import Part as Half
from curator.neuronset.parts import document_parts
from curator.neuronset.token_identity import Controlled, controlled_values
from curator.scaling.controls import on_firing_side, pole, same_activity
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
    """One kind of neurons: document means (D, n), the documents and values of their top contexts (n, k).

    ``share_c`` are the domains' shares of the text that was read, which is less where token identity is controlled for.
    """

    mean_Dn: np.ndarray
    top_document_nk: np.ndarray
    top_value_nk: np.ndarray
    share_c: np.ndarray


@dataclass(frozen=True, slots=True)
class _Teller:
    """The neuron that one half of the sources chooses for a domain, on the other half; ``tellers`` how many tell it there."""

    auroc: float
    ap: float
    d_prime: float
    bits: float
    tellers: int


@dataclass(frozen=True, slots=True)
class _Labels:
    """Domains of the documents: ``domain_D`` numbers, ``choosing_D`` the half that chooses."""

    names: tuple[str, ...]
    domain_D: np.ndarray
    choosing_D: np.ndarray

    @classmethod
    def of(cls, atlas: Atlas) -> _Labels:
        names = atlas.manifest.domains
        domain_D = np.asarray([names.index(entry.domain) for entry in atlas.manifest.documents])
        return cls(names, domain_D, document_parts(atlas, NeuronSetSettings()) == Half.FIT)

    def shares(self, spans_D: np.ndarray) -> np.ndarray:
        """Each domain's share of a text with so many spans in each document."""
        spans_c = np.bincount(self.domain_D, weights=spans_D, minlength=len(self.names))
        return np.maximum(spans_c, 1) / max(1, spans_c.sum())

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
        index=tuple(
            one for kind in index if (one := _index(labels, kind, plain[kind], controlled[kind], seed)) is not None
        ),
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
    mean_Dn = np.asarray(atlas["document_mean_DN"])[:, index] * sign_n
    return _Group(mean_Dn, document_nk, value_nk, labels.shares(atlas["document_spans_D"]))


def _controlled(
    atlas: Atlas, labels: _Labels, index: Mapping[Kind, np.ndarray], backbone: Backbone, corpus: ProbeCorpus
) -> tuple[dict[Kind, _Group | None], float]:
    wanted = np.unique(np.concatenate(list(index.values())))
    settings = atlas.manifest.settings
    keys = SpanKeys(corpus, settings)
    read = controlled_values(backbone, keys, wanted, pole(atlas)[wanted], contexts=settings.top_contexts)
    return {kind: _group(read, labels, np.searchsorted(wanted, mine)) for kind, mine in index.items()}, read.kept


def _group(read: Controlled, labels: _Labels, rows: np.ndarray) -> _Group:
    share_c = labels.shares(read.spans_D)
    return _Group(read.mean_Dn[:, rows], read.top_document_nk[rows], read.top_value_nk[rows], share_c)


def _firing(labels: _Labels, number: int, kind: Kind, plain: _Group, controlled: _Group | None) -> DomainFiring:
    fire_nc = normalized_fire_Nc(labels.of_documents(plain.top_document_nk), plain.share_c)
    best = _best(labels, number, plain)
    again = None if controlled is None else _best(labels, number, controlled)
    return DomainFiring(
        domain=labels.names[number],
        kind=kind,
        normalized_fire=float(fire_nc[:, number].mean()),
        best_auroc=best and best.auroc,
        best_ap=best and best.ap,
        best_d_prime=best and best.d_prime,
        best_mutual_information=best and best.bits,
        tellers=best.tellers if best else 0,
        controlled_auroc=again and again.auroc,
        controlled_ap=again and again.ap,
        controlled_tellers=None if controlled is None else again.tellers if again else 0,
    )


def _best(labels: _Labels, number: int, group: _Group) -> _Teller | None:
    """The neuron that the choosing half chooses, on the reporting half; None where either lacks the domain or the rest."""
    positive_D, choosing_D = labels.domain_D == number, labels.choosing_D
    if any(positive_D[half].all() or not positive_D[half].any() for half in (choosing_D, ~choosing_D)):
        return None
    best = int(np.argmax(auroc_N(group.mean_Dn[choosing_D], positive_D[choosing_D])))
    reported_Rn, positive_R = group.mean_Dn[~choosing_D], positive_D[~choosing_D]
    auroc_n, own_R1 = auroc_N(reported_Rn, positive_R), reported_Rn[:, [best]]
    return _Teller(
        auroc=float(auroc_n[best]),
        ap=float(average_precision_N(own_R1, positive_R)[0]),
        d_prime=float(discriminability_N(own_R1, positive_R)[0]),
        bits=float(mutual_information_N(own_R1, positive_R)[0]),
        tellers=int((auroc_n > _TELLS).sum()),
    )


def _index(labels: _Labels, kind: Kind, plain: _Group, controlled: _Group | None, seed: int) -> KindIndex | None:
    found, again = _median(labels, plain, seed), None if controlled is None else _median(labels, controlled, seed)
    if found is None:
        return None
    return KindIndex(
        kind=kind,
        neurons=len(plain.top_value_nk),
        median=found[0],
        interval=found[1],
        controlled_median=again and again[0],
        controlled_interval=again and again[1],
    )


def _median(labels: _Labels, group: _Group, seed: int) -> tuple[float, tuple[float, float]] | None:
    """Median index and its interval over the neurons that have one; None without any."""
    domain_nk = labels.of_documents(np.where(first_of_document_Nk(group.top_document_nk), group.top_document_nk, -1))
    index_n = specialisation_N(domain_nk, group.top_value_nk, group.share_c)
    index_n = index_n[np.isfinite(index_n)]
    if not len(index_n):
        return None
    rows_Bn = np.random.default_rng(seed).integers(len(index_n), size=(_RESAMPLED, len(index_n)))
    return float(np.median(index_n)), interval(np.median(index_n[rows_Bn], axis=1))
