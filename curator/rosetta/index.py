"""Candidate search: a FAISS inner-product index over the unit-norm signatures of a model's living neurons.

Flat (exhaustive) search, exact and deterministic; for a few thousand to a few hundred thousand neurons it is one blocked matrix
product. With ``absolute`` a query is sent with both signs and the better one counts. Cost: 2 N_A N_B d multiplications.
It does not know correlations: signatures only propose, ``verify`` decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np


@dataclass(frozen=True, slots=True)
class Candidates:
    """Nearest signatures: ``neighbour`` (N, m) int64 indices into the searched neurons, -1 where none, nearest first."""

    neighbour: np.ndarray
    similarity: np.ndarray


def unit_norm(signatures_Nd: np.ndarray) -> np.ndarray:
    """Rows scaled to length one, float32; rows of zeros stay zero."""
    norm = np.linalg.norm(signatures_Nd, axis=1, keepdims=True)
    return np.ascontiguousarray(signatures_Nd / np.where(norm > 0, norm, 1), dtype=np.float32)


def nearest(queries_Nd: np.ndarray, searched_Md: np.ndarray, wanted: int, *, absolute: bool) -> Candidates:
    """The ``wanted`` nearest rows of ``searched_Md`` for every query, by inner product or its absolute value.

    Both arrays must be unit-norm float32. Ties are broken by the lower index.
    """
    index = faiss.IndexFlatIP(searched_Md.shape[1])
    index.add(searched_Md)
    wanted = min(wanted, len(searched_Md))
    similarity, neighbour = index.search(queries_Nd, wanted)
    if absolute:
        negative, other = index.search(-queries_Nd, wanted)
        similarity, neighbour = np.hstack([similarity, negative]), np.hstack([neighbour, other])
    order = np.lexsort((neighbour, -similarity), axis=1)[:, :wanted]
    return Candidates(np.take_along_axis(neighbour, order, 1), np.take_along_axis(similarity, order, 1))
