"""Equal things have equal fingerprints on every machine; framing and canonical form keep unequal things apart."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator import fingerprint

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_fingerprints_are_sha256_in_hex() -> None:
    assert fingerprint.of_bytes(b"") == fingerprint.of_text("") == fingerprint.of_parts([]) == EMPTY
    assert fingerprint.of_text("ä") == hashlib.sha256(b"\xc3\xa4").hexdigest()


def test_json_is_canonical_in_key_order_and_refuses_nan() -> None:
    assert fingerprint.of_json({"a": 1, "b": "é"}) == fingerprint.of_json({"b": "é", "a": 1})
    assert fingerprint.of_json({"a": 1}) != fingerprint.of_json({"a": "1"})
    with pytest.raises(ValueError, match="JSON"):
        fingerprint.of_json(float("nan"))
    with pytest.raises(TypeError):
        fingerprint.of_json(object())


@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
@settings(deadline=None, max_examples=50)
def test_parts_are_framed_so_that_boundaries_count(left: list[str], right: list[str]) -> None:
    assert (fingerprint.of_parts(left) == fingerprint.of_parts(right)) == (left == right)


def test_a_file_has_the_fingerprint_of_its_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000  # more than two blocks
    (tmp_path / "x").write_bytes(data)
    assert fingerprint.of_file(tmp_path / "x") == fingerprint.of_bytes(data)


@given(st.lists(st.text(max_size=5), min_size=1, max_size=3))
@settings(deadline=None, max_examples=50)
def test_unit_interval_is_reproducible_and_below_one(parts: list[str]) -> None:
    value = fingerprint.unit_interval(*parts)
    assert 0.0 <= value < 1.0
    assert value == fingerprint.unit_interval(*parts)


def test_unit_interval_is_spread_evenly() -> None:
    values = [fingerprint.unit_interval("seed", str(i)) for i in range(4_000)]
    assert abs(sum(values) / len(values) - 0.5) < 0.02
    assert all(abs(sum(low <= value < low + 0.1 for value in values) - 400) < 80 for low in (0.0, 0.3, 0.9))
