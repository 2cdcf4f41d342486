"""A probe corpus on disk: a folder with ``documents.jsonl.zst`` and, written last, ``manifest.json``.

The manifest carries the fingerprint, the ids in order and the counts. Loading recomputes the fingerprint from the texts and
their spans, so a file that was edited, or a Python whose Unicode tables cut these texts differently, is refused. Cost: one
pass over the text each way. The documents file opens with any JSONL reader.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import zstandard

from curator.errors import ArtifactError, ArtifactNotFoundError, FingerprintError
from curator.files import atomic_folder, read_json, write_json
from curator.records import Document
from curator.text.formats import read_file
from curator.text.probe import ProbeCorpus, probe_fingerprint
from curator.text.rows import SourceOptions
from curator.text.segmentation import SEGMENTATION_VERSION

FORMAT = "curator-probe-v1"
_DOCUMENTS = "documents.jsonl.zst"
_MANIFEST = "manifest.json"
_NO_CAP = SourceOptions(max_record_bytes=1 << 40)  # the spec has bounded the documents already


def save_probe(corpus: ProbeCorpus, folder: Path) -> None:
    """Write the corpus; the folder appears whole or not at all, and replaces an older one."""
    rows = (
        {"id": document.id, "domain": document.domain, "source": document.source, "text": document.text}
        for document in corpus.documents
    )
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    with atomic_folder(folder) as partial:
        (partial / _DOCUMENTS).write_bytes(zstandard.ZstdCompressor(level=10).compress(lines.encode()))
        write_json(partial / _MANIFEST, _manifest(corpus))


def load_probe(folder: Path) -> ProbeCorpus:
    """Read a corpus back.

    Raises ArtifactNotFoundError when there is none, ArtifactError when it is damaged, FingerprintError when the documents or
    the segmentation are not those that were saved.
    """
    manifest = read_json(folder / _MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ArtifactError(f"{folder} holds no probe corpus of format {FORMAT}; build it again.")
    documents = _read_documents(folder)
    found = probe_fingerprint(documents)
    if [document.id for document in documents] != manifest["ids"] or found != manifest["fingerprint"]:
        message = f"The documents in {folder} are not those of its manifest, or are cut differently; build it again."
        raise FingerprintError(message)
    return ProbeCorpus(
        documents=documents,
        domains=tuple(manifest["domains"]),
        fingerprint=found,
        spans_per_domain=MappingProxyType(manifest["spans_per_domain"]),
        rejected=MappingProxyType(manifest["rejected"]),
    )


def _manifest(corpus: ProbeCorpus) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "fingerprint": corpus.fingerprint,
        "segmentation_version": SEGMENTATION_VERSION,
        "domains": list(corpus.domains),
        "spans_per_domain": dict(corpus.spans_per_domain),
        "rejected": dict(corpus.rejected),
        "ids": [document.id for document in corpus.documents],
    }


def _read_documents(folder: Path) -> tuple[Document, ...]:
    path = folder / _DOCUMENTS
    if not path.is_file():
        raise ArtifactNotFoundError(f"There is no file {path}; build the probe corpus again.")
    records = list(read_file(path, _NO_CAP))
    documents = tuple(record for record in records if isinstance(record, Document))
    if len(documents) != len(records):
        raise ArtifactError(f"{path} is damaged; build the probe corpus again.")
    return documents
