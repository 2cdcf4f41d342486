"""The three parts of a probe corpus: what each document is used for when a neuron set is made.

Sources are split by hash, and documents where a domain has too few sources (``text/splits``). Cost: one hash a document. It
reads no text.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from curator import fingerprint
from curator.atlas.store import Atlas
from curator.settings import NeuronSetSettings
from curator.text.splits import Labelled, split_units


class Part(StrEnum):
    """What a probe document is used for when a neuron set is made."""

    FIT = "fit"
    VALIDATE = "validate"
    REPORT = "report"


def part_of(unit: str, settings: NeuronSetSettings) -> Part:
    """The part of a source, or of a document where those are split one by one, by hash."""
    position = fingerprint.unit_interval("neuron-set", str(settings.seed), unit)
    if position < settings.fit_share:
        return Part.FIT
    return Part.VALIDATE if position < (1 + settings.fit_share) / 2 else Part.REPORT


def parts_of(documents: Sequence[Labelled], settings: NeuronSetSettings) -> np.ndarray:
    """Part of every document of a whole probe corpus, (D,) of strings."""
    return np.asarray([part_of(unit, settings) for unit in split_units(documents).names])


def document_parts(atlas: Atlas, settings: NeuronSetSettings) -> np.ndarray:
    """Part of every probe document, (D,) of strings; empty for a document without a span that this model covers."""
    parts_D = parts_of(atlas.manifest.documents, settings)
    return np.where(atlas["document_spans_D"] > 0, parts_D, "")
