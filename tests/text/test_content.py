"""Fingerprints of content: which changes show."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from curator.errors import SourceNotFoundError
from curator.text import content
from curator.text.content import content_of
from curator.text.places import LocalPlace


def test_a_small_file_is_hashed_whole_and_its_name_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"abc")
    (tmp_path / "b.jsonl").write_bytes(b"abc")
    assert content_of(LocalPlace(tmp_path / "a.jsonl")) == hashlib.sha256(b"abc").hexdigest()
    assert content_of(LocalPlace(tmp_path / "a.jsonl")) == content_of(LocalPlace(tmp_path / "b.jsonl"))


def test_of_a_large_file_size_ends_and_samples_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "WHOLE_BYTES", 1 << 20)
    monkeypatch.setattr(content, "_SAMPLE_BYTES", 1 << 10)
    path = tmp_path / "x.jsonl"
    data = bytearray(2 << 20)
    seen = set()
    for change in (None, 0, len(data) - 1, (len(data) - 1024) // 63 * 7 + 100):
        if change is not None:
            data[change] ^= 1
        path.write_bytes(bytes(data))
        seen.add(content_of(LocalPlace(path)))
    path.write_bytes(bytes(data) + b"\0")
    seen.add(content_of(LocalPlace(path)))
    assert len(seen) == 5
    path.write_bytes(bytes(data))
    before = content_of(LocalPlace(path))
    data[10_000] ^= 1  # between two samples: what the module says escapes
    path.write_bytes(bytes(data))
    assert content_of(LocalPlace(path)) == before


def test_a_file_that_is_gone_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError):
        content_of(LocalPlace(tmp_path / "absent.jsonl"))
