"""Factories of scorers: a neuron set on this machine with its model, or one on a server, loaded in the process that needs it.

A factory is a small picklable value. It knows the identity of its scores before any model is loaded, so that a job which is
already finished costs nothing, and the identity is the same on both sides of the wire. Making a remote one needs none of the
engine's libraries. It does not know jobs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curator.filtering.job import ScorerIdentity
from curator.records import DocumentScorer, TargetScorer

if TYPE_CHECKING:
    from curator_client import ConnectionOptions

    from curator.neuronset.artifact import MethodName
    from curator.scoring.factory import ScorerFactory
    from curator.scoring.scorer import NeuronSetScorer


@dataclass(frozen=True, slots=True)
class NeuronSetFactory:
    """Loads a neuron set and its model, in whatever process it is called; picklable."""

    made: ScorerFactory
    identity: ScorerIdentity

    @classmethod
    def of(
        cls,
        place: str | os.PathLike[str],
        *,
        targets: Sequence[str] = (),
        method: MethodName | None = None,
        model: str | None = None,
        max_depth: int | None = None,
        device: str = "auto",
        dtype: str = "auto",
    ) -> NeuronSetFactory:
        """From the folder or name of a set; no model is loaded.

        Raises ArtifactNotFoundError without the set, ConfigError for a target that it does not filter, or when it filters several
        and none is named, or for a depth that it has no scorers for.
        """
        from curator.neuronset.identify import ModelChoice
        from curator.neuronset.places import find_neuron_set
        from curator.scoring.factory import ScorerFactory

        named = ModelChoice.parse(model, device=device, dtype=dtype) if model else None
        made = ScorerFactory.of(
            find_neuron_set(os.fspath(place)),
            targets=tuple(targets) or None,
            method=method,
            model=named,
            max_depth=max_depth,
            device=device,
            dtype=dtype,
        )
        identity = ScorerIdentity(
            neuron_set=made.name, etag=made.etag, model_fingerprint=made.model_fingerprint, targets=made.targets
        )
        return cls(made, identity)

    def __call__(self, worker: int = 0) -> NeuronSetScorer:
        """Load the model, on the next GPU where there are several workers and GPUs."""
        return self.made(worker)


@dataclass(frozen=True, slots=True)
class RemoteFactory:
    """A neuron set on a server; each worker has a connection of its own."""

    address: str
    options: ConnectionOptions
    neuron_set: str
    identity: ScorerIdentity

    @classmethod
    def of(cls, address: str, options: ConnectionOptions, neuron_set: str = "") -> RemoteFactory:
        """Asks the server once. Raises ArtifactNotFoundError unless exactly one of its neuron sets fits the name."""
        from curator_client import Client, RemoteScorer

        from curator.scoring.one_target import OneTarget

        with Client(address, options) as client:
            identity = ScorerIdentity.of(OneTarget.of(RemoteScorer(client, neuron_set)))
        return cls(address, options, neuron_set, identity)

    def __call__(self, worker: int = 0) -> TargetScorer:
        """Connect; the connection ends with the process."""
        from curator.scoring.one_target import OneTarget

        return OneTarget.of(self.connect())

    def connect(self) -> DocumentScorer:
        """The scorer of a new connection."""
        from curator_client import Client, RemoteScorer

        return RemoteScorer(Client(self.address, self.options), self.neuron_set)
