"""Where a span goes: its sketch dimension, its sign, its fold, and its place among the held-back spans.

All of it is a hash of (probe fingerprint, seed, document id, span index), so any two models on the same corpus put the same
span in the same place, on any machine and in any order. A fold owns a block of d/F dimensions, so the sketch of every fold is a
slice of the signature and the jackknife needs no memory of its own; the error stays 1/sqrt(d), because cross terms between
folds vanish and T/F spans share d/F dimensions.

For the null, every document also has a decoy identity: the identity of another document of the same domain and of similar
length. Spans hashed under it keep their position, so a decoy match shares position and domain, not content (SCIENCE 4.6a).
Cost: O(spans) integer operations, vectorised. It does not know any model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from curator import fingerprint
from curator.records import Document
from curator.settings import AtlasSettings
from curator.text.probe import ProbeCorpus
from curator.text.segmentation import universal_spans

_STREAM_BUCKET, _STREAM_HELD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)
_DERANGED_GROUP = 8


@dataclass(frozen=True, slots=True)
class Places:
    """Where the S spans of one document go, under one identity.

    ``bucket`` (S,) int64 sketch dimension; ``sign`` (S,) float32 of -1 and +1; ``slot`` (S,) int64 place among the held-back
    spans, or -1; ``used`` (S,) bool, False for the leading spans and for a document without a decoy partner.
    """

    bucket: np.ndarray
    sign: np.ndarray
    slot: np.ndarray
    used: np.ndarray
    fold: int


class SpanKeys:
    """Places of all spans of a probe corpus, for the true identities and for the decoys."""

    def __init__(self, corpus: ProbeCorpus, settings: AtlasSettings) -> None:
        self.settings = settings
        self.documents: Sequence[Document] = corpus.documents
        self.spans_S2 = [universal_spans(document.text) for document in corpus.documents]
        self._keys = [_document_key(corpus.fingerprint, settings.seed, document) for document in corpus.documents]
        self.decoys = derange(corpus.documents, [len(spans) for spans in self.spans_S2], settings.seed)

    @cached_property
    def total_spans(self) -> int:
        """Spans of the corpus, the ignored ones included."""
        return sum(len(spans) for spans in self.spans_S2)

    @cached_property
    def held_back_rate(self) -> float:
        """Chance of a span to be held back; at most one in four."""
        return min(0.25, self.settings.held_back_spans / max(1, self.total_spans))

    @cached_property
    def _slots(self) -> list[np.ndarray]:
        """For each document, the place of each span among the held-back ones, or -1."""
        slots: list[np.ndarray] = []
        taken = 0
        for key, spans in zip(self._keys, self.spans_S2, strict=True):
            chosen = _uniform(key, len(spans), _STREAM_HELD) < self.held_back_rate
            chosen[: self.settings.skip_spans] = False
            slot = np.where(chosen, np.cumsum(chosen) - 1 + taken, -1)
            taken += int(chosen.sum())
            slots.append(slot)
        return slots

    @cached_property
    def held_back(self) -> int:
        """Number of held-back spans, V."""
        return int(sum((slot >= 0).sum() for slot in self._slots))

    @cached_property
    def held_back_folds(self) -> np.ndarray:
        """Fold of every held-back span, (V,) int64."""
        parts = [
            np.full(int((slot >= 0).sum()), key % self.settings.folds)
            for key, slot in zip(self._keys, self._slots, strict=True)
        ]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)

    def places(self, document: int, *, decoy: bool = False) -> Places:
        """Places of one document's spans; with ``decoy``, under its partner's identity."""
        count = len(self.spans_S2[document])
        identity = self.decoys[document] if decoy else document
        settings = self.settings
        if identity < 0:
            nowhere = np.zeros(count, dtype=np.int64)
            return Places(nowhere, np.ones(count, np.float32), nowhere - 1, np.zeros(count, bool), 0)
        key = self._keys[identity]
        hashed = _mixed(key, count, _STREAM_BUCKET)
        fold, width = key % settings.folds, settings.sketch_dimensions // settings.folds
        bucket = fold * width + (hashed % np.uint64(width)).astype(np.int64)
        sign = np.where(hashed >> np.uint64(63), np.float32(1), np.float32(-1))
        slot = np.full(count, -1, dtype=np.int64)
        known = self._slots[identity][:count]
        slot[: len(known)] = known
        used = np.arange(count) >= settings.skip_spans
        return Places(bucket, sign, slot, used, fold)


def derange(documents: Sequence[Document], lengths: Sequence[int], seed: int) -> list[int]:
    """A partner for every document: another one of its domain and of similar length; -1 where the domain has no other.

    Documents of a domain are ordered by length and cut into groups of about eight; inside a group a seeded order is rotated
    by one, which maps no document to itself.
    """
    by_domain: dict[str, list[int]] = defaultdict(list)
    for index, document in enumerate(documents):
        by_domain[document.domain].append(index)
    partners = [-1] * len(documents)
    generator = np.random.default_rng(seed)
    for members in (by_domain[domain] for domain in sorted(by_domain)):
        ordered = sorted(members, key=lambda index: (lengths[index], documents[index].id))
        groups = max(1, len(ordered) // _DERANGED_GROUP)
        for group in np.array_split(np.asarray(ordered), groups):
            shuffled = generator.permutation(group)
            if len(shuffled) > 1:
                for own, other in zip(shuffled, np.roll(shuffled, 1), strict=True):
                    partners[int(own)] = int(other)
    return partners


def _document_key(corpus_fingerprint: str, seed: int, document: Document) -> int:
    return int(fingerprint.of_parts([corpus_fingerprint, str(seed), document.id])[:16], 16)


def _mixed(key: int, count: int, stream: np.uint64) -> np.ndarray:
    """SplitMix64 of (key, span index), (count,) uint64 [Steele, Lea, Flood 2014, doi 10.1145/2660193.2660195]."""
    with np.errstate(over="ignore"):
        state = np.uint64(key) + np.arange(1, count + 1, dtype=np.uint64) * stream
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return state ^ (state >> np.uint64(31))


def _uniform(key: int, count: int, stream: np.uint64) -> np.ndarray:
    return _mixed(key, count, stream).astype(np.float64) / 2.0**64
