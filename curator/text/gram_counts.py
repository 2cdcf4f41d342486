"""How often each hashed byte n-gram occurs in each text, as one sparse matrix: what both models of wording are fitted on.

Buckets are those of ``text/ngrams``. Cost: some 10 MB of text a second and core, most of it in sorting buckets; a text is sorted
by the megabyte, so that a long one needs little memory. It does not know weights, nor what the counts are divided by.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from curator.text.ngrams import ORDERS, buckets

_BLOCK_BYTES = 1 << 20


def gram_counts(folded_texts: Iterable[bytes], bits: int) -> Any:
    """How often each of 2^bits buckets occurs in each folded text, sparse (D, B) float32."""
    begin, bucket_G, count_G = [0], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for data in folded_texts:
        bucket, count = _bucket_counts(data, bits)
        bucket_G.append(bucket.astype(np.int64))
        count_G.append(count)
        begin.append(begin[-1] + len(bucket))
    values = np.concatenate(count_G).astype(np.float32)
    return csr_matrix((values, np.concatenate(bucket_G), begin), shape=(len(begin) - 1, 1 << bits))


def _bucket_counts(data: bytes, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """The buckets that occur, ascending, and how often."""
    blocks = [
        np.unique(
            np.concatenate([buckets(data[start : start + _BLOCK_BYTES + order - 1], order, bits) for order in ORDERS]),
            return_counts=True,
        )
        for start in range(0, max(1, len(data)), _BLOCK_BYTES)
    ]
    if len(blocks) == 1:
        return blocks[0]
    found, place = np.unique(np.concatenate([bucket for bucket, _ in blocks]), return_inverse=True)
    return found, np.bincount(place, np.concatenate([count for _, count in blocks]))
