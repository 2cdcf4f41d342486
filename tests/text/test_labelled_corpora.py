"""The zoo's text comes from the labelled corpora through the ordinary sources, one split at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import zstandard

from curator.errors import SourceError, SourceNotFoundError
from curator.text.splits import Split, split_of
from curator.zoo import corpus
from curator.zoo.corpus import corpus_fingerprint, zoo_documents


@pytest.fixture(autouse=True)
def no_embedded_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "EMBEDDED_DOMAINS", ())


def write(path: Path, *lines: str) -> None:
    path.write_bytes(zstandard.ZstdCompressor().compress("\n".join(lines).encode()))


def row(number: int) -> str:
    return json.dumps({"id": f"id{number}", "text": "x", "domain": "d", "source": f"s{number}"})


def test_the_splits_are_disjoint_ordered_and_complete(tmp_path: Path) -> None:
    write(tmp_path / "b.jsonl.zst", *map(row, range(50)))
    write(tmp_path / "a.jsonl.zst", *map(row, range(50, 90)))
    parts = {split: zoo_documents(tmp_path, split) for split in Split}
    assert sum(map(len, parts.values())) == 90
    for split, documents in parts.items():
        assert {split_of(document.source) for document in documents} == {split}
        assert [document.id for document in documents] == sorted(document.id for document in documents)
    assert len({corpus_fingerprint(documents) for documents in parts.values()}) == 3


def test_a_damaged_corpus_stops_the_training_before_it_starts(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl.zst", row(1), "broken")
    with pytest.raises(SourceError, match=r"a\.jsonl\.zst:2"):
        zoo_documents(tmp_path, Split.TRAIN)


def test_a_folder_without_corpora_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError):
        zoo_documents(tmp_path, Split.TRAIN)
