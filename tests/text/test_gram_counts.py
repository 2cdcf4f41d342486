"""Counts of hashed n-grams: every run of three and five bytes, alike whether a text is taken whole or in blocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator.text import gram_counts as module
from curator.text.gram_counts import gram_counts
from curator.text.ngrams import ORDERS, buckets, folded

BITS = 16


def test_counts_are_of_every_run_of_three_and_five_bytes() -> None:
    data = folded("Abc abc")
    counts = gram_counts([data], BITS)
    places = [int(bucket) for order in ORDERS for bucket in buckets(data, order, BITS)]
    assert counts.sum() == len(places) == 5 + 3
    assert counts[0, places[0]] == places.count(places[0]) == 2


def test_a_text_too_short_for_a_run_and_no_text_at_all_have_empty_rows() -> None:
    assert gram_counts([b"", b"ab"], BITS).nnz == 0
    assert gram_counts([], BITS).shape == (0, 1 << BITS)


@given(st.text(max_size=60), st.integers(1, 9))
def test_a_text_taken_in_blocks_has_the_same_counts(text: str, block: int) -> None:
    whole = gram_counts([folded(text)], BITS).toarray()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK_BYTES", block)
        assert (gram_counts([folded(text)], BITS).toarray() == whole).all()
