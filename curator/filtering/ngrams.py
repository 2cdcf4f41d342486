"""Word n-grams of a text as 64-bit hashes: what near-duplicate signatures and decontamination compare.

The text is normalised (NFKC, lower case) and cut into universal spans; spans that begin with a letter or a digit are words,
the rest (punctuation, symbols, white space) is dropped. Han, Kana and Hangul characters are words of their own. A word's hash
is ``arrays.hash_ranges``; an n-gram's is a polynomial of its words' hashes, mixed. No n-gram is ever built as a string.

Cost: 0.15 ms for 2.5 kB of text. Chance collisions among N different n-grams and M stored ones are about N * M / 2^64, nothing
in practice. It does not know languages: no stemming, and Thai or Khmer come in stretches of up to 64 characters.
"""

from __future__ import annotations

import unicodedata

import numpy as np
from numpy.typing import NDArray

from curator.filtering.arrays import hash_ranges, mix64
from curator.text.segmentation import SEGMENTATION_VERSION, universal_spans

NGRAM_RULE = f"nfkc-lower universal-spans-{SEGMENTATION_VERSION} words poly64 v1"
_BASE = np.uint64(0xD6E8FEB86659FD93)
_SPACE, _LAST_ASCII = 0x20, 0x7F
_ASCII_WORD = np.array([chr(byte).isalnum() and byte <= _LAST_ASCII for byte in range(256)])


def word_hashes(text: str) -> NDArray[np.uint64]:
    """Hashes of the words of a text, in order, repeats included: uint64 (words,)."""
    plain = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).lower()
    bytes_B = np.frombuffer(plain.encode(), np.uint8)
    start_S, end_S = universal_spans(plain).T
    start_S = start_S + ((bytes_B[start_S] == _SPACE) & (end_S - start_S > 1))
    is_word_S = _ASCII_WORD[bytes_B[start_S]]
    for span in np.flatnonzero(bytes_B[start_S] > _LAST_ASCII).tolist():
        is_word_S[span] = bytes_B[start_S[span] : end_S[span]].tobytes().decode()[0].isalnum()
    return hash_ranges(bytes_B, start_S[is_word_S], end_S[is_word_S])


def ngram_hashes(word_W: NDArray[np.uint64], n: int) -> NDArray[np.uint64]:
    """Hashes of the n-grams of a sequence of word hashes, in order: uint64 (W - n + 1,), or (0,) for fewer than n words."""
    grams = word_W.size - n + 1
    if grams < 1:
        return np.zeros(0, np.uint64)
    hash_G = np.zeros(grams, np.uint64)
    for place in range(n):
        hash_G = hash_G * _BASE + word_W[place : place + grams]
    return mix64(hash_G + np.uint64(n))
