"""What the anchor model says of every document of a bake-off, read once for all selectors and kept on disk.

Per document: the three features of every neuron (``neuronset.features``), the mean hidden state after the last layer, the mean
loss. A reading is filed under a hash of model, texts and the version of these rules; found whole it is not computed again.
Cost: two forward passes over the text, and 12 bytes a neuron and document on disk, read as a memory map. It does not know
which documents are of the target.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curator import fingerprint
from curator.bakeoff.language import CausalModel, read_language
from curator.files import atomic_folder, read_json, write_json
from curator.lm.backbone import Backbone
from curator.neuronset.features import NeuronChoice, document_features
from curator.records import Document, NeuronId

_VERSION = "bakeoff-reading-1"
_ARRAYS = ("values_DfN", "hidden_DH", "nats_D")
_MANIFEST = "reading.json"


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """D documents as a model sees them.

    ``values_DfN`` (documents, 3 features, neurons) float32 in the order (layer, unit), ``hidden_DH`` float32, ``nats_D``
    float64; NaN for a document without a scored token. ``layer_N`` is each neuron's layer.
    """

    documents: tuple[Document, ...]
    values_DfN: np.ndarray
    hidden_DH: np.ndarray
    nats_D: np.ndarray
    layer_N: np.ndarray


def all_neurons(backbone: Backbone) -> NeuronChoice:
    """Every neuron of the model with sign +1, in the order (layer, unit)."""
    neurons = tuple(NeuronId(site.layer, unit) for site in backbone.sites for unit in range(site.width))
    return NeuronChoice(neurons, (1,) * len(neurons))


def read_documents(
    backbone: Backbone,
    causal: CausalModel,
    documents: Sequence[Document],
    folder: Path,
    *,
    skip_tokens: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Reading:
    """The reading of these documents, from ``folder`` where it is there, else from the model."""
    place = folder / _name(backbone, documents, skip_tokens)
    if not place.is_dir():
        texts = [document.text for document in documents]
        features = document_features(backbone, texts, all_neurons(backbone), skip_tokens=skip_tokens, progress=progress)
        language = read_language(causal, texts, skip_tokens=skip_tokens)
        found = (features.values_DfK, language.hidden_DH, language.nats_D)
        with atomic_folder(place) as temporary:
            for name, array in zip(_ARRAYS, found, strict=True):
                np.save(temporary / f"{name}.npy", array, allow_pickle=False)
            write_json(temporary / _MANIFEST, {"version": _VERSION, "model": backbone.name, "documents": len(texts)})
    read_json(place / _MANIFEST)
    arrays = [np.load(place / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS]
    layer_N = np.repeat([site.layer for site in backbone.sites], [site.width for site in backbone.sites])
    return Reading(tuple(documents), arrays[0], arrays[1], arrays[2], layer_N)


def _name(backbone: Backbone, documents: Sequence[Document], skip_tokens: int) -> str:
    texts = [fingerprint.of_text(document.text) for document in documents]
    identity = [_VERSION, backbone.fingerprint, backbone.tokenizer_fingerprint, str(backbone.dtype), str(skip_tokens)]
    return fingerprint.of_parts([*identity, *texts])[:24]
