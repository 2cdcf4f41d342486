"""A scorer that asks a prefilter first, and the model only about what may pass: a drop-in for any ``TargetScorer``.

What the prefilter stops is rejected as PREFILTERED with its score, never silently; all others get the full scorer's results,
batched among themselves. The etag names both. ``train_cascade`` makes the prefilter from a sample of the pool (``distill``); a
filtering job draws that sample itself (``curator.filtering.sample``). Cost: the prefilter's, about 40 MB of text a second and
core, and the model's for what passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from curator.errors import FingerprintError
from curator.records import Document, Rejection, RejectReason, TargetResult, TargetScorer
from curator.scoring.prefilter import Prefilter
from curator.settings import PrefilterSettings

_SAMPLE_BATCH = 2048


@dataclass(frozen=True)
class Cascade:
    """A prefilter before a scorer. Raises FingerprintError for a prefilter that was made for another one."""

    scorer: TargetScorer
    prefilter: Prefilter

    def __post_init__(self) -> None:
        if self.prefilter.scorer_etag != self.scorer.etag or self.prefilter.targets != tuple(self.scorer.targets):
            raise FingerprintError(
                f"The prefilter was made for the scorer {self.prefilter.scorer_etag}, not for {self.scorer.etag}; make it again."
            )

    @property
    def name(self) -> str:
        """The scorer's."""
        return self.scorer.name

    @property
    def etag(self) -> str:
        """Of scorer and prefilter together."""
        return f"{self.scorer.etag}+prefilter-{self.prefilter.fingerprint}"

    @property
    def model_fingerprint(self) -> str:
        """The scorer's."""
        return self.scorer.model_fingerprint

    @property
    def targets(self) -> tuple[str, ...]:
        """The scorer's."""
        return tuple(self.scorer.targets)

    def score_targets(self, documents: Sequence[Document]) -> list[TargetResult]:
        """The scorer's results for what passes, a Rejection for the rest, in order."""
        texts = [document.text for document in documents]
        passes_D = self.prefilter.passes(texts)
        asked = [document for document, passes in zip(documents, passes_D, strict=True) if passes]
        results = iter(self.scorer.score_targets(asked) if asked else [])
        return [
            next(results)
            if passes
            else Rejection(document.id, RejectReason.PREFILTERED, "below the prefilter's cutoff")
            for document, passes in zip(documents, passes_D, strict=True)
        ]


def train_cascade(
    scorer: TargetScorer,
    sample: Iterable[Document],
    cutoffs: Mapping[str, float] | Callable[[np.ndarray], Sequence[float]],
    settings: PrefilterSettings | None = None,
    *,
    progress: Callable[[int], None] = lambda done: None,
) -> Cascade:
    """A cascade whose prefilter is learned from a random sample of the pool, which ``scorer`` scores for it.

    Args:
        scorer: the full scorer.
        sample: documents drawn as those of the pool are.
        cutoffs: by target, the least probability at which the policy may keep a document; or a function that makes them, one for
            each target, from the sample's (T, D) probabilities, for fractions and budgets (see ``distill.safe_cutoff``).
        settings: dials of the prefilter.
        progress: called with the documents scored.

    Raises what ``distilled_prefilter`` and the scorer raise.
    """
    from curator.scoring.distill import distilled_prefilter  # SciPy, which workers that only score do without

    documents: list[Document] = []
    results: list[TargetResult] = []
    source = iter(sample)
    while batch := list(islice(source, _SAMPLE_BATCH)):
        results += scorer.score_targets(batch)
        documents += batch
        progress(len(documents))
    targets = tuple(scorer.targets)
    if callable(cutoffs):
        scored = [result for result in results if isinstance(result, tuple)]
        probability_TD = np.asarray([[score.probability for score in result] for result in scored]).T
        cutoffs = dict(zip(targets, cutoffs(probability_TD.reshape(len(targets), len(scored))), strict=True))
    ordered = {target: cutoffs[target] for target in targets}
    return Cascade(scorer, distilled_prefilter(documents, results, ordered, scorer.etag, settings))
