"""Scorers that are not loaded yet: they cross to worker processes, and say what their scores will be before a model is read.

``ScorerFactory`` names a neuron set on this machine, its model and what to score for. It reads the set when it is made, so it
knows name, etag, model fingerprint and targets, which are what a filtering job compares; calling it loads the model in the
process that needs it, on the next GPU where there are several. Cost: reading the set, a few hundred kilobytes; then, when
called, the model. It does not know how processes are started.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from curator.errors import FingerprintError
from curator.lm.backbone import computing_device, computing_dtype
from curator.neuronset.artifact import MethodName, load_neuron_set
from curator.neuronset.identify import ModelChoice
from curator.neuronset.places import model_of
from curator.scoring.identity import scorer_etag
from curator.scoring.scorer import NeuronSetScorer, resolved_targets


@dataclass(frozen=True, slots=True)
class ScorerFactory:
    """A ``NeuronSetScorer`` to be; made by ``of``. Picklable; ``name`` to ``targets`` are those of the scorer that it loads."""

    folder: Path
    model: ModelChoice
    method: MethodName | None
    max_depth: int | None
    name: str
    etag: str
    model_fingerprint: str
    targets: tuple[str, ...]

    @classmethod
    def of(
        cls,
        folder: Path,
        *,
        targets: str | Sequence[str] | None = None,
        method: MethodName | None = None,
        model: ModelChoice | None = None,
        max_depth: int | None = None,
        device: str = "auto",
        dtype: str = "auto",
    ) -> ScorerFactory:
        """From a set on disk.

        Args:
            folder: the neuron set.
            targets: domains to score for; the set's only one when None.
            method: scorer of all targets; each target's best when None.
            model: the model to read, if not the one that the set names; ``device`` and ``dtype`` are then its own.
            max_depth: use the set's neurons in the first so many layers only.
            device: as for ``load_backbone``.
            dtype: as for ``load_backbone``.

        Raises what ``load_neuron_set``, ``NeuronSet.shallower`` and ``resolved_targets`` raise.
        """
        found = load_neuron_set(folder).shallower(max_depth)
        manifest = found.manifest
        chosen = model or model_of(manifest, device=device, dtype=dtype)
        names = resolved_targets(found, targets)
        methods = {target: method or manifest.targets[target].default for target in names}
        computing = computing_dtype(chosen.dtype, computing_device(chosen.device))
        etag = scorer_etag(found.etag, methods, str(computing).removeprefix("torch."))
        return cls(folder, chosen, method, max_depth, manifest.name, etag, manifest.model_fingerprint, names)

    def __call__(self, worker: int = 0) -> NeuronSetScorer:
        """Load set and model; ``worker`` counts from 0 and takes the next GPU.

        Raises FingerprintError when the set at the folder is no longer the one that it was, and what loading raises.
        """
        found = load_neuron_set(self.folder).shallower(self.max_depth)
        scorer = NeuronSetScorer(self.model.for_worker(worker).load(), found, self.targets, self.method)
        if scorer.etag != self.etag:
            raise FingerprintError(
                f"The neuron set at {self.folder} changed since the job was begun; put the one back that it was begun with."
            )
        return scorer
