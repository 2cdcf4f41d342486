"""How well each neuron tells a domain from the rest, for all neurons at once (SCIENCE section 6).

A neuron's value on a document is its mean over the document's spans. AUROC comes from rank sums and average precision from the
sorted labels, both exact under ties and checked against scikit-learn in the tests; scikit-learn's own functions take one
neuron at a time and would be thousands of times slower. Cost: one sort of the D × N matrix per call.
It does not know which neurons are Rosetta neurons, nor the sign gauge: callers negate what must be negated.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata


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


def normalized_fire_Nc(top_domain_Nk: np.ndarray, share_c: np.ndarray) -> np.ndarray:
    """Share of a neuron's top contexts in each domain over the domain's share of the text [S, section 6]; (N, c).

    ``top_domain_Nk`` holds domain indices, -1 for an empty place.
    """
    counts_Nc = np.stack([(top_domain_Nk == domain).sum(axis=1) for domain in range(len(share_c))], axis=1)
    filled_N = np.maximum(1, (top_domain_Nk >= 0).sum(axis=1))
    return counts_Nc / filled_N[:, None] / share_c[None, :]


def specialisation_N(top_domain_Nk: np.ndarray, top_value_Nk: np.ndarray, share_c: np.ndarray) -> np.ndarray:
    """1 - H(domain | top activation mass, prior-corrected) / log(domains): 0 spread as the text is, 1 in one domain. (N,)."""
    floor_N1 = np.where(top_domain_Nk >= 0, top_value_Nk, np.inf).min(axis=1, keepdims=True)
    mass_Nk = np.where(top_domain_Nk >= 0, np.maximum(top_value_Nk, 0) + (floor_N1 <= 0) * 1e-12, 0.0)
    mass_Nc = np.stack([(mass_Nk * (top_domain_Nk == c)).sum(axis=1) for c in range(len(share_c))], axis=1)
    corrected = mass_Nc / share_c[None, :]
    p_Nc = corrected / np.maximum(corrected.sum(axis=1, keepdims=True), 1e-300)
    entropy = -(p_Nc * np.log(np.where(p_Nc > 0, p_Nc, 1.0))).sum(axis=1)
    return 1.0 - entropy / np.log(max(2, len(share_c)))
