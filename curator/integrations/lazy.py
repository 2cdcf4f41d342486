"""A scorer that can be sent to other processes: it travels as names and a content hash, and loads its model where it works.

``datasets`` and ``datatrove`` pickle what they run, once for every worker, and ``datasets`` hashes the pickle to know whether it
has a result already. So the pickle of a ``LazyScorer`` holds the factory (the place of the set, its etag, targets, methods,
computing type) and our version, and nothing that was loaded: equal pickles give equal scores, and a set that was made
again in the same place has another. The model is loaded at the first batch of each process, where the etag is compared again,
for another machine may hold another set.

Texts become documents by the rules of every other source, and are scored in the batches of ``curator filter``: what is rejected
there is rejected here, and a text that breaks the scorer is rejected alone. Cost: reading the neuron set when made, one model
per process that scores. It does not know thresholds or any tool's records.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from os import PathLike, fspath
from typing import Any, TypedDict, Unpack

from curator.filtering.batches import in_batches, score_batch
from curator.neuronset.artifact import MethodName, load_neuron_set
from curator.neuronset.identify import ModelChoice
from curator.neuronset.places import find_neuron_set
from curator.records import Document, Rejection, TargetResult, TargetScorer
from curator.scoring.factory import ScorerFactory
from curator.text.rows import SourceOptions, document_from_row
from curator.version import __version__

_AS_TEXT = SourceOptions(text_field="text", id_field="id")
_IMPORTED_IN = os.getpid()


class ScorerSettings(TypedDict, total=False):
    """What may be said of a scorer beside its neuron set; everything has a default."""

    targets: str | Sequence[str] | None
    """Target domains, in the order of the scores; all of the set's by default."""
    method: MethodName | None
    """Scorer of all targets; by default each target's best on its validation documents."""
    model: str | None
    """Model to read, if not the one that the set names; it must have the same fingerprint."""
    max_depth: int | None
    """Use the set's neurons in the first so many layers only, for speed."""
    device: str
    """``auto``, ``cpu``, ``cuda``, ``cuda:0`` or ``sharded``."""
    dtype: str
    """``auto``, ``float32``, ``bfloat16``, ``float16`` or ``float64``."""


class LazyScorer:
    """Scores texts for the targets of a neuron set; loads the model late, once in each process."""

    def __init__(self, neuron_set: str | PathLike[str], **settings: Unpack[ScorerSettings]) -> None:
        """Name a set by its folder, or by its name under ``$CURATOR_HOME/neuron-sets``.

        Raises ArtifactNotFoundError without the set, ConfigError for a target that it does not filter or that is named twice.
        """
        self.factory = _factory(fspath(neuron_set), **settings)
        self.version = __version__
        self._loaded: TargetScorer | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_loaded": None}

    @property
    def targets(self) -> tuple[str, ...]:
        """The target domains, in the order of each text's scores."""
        return self.factory.targets

    @property
    def is_loaded(self) -> bool:
        """Whether this process holds the model."""
        return self._loaded is not None

    def load(self, worker: int = 0) -> TargetScorer:
        """The scorer itself; ``worker`` chooses among several GPUs. Loads the model the first time.

        Raises FingerprintError when the set is not the one it was, and what loading the model raises.
        """
        if self._loaded is None:
            if os.getpid() != _IMPORTED_IN:
                _use_one_thread()
            self._loaded = self.factory(worker)
        return self._loaded

    def score(self, texts: Sequence[object], worker: int = 0) -> list[TargetResult]:
        """For each text, in order, one score per target, or why there is none; anything but a usable string is rejected.

        Raises ArtifactError when the scorer does not give one result per document, and as ``load`` does.
        """
        rows = [
            document_from_row({"id": str(number), "text": text}, f"batch:{number}", _AS_TEXT)
            for number, text in enumerate(texts)
        ]
        documents = [row for row in rows if isinstance(row, Document)]
        batches = in_batches(documents, lambda document: len(document.text))
        results = (result for batch in batches for result in score_batch(self.load(worker), batch))
        return [row if isinstance(row, Rejection) else next(results) for row in rows]


def score_fields(result: TargetResult, targets: Sequence[str]) -> dict[str, Any]:
    """The fields of one result, with None, [] and 0 without a score; of several targets each has its own, ``name:target``."""
    rejected = isinstance(result, Rejection)
    fields: dict[str, Any] = {}
    for index, target in enumerate(targets):
        score = None if rejected else result[index]
        end = "" if len(targets) == 1 else f":{target}"
        fields[f"curator_score{end}"] = score.value if score else None
        fields[f"curator_probability{end}"] = score.probability if score else None
        fields[f"curator_neurons{end}"] = list(score.top_neurons) if score else []
    fields["curator_tokens"] = 0 if rejected else result[0].tokens
    fields["curator_reason"] = str(result.reason) if rejected else ""
    return fields


def _use_one_thread() -> None:
    """In a forked worker: the threads of OpenMP did not come along, and whoever waits for them hangs."""
    import faiss
    import torch

    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)


def _factory(
    place: str,
    *,
    targets: str | Sequence[str] | None = None,
    method: MethodName | None = None,
    model: str | None = None,
    max_depth: int | None = None,
    device: str = "auto",
    dtype: str = "auto",
) -> ScorerFactory:
    folder = find_neuron_set(place)
    return ScorerFactory.of(
        folder,
        targets=targets or tuple(load_neuron_set(folder).manifest.targets),
        method=method,
        model=ModelChoice.parse(model, device=device, dtype=dtype) if model else None,
        max_depth=max_depth,
        device=device,
        dtype=dtype,
    )
