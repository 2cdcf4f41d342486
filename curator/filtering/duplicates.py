"""Copies and near copies: which documents say the same, and which one of each group stays.

Exact: equal 128-bit text hashes. Near: MinHash (Broder 1997) over the set of word 5-grams, with 128 permutations of
``datasketch``: ``MinHashAnnotator`` makes the signatures while a shard is scored, ``near_duplicates`` compares them when a
selection asks for it. ``worse_copies`` then chooses the one that stays.

Cost: 0.3 ms a document of 2.5 kB to annotate, 512 bytes each in the score file. Exact groups take one sort, and the choice a
sort of the members alone. It does not know limits or targets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from curator import fingerprint
from curator.errors import MissingExtraError
from curator.filtering.ngrams import NGRAM_RULE, ngram_hashes, word_hashes
from curator.records import Document


class MinHashSettings(BaseModel):
    """How signatures are made; signatures of different settings cannot be compared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    words: int = Field(default=5, ge=1, le=64, description="Length of the word n-grams whose set stands for a text.")
    permutations: int = Field(default=128, ge=16, le=1024, description="Places of a signature; 4 bytes each.")
    seed: int = Field(default=1, ge=0, lt=1 << 32, description="Seed of the permutations.")


class MinHashAnnotator:
    """Makes the column ``minhash``: the signature as little-endian uint32, empty for a text without a word.

    A text of fewer words than an n-gram has is one n-gram. Raises MissingExtraError where datasketch is not installed.
    """

    name = "minhash"

    def __init__(self, settings: MinHashSettings | None = None) -> None:
        try:
            from datasketch import MinHash
        except ImportError as error:
            raise MissingExtraError("Near duplicates need datasketch; install rosetta-curator[engine].") from error
        self.settings = settings or MinHashSettings()
        self._minhash = MinHash
        self._permutations = MinHash(self.settings.permutations, self.settings.seed, scheme="affine32").permutations

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the settings and of the rules for words and permutations."""
        return fingerprint.of_parts(["minhash affine32 v1", NGRAM_RULE, self.settings.model_dump_json()])

    def columns(self, parts: Sequence[Document]) -> list[Mapping[str, bytes]]:
        """The signature of each part of a document; ``near_duplicates`` joins those of its windows."""
        return [{"minhash": self.signature(part.text)} for part in parts]

    def signature(self, text: str) -> bytes:
        """The signature of one text."""
        word_W = word_hashes(text)
        if word_W.size == 0:
            return b""
        hash_G = ngram_hashes(word_W, min(self.settings.words, word_W.size)) >> np.uint64(32)
        sketch = self._minhash(
            self.settings.permutations,
            self.settings.seed,
            hashfunc=int,
            permutations=self._permutations,
            scheme="affine32",
        )
        sketch.update_batch(hash_G.tolist())
        return sketch.hashvalues.astype("<u4").tobytes()


def equal_text_groups(text_hash_U2: NDArray[np.uint64]) -> NDArray[np.int64]:
    """For each unit the first unit of equal text hash, itself where it is the first: int64 (U,)."""
    group_U = np.arange(len(text_hash_U2))
    order_U = np.argsort(text_hash_U2[:, 0], kind="stable")
    member_M = order_U[in_runs(text_hash_U2[order_U, 0])]
    first_M, second_M = text_hash_U2[member_M].T
    if ((first_M[1:] == first_M[:-1]) & (second_M[1:] != second_M[:-1])).any():  # one half collides: sort by both
        order_M = np.lexsort([member_M, second_M, first_M])
        member_M, first_M, second_M = member_M[order_M], first_M[order_M], second_M[order_M]
    opens_M = np.ones(member_M.size, np.bool_)
    opens_M[1:] = (first_M[1:] != first_M[:-1]) | (second_M[1:] != second_M[:-1])
    group_U[member_M] = member_M[opens_M][np.cumsum(opens_M) - 1] if member_M.size else member_M
    return group_U


def worse_copies(
    group_U: NDArray[np.int64], live_U: NDArray[np.bool_], score_U: NDArray[np.float64], value_U: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Live units that are not the best live one of their group: by score, then value, then order. NaN is the worst."""
    is_grouped_U = group_U != np.arange(group_U.size)
    is_grouped_U[group_U[is_grouped_U]] = True
    member_M = np.flatnonzero(is_grouped_U & live_U)
    if member_M.size == 0:
        return member_M
    member_M = member_M[np.argsort(group_U[member_M], kind="stable")]
    opens_M = np.diff(group_U[member_M], prepend=-1) != 0
    start_G, number_M = np.flatnonzero(opens_M), np.cumsum(opens_M) - 1
    stays_M = np.ones(member_M.size, np.bool_)
    for key_U in (score_U, value_U):
        key_M = key_U[member_M]
        key_M[~stays_M | np.isnan(key_M)] = -np.inf
        stays_M &= key_M == np.maximum.reduceat(key_M, start_G)[number_M]
    left_L = np.flatnonzero(stays_M)
    best_G = left_L[np.diff(number_M[left_L], prepend=-1) != 0]
    return np.delete(member_M, best_G)


def in_runs(sorted_C: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether a value of a sorted array has an equal neighbour."""
    equal = sorted_C[1:] == sorted_C[:-1]
    in_run_C = np.zeros(sorted_C.size, np.bool_)
    in_run_C[1:] |= equal
    in_run_C[:-1] |= equal
    return in_run_C
