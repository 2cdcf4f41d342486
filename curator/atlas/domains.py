"""How well each neuron tells a domain from the rest, for all neurons at once (SCIENCE section 6).

A neuron's value on a document is its mean over the document's spans. AUROC comes from rank sums and average precision from the
sorted labels, both exact under ties and checked against scikit-learn in the tests; scikit-learn's own functions take one
neuron at a time and would be thousands of times slower. Cost: one sort of the D × N matrix per call; a tenth of a second for the
first specialisation index with new shares of the text.
It does not know which neurons are Rosetta neurons, nor the sign gauge: callers negate what must be negated.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.stats import rankdata

_BINS = 8
_FEWEST_IN_BIN = 4
_FEWEST_CONTEXTS = 2
_SIMULATED = 4000


def auroc_N(values_DN: np.ndarray, positive_D: np.ndarray) -> np.ndarray:
    """Probability that a positive document has the higher value, ties counted half; (N,) float64.

    Raises ValueError when one of the classes is empty.
    """
    positives = int(positive_D.sum())
    negatives = len(positive_D) - positives
    if not positives or not negatives:
        raise ValueError("AUROC needs documents of both classes")
    ranks_DN = rankdata(values_DN, axis=0)
    return (ranks_DN[positive_D].sum(axis=0) - positives * (positives + 1) / 2) / (positives * negatives)


def average_precision_N(values_DN: np.ndarray, positive_D: np.ndarray) -> np.ndarray:
    """Area under the precision-recall steps, tied values taken as one step; (N,) float64."""
    order_DN = np.argsort(-values_DN, axis=0, kind="stable")
    sorted_DN = np.take_along_axis(values_DN, order_DN, axis=0)
    hits_DN = positive_D[order_DN]
    documents = len(positive_D)
    index_D1 = np.arange(documents)[:, None]
    ends_DN = np.ones(sorted_DN.shape, dtype=bool)
    ends_DN[:-1] = sorted_DN[:-1] != sorted_DN[1:]
    last_DN = np.where(ends_DN, index_D1, documents)
    last_DN = np.minimum.accumulate(last_DN[::-1], axis=0)[::-1]
    precision_DN = np.take_along_axis(np.cumsum(hits_DN, axis=0), last_DN, axis=0) / (last_DN + 1)
    return (precision_DN * hits_DN).sum(axis=0) / max(1, int(positive_D.sum()))


def discriminability_N(values_DN: np.ndarray, positive_D: np.ndarray) -> np.ndarray:
    """d': difference of the class means over the root mean of their variances; 0 where both variances are 0. (N,)."""
    inside, outside = values_DN[positive_D].astype(np.float64), values_DN[~positive_D].astype(np.float64)
    spread = np.sqrt((inside.var(axis=0) + outside.var(axis=0)) / 2)
    return np.where(spread > 0, (inside.mean(axis=0) - outside.mean(axis=0)) / np.where(spread > 0, spread, 1), 0.0)


def mutual_information_N(values_DN: np.ndarray, positive_D: np.ndarray) -> np.ndarray:
    """Bits that a document's value tells of whether it is in the domain, (N,) float64: at most the entropy of the labels.

    Values are cut into bins that both sides, weighed alike, fill equally (ties stay together): eight, or as many as leave four
    documents of the rarer side for each in the mean. The plug-in estimate of H(bin) + H(label) - H(bin, label) is corrected for
    its bias (Miller and Madow: cells that hold documents, less one, over twice the documents) and clipped at 0. Unlike AUROC
    it sees a domain that lies in the middle or at both ends. Raises ValueError when one of the sides is empty.
    """
    documents, inside = len(positive_D), int(positive_D.sum())
    if not 0 < inside < documents:
        raise ValueError("mutual information needs documents of both classes")
    bins = max(
        2, min(_BINS, min(inside, documents - inside) // _FEWEST_IN_BIN) // 2 * 2
    )  # even: sides that part fill halves
    bin_DN = np.minimum(_balanced_place_DN(values_DN, positive_D) * bins, bins - 1).astype(np.int8)
    inside_bN, outside_bN = (
        np.stack([((bin_DN == b) & side_D[:, None]).sum(axis=0) for b in range(bins)])
        for side_D in (positive_D, ~positive_D)
    )
    both_2N = np.stack([inside_bN.sum(axis=0), outside_bN.sum(axis=0)])
    cells_N = _entropy_N(np.concatenate([inside_bN, outside_bN]), documents)
    bits_N = (_entropy_N(inside_bN + outside_bN, documents) + _entropy_N(both_2N, documents) - cells_N) / np.log(2)
    share = inside / documents
    return np.clip(bits_N, 0.0, -(share * np.log2(share) + (1 - share) * np.log2(1 - share)))


def _balanced_place_DN(values_DN: np.ndarray, positive_D: np.ndarray) -> np.ndarray:
    """Of each value the share that lies below it, mean over the two sides; ties counted half. (D, N) in (0, 1)."""
    rank_DN = rankdata(values_DN, axis=0)
    place_DN = np.empty(rank_DN.shape)
    for side_D in (positive_D, ~positive_D):
        own_SN, others = rankdata(values_DN[side_D], axis=0), int((~side_D).sum())
        place_DN[side_D] = ((own_SN - 0.5) / len(own_SN) + (rank_DN[side_D] - own_SN) / others) / 2
    return place_DN


def _entropy_N(count_xN: np.ndarray, documents: int) -> np.ndarray:
    """Entropy of counts in nats with the correction of Miller and Madow, (N,)."""
    p_xN = count_xN / documents
    plain_N = -(p_xN * np.log(np.where(p_xN > 0, p_xN, 1.0))).sum(axis=0)
    return plain_N + ((count_xN > 0).sum(axis=0) - 1) / (2 * documents)


def normalized_fire_Nc(top_domain_Nk: np.ndarray, share_c: np.ndarray) -> np.ndarray:
    """Share of a neuron's top contexts in each domain over the domain's share of the text [S, section 6]; (N, c).

    ``top_domain_Nk`` holds domain indices, -1 for an empty place.
    """
    counts_Nc = np.stack([(top_domain_Nk == domain).sum(axis=1) for domain in range(len(share_c))], axis=1)
    filled_N = np.maximum(1, (top_domain_Nk >= 0).sum(axis=1))
    return counts_Nc / filled_N[:, None] / share_c[None, :]


def first_of_document_Nk(top_document_Nk: np.ndarray) -> np.ndarray:
    """Which contexts are the highest of their document, (N, k) bool; rows fall, a document of -1 is an empty place."""
    first_Nk = top_document_Nk >= 0
    for place in range(1, top_document_Nk.shape[1]):
        first_Nk[:, place] &= (top_document_Nk[:, :place] != top_document_Nk[:, [place]]).all(axis=1)
    return first_Nk


def specialisation_N(top_domain_Nk: np.ndarray, top_value_Nk: np.ndarray, share_c: np.ndarray) -> np.ndarray:
    """1 - H(domain | top activation mass, prior-corrected) / log(domains), corrected for chance: (N,), 0 to 1.

    Give one context a document (``first_of_document_Nk``), for contexts of one document are one observation. Few contexts look
    specialised by chance: of 20 from text spread over ten domains the plain index is 0.11 in the mean. So the plain index
    I becomes (I - E) / (1 - E), clipped at 0, where E is what as many contexts drawn as the text is spread have in the mean
    (the correction of the adjusted mutual information of Vinh, Epps and Bailey, JMLR 11, 2010); contexts of unequal mass
    count as (sum m)^2 / sum m^2. So 0 is spread as the text is, 1 is one domain; NaN where there are fewer than two contexts.
    """
    floor_N1 = np.where(top_domain_Nk >= 0, top_value_Nk, np.inf).min(axis=1, keepdims=True)
    mass_Nk = np.where(top_domain_Nk >= 0, np.maximum(top_value_Nk, 0) + (floor_N1 <= 0) * 1e-12, 0.0)
    mass_Nk = mass_Nk / np.maximum(mass_Nk.max(axis=1, keepdims=True), 1e-300)
    mass_Nc = np.stack([(mass_Nk * (top_domain_Nk == c)).sum(axis=1) for c in range(len(share_c))], axis=1)
    effective_N = mass_Nk.sum(axis=1) ** 2 / np.maximum(np.square(mass_Nk).sum(axis=1), 1e-300)
    by_chance_k = _index_by_chance(top_domain_Nk.shape[1], tuple(np.asarray(share_c, dtype=np.float64).tolist()))
    chance_N = np.interp(effective_N, np.arange(1, len(by_chance_k) + 1), by_chance_k)
    corrected_N = (_plain_index(mass_Nc, share_c) - chance_N) / np.maximum(1 - chance_N, 1e-9)
    known_N = ((top_domain_Nk >= 0).sum(axis=1) >= _FEWEST_CONTEXTS) & (len(share_c) > 1)
    return np.where(known_N, np.clip(corrected_N, 0.0, 1.0), np.nan)


def _plain_index(mass_Nc: np.ndarray, share_c: np.ndarray) -> np.ndarray:
    """The index as the entropy of these masses has it, (N,)."""
    corrected = mass_Nc / share_c[None, :]
    p_Nc = corrected / np.maximum(corrected.sum(axis=1, keepdims=True), 1e-300)
    entropy = -(p_Nc * np.log(np.where(p_Nc > 0, p_Nc, 1.0))).sum(axis=1)
    return 1.0 - entropy / np.log(max(2, len(share_c)))


@lru_cache(maxsize=64)
def _index_by_chance(most: int, share_c: tuple[float, ...]) -> np.ndarray:
    """Mean plain index of 1, 2, ... ``most`` contexts of equal mass that fall as the text is spread; (most,), by simulation."""
    generator, shares = np.random.default_rng(0), np.asarray(share_c)
    return np.asarray(
        [
            _plain_index(
                generator.multinomial(count, shares / shares.sum(), _SIMULATED).astype(np.float64), shares
            ).mean()
            for count in range(1, most + 1)
        ]
    )
