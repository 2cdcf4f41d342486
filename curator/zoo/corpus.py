"""The text that teaches the zoo: the shared labelled corpora plus the embedded code domains, training split only.

The corpora are JSONL.zst files with ``text``, ``domain`` and ``source``; the split is by hash of the source
(``text/splits``), so that pools and tests use text that no zoo model has seen. Cost: a few seconds and the text in
memory (about 30 MB).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from curator import fingerprint
from curator.errors import SourceError, SourceNotFoundError
from curator.records import Document, Rejection
from curator.text.environment import harvest
from curator.text.sources import open_source
from curator.text.splits import Split, only_split
from curator.zoo.recipe import EMBEDDED_DOMAINS, EMBEDDED_MAX_CHARS


def zoo_documents(corpora: Path, split: Split) -> list[Document]:
    """Documents of one split over all domains, in a fixed order. Raises SourceNotFoundError for a folder without any."""
    files = sorted(corpora.glob("*.jsonl.zst"))
    if not files:
        raise SourceNotFoundError(
            f"There are no .jsonl.zst files in {corpora}; name the folder with the labelled corpora."
        )
    documents = [document for path in files for document in only_split(_read(path), split)]
    for domain in EMBEDDED_DOMAINS:
        documents.extend(only_split(harvest(domain, max_chars=EMBEDDED_MAX_CHARS), split))
    return sorted(documents, key=lambda document: document.id)


def corpus_fingerprint(documents: list[Document]) -> str:
    """Fingerprint of the documents' ids, which are hashes of their texts."""
    return fingerprint.of_parts(document.id for document in documents)


def _read(path: Path) -> Iterator[Document]:
    for record in open_source(str(path)):
        if isinstance(record, Rejection):
            raise SourceError(
                f"{record.place} in the labelled corpora is damaged ({record.reason}); fetch the file again."
            )
        yield record
