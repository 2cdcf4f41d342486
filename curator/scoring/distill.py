"""Makes a prefilter from a sample that the full scorer has scored, and says how much of what it keeps would be lost.

The sample is cut in two by a hash of the sources, so that no work lies in both, or of the documents where there are too few
sources for that (``text/splits``). On one part a ridge regression learns, from
hashed byte n-grams, how far a document's score is from the cutoff (squashed, for far is far), with both sides weighed alike. On
the other part, among the documents that the full scorer would keep, the prefilter's cutoff is the highest at which the lower
confidence bound of recall reaches what is wanted: the bound needs 299 kept documents for 0.99 with 95 %.

Rare targets need large samples: of a target with a share of 1 % about 60,000 documents, of which the most are for calibration.
A sample's scores are exactly what the job would compute, so its cost is that of the same documents in the job. Memory: the
n-grams of at most 8,000 documents (4,096 bytes each). It needs the documents of the sample to be drawn as those of the pool are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.sparse import diags
from scipy.sparse.linalg import lsqr

from curator import fingerprint
from curator.errors import ConfigError, InsufficientDataError
from curator.neuronset.thresholds import certified_recall, fewest
from curator.records import Document, Score, TargetResult
from curator.scoring.prefilter import Prefilter
from curator.settings import PrefilterSettings, Settings
from curator.text.gram_counts import gram_counts
from curator.text.ngrams import folded
from curator.text.splits import split_units

_ITERATIONS = 40
_MIN_KEPT = 16


class PrefilterReport(Settings):
    """What a prefilter did for one target on the part of the sample that did not fit it.

    ``kept`` documents reach the full scorer's cutoff, ``recall`` of them pass; ``passing`` is the share of all documents that
    reach this target's cutoff.
    """

    target: str
    scorer_cutoff: float
    documents: int
    kept: int
    recall: float
    recall_bound: float
    confidence: float
    passing: float


def distilled_prefilter(
    documents: Sequence[Document],
    results: Sequence[TargetResult],
    cutoffs: Mapping[str, float],
    scorer_etag: str,
    settings: PrefilterSettings | None = None,
) -> Prefilter:
    """A prefilter for a scorer whose ``results`` of the sample are given.

    Args:
        documents: the sample.
        results: the full scorer's, in the same order, targets in the order of ``cutoffs``.
        cutoffs: by target, the least probability at which the policy may keep a document.
        scorer_etag: of the full scorer.
        settings: its dials.

    Raises:
        InsufficientDataError: when too few documents of the sample are kept to promise the recall; says how many it takes.
        ConfigError: when documents, results and targets do not belong together.
    """
    settings = settings or PrefilterSettings()
    if len(documents) != len(results):
        raise ConfigError(f"{len(documents)} documents have {len(results)} results; give one result for each.")
    scored = [
        (document, result) for document, result in zip(documents, results, strict=True) if isinstance(result, tuple)
    ]
    texts = [document.text for document, _ in scored]
    units = split_units([replace(document, domain="") for document, _ in scored])
    fits_D = _fit_part(units.names, settings)
    features = _features([texts[place] for place in np.flatnonzero(fits_D)], settings)
    found: list[tuple[np.ndarray, float, PrefilterReport]] = []
    calibrating = [texts[place] for place in np.flatnonzero(~fits_D)]
    for index, (target, cutoff) in enumerate(cutoffs.items()):
        value_D, kept_D = _wanted([result[index] for _, result in scored], cutoff)
        weights_B = _ridge(features, _squashed(value_D, kept_D)[fits_D], kept_D[fits_D], settings)
        bare = Prefilter((target,), weights_B[None], (0.0,), scorer_etag, {})
        own, report = _calibrated(bare.scores(calibrating)[0], kept_D[~fits_D], target, cutoff, settings)
        found.append((weights_B, own, report))
    return Prefilter(
        tuple(cutoffs),
        np.stack([weights for weights, _, _ in found]),
        tuple(own for _, own, _ in found),
        scorer_etag,
        {
            "settings": settings.model_dump(),
            "split_by": "document" if units.by_document else "source",
            "targets": [report.model_dump() for *_, report in found],
        },
    )


def safe_cutoff(probabilities_D: np.ndarray, fraction: float, confidence: float = 0.95) -> float:
    """A cutoff not above the one that keeps ``fraction`` of the pool, with ``confidence``, from a random sample of it.

    For policies that keep a fraction or a budget, whose cutoff is known only at the end. Raises InsufficientDataError for a
    sample that is too small.
    """
    from scipy.stats import binom

    documents = len(probabilities_D)
    rank = int(binom.ppf(confidence, documents, fraction)) + 1
    if rank > documents:
        raise InsufficientDataError(
            f"{documents} documents are too few to find where {fraction:.2%} of the pool begins."
        )
    return float(np.sort(probabilities_D)[documents - rank])


def _fit_part(units: Sequence[str], settings: PrefilterSettings) -> np.ndarray:
    """Which documents the weights are learned from: those of the units with the lowest hashes."""
    place_D = np.asarray([fingerprint.unit_interval("prefilter", str(settings.seed), unit) for unit in units])
    wanted = min(settings.fit_documents, int(settings.fit_share * len(units)))
    return place_D < np.sort(place_D)[wanted] if wanted else np.zeros(len(units), bool)


def _wanted(scores: Sequence[Score], cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """Raw values and whether each reaches the cutoff."""
    value_D = np.asarray([score.value for score in scores])
    return value_D, np.asarray([score.probability for score in scores]) >= cutoff


def _squashed(value_D: np.ndarray, kept_D: np.ndarray) -> np.ndarray:
    """How far each value is from where documents begin to be kept, in deviations, squashed to [-1, 1]."""
    edge = value_D[kept_D].min() if kept_D.any() else value_D.max()
    return np.tanh((value_D - edge) / (float(value_D.std()) or 1.0))


def _features(texts: Sequence[str], settings: PrefilterSettings) -> Any:
    """Relative frequencies of n-gram buckets, a sparse matrix (documents, buckets)."""
    counts = gram_counts((folded(text)[: settings.fit_bytes] for text in texts), settings.bits).astype(np.float64)
    counts.data /= np.repeat(np.maximum(1, counts.sum(axis=1).A1), np.diff(counts.indptr))
    return counts


def _ridge(features: Any, wanted_D: np.ndarray, kept_D: np.ndarray, settings: PrefilterSettings) -> np.ndarray:
    """Weights per bucket, float32, of a ridge regression on frequencies over the root of their mean, both sides weighed alike."""
    kept = int(kept_D.sum())
    if min(kept, len(kept_D) - kept) < _MIN_KEPT:
        raise InsufficientDataError(
            f"The sample's fit part holds {kept} documents to keep of {len(kept_D)}, and a prefilter is learned from at least "
            f"{_MIN_KEPT} of either kind; draw a larger sample."
        )
    mean_B = np.asarray(features.mean(axis=0)).ravel()
    scale_B = 1 / np.sqrt(np.maximum(mean_B, 1e-9))
    scale_B[mean_B == 0] = 0
    row_D = np.sqrt(np.where(kept_D, 0.5 / kept, 0.5 / (len(kept_D) - kept)))
    scaled = features @ diags(scale_B)
    center = float(row_D**2 @ wanted_D)
    norm = float((row_D**2) @ np.asarray(scaled.multiply(scaled).sum(axis=1)).ravel())
    damp = np.sqrt(settings.ridge * norm)
    solution = lsqr(diags(row_D) @ scaled, row_D * (wanted_D - center), damp=damp, iter_lim=_ITERATIONS)[0]
    return (solution * scale_B).astype(np.float32)


def _calibrated(
    scores_C: np.ndarray, kept_C: np.ndarray, target: str, cutoff: float, settings: PrefilterSettings
) -> tuple[float, PrefilterReport]:
    """The highest cutoff whose recall is certified."""
    of_kept = np.sort(scores_C[kept_C])[::-1]
    count = len(of_kept)
    found = certified_recall(of_kept, settings.recall, settings.confidence)
    if found is None:
        needed = fewest(settings.recall, settings.confidence)
        share = max(count, 1) / max(1, len(kept_C))
        raise InsufficientDataError(
            f"A recall of {settings.recall} for {target!r} with {settings.confidence:.0%} confidence takes {needed} documents to "
            f"keep in the sample's calibration part, which has {count}; draw a sample of about "
            f"{int(needed / share / (1 - settings.fit_share)):,} documents, or ask for less."
        )
    return found.threshold, PrefilterReport(
        target=target,
        scorer_cutoff=cutoff,
        documents=len(kept_C),
        kept=count,
        recall=found.kept / count,
        recall_bound=found.bound,
        confidence=settings.confidence,
        passing=float((scores_C >= found.threshold).mean()),
    )
