"""Scores documents on a neuron set: the local implementation of ``records.DocumentScorer`` and ``records.TargetScorer``.

A batch of documents becomes features by one truncated forward pass, whatever the number of target domains; for each target the
features become a score by the set's method and a probability by its calibration, and the neurons that raised the score most are
named beside it. A document without a scored token, or of which an activation is not finite, becomes a Rejection and harms no
other. Cost: see ``neuronset.features``;
give it some thousand documents at a time, for batches are made of what comes together. It does not know thresholds, files or
the wire.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curator.errors import ConfigError
from curator.lm.backbone import Backbone
from curator.lm.memory import keep_freed_memory
from curator.neuronset.artifact import MethodName, NeuronSet, load_neuron_set
from curator.neuronset.calibrate import Calibration
from curator.neuronset.features import DocumentFeatures, document_features, stream_features
from curator.neuronset.scorers import Method
from curator.records import Document, Rejection, RejectReason, Score, TargetResult
from curator.scoring.identity import scorer_etag

EXPLAINING_NEURONS = 3


@dataclass(frozen=True, slots=True)
class _Target:
    """How one target domain is scored."""

    name: str
    method_name: MethodName
    method: Method
    calibration: Calibration

    @classmethod
    def of(cls, neuron_set: NeuronSet, domain: str, method: MethodName | None) -> _Target:
        chosen = method or neuron_set.manifest.targets[domain].default
        return cls(domain, chosen, neuron_set.method(domain, chosen), neuron_set.calibration(domain, chosen))


class NeuronSetScorer:
    """One model, one neuron set, one or more target domains, a method for each."""

    def __init__(
        self,
        backbone: Backbone,
        neuron_set: NeuronSet,
        domain: str | Sequence[str] | None = None,
        method: MethodName | None = None,
    ) -> None:
        """For one target domain, or for several that are named; without ``domain`` for the set's only one.

        ``method`` is used for all of them, by default each target's own best. On a CPU the process keeps freed memory from
        now on (``lm.memory``). Raises FingerprintError for a set of another
        model, ConfigError for a domain that it does not filter or that is named twice.
        """
        neuron_set.require_model(backbone)
        if backbone.device.type == "cpu":
            keep_freed_memory()
        self._targets = tuple(_Target.of(neuron_set, target, method) for target in resolved_targets(neuron_set, domain))
        self._backbone, self._set = backbone, neuron_set
        self._choice = neuron_set.choice
        self._names = [str(neuron) for neuron in self._choice.neurons]

    @property
    def name(self) -> str:
        """Name of the neuron set."""
        return self._set.manifest.name

    @property
    def targets(self) -> tuple[str, ...]:
        """The target domains, in the order of the scores."""
        return tuple(target.name for target in self._targets)

    @property
    def domain(self) -> str:
        """The first target domain, which ``score`` is of."""
        return self._targets[0].name

    @property
    def method_name(self) -> MethodName:
        """The first target's method."""
        return self._targets[0].method_name

    @property
    def etag(self) -> str:
        """Content hash of the neuron set with the domains and methods in use, and the computing type if not float32."""
        methods = {target.name: target.method_name for target in self._targets}
        return scorer_etag(self._set.etag, methods, str(self._backbone.dtype).removeprefix("torch."))

    @property
    def model_fingerprint(self) -> str:
        """Fingerprint of the model."""
        return self._backbone.fingerprint

    @property
    def neuron_set(self) -> NeuronSet:
        """The set itself, for its manifest."""
        return self._set

    def score(self, documents: Sequence[Document]) -> list[Score | Rejection]:
        """One result for each document, in order, for the first target domain."""
        return [_first(result) for result in self._score(documents, self._targets[:1])]

    def score_targets(self, documents: Sequence[Document]) -> list[TargetResult]:
        """For each document, in order, one Score per target, all from one reading, or one Rejection placed by its id."""
        return self._score(documents, self._targets)

    def score_batches(self, batches: Iterable[Sequence[Document]]) -> Iterator[list[Score | Rejection]]:
        """What ``score`` gives of each batch, in order; the next one is asked for while those before it are read.

        What raises ends the iterator, and with it the batches that were in work.
        """
        asked: deque[tuple[Sequence[Document], list[Document]]] = deque()

        def texts() -> Iterator[list[str]]:
            for documents in batches:
                valid = [document for document in documents if _encodable(document.text)]
                asked.append((documents, valid))
                yield [document.text for document in valid]

        skip_tokens = self._set.manifest.skip_tokens
        with closing(stream_features(self._backbone, texts(), self._choice, skip_tokens=skip_tokens)) as read:
            for features in read:
                yield [_first(result) for result in self._results(*asked.popleft(), features, self._targets[:1])]

    def _score(self, documents: Sequence[Document], targets: Sequence[_Target]) -> list[TargetResult]:
        valid = [document for document in documents if _encodable(document.text)]
        texts = [document.text for document in valid]
        features = document_features(self._backbone, texts, self._choice, skip_tokens=self._set.manifest.skip_tokens)
        return self._results(documents, valid, features, targets)

    def _results(
        self,
        documents: Sequence[Document],
        valid: Sequence[Document],
        features: DocumentFeatures,
        targets: Sequence[_Target],
    ) -> list[TargetResult]:
        """The results of all documents from the features of the valid ones."""
        readable_V = np.asarray(np.isfinite(features.values_DfK).all(axis=(1, 2)))
        readable = [document.text for document, good in zip(valid, readable_V.tolist(), strict=True) if good]
        wording = any(target.method_name == "blended" for target in targets)
        z_RF = self._set.evidence(features.values_DfK[readable_V], readable, wording=wording)
        ids = [document.id for document, good in zip(valid, readable_V.tolist(), strict=True) if good]
        tokens = features.tokens_D[readable_V].tolist()
        scored = zip(*(self._scores(target, z_RF, ids, tokens) for target in targets), strict=True)
        results = _results_of_valid(valid, features, readable_V, scored)
        return [
            next(results)
            if _encodable(document.text)
            else Rejection(document.id, RejectReason.INVALID_UTF8, "the text has no UTF-8 form")
            for document in documents
        ]

    def _scores(self, target: _Target, z_RF: np.ndarray, ids: list[str], tokens: list[int]) -> Iterator[Score]:
        """The scores of R readable documents for one target."""
        values_R = target.method.score(z_RF)
        probabilities_R = target.calibration(values_R)
        raised_RK = target.method.contributions(z_RF)
        order_RE = np.argsort(-raised_RK, axis=1, kind="stable")[:, :EXPLAINING_NEURONS]
        helped_RE = np.take_along_axis(raised_RK, order_RE, axis=1) > 0
        rows = zip(
            ids, values_R.tolist(), probabilities_R.tolist(), tokens, order_RE.tolist(), helped_RE.tolist(), strict=True
        )
        for document_id, value, probability, count, order, helped in rows:
            top = tuple(self._names[index] for index, good in zip(order, helped, strict=True) if good)
            yield Score(document_id, value, probability, count, top)


def _results_of_valid(
    valid: Sequence[Document],
    features: DocumentFeatures,
    readable_V: np.ndarray,
    scored: Iterator[tuple[Score, ...]],
) -> Iterator[TargetResult]:
    for document, readable, tokens in zip(valid, readable_V, features.tokens_D, strict=True):
        if readable:
            yield next(scored)
        else:
            yield _unreadable(document.id, int(tokens))


def _unreadable(document_id: str, tokens: int) -> Rejection:
    if tokens:
        return Rejection(document_id, RejectReason.SCORING_FAILED, "the model's activations are not finite")
    return Rejection(document_id, RejectReason.NO_SPANS, "the text is too short: 0 scored tokens")


def resolved_targets(neuron_set: NeuronSet, domain: str | Sequence[str] | None) -> tuple[str, ...]:
    """The target domains that are meant; all must be known, none named twice. Raises ConfigError."""
    named = (domain,) if domain is None or isinstance(domain, str) else tuple(domain)
    targets = tuple(neuron_set.target(one) for one in named)
    if not targets or len(set(targets)) < len(targets):
        raise ConfigError(
            f"The targets {', '.join(targets) or 'none'} are not each named once; name the domains to score for, each once."
        )
    return targets


def load_scorer(
    folder: Path,
    backbone: Backbone,
    *,
    domain: str | Sequence[str] | None = None,
    method: MethodName | None = None,
) -> NeuronSetScorer:
    """The scorer of a neuron set on disk. Raises as ``load_neuron_set`` and ``NeuronSetScorer`` do."""
    return NeuronSetScorer(backbone, load_neuron_set(folder), domain, method)


def _first(result: TargetResult) -> Score | Rejection:
    return result if isinstance(result, Rejection) else result[0]


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
