"""Golden cuts of the universal segmentation, one for each rule."""

from __future__ import annotations

import numpy as np
import pytest

from curator.errors import DocumentError
from curator.text.segmentation import MAX_SPAN_CODE_POINTS, SEGMENTATION_VERSION, byte_offsets, universal_spans


def cut(text: str) -> list[str]:
    data = text.encode()
    return [data[start:end].decode() for start, end in universal_spans(text).tolist()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, world!", ["Hello", ",", " world", "!"]),
        ("It's 3.14", ["It", "'", "s", " 3", ".", "14"]),
        ("if (x_1 >= 20) {", ["if", " (", "x", "_", "1", " >=", " 20", ")", " {"]),
        ("a  b", ["a", " ", " b"]),
        ("a\n    return b", ["a", "\n   ", " return", " b"]),
        ("a\n\n\tb", ["a", "\n\n\t", "b"]),
        ("tail   ", ["tail", "   "]),
        (" lead", [" lead"]),
        ("a\u00a0b", ["a", "\u00a0", "b"]),
        ("Ⅷ ½ ٣٤", ["Ⅷ", " ½", " ٣٤"]),
        ("€5 §12", ["€", "5", " §", "12"]),
        ("Straße, naïve", ["Straße", ",", " naïve"]),
    ],
)
def test_words_numbers_symbols_and_whitespace_are_cut_by_unicode_class(text: str, expected: list[str]) -> None:
    assert cut(text) == expected


def test_a_combining_mark_belongs_to_the_word_before_it() -> None:
    assert cut("cafe\u0301 noir") == ["cafe\u0301", " noir"]


def test_a_combining_mark_without_a_base_opens_a_word() -> None:
    assert cut("\u0301a b \u0301c") == ["\u0301a", " b", " \u0301c"]


def test_joiners_and_variation_selectors_keep_words_and_emoji_whole() -> None:
    persian = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"  # "I want", with a zero-width non-joiner inside
    assert cut(f"{persian} 👩\u200d👧 ❤\ufe0f") == [persian, " 👩\u200d👧", " ❤\ufe0f"]


def test_scripts_without_spaces_are_cut_into_single_characters() -> None:
    assert cut("日本語テキスト") == list("日本語テキスト")
    assert cut("한국 어") == ["한", "국", " 어"]
    assert cut("\u304b\u3099き") == ["\u304b\u3099", "き"]  # a voicing mark stays with its kana
    assert cut("漢字123abc。") == ["漢", "字", "123", "abc", "。"]
    assert cut("\U00020000\U00020001") == ["\U00020000", "\U00020001"]


def test_a_blob_is_cut_at_the_cap() -> None:
    assert MAX_SPAN_CODE_POINTS == 64
    assert [len(span) for span in cut("A" * 130 + " b")] == [64, 64, 2, 2]
    assert [len(span) for span in cut(" " + "é" * 64)] == [64, 1]


def test_the_last_space_of_a_long_whitespace_run_goes_to_the_word() -> None:
    assert [len(span) for span in cut(" " * 100 + "x")] == [64, 35, 2]


def test_the_empty_text_has_no_spans() -> None:
    spans = universal_spans("")
    assert spans.shape == (0, 2)
    assert spans.dtype == np.int64
    assert byte_offsets("").tolist() == [0]


def test_byte_offsets_count_one_to_four_bytes_a_character() -> None:
    assert byte_offsets("aé€😀z").tolist() == [0, 1, 3, 6, 10, 11]
    assert byte_offsets("plain").tolist() == [0, 1, 2, 3, 4, 5]


def test_a_lone_surrogate_is_refused_with_its_place() -> None:
    with pytest.raises(DocumentError, match="character 2"):
        universal_spans("ab\ud800")


def test_the_version_is_the_one_that_the_golden_cuts_belong_to() -> None:
    assert SEGMENTATION_VERSION == 1
