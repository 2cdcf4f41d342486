"""The neuron set: what filtering needs of an identification, in one folder that proves what it belongs to.

``manifest.json`` names the neurons, their evidence, the scorers with their measured quality, and the fingerprints of model,
tokenizer and probe corpus (``manifest``); ``neuronset.safetensors`` holds the numbers, among them the held-out scores that
thresholds are chosen on (``thresholds``) and scorers for fewer layers (``depth``); ``signatures.faiss`` is the index of neuron
signatures. What a document's wording says (``wording``) is in the numbers too, for the ``blended`` scorer; sets that were made
before there was one have none. The ``etag`` is the content hash of all three: equal etags give equal scores. A set is refused
for any other model or tokenizer. Size: a quarter of a megabyte for each target and another for all. It does not know how
neurons were found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from curator import fingerprint
from curator.errors import ArtifactError, ArtifactNotFoundError, ConfigError, FingerprintError
from curator.files import atomic_folder, read_json, write_json
from curator.lm.backbone import Backbone
from curator.neuronset.calibrate import Calibration
from curator.neuronset.depth import restricted
from curator.neuronset.features import NeuronChoice
from curator.neuronset.manifest import (
    FORMAT,
    CarriedFrom,
    DepthVariant,
    MethodName,
    MethodQuality,
    NeuronEvidence,
    NeuronSetManifest,
    PeerEvidence,
    TargetEvidence,
    TargetFilter,
    TransferredFrom,
)
from curator.neuronset.scorers import METHODS, Blended, Linear, Method, Signature, Single, Standardiser, build_index
from curator.neuronset.thresholds import Chosen, HeldOut, Reported, threshold_for_precision, threshold_for_recall
from curator.neuronset.wording import Wording
from curator.records import NeuronId

__all__ = [
    "FORMAT",
    "CarriedFrom",
    "DepthVariant",
    "MethodName",
    "MethodQuality",
    "NeuronEvidence",
    "NeuronSet",
    "NeuronSetManifest",
    "PeerEvidence",
    "TargetEvidence",
    "TargetFilter",
    "TransferredFrom",
    "best_method",
    "load_neuron_set",
    "save_neuron_set",
    "unsaved_etag",
]

_MANIFEST, _TENSORS, _INDEX = "manifest.json", "neuronset.safetensors", "signatures.faiss"


@dataclass(frozen=True)
class NeuronSet:
    """A neuron set in memory: manifest and arrays by name."""

    manifest: NeuronSetManifest
    arrays: dict[str, np.ndarray]
    etag: str = ""

    @property
    def choice(self) -> NeuronChoice:
        """The neurons to read, with their signs."""
        entries = self.manifest.neurons
        return NeuronChoice(tuple(NeuronId.parse(n.id) for n in entries), tuple(n.sign for n in entries))

    @property
    def standardiser(self) -> Standardiser:
        """Mean and scale of the features."""
        return Standardiser(self.arrays["mean_fK"], self.arrays["scale_fK"])

    @cached_property
    def wording(self) -> Wording | None:
        """What documents' wording says of each target, in the manifest's order; None in a set without the blended scorer."""
        return Wording.of(self.arrays, self.manifest.targets)

    def evidence(self, values_DfK: np.ndarray, texts: Sequence[str], *, wording: bool = True) -> np.ndarray:
        """What the scorers take of D documents: standardised features (D, 3 K), and behind them the wording's columns.

        ``wording`` may be left off for speed where no method is ``blended``.
        """
        z, found = self.standardiser(values_DfK), self.wording if wording else None
        return z if found is None else np.hstack([z, found.scores(texts)])

    def target(self, domain: str | None) -> str:
        """The target domain asked for, or the only one. Raises ConfigError when that is ambiguous or unknown."""
        known = list(self.manifest.targets)
        if domain is None and len(known) == 1:
            return known[0]
        if domain not in known:
            raise ConfigError(f"The neuron set {self.manifest.name!r} filters {', '.join(known)}; name one of them.")
        return domain

    def method(self, domain: str, name: MethodName) -> Method:
        """The scorer of a target domain."""
        if name == "single":
            chosen = self.manifest.targets[domain]
            return Single(chosen.single_neuron, len(self.manifest.neurons), chosen.single_direction)
        if name == "linear":
            return Linear(self.arrays[f"{domain}.linear.weight"], float(self.arrays[f"{domain}.linear.intercept"][0]))
        if name == "blended":
            column = list(self.manifest.targets).index(domain)
            linear = self.method(domain, "linear")
            assert isinstance(linear, Linear)  # noqa: S101 -- for the type checker
            return Blended(linear, column, *self.arrays[f"{domain}.blended.spread"].tolist())
        signatures = self.arrays["signature_Kf"]
        neighbours = self.manifest.settings.signature_neighbours
        return Signature(signatures, self.arrays[f"{domain}.signature.vote"], neighbours, build_index(signatures))

    def calibration(self, domain: str, name: MethodName) -> Calibration:
        """Score to probability for one scorer."""
        kind = self.manifest.targets[domain].methods[name].calibration
        prefix = f"{domain}.{name}.calibration"
        return Calibration(kind, self.arrays[f"{prefix}.score"], self.arrays[f"{prefix}.probability"])

    def held_out(self, domain: str, name: MethodName) -> HeldOut:
        """Probabilities and labels of the documents that decided nothing, for one scorer."""
        values = self.arrays[f"{domain}.{name}.report.score"]
        return HeldOut.of(self.calibration(domain, name)(values), self.arrays[f"{domain}.{name}.report.label"])

    def reported(self, domain: str, name: MethodName) -> Reported | None:
        """The documents that decided nothing, for one scorer; None in a set made before it kept which they are."""
        begin = f"{domain}.{name}.report"
        if f"{begin}.document" not in self.arrays:
            return None
        score_R, label_R, document_R, tokens_R = (
            self.arrays[f"{begin}.{part}"] for part in ("score", "label", "document", "tokens")
        )
        return Reported(score_R, self.calibration(domain, name)(score_R), label_R.astype(bool), document_R, tokens_R)

    def threshold_for(
        self,
        domain: str | None = None,
        method: MethodName | None = None,
        *,
        precision: float | None = None,
        recall: float | None = None,
        confidence: float = 0.95,
        prevalence: float | None = None,
    ) -> Chosen:
        """A threshold on the probability by wanted precision or recall; ``thresholds`` says what is promised.

        ``prevalence`` is the share of the target in the pool, where precision is asked for and the pool's mixture is not that of
        the probe corpus. Raises ConfigError unless one of the two is wanted, InsufficientDataError when it cannot be certified.
        """
        target = self.target(domain)
        held_out = self.held_out(target, method or self.manifest.targets[target].default)
        if precision is not None and recall is None:
            return threshold_for_precision(
                held_out, precision, target=target, confidence=confidence, prevalence=prevalence
            )
        if recall is None or precision is not None or prevalence is not None:
            raise ConfigError(
                "Ask for a precision, with a prevalence where it is known, or for a recall; not for both."
            )
        return threshold_for_recall(held_out, recall, target=target, confidence=confidence)

    def shallower(self, max_depth: int | None) -> NeuronSet:
        """The set that reads at most so many layers, any number for None: itself, or its deepest kept variant.

        Raises ConfigError without one.
        """
        if max_depth is None or self.manifest.depth <= max_depth:
            return self
        fitting = [variant for variant in self.manifest.depths if variant.depth <= max_depth]
        if not fitting:
            kept = ", ".join(str(variant.depth) for variant in self.manifest.depths) or "none"
            raise ConfigError(
                f"The neuron set {self.manifest.name!r} reads {self.manifest.depth} layers and has no scorers for "
                f"{max_depth}; depths that it was also fitted for: {kept}."
            )
        manifest, arrays = restricted(self.manifest, self.arrays, fitting[-1])
        return NeuronSet(manifest, arrays, f"{self.etag}-depth{fitting[-1].depth}")

    def require_model(self, backbone: Backbone) -> None:
        """Raise FingerprintError unless the set was made for this model and tokenizer."""
        for what in ("fingerprint", "tokenizer_fingerprint"):
            expected = getattr(self.manifest, "model_fingerprint" if what == "fingerprint" else what)
            if getattr(backbone, what) != expected:
                raise FingerprintError(
                    f"The neuron set {self.manifest.name!r} was made for {self.manifest.model} with another "
                    f"{what.replace('_', ' ')} than {backbone.name} has; load that model or identify the neurons again."
                )


def unsaved_etag(manifest: NeuronSetManifest, arrays: dict[str, np.ndarray]) -> str:
    """The etag of a set that is in memory only: a content hash that can never equal a saved set's."""
    parts = [manifest.model_dump_json()]
    for name in sorted(arrays):
        parts += [name, fingerprint.of_bytes(np.ascontiguousarray(arrays[name]).tobytes())]
    return f"unsaved-{fingerprint.of_parts(parts)}"


def save_neuron_set(neuron_set: NeuronSet, folder: Path) -> NeuronSet:
    """Write a set, whole or not at all, and return it with its etag."""
    with atomic_folder(folder) as temporary:
        save_file({n: np.ascontiguousarray(a) for n, a in neuron_set.arrays.items()}, temporary / _TENSORS)
        faiss.write_index(build_index(neuron_set.arrays["signature_Kf"]), str(temporary / _INDEX))
        hashes = {name: fingerprint.of_file(temporary / name) for name in (_TENSORS, _INDEX)}
        stored: dict[str, Any] = {**neuron_set.manifest.model_dump(mode="json"), "files": hashes}
        etag = fingerprint.of_json(stored)
        write_json(temporary / _MANIFEST, {**stored, "etag": etag})
    return NeuronSet(neuron_set.manifest, neuron_set.arrays, etag)


def load_neuron_set(folder: Path) -> NeuronSet:
    """Read a set back and check every hash.

    Raises ArtifactNotFoundError when there is none and ArtifactError when anything in it was changed.
    """
    if not folder.is_dir():
        raise ArtifactNotFoundError(f"There is no neuron set at {folder}; make one with `curator identify`.")
    stored = read_json(folder / _MANIFEST)
    etag, changed = stored.pop("etag", None), []
    if stored.get("format") != FORMAT:
        raise ArtifactError(
            f"{folder} holds format {stored.get('format')!r}, not {FORMAT!r}; identify the neurons again."
        )
    if fingerprint.of_json(stored) != etag:
        changed.append(_MANIFEST)
    for name, expected in stored.pop("files", {}).items():
        if (
            name not in (_TENSORS, _INDEX)
            or not (folder / name).is_file()
            or fingerprint.of_file(folder / name) != expected
        ):
            changed.append(name)
    if changed:
        raise ArtifactError(
            f"The neuron set at {folder} was changed after it was made ({', '.join(changed)}); make it again."
        )
    try:
        return NeuronSet(NeuronSetManifest.model_validate(stored), load_file(folder / _TENSORS), etag)
    except (ValidationError, SafetensorError) as error:
        raise ArtifactError(
            f"The neuron set at {folder} cannot be read by this version; identify the neurons again."
        ) from error


def best_method(validation: dict[MethodName, float], positives: int) -> MethodName:
    """The default scorer, by validation average precision on so many documents of the target.

    The first, in the order in which the bake-off found them best on other text, that the best one does not beat by more than
    the standard error of a proportion, one success and one failure added: with ten documents a difference of a tenth is chance.
    (The one-standard-error rule of Breiman et al., "Classification and Regression Trees", 1984, section 3.4.3.)
    """
    names: tuple[MethodName, ...] = ("blended", "linear", "single", "signature")
    assert set(names) == set(METHODS)  # noqa: S101 -- the literal type and the tuple are one list
    best = max(validation.values())
    share = (positives * best + 1) / (positives + 2)
    error = sqrt(share * (1 - share) / max(1, positives))
    return next(name for name in names if validation[name] >= best - error - 1e-6)
