"""Neuron sets as scorers that a server offers: each model is loaded once, however many sets read it.

A set with several target domains is offered once for each, as ``<set>.<domain>``, because a scorer scores for one domain. Cost:
the model, at the first set that reads it; a few milliseconds for every other. Thread-safe; a model that is being loaded is waited
for by those who want the same one, and by nobody else. It does not know names of resources, nor what is offered at the moment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from curator.orders import OfferedSet
from curator.records import Document, DocumentScorer, Rejection, Score, scored_batches

if TYPE_CHECKING:
    from curator.lm.backbone import Backbone
    from curator.neuronset.manifest import NeuronSetManifest


class SetShelf:
    """Opens neuron sets; keeps the models that they read."""

    def __init__(
        self, *, device: str = "auto", dtype: str = "auto", on_load: Callable[[str], None] = lambda _: None
    ) -> None:
        """``on_load`` hears the name of every model before it is loaded."""
        self._device, self._dtype, self.on_load = device, dtype, on_load
        self._loaded: dict[tuple[str, str], Future[Backbone]] = {}
        self._lock = threading.Lock()

    def open(self, folder: Path) -> list[OfferedSet]:
        """One scorer for each target of the set in a folder.

        Raises what ``load_neuron_set`` and loading the model raise, and FingerprintError when the model is no longer the one
        that the set was made for.
        """
        from curator.neuronset.artifact import load_neuron_set
        from curator.scoring.scorer import NeuronSetScorer

        found = load_neuron_set(folder)
        manifest = found.manifest
        backbone = self._backbone(manifest)
        offered: list[OfferedSet] = []
        for target in manifest.targets:
            scorer = NeuronSetScorer(backbone, found, target)
            named = scorer if len(manifest.targets) == 1 else ForOneTarget(scorer, f"{manifest.name}.{target}")
            neurons = len(manifest.neurons)
            offered.append(OfferedSet(named, target, folder, neurons, manifest.model, manifest.revision))
        return offered

    def forget(self, model_fingerprint: str) -> None:
        """Let a model go; its memory is freed when the last scorer that reads it is gone."""
        with self._lock:
            for key in [key for key in self._loaded if key[0] == model_fingerprint]:
                del self._loaded[key]

    def _backbone(self, manifest: NeuronSetManifest) -> Backbone:
        from curator.neuronset.places import model_of

        key = (manifest.model_fingerprint, manifest.tokenizer_fingerprint)
        with self._lock:
            there = self._loaded.get(key)
            coming = self._loaded[key] = there or Future()
        if there is not None:
            return there.result()
        try:
            self.on_load(manifest.model)
            coming.set_result(model_of(manifest, device=self._device, dtype=self._dtype).load())
        except BaseException as error:
            with self._lock:
                if self._loaded.get(key) is coming:  # the next caller tries again
                    del self._loaded[key]
            coming.set_exception(error)
            raise
        return coming.result()


@dataclass(frozen=True, slots=True)
class ForOneTarget:
    """A scorer under a name of its own."""

    scorer: DocumentScorer
    name: str

    @property
    def etag(self) -> str:
        """The scorer's."""
        return self.scorer.etag

    @property
    def model_fingerprint(self) -> str:
        """The scorer's."""
        return self.scorer.model_fingerprint

    def score(self, documents: Sequence[Document]) -> list[Score | Rejection]:
        """The scorer's."""
        return self.scorer.score(documents)

    def score_batches(self, batches: Iterable[Sequence[Document]]) -> Iterator[list[Score | Rejection]]:
        """The scorer's."""
        return scored_batches(self.scorer, batches)
