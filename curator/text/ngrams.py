"""Hashed byte n-grams of a text: what can be known of it without a model, a tokenizer or a language.

ASCII letters are lowered and digits made one; every run of 3 and of 5 bytes, packed into 64 bits and multiplied, is a bucket.
Words, spaces, markup and any script are alike to it. No string is built: a text is one array of bytes. Cost: 40 MB of text a
second and core for the buckets. It does not know weights.
"""

from __future__ import annotations

import numpy as np

ORDERS = (3, 5)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_FOLD = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ123456789", b"abcdefghijklmnopqrstuvwxyz000000000")
_WORD = 8


def folded(text: str) -> bytes:
    """The bytes that n-grams are cut from."""
    return text.encode("utf-8", "replace").translate(_FOLD)


def buckets(data: bytes, order: int, bits: int) -> np.ndarray:
    """Bucket of the n-gram that begins at each byte but the last ``order`` - 1, uint64."""
    count = len(data) - order + 1
    if count <= 0:
        return np.zeros(0, np.uint64)
    padded = np.frombuffer(data + bytes(_WORD), np.uint8)
    words = np.lib.stride_tricks.as_strided(padded[:_WORD].view("<u8"), (count,), (1,))
    packed = words & np.uint64((1 << (8 * order)) - 1)
    return (packed * (_MULTIPLIER + np.uint64(2 * order))) >> np.uint64(64 - bits)
