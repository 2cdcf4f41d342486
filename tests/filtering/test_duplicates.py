import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.errors import ArtifactError, MissingExtraError
from curator.filtering.duplicates import (
    MinHashAnnotator,
    MinHashSettings,
    equal_text_groups,
    worse_copies,
)
from curator.filtering.near_duplicates import band_shape, near_duplicate_groups
from curator.filtering.ngrams import ngram_hashes, word_hashes
from curator.filtering.policy import Policy
from curator.filtering.select import select
from curator.records import Document
from tests.filtering.selection_rows import names, score_arrays

QUICK = settings(deadline=None, max_examples=50)
WORDS = [f"{first}{second}" for first in "bcdfglmnprst" for second in ("ab", "el", "in", "or", "um")]


def sentence(rng, words):
    return " ".join(rng.choice(WORDS, words))


def edited(rng, text, edits):
    words = text.split()
    for place in rng.choice(len(words), edits, replace=False):
        words[place] = "changed"
    return " ".join(words)


def jaccard(left, right, n=5):
    one, other = (set(ngram_hashes(word_hashes(text), n).tolist()) for text in (left, right))
    return len(one & other) / len(one | other)


def signed(texts, annotator=None, block=7):
    """A reader of the signatures of texts, in blocks."""
    annotator = annotator or MinHashAnnotator()
    signs = [annotator.signature(text) for text in texts]
    rows = np.array([row for row, sign in enumerate(signs) if sign], np.int64)
    matrix = np.array([np.frombuffer(sign, np.uint8) for sign in signs if sign]).reshape(
        rows.size, -1 if rows.size else 0
    )
    return lambda: ((rows[at : at + block], matrix[at : at + block]) for at in range(0, rows.size, block))


def groups(texts, similarity=0.8, **options):
    return near_duplicate_groups(signed(texts, **options), None, len(texts), similarity).tolist()


@QUICK
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=30))
def test_equal_hashes_are_grouped_under_their_first_even_if_one_half_collides(pairs):
    hashes = np.array(pairs, np.uint64).reshape(-1, 2)
    assert equal_text_groups(hashes).tolist() == [pairs.index(pair) for pair in pairs]


@QUICK
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.booleans(), st.sampled_from([0.1, 0.5, 0.9]), st.integers(0, 1)), max_size=25
    )
)
def test_of_each_group_the_best_live_member_stays(members):
    names_, live, score, value = (
        (list(column) for column in zip(*members, strict=True)) if members else ([], [], [], [])
    )
    group = np.array([names_.index(name) for name in names_], np.int64)
    dropped = worse_copies(group, np.array(live, bool), np.array(score, float), np.array(value, float))
    expected = []
    for name in set(names_):
        mine = [place for place, other in enumerate(names_) if other == name and live[place]]
        mine.sort(key=lambda place: (-score[place], -value[place], place))
        expected += mine[1:]
    assert sorted(dropped.tolist()) == sorted(expected)


def test_the_signature_estimates_the_jaccard_similarity():
    rng = np.random.default_rng(0)
    annotator = MinHashAnnotator()
    errors = []
    for _ in range(60):
        text = sentence(rng, 200)
        other = edited(rng, text, int(rng.integers(0, 40)))
        one, two = (np.frombuffer(annotator.signature(t), "<u4") for t in (text, other))
        errors.append(np.mean(one == two) - jaccard(text, other))
    assert abs(np.mean(errors)) < 0.02
    assert np.max(np.abs(errors)) < 0.17  # standard error of 128 places: at most 0.045


def test_signatures_are_the_same_on_every_machine_and_ignore_case_and_punctuation():
    short = MinHashAnnotator(MinHashSettings(permutations=16))
    texts = ["A small, plain text of nine words it is.", "a SMALL plain — text (of) nine words: it is"]
    assert [column["minhash"].hex() for column in short.columns([Document("d", text) for text in texts])] == [
        GOLDEN
    ] * 2
    assert MinHashAnnotator().signature(" …!?  ") == b""
    assert len(MinHashAnnotator().signature("two words")) == 512


def test_the_fingerprint_follows_the_settings():
    prints = {MinHashAnnotator(MinHashSettings(**options)).fingerprint for options in ({}, {"seed": 2}, {"words": 6})}
    assert len(prints) == 3
    assert MinHashAnnotator().fingerprint == MinHashAnnotator(MinHashSettings()).fingerprint


def test_without_the_library_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasketch", None)
    with pytest.raises(MissingExtraError, match=r"rosetta-curator\[engine\]"):
        MinHashAnnotator()


def test_near_copies_are_grouped_and_strangers_are_not():
    rng = np.random.default_rng(1)
    originals = [sentence(rng, 150) for _ in range(40)]
    copies = [edited(rng, text, 2) for text in originals[:20]]  # Jaccard about 0.87
    halves = [edited(rng, text, 30) for text in originals[20:30]]  # about 0.3
    found = groups(originals + copies + halves)
    assert found[:40] == list(range(40))
    wanted = [jaccard(text, copy) for text, copy in zip(originals[:20], copies, strict=True)]
    assert min(wanted) > 0.83
    assert found[40:60] == list(range(20))
    assert found[60:] == list(range(60, 70))


def test_recall_at_the_threshold_is_what_the_bands_promise():
    assert band_shape(128, 0.8) == (21, 6)
    assert band_shape(128, 1.0) == (1, 128)
    assert band_shape(128, 0.01) == (128, 1)
    for similarity in (0.3, 0.5, 0.7, 0.9):
        bands, rows = band_shape(128, similarity)
        assert bands * rows <= 128
        assert 1 - (1 - similarity**rows) ** bands >= 0.99


def test_a_chain_of_near_copies_is_one_group():
    rng = np.random.default_rng(2)
    chain = [sentence(rng, 200)]
    for _ in range(4):
        chain.append(edited(rng, chain[-1], 2))
    assert jaccard(chain[0], chain[-1]) < 0.85
    assert groups(chain, 0.85) == [0] * 5


@QUICK
@given(
    st.lists(st.sampled_from(["a b c d e f", "a b c d e f g", "x y z", "", "p q r s t u v w"]), max_size=12),
    st.integers(1, 5),
)
def test_groups_depend_on_neither_blocks_nor_empty_texts(texts, block):
    found = groups(texts, 0.99, block=block)
    assert found == [texts.index(text) if text else place for place, text in enumerate(texts)]


def test_the_signature_of_windows_is_that_of_their_union():
    rng = np.random.default_rng(3)
    parts = [sentence(rng, 120) for _ in range(3)]
    texts = ["other words " * 40, *parts, *parts, sentence(rng, 120)]
    unit_D = np.array([0, 1, 1, 1, 2, 2, 2, 3])
    for block in (1, 2, 3, 8):
        found = near_duplicate_groups(signed(texts, block=block), unit_D, 4, 0.9)
        assert found.tolist() == [0, 1, 1, 3]


def test_signatures_of_two_settings_are_not_compared():
    reader = signed(["a b c d e f"])
    shorter = signed(["a b c d e f"], MinHashAnnotator(MinHashSettings(permutations=64)))
    with pytest.raises(ArtifactError, match="differ in length"):
        near_duplicate_groups(lambda: [*reader(), *shorter()], None, 2, 0.8)


def test_the_selection_keeps_the_best_near_copy_and_reports_the_others():
    rng = np.random.default_rng(4)
    text = sentence(rng, 150)
    texts = [text, edited(rng, text, 1), sentence(rng, 150), text]
    arrays = score_arrays([0.6, 0.8, 0.7, 0.6], signatures=signed(texts), text_hash_D2=[[1, 1], [2, 2], [3, 3], [1, 1]])
    verdicts = select(arrays, Policy(keep_fraction=1.0, near_duplicates=0.8, drop_duplicates=True))
    assert names(verdicts.reason_D) == ["near_duplicate", "", "", "duplicate"]


GOLDEN = (
    "c5f6146fa4a099530615925dc103ca448a6b592301f98a586d013e27af167416"
    "0e0e347a7088b915270ceb0ab3067632f149a0625a591702711f080d18f03b24"
)
