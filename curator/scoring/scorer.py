"""Scores documents on a neuron set: the local implementation of ``records.DocumentScorer``.

A batch of documents becomes features by one truncated forward pass, the features become a score by the set's method and a
probability by its calibration; the neurons that raised the score most are named beside it. A document without a scored
token becomes a Rejection and harms no other. Cost: see ``neuronset.features``. It does not know thresholds, files or the wire.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from curator.lm.backbone import Backbone
from curator.neuronset.artifact import MethodName, NeuronSet, load_neuron_set
from curator.neuronset.features import document_features
from curator.records import Document, Rejection, RejectReason, Score

EXPLAINING_NEURONS = 3


class NeuronSetScorer:
    """One model, one neuron set, one target domain, one method."""

    def __init__(
        self, backbone: Backbone, neuron_set: NeuronSet, domain: str | None = None, method: MethodName | None = None
    ) -> None:
        """Raises FingerprintError for a set of another model, ConfigError for a domain that it does not filter."""
        neuron_set.require_model(backbone)
        self.domain = neuron_set.target(domain)
        self.method_name: MethodName = method or neuron_set.manifest.targets[self.domain].default
        self._backbone, self._set = backbone, neuron_set
        self._choice, self._standardiser = neuron_set.choice, neuron_set.standardiser
        self._method = neuron_set.method(self.domain, self.method_name)
        self._calibration = neuron_set.calibration(self.domain, self.method_name)
        self._names = [str(neuron) for neuron in self._choice.neurons]

    @property
    def name(self) -> str:
        """Name of the neuron set."""
        return self._set.manifest.name

    @property
    def etag(self) -> str:
        """Content hash of the neuron set with the domain and method in use."""
        return f"{self._set.etag}.{self.domain}.{self.method_name}"

    @property
    def model_fingerprint(self) -> str:
        """Fingerprint of the model."""
        return self._backbone.fingerprint

    @property
    def neuron_set(self) -> NeuronSet:
        """The set itself, for its manifest."""
        return self._set

    def score(self, documents: Sequence[Document]) -> list[Score | Rejection]:
        """One result for each document, in order."""
        valid = [index for index, document in enumerate(documents) if _encodable(document.text)]
        texts = [documents[index].text for index in valid]
        features = document_features(self._backbone, texts, self._choice, skip_tokens=self._set.manifest.skip_tokens)
        z = self._standardiser(np.nan_to_num(features.values_DfK))
        values = self._method.score(z)
        probabilities = self._calibration(values)
        contributions = self._method.contributions(z)
        results: list[Score | Rejection] = [
            Rejection(document.id, RejectReason.INVALID_UTF8, "the text has no UTF-8 form") for document in documents
        ]
        for row, index in enumerate(valid):
            if np.isnan(features.values_DfK[row]).any():
                detail = f"the text is too short: {int(features.tokens_D[row])} scored tokens"
                results[index] = Rejection(documents[index].id, RejectReason.NO_SPANS, detail)
            else:
                results[index] = Score(
                    document_id=documents[index].id,
                    value=float(values[row]),
                    probability=float(probabilities[row]),
                    tokens=int(features.tokens_D[row]),
                    top_neurons=self._top(contributions[row]),
                )
        return results

    def _top(self, contribution_K: np.ndarray) -> tuple[str, ...]:
        order = np.argsort(-contribution_K, kind="stable")[:EXPLAINING_NEURONS]
        return tuple(self._names[index] for index in order if contribution_K[index] > 0)


def load_scorer(
    folder: Path, backbone: Backbone, *, domain: str | None = None, method: MethodName | None = None
) -> NeuronSetScorer:
    """The scorer of a neuron set on disk. Raises as ``load_neuron_set`` and ``NeuronSetScorer`` do."""
    return NeuronSetScorer(backbone, load_neuron_set(folder), domain, method)


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
