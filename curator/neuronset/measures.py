"""What neurons say of a domain on documents that did not choose them: the evidence of a set, and its table by domain.

AUROC, average precision, d' and mutual information are of document means on the ``report`` documents. An atlas keeps some
twenty top contexts of a neuron, too few to leave three quarters of them out, so NormalizedFire [S, section 6] and the
specialisation index take those of ``validate`` documents as well: both chose no neuron, and how many contexts they are is
stated. The top contexts of a neuron of sign -1 are those of its lowest values, which atlases of gated models keep.

With token identity controlled for (``token_identity``), AUROC is of what the document means keep.

Cost: three sorts of the documents' means for each domain; the control costs a pass of the model over the text. They do not know
which domain a neuron was chosen for.
"""

from __future__ import annotations

from collections.abc import Callable
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
from curator.neuronset.manifest import TargetEvidence
from curator.neuronset.parts import Part
from curator.neuronset.token_identity import controlled_values
from curator.text.probe import ProbeCorpus


@dataclass(frozen=True, slots=True)
class Contexts:
    """Top contexts of K neurons in documents that chose none of them.

    ``number`` (K,) how many there are, in ``documents`` (K,) documents; NormalizedFire (K, domains), NaN without a context; the
    specialisation index (K,), NaN with less than two documents.
    """

    number: np.ndarray
    documents: np.ndarray
    normalized_fire: np.ndarray
    specialisation: np.ndarray


@dataclass(frozen=True, slots=True)
class Measures:
    """K neurons against one domain, (K,) each; mutual information in bits."""

    auroc: np.ndarray
    average_precision: np.ndarray
    d_prime: np.ndarray
    mutual_information: np.ndarray
    normalized_fire: np.ndarray

    def of(self, row: int) -> dict[str, float | None]:
        """Those of one neuron, by name; None for what could not be measured."""
        found = {name: float(getattr(self, name)[row]) for name in self.__slots__}
        return {name: value if np.isfinite(value) else None for name, value in found.items()}


def contexts_of(atlas: Atlas, index: np.ndarray, sign: np.ndarray, parts_D: np.ndarray) -> Contexts:
    """The contexts of neurons at these flat indices, read with these signs; ``parts_D`` of ``select.document_parts``."""
    domains = list(atlas.manifest.domains)
    of_document = np.asarray([domains.index(entry.domain) for entry in atlas.manifest.documents])
    known_D = (parts_D == Part.VALIDATE) | (parts_D == Part.REPORT)
    spans_c = np.bincount(of_document, weights=atlas["document_spans_D"] * known_D, minlength=len(domains))
    share_c = np.maximum(spans_c, 1) / max(1.0, float(spans_c.sum()))  # of the text, not of the documents
    document_Kk, value_Kk = atlas["top_document_Nk"][index], atlas["top_value_Nk"][index]
    if atlas.manifest.gated:
        turned = sign[:, None] < 0
        document_Kk = np.where(turned, atlas["low_document_Nk"][index], document_Kk)
        value_Kk = np.where(turned, -atlas["low_value_Nk"][index], value_Kk)
    document_Kk = np.where((document_Kk >= 0) & known_D[document_Kk], document_Kk, -1)
    domain_Kk = np.where(document_Kk >= 0, of_document[document_Kk], -1)
    first_Kk = first_of_document_Nk(document_Kk)
    number_K = (document_Kk >= 0).sum(axis=1)
    fire_Kc = np.where(number_K[:, None] > 0, normalized_fire_Nc(domain_Kk, share_c), np.nan)
    index_K = specialisation_N(np.where(first_Kk, domain_Kk, -1), value_Kk, share_c)
    return Contexts(number_K, first_Kk.sum(axis=1), fire_Kc, index_K)


def measured(
    atlas: Atlas, index: np.ndarray, sign: np.ndarray, parts_D: np.ndarray, domain: str, contexts: Contexts
) -> Measures:
    """Neurons at these flat indices, read with these signs, against one domain; ``contexts`` are theirs.

    Raises ValueError when the report documents lack the domain or anything else.
    """
    report = parts_D == Part.REPORT
    positive = np.asarray([entry.domain == domain for entry in atlas.manifest.documents])[report]
    value_RK = atlas["document_mean_DN"][:, index][report] * sign
    return Measures(
        auroc=auroc_N(value_RK, positive),
        average_precision=average_precision_N(value_RK, positive),
        d_prime=discriminability_N(value_RK, positive),
        mutual_information=mutual_information_N(value_RK, positive),
        normalized_fire=contexts.normalized_fire[:, atlas.manifest.domains.index(domain)],
    )


def by_domain(atlas: Atlas, index: np.ndarray, sign: np.ndarray, parts_D: np.ndarray) -> dict[str, Measures]:
    """Every domain of the probe corpus that the report documents can measure."""
    contexts = contexts_of(atlas, index, sign, parts_D)
    reported = [e.domain for e, part in zip(atlas.manifest.documents, parts_D, strict=True) if part == Part.REPORT]
    measurable = [domain for domain in atlas.manifest.domains if 0 < reported.count(domain) < len(reported)]
    return {domain: measured(atlas, index, sign, parts_D, domain, contexts) for domain in measurable}


def controlled_means(
    backbone: Backbone,
    atlas: Atlas,
    corpus: ProbeCorpus,
    index: np.ndarray,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Document means (D, K) of neurons at these distinct flat indices with token identity controlled for, signs as they are."""
    order = np.argsort(index)
    keys = SpanKeys(corpus, atlas.manifest.settings)
    read = controlled_values(backbone, keys, index[order], np.ones(len(index)), progress=progress)
    return read.mean_Dn[:, np.argsort(order)]


def reported_auroc(atlas: Atlas, value_DK: np.ndarray, parts_D: np.ndarray, domain: str) -> np.ndarray:
    """AUROC of document values (D, K) for a domain on the report documents, (K,)."""
    positive_D = np.asarray([entry.domain == domain for entry in atlas.manifest.documents])
    report = parts_D == Part.REPORT
    return auroc_N(value_DK[report], positive_D[report])


def target_evidence(
    measures: Measures,
    contexts: Contexts,
    row: int,
    *,
    direction: int,
    auroc_fit: float,
    auroc_controlled: float | None,
) -> TargetEvidence:
    """The evidence of the neuron in a row, as the manifest keeps it."""
    found, index = measures.of(row), float(contexts.specialisation[row])
    return TargetEvidence(
        direction=direction,
        auroc_fit=auroc_fit,
        auroc_report=float(measures.auroc[row]),
        average_precision_report=float(measures.average_precision[row]),
        d_prime_report=float(measures.d_prime[row]),
        mutual_information_report=found["mutual_information"],
        auroc_controlled=auroc_controlled,
        normalized_fire=found["normalized_fire"],
        specialisation=index if np.isfinite(index) else None,
        contexts=int(contexts.number[row]),
    )
