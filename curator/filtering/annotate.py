"""What an annotator is: something that writes further columns beside the scores of a row, from its text alone.

Annotators run in ``run_shard`` next to the model. They are given all parts of a document at once (its windows, or itself as the
only one), because what they look for may lie across a cut. Their fingerprints are part of a job's identity, their columns part
of the score file's fixed schema: ``minhash`` (bytes, by ``duplicates.MinHashAnnotator``) and ``contaminated`` (text, by
``decontamination.Decontaminator``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from curator.records import Document


class Annotator(Protocol):
    """Adds columns to the score file; a pure function of one document, so every worker gives the same bytes."""

    @property
    def name(self) -> str:
        """Short name for manifests and messages."""
        ...

    @property
    def fingerprint(self) -> str:
        """Fingerprint of everything that the columns depend on apart from the document."""
        ...

    def columns(self, parts: Sequence[Document]) -> Sequence[Mapping[str, bytes | str]]:
        """For each part of one document, in order, the values of this annotator's columns by name."""
        ...
