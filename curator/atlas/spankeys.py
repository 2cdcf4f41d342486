"""Where a span goes: its sketch dimension, its sign, its fold, and its place among the held-back spans.

All of it is a hash of (probe fingerprint, seed, document id, span index), so any two models on the same corpus put the same
span in the same place, on any machine. A fold owns a block of d/F dimensions, so the sketch of every fold is a slice of the
signature and the jackknife needs no memory of its own; the error stays 1/sqrt(d), because cross terms between folds vanish and
T/F spans share d/F dimensions. Documents are read fold by fold, so a pass holds one block of the sketch at a time. Held-back
places are numbered in that order too: those of a fold stand side by side.

For the null, every document also has a decoy identity: that of another document of the same domain, the same fold and similar
length. Spans hashed under it keep their position, so a decoy match shares position and domain, not content (SCIENCE 4.6a).
A document that is shorter than its partner leaves the partner's last places empty: a decoy has a value on some 50 to 75 % of
the held-back places, and whoever correlates it must count those alone. Its signature lacks the same spans and thus makes
correlations look smaller; it proposes candidates and decides nothing.
Cost: O(spans) integer operations, vectorised; in memory a few numbers a document. It does not know any model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curator import fingerprint
from curator.records import Document
from curator.settings import AtlasSettings
from curator.text.probe import ProbeCorpus
from curator.text.segmentation import universal_spans

_STREAM_BUCKET, _STREAM_HELD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)
_DERANGED_GROUP = 8
_MOST_HELD_BACK = 0.25


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
    """Places of all spans of a probe corpus, for the true identities and for the decoys.

    Attributes, all (D,) int64 in the order of the corpus: ``length_D`` spans of each document, ``fold_D`` its fold, ``order_D``
    the documents in the order of a pass (fold, then place in the corpus), ``decoy_D`` each one's partner or -1.
    """

    def __init__(self, corpus: ProbeCorpus, settings: AtlasSettings) -> None:
        self.settings = settings
        self.documents: Sequence[Document] = corpus.documents
        self._keys = [_document_key(corpus.fingerprint, settings.seed, document) for document in corpus.documents]
        self.length_D = np.asarray([len(universal_spans(d.text)) for d in corpus.documents], dtype=np.int64)
        self.fold_D = np.asarray([key % settings.folds for key in self._keys], dtype=np.int64)
        self.order_D = np.argsort(self.fold_D, kind="stable")
        self.decoy_D = np.asarray(derange(corpus.documents, self.length_D, self.fold_D, settings.seed), dtype=np.int64)
        self.held_back_rate = min(_MOST_HELD_BACK, settings.held_back_spans / max(1, self.total_spans))
        held_D = np.asarray([int(self._held(index).sum()) for index in range(len(self._keys))], dtype=np.int64)
        self._first_slot_D = np.zeros(len(held_D), dtype=np.int64)
        self._first_slot_D[self.order_D] = np.cumsum(held_D[self.order_D]) - held_D[self.order_D]
        self.held_back_F = np.bincount(self.fold_D, weights=held_D, minlength=settings.folds).astype(np.int64)

    @property
    def total_spans(self) -> int:
        """Spans of the corpus, the ignored ones included."""
        return int(self.length_D.sum())

    @property
    def held_back(self) -> int:
        """Number of held-back spans, V."""
        return int(self.held_back_F.sum())

    @property
    def held_back_folds(self) -> np.ndarray:
        """Fold of every held-back span, (V,) int64, ascending."""
        return np.repeat(np.arange(self.settings.folds), self.held_back_F)

    def spans(self, document: int) -> np.ndarray:
        """Byte ranges of one document's spans, (S, 2) int64; cut anew, for all of a corpus would fill the memory."""
        return universal_spans(self.documents[document].text)

    def places(self, document: int, *, decoy: bool = False) -> Places:
        """Places of one document's spans; with ``decoy``, under its partner's identity."""
        count = int(self.length_D[document])
        identity = int(self.decoy_D[document]) if decoy else document
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
        chosen = self._held(identity)
        known = np.where(chosen, np.cumsum(chosen) - 1 + self._first_slot_D[identity], -1)[:count]
        slot[: len(known)] = known
        used = np.arange(count) >= settings.skip_spans
        return Places(bucket, sign, slot, used, fold)

    def _held(self, document: int) -> np.ndarray:
        """Which spans of a document are held back, (S,) bool."""
        chosen = _uniform(self._keys[document], int(self.length_D[document]), _STREAM_HELD) < self.held_back_rate
        chosen[: self.settings.skip_spans] = False
        return chosen


def derange(documents: Sequence[Document], length_D: np.ndarray, fold_D: np.ndarray, seed: int) -> list[int]:
    """A partner for every document: another one of its domain and fold and of similar length; -1 where there is none.

    Documents of a domain and fold are ordered by length and cut into groups of about eight; inside a group a seeded order is
    rotated by one, which maps no document to itself.
    """
    alike: dict[tuple[str, int], list[int]] = defaultdict(list)
    for index, document in enumerate(documents):
        alike[document.domain, int(fold_D[index])].append(index)
    partners = [-1] * len(documents)
    generator = np.random.default_rng(seed)
    for members in (alike[key] for key in sorted(alike)):
        ordered = sorted(members, key=lambda index: (length_D[index], documents[index].id))
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
