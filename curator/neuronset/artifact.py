"""The neuron set: what filtering needs of an identification, in one folder that proves what it belongs to.

``manifest.json`` names the neurons, their evidence, the scorers with their measured quality, and the fingerprints of model,
tokenizer and probe corpus; ``neuronset.safetensors`` holds the numbers; ``signatures.faiss`` is the index of neuron signatures.
The ``etag`` is the content hash of all three: equal etags give equal scores. A set is refused for any other model or
tokenizer. Size: a few hundred kilobytes. It does not know how neurons were found.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from curator import fingerprint
from curator.errors import ArtifactError, ArtifactNotFoundError, ConfigError, FingerprintError
from curator.files import atomic_folder, read_json, write_json
from curator.lm.backbone import Backbone
from curator.neuronset.calibrate import Calibration
from curator.neuronset.features import NeuronChoice
from curator.neuronset.scorers import METHODS, Linear, Method, Signature, Single, Standardiser, build_index
from curator.records import NeuronId
from curator.settings import MatchSettings, NeuronSetSettings, TransferSettings

FORMAT = "curator-neuron-set-1"
_MANIFEST, _TENSORS, _INDEX = "manifest.json", "neuronset.safetensors", "signatures.faiss"
MethodName = Literal["single", "linear", "signature"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PeerEvidence(_Frozen):
    """A chosen neuron's partner in one peer."""

    peer: str
    neuron: str
    rho: float
    standard_error: float
    q: float


class TargetEvidence(_Frozen):
    """How well one neuron tells one target domain; ``*_report`` is measured on documents that chose nothing.

    ``direction`` is -1 where a low reading means on target (a gated neuron is read with the sign of its first target); the
    numbers are those of the neuron turned that way.
    """

    direction: int
    auroc_fit: float
    auroc_report: float
    average_precision_report: float
    d_prime_report: float
    normalized_fire: float
    specialisation: float


class CarriedFrom(_Frozen):
    """Where a neuron of a transferred set comes from: its source in the model that the set was made for.

    ``rho`` is the verified correlation of the two, with its jackknife ``standard_error``; ``q`` the false discovery rate among
    all of the source model's neurons; ``mutual`` whether each is the other's best match over all layers.
    """

    source: str
    rho: float
    standard_error: float
    q: float
    mutual: bool


class NeuronEvidence(_Frozen):
    """One neuron of the set."""

    id: str
    sign: int
    strict: bool
    universal: bool
    matches: tuple[PeerEvidence, ...]
    targets: dict[str, TargetEvidence]
    carried_from: CarriedFrom | None = None
    """Set in a transferred set only; ``matches`` then names the source as well, as its one peer."""


class MethodQuality(_Frozen):
    """How well one scorer does for one target.

    ``validation_average_precision`` is what the default scorer was picked by; in a transferred set it is its source's, for no
    label of the new model was read to pick. What is None could not be measured: the probe corpus of a transfer need not
    hold the target domain.
    """

    validation_average_precision: float
    report_average_precision: float | None
    report_auroc: float | None
    calibration: str
    reliability: tuple[dict[str, float], ...]
    operating_points: tuple[dict[str, float], ...]
    report_documents: int
    report_positives: int


class TargetFilter(_Frozen):
    """The scorers of one target domain; ``default`` has the best average precision on the validation documents."""

    default: MethodName
    single_neuron: int
    single_direction: int
    methods: dict[MethodName, MethodQuality]


class TransferredFrom(_Frozen):
    """The set that a transferred set was carried from, and what became of its neurons.

    ``dropped`` are the source's neurons whose best match was below the floors of ``settings``, or taken by a better one;
    ``refined`` the targets whose scorers follow the source's scores and are not only carried.
    """

    name: str
    etag: str
    model: str
    model_fingerprint: str
    neurons: int
    dropped: tuple[str, ...]
    refined: tuple[str, ...]
    settings: TransferSettings


class NeuronSetManifest(_Frozen):
    """Everything about a set but its arrays."""

    format: str = FORMAT
    name: str
    model: str
    revision: str
    model_fingerprint: str
    tokenizer_fingerprint: str
    probe_fingerprint: str
    atlas_fingerprint: str
    peers: dict[str, str]
    """Peer models and their fingerprints."""
    rosetta_rule: str
    rosetta_counts: dict[str, int]
    null_counts: dict[str, int]
    mean_correlation: float
    certificate: float
    targets: dict[str, TargetFilter]
    neurons: tuple[NeuronEvidence, ...]
    skip_tokens: int
    settings: NeuronSetSettings
    match_settings: MatchSettings
    version: str
    transferred_from: TransferredFrom | None = None


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
        signatures = self.arrays["signature_Kf"]
        neighbours = self.manifest.settings.signature_neighbours
        return Signature(signatures, self.arrays[f"{domain}.signature.vote"], neighbours, build_index(signatures))

    def calibration(self, domain: str, name: MethodName) -> Calibration:
        """Score to probability for one scorer."""
        kind = self.manifest.targets[domain].methods[name].calibration
        prefix = f"{domain}.{name}.calibration"
        return Calibration(kind, self.arrays[f"{prefix}.score"], self.arrays[f"{prefix}.probability"])

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


def best_method(validation: dict[MethodName, float]) -> MethodName:
    """The scorer with the best validation average precision; on a tie the simpler one."""
    names: tuple[MethodName, ...] = ("single", "linear", "signature")
    assert set(names) == set(METHODS)  # noqa: S101 -- the literal type and the tuple are one list
    return max(names, key=lambda name: (round(validation[name], 6), -names.index(name)))
