"""Makes a scorer of one target (a remote one, a test's fake) look like a scorer of several. It needs no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from curator.records import Document, DocumentScorer, Rejection, TargetResult
from curator.scoring.identity import target_of


@dataclass(frozen=True, slots=True)
class OneTarget:
    """A ``TargetScorer`` of one target, made of any ``DocumentScorer``."""

    scorer: DocumentScorer
    target: str

    @classmethod
    def of(cls, scorer: DocumentScorer) -> OneTarget:
        """With the target that the scorer's etag names, else named as its neuron set is."""
        return cls(scorer, target_of(scorer.etag) or scorer.name)

    @property
    def name(self) -> str:
        """The scorer's."""
        return self.scorer.name

    @property
    def etag(self) -> str:
        """The scorer's."""
        return self.scorer.etag

    @property
    def model_fingerprint(self) -> str:
        """The scorer's."""
        return self.scorer.model_fingerprint

    @property
    def targets(self) -> tuple[str, ...]:
        """The one target."""
        return (self.target,)

    def score_targets(self, documents: Sequence[Document]) -> list[TargetResult]:
        """The scorer's results, each Score in a tuple of one."""
        return [result if isinstance(result, Rejection) else (result,) for result in self.scorer.score(documents)]
