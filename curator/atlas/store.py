"""The atlas on disk: a JSON manifest and one safetensors file, filed under its fingerprint, complete or absent.

The manifest names the model, the tokenizer, the probe corpus, the settings and the documents; an atlas is used only with
others that agree on corpus and settings. Arrays are over the N neurons of all layers in order (layer, unit); they are read-only
memory maps: take rows in blocks. Cost of the file: about N (8 d + 4 V + 4 D) bytes. It does not know how the numbers came about.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from curator import fingerprint
from curator.errors import ArtifactError, ArtifactNotFoundError, FingerprintError
from curator.files import atomic_folder, read_json, require_free, write_json
from curator.records import NeuronId
from curator.settings import AtlasSettings
from curator.tensorfile import Specs, create_tensors, flush, open_tensors, total_bytes

FORMAT = "curator-atlas-2"
_MANIFEST, _TENSORS = "manifest.json", "atlas.safetensors"


class DocumentEntry(BaseModel):
    """One probe document as the atlas remembers it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str
    domain: str
    source: str


class AtlasIdentity(BaseModel):
    """What an atlas is of: one model, one probe corpus, one way of reading them."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    model: str
    revision: str
    model_fingerprint: str
    tokenizer_fingerprint: str
    dtype: str
    """What the forward pass computed in."""
    max_tokens: int
    """Longest window."""
    probe_fingerprint: str
    settings: AtlasSettings
    layer_widths: tuple[int, ...]
    gated: bool
    domains: tuple[str, ...]
    documents: tuple[DocumentEntry, ...]


class AtlasManifest(AtlasIdentity):
    """What an atlas is of, and how sure its numbers are."""

    format: str = FORMAT
    spans: int
    """Spans in the signatures, T."""
    held_back: int
    """Spans kept back for verification, V."""
    uncovered_spans: int
    """Spans that no scored token of this model touches."""
    tokens: int
    dead_neurons: int
    certificate: float
    """Worst difference to the float64 referee, in units of standard deviation or correlation."""


@dataclass(frozen=True)
class Atlas:
    """Everything known about one model on one probe corpus (SCIENCE section 1).

    Arrays, all over N neurons: ``signature_Nd`` and ``decoy_Nd`` float32; ``held_NV`` and ``decoy_held_NV`` float16, the
    standardised held-back values (NaN: uncovered); ``document_mean_DN`` float32; ``mean``, ``deviation``, ``skewness``,
    ``excess_kurtosis``, ``low``, ``high``, ``positive_fraction`` (N,) float64 or float32; ``alive`` (N,) bool;
    ``top_value_Nk`` float32, ``top_document_Nk`` and ``top_span_Nk`` int32, -1 where empty; for gated models ``low_value_Nk``,
    ``low_document_Nk``, ``low_span_Nk``, the lowest values, lowest first; ``held_fold_V`` int64, ascending;
    ``document_spans_D`` int64, the spans that each document's mean is over.
    """

    manifest: AtlasManifest
    arrays: dict[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    @property
    def neurons(self) -> int:
        """Number of neurons, N."""
        return sum(self.manifest.layer_widths)

    @cached_property
    def layer_of(self) -> np.ndarray:
        """Layer of every neuron, (N,) int64."""
        return np.repeat(np.arange(len(self.manifest.layer_widths)), self.manifest.layer_widths)

    @cached_property
    def offsets(self) -> np.ndarray:
        """Index of each layer's first neuron, then N: (layers + 1,) int64."""
        return np.concatenate([[0], np.cumsum(self.manifest.layer_widths)]).astype(np.int64)

    def neuron(self, index: int) -> NeuronId:
        """Name of the neuron at a flat index."""
        layer = int(self.layer_of[index])
        return NeuronId(layer, int(index - self.offsets[layer]))

    def index(self, neuron: NeuronId) -> int:
        """Flat index of a named neuron."""
        return int(self.offsets[neuron.layer]) + neuron.unit

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the manifest: model, corpus, settings and counts."""
        return fingerprint.of_json(self.manifest.model_dump(mode="json"))


class _Shape(Protocol):
    """What decides the shapes of an atlas' arrays."""

    @property
    def settings(self) -> AtlasSettings: ...
    @property
    def layer_widths(self) -> tuple[int, ...]: ...
    @property
    def gated(self) -> bool: ...
    @property
    def held_back_F(self) -> tuple[int, ...]: ...
    @property
    def documents(self) -> tuple[DocumentEntry, ...]: ...


def atlas_specs(of: _Shape) -> dict[str, tuple[Any, tuple[int, ...]]]:
    """Names, types and shapes of an atlas' arrays."""
    settings = of.settings
    n, d, v, documents = sum(of.layer_widths), settings.sketch_dimensions, sum(of.held_back_F), len(of.documents)
    specs: dict[str, tuple[Any, tuple[int, ...]]] = {
        **dict.fromkeys(("signature_Nd", "decoy_Nd"), (np.float32, (n, d))),
        **dict.fromkeys(("held_NV", "decoy_held_NV"), (np.float16, (n, v))),
        "document_mean_DN": (np.float32, (documents, n)),
        **dict.fromkeys(("mean", "deviation", "skewness", "excess_kurtosis", "positive_fraction"), (np.float64, (n,))),
        **dict.fromkeys(("low", "high"), (np.float32, (n,))),
        "alive": (np.bool_, (n,)),
        "held_fold_V": (np.int64, (v,)),
        "document_spans_D": (np.int64, (documents,)),
    }
    for side in ("top", "low") if of.gated else ("top",):
        contexts = (n, settings.top_contexts)
        specs[f"{side}_value_Nk"] = (np.float32, contexts)
        specs |= dict.fromkeys((f"{side}_document_Nk", f"{side}_span_Nk"), (np.int32, contexts))
    return specs


@contextmanager
def write_atlas(
    folder: Path, specs: Specs
) -> Generator[tuple[dict[str, np.ndarray], Callable[[AtlasManifest], None]], None, None]:
    """Writable arrays, and what ends the writing with a manifest; the folder appears whole or not at all.

    Held-back values begin as NaN, everything else as zero. Raises StorageError when the disk has no room.
    """
    require_free(folder.parent, total_bytes(specs), f"The atlas {folder.name}")
    with atomic_folder(folder) as temporary:
        arrays = create_tensors(temporary / _TENSORS, specs)
        for name in ("held_NV", "decoy_held_NV"):
            arrays[name][...] = np.nan

        def finish(manifest: AtlasManifest) -> None:
            flush(arrays)
            sha256 = fingerprint.of_file(temporary / _TENSORS)
            stored = {**manifest.model_dump(mode="json"), "tensors_sha256": sha256}
            write_json(temporary / _MANIFEST, {**stored, "manifest_sha256": fingerprint.of_json(stored)})

        yield arrays, finish


def save_atlas(atlas: Atlas, folder: Path) -> None:
    """Write a copy of an atlas; the folder appears whole or not at all."""
    with write_atlas(folder, {name: (array.dtype, array.shape) for name, array in atlas.arrays.items()}) as opened:
        arrays, finish = opened
        for name, array in atlas.arrays.items():
            arrays[name][...] = array
        finish(atlas.manifest)


def load_atlas(folder: Path, *, verify: bool = True) -> Atlas:
    """Read an atlas back.

    Raises ArtifactNotFoundError when there is none, ArtifactError when it is damaged or of another format.
    """
    if not folder.is_dir():
        raise ArtifactNotFoundError(f"There is no atlas at {folder}; build it with `curator atlas build`.")
    stored = read_json(folder / _MANIFEST)
    if not isinstance(stored, dict) or stored.get("format") != FORMAT:
        raise ArtifactError(f"{folder} holds no atlas of format {FORMAT!r}; build the atlas again.")
    if stored.pop("manifest_sha256", None) != fingerprint.of_json(stored):
        raise ArtifactError(f"The manifest in {folder} was changed after it was made; build the atlas again.")
    expected = stored.pop("tensors_sha256")
    try:
        if verify and fingerprint.of_file(folder / _TENSORS) != expected:
            raise ArtifactError(f"The numbers in {folder} do not match their manifest; build the atlas again.")
        return Atlas(AtlasManifest.model_validate(stored), open_tensors(folder / _TENSORS))
    except (OSError, ValidationError) as error:
        raise ArtifactError(f"The atlas at {folder} cannot be read; build the atlas again.") from error


def require_comparable(first: Atlas, second: Atlas) -> None:
    """Raise FingerprintError unless two atlases are of one probe corpus under one set of settings."""
    for name in ("probe_fingerprint", "settings"):
        if getattr(first.manifest, name) != getattr(second.manifest, name):
            raise FingerprintError(
                f"The atlases of {first.manifest.model} and {second.manifest.model} differ in {name}; "
                "build both on one probe corpus with one set of settings."
            )
