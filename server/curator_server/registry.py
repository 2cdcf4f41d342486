"""The scorers that a server offers, under resource names: ``models/{model}/neuronSets/{neuron_set}``.

A model that was loaded by a job has the id that was asked for; of a scorer that was given at the start only the fingerprint is
known, and its first 16 digits are the id. What is offered may change while the server runs: a request that has found its scorer
keeps it. Changes replace the table as a whole, so reading needs no lock; changing is for one thread at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from curator.api.status import shortened
from curator.api.v1 import scoring_pb2
from curator.errors import AlreadyExistsError, ArtifactNotFoundError, ConfigError, FingerprintError
from curator.orders import OfferedSet
from curator.records import DocumentScorer


def model_resource(scorer: DocumentScorer) -> str:
    """``models/{model}`` of a scorer whose model has no other name."""
    return f"models/{scorer.model_fingerprint[:16]}"


def neuron_set_resource(scorer: DocumentScorer) -> str:
    """``models/{model}/neuronSets/{neuron_set}`` of such a scorer."""
    return f"{model_resource(scorer)}/neuronSets/{scorer.name}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A scorer as it is offered: ``name`` is the resource, ``kept`` the resource of the set that a job made, if one did."""

    name: str
    offered: OfferedSet
    kept: str = ""
    job: str = ""
    created: float = 0.0

    @property
    def model(self) -> str:
        """``models/{model}``."""
        return self.name.partition("/neuronSets/")[0]


class Registry:
    """Finds scorers by full name, by the last part alone, or by nothing when there is only one."""

    def __init__(self, scorers: Sequence[DocumentScorer | OfferedSet], *, may_be_empty: bool = False) -> None:
        """Raises ConfigError for two of one name, or for none unless jobs may add some."""
        given = [one if isinstance(one, OfferedSet) else OfferedSet(one, "") for one in scorers]
        entries = {neuron_set_resource(one.scorer): Entry(neuron_set_resource(one.scorer), one) for one in given}
        if not given and not may_be_empty:
            raise ConfigError("A server needs at least one scorer; pass a neuron set.")
        if len(entries) != len(given):
            raise ConfigError("Two scorers share one name and model; give them different names.")
        self._entries = dict(sorted(entries.items()))

    @property
    def entries(self) -> dict[str, Entry]:
        """What is offered, by resource name, sorted."""
        return dict(self._entries)

    @property
    def scorers(self) -> dict[str, DocumentScorer]:
        """All scorers by resource name, sorted."""
        return {name: entry.offered.scorer for name, entry in self._entries.items()}

    def add(self, entries: Sequence[Entry]) -> None:
        """Offer some more, all or none; a set that is offered again takes its own place.

        Raises AlreadyExistsError when a name stands for another set.
        """
        for entry in entries:
            there = self._entries.get(entry.name)
            if there is not None and there.kept != entry.kept:
                raise AlreadyExistsError(f"There is a neuron set {entry.name!r} already; choose another neuron_set_id.")
        self._entries = dict(sorted({**self._entries, **{entry.name: entry for entry in entries}}.items()))

    def remove(self, names: Sequence[str]) -> None:
        """Offer some no longer."""
        self._entries = {name: entry for name, entry in self._entries.items() if name not in names}

    def find(self, name: str) -> DocumentScorer:
        """The scorer of this name. Raises ArtifactNotFoundError, or ConfigError when the name is ambiguous."""
        if name in self._entries:
            return self._entries[name].offered.scorer
        scorers = [entry.offered.scorer for entry in self._entries.values()]
        found = [scorer for scorer in scorers if name in {"", scorer.name}]
        if len(found) == 1:
            return found[0]
        if found:
            raise ConfigError(
                f"{len(found)} neuron sets fit the name {shortened(name)!r}; give the full resource name."
            )
        raise ArtifactNotFoundError(
            f"There is no neuron set {shortened(name)!r} here; ListNeuronSets names those that are."
        )

    def offered(self, scorer: DocumentScorer) -> OfferedSet:
        """What is known of a scorer that was found here. Raises ArtifactNotFoundError when it was taken away since."""
        found = next((entry.offered for entry in self._entries.values() if entry.offered.scorer is scorer), None)
        if found is None:
            raise ArtifactNotFoundError(f"The neuron set {scorer.name!r} is offered no longer; choose another one.")
        return found

    def name_of(self, scorer: DocumentScorer) -> str:
        """Resource name of a scorer that was found here; it stays the same when the scorer is offered no longer."""
        found = (name for name, entry in self._entries.items() if entry.offered.scorer is scorer)
        return next(found, neuron_set_resource(scorer))

    def resolve(self, config: scoring_pb2.ScoreConfig) -> DocumentScorer:
        """The scorer for a request; also raises FingerprintError when the pinned etag differs."""
        if config.truncation != scoring_pb2.ScoreConfig.TRUNCATION_UNSPECIFIED:
            raise ConfigError("This server offers only the scorer's own truncation; leave truncation unspecified.")
        if config.ordering not in scoring_pb2.ScoreConfig.Ordering.values():
            raise ConfigError(f"This server knows no ordering {config.ordering}; leave ordering unspecified.")
        scorer = self.find(config.neuron_set)
        if config.etag and config.etag != scorer.etag:
            etag = shortened(config.etag)
            raise FingerprintError(
                f"Neuron set {scorer.name!r} has etag {scorer.etag}, not {etag}; scores of both must not be mixed."
            )
        return scorer
