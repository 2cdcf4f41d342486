"""A saved probe corpus comes back equal, and is refused when anything in it changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import zstandard

from curator.errors import ArtifactError, ArtifactNotFoundError, FingerprintError
from curator.records import Document
from curator.text import probe as probe_module
from curator.text.probe import ProbeCorpus, probe_fingerprint
from curator.text.probe_store import load_probe, save_probe


@pytest.fixture
def corpus() -> ProbeCorpus:
    documents = (Document("a", "Hello\u2028wörld", "x", "s"), Document("b", "def f(): pass", "y", ""))
    return ProbeCorpus(documents, ("x", "y"), probe_fingerprint(documents), {"x": 3, "y": 5}, {"empty_text": 2})


@pytest.fixture
def folder(corpus: ProbeCorpus, tmp_path: Path) -> Path:
    save_probe(corpus, tmp_path / "probe")
    return tmp_path / "probe"


def rewrite(folder: Path, old: str, new: str) -> None:
    path = folder / "documents.jsonl.zst"
    text = zstandard.ZstdDecompressor().decompress(path.read_bytes()).decode()
    assert old in text
    path.write_bytes(zstandard.ZstdCompressor().compress(text.replace(old, new).encode()))


def test_a_saved_corpus_comes_back_equal(corpus: ProbeCorpus, folder: Path) -> None:
    assert load_probe(folder) == corpus
    assert sorted(path.name for path in folder.parent.iterdir()) == ["probe"]


def test_saving_again_replaces_the_old_corpus(corpus: ProbeCorpus, folder: Path) -> None:
    save_probe(corpus, folder)
    assert load_probe(folder) == corpus


@pytest.mark.parametrize(("old", "new"), [("wörld", "world"), ('"x"', '"z"'), ('"id": "a"', '"id": "c"')])
def test_an_edited_document_is_refused(old: str, new: str, folder: Path) -> None:
    rewrite(folder, old, new)
    with pytest.raises(FingerprintError, match="build it again"):
        load_probe(folder)


def test_another_segmentation_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "SEGMENTATION_VERSION", 2)
    with pytest.raises(FingerprintError):
        load_probe(folder)


def test_what_is_missing_or_damaged_is_refused(folder: Path) -> None:
    rewrite(folder, "def f(): pass", "")
    with pytest.raises(ArtifactError, match="damaged"):
        load_probe(folder)
    (folder / "documents.jsonl.zst").unlink()
    with pytest.raises(ArtifactNotFoundError):
        load_probe(folder)
    (folder / "manifest.json").write_text(json.dumps({"format": "other"}))
    with pytest.raises(ArtifactError, match="format"):
        load_probe(folder)
    with pytest.raises(ArtifactNotFoundError):
        load_probe(folder / "absent")
