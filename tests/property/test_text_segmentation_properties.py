"""Invariants of the universal segmentation over arbitrary Unicode."""

from __future__ import annotations

import unicodedata

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from curator.text.segmentation import MAX_SPAN_CODE_POINTS, byte_offsets, universal_spans

# plain characters are drawn as often as exotic ones, so that runs and their borders come up
TEXTS = st.text(
    st.one_of(st.sampled_from(" \n\tab1.,_é\u0301日本ᄒ\u200d😀"), st.characters(exclude_categories=["Cs"])),
    max_size=200,
)
LONG_TEXTS = st.builds(
    lambda head, unit, times, tail: head + unit * times + tail, TEXTS, TEXTS, st.integers(0, 90), TEXTS
)


@given(LONG_TEXTS)
@settings(deadline=None, max_examples=50)
def test_spans_partition_the_bytes_in_order(text: str) -> None:
    spans_S2 = universal_spans(text)
    assert (spans_S2[:, 0] < spans_S2[:, 1]).all()
    assert spans_S2[1:, 0].tolist() == spans_S2[:-1, 1].tolist()
    if text:
        assert spans_S2[0, 0] == 0
        assert spans_S2[-1, 1] == len(text.encode())


@given(LONG_TEXTS)
@settings(deadline=None, max_examples=50)
def test_every_span_is_valid_utf8_of_at_most_the_cap(text: str) -> None:
    data = text.encode()
    for start, end in universal_spans(text).tolist():
        assert 1 <= len(data[start:end].decode()) <= MAX_SPAN_CODE_POINTS


@given(TEXTS)
@settings(deadline=None, max_examples=50)
def test_no_span_holds_two_classes_of_characters(text: str) -> None:
    data = text.encode()
    for start, end in universal_spans(text).tolist():
        span = data[start:end].decode()
        kinds = {unicodedata.category(character)[0] for character in span[1:] if character not in "\u200c\u200d"}
        assert not ({"L", "N"} <= kinds or {"L", "P"} <= kinds or {"N", "P"} <= kinds)


@given(LONG_TEXTS, st.integers(1, 60))
@settings(deadline=None, max_examples=50)
def test_cutting_a_text_after_its_kth_span_leaves_the_first_k_spans(text: str, k: int) -> None:
    spans_S2 = universal_spans(text)
    assume(len(spans_S2) >= k)
    head = text.encode()[: int(spans_S2[k - 1, 1])].decode()
    assert universal_spans(head).tolist() == spans_S2[:k].tolist()


@given(TEXTS, TEXTS)
@settings(deadline=None, max_examples=50)
def test_texts_joined_by_a_blank_line_keep_their_spans(left: str, right: str) -> None:
    # true unless whitespace touches the joint, or a mark there has no base of its own
    assume(left and right and not universal_ends(left, -1) and not universal_ends(right, 0))
    joined = universal_spans(left + "\n\n" + right)
    shift = len(left.encode())
    expected = [universal_spans(left), [[shift, shift + 2]], universal_spans(right) + shift + 2]
    assert joined.tolist() == np.concatenate(expected).tolist()


def universal_ends(text: str, at: int) -> bool:
    return text[at].isspace() or unicodedata.category(text[at])[0] in "ZM" or text[at] in "\u200c\u200d"


@given(TEXTS)
@settings(deadline=None, max_examples=50)
def test_byte_offsets_agree_with_encoding_each_prefix(text: str) -> None:
    assert byte_offsets(text).tolist() == [len(text[:end].encode()) for end in range(len(text) + 1)]
