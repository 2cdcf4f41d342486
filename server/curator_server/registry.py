"""The scorers that a server offers, under resource names: ``models/{model}/neuronSets/{neuron_set}``.

A model's id is the first 16 digits of its fingerprint, because a scorer knows no other name for it. Immutable after start.
"""

from __future__ import annotations

from collections.abc import Sequence

from curator.api.v1 import scoring_pb2
from curator.errors import ArtifactNotFoundError, ConfigError, FingerprintError
from curator.records import DocumentScorer


def model_resource(scorer: DocumentScorer) -> str:
    """``models/{model}`` of a scorer."""
    return f"models/{scorer.model_fingerprint[:16]}"


def neuron_set_resource(scorer: DocumentScorer) -> str:
    """``models/{model}/neuronSets/{neuron_set}`` of a scorer."""
    return f"{model_resource(scorer)}/neuronSets/{scorer.name}"


class Registry:
    """Finds scorers by full name, by the last part alone, or by nothing when there is only one."""

    def __init__(self, scorers: Sequence[DocumentScorer]) -> None:
        self._by_resource = {neuron_set_resource(scorer): scorer for scorer in sorted(scorers, key=neuron_set_resource)}
        if not scorers:
            raise ConfigError("A server needs at least one scorer; pass a neuron set.")
        if len(self._by_resource) != len(scorers):
            raise ConfigError("Two scorers share one name and model; give them different names.")

    @property
    def scorers(self) -> dict[str, DocumentScorer]:
        """All scorers by resource name, sorted."""
        return dict(self._by_resource)

    def find(self, name: str) -> DocumentScorer:
        """The scorer of this name. Raises ArtifactNotFoundError, or ConfigError when the name is ambiguous."""
        if name in self._by_resource:
            return self._by_resource[name]
        found = [scorer for scorer in self._by_resource.values() if name in {"", scorer.name}]
        if len(found) == 1:
            return found[0]
        if found:
            raise ConfigError(f"{len(found)} neuron sets fit the name {name!r}; give the full resource name.")
        raise ArtifactNotFoundError(f"There is no neuron set {name!r} here; ListNeuronSets names those that are.")

    def resolve(self, config: scoring_pb2.ScoreConfig) -> DocumentScorer:
        """The scorer for a request; also raises FingerprintError when the pinned etag differs."""
        if config.truncation != scoring_pb2.ScoreConfig.TRUNCATION_UNSPECIFIED:
            raise ConfigError("This server offers only the scorer's own truncation; leave truncation unspecified.")
        scorer = self.find(config.neuron_set)
        if config.etag and config.etag != scorer.etag:
            raise FingerprintError(
                f"Neuron set {scorer.name!r} has etag {scorer.etag}, not {config.etag}; scores of both must not be mixed."
            )
        return scorer
