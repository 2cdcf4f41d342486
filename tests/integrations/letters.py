"""A scorer without a model: the share of a letter, for two letters; fast, exact and the same in every process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from curator.filtering.job import ScorerIdentity
from curator.records import Document, Rejection, RejectReason, Score


@dataclass(frozen=True)
class Letters:
    """Texts with "unscorable" in them are rejected."""

    targets: tuple[str, ...] = ("letter e", "letter o")
    name: str = "letters"
    etag: str = "letters-1"
    model_fingerprint: str = "f" * 64

    def score_targets(self, documents: Sequence[Document]) -> list[tuple[Score, ...] | Rejection]:
        return [self._one(document) for document in documents]

    def _one(self, document: Document) -> tuple[Score, ...] | Rejection:
        if "unscorable" in document.text:
            return Rejection(document.id, RejectReason.NO_SPANS, "asked for")
        shares = [document.text.count(target[-1]) / len(document.text) for target in self.targets]
        return tuple(Score(document.id, 10 * s, s, len(document.text.split()), ("L1/U2",)) for s in shares)


@dataclass(frozen=True)
class LettersFactory:
    """Loads ``Letters``."""

    @property
    def identity(self) -> ScorerIdentity:
        return ScorerIdentity.of(Letters())

    def __call__(self, worker: int) -> Letters:
        return Letters()
