import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.errors import ConfigError, SourceNotFoundError
from curator.filtering.decontamination import DecontaminationSettings, Decontaminator
from curator.filtering.ngrams import ngram_hashes, word_hashes
from curator.records import Document

QUICK = settings(deadline=None, max_examples=50)
QUESTION = "A train leaves the station at noon with forty passengers and returns at six with twelve fewer, how many?"
SHORT = "Which of these rivers does not reach the sea?"
TINY = "What is two plus two?"
FILLER = "ordinary sentences about nothing in particular that go on and on until a page is full of them"


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


@pytest.fixture
def evaluations(tmp_path):
    return [
        write(tmp_path / "trains.jsonl", [{"text": QUESTION}, {"text": TINY}]),
        write(tmp_path / "rivers.jsonl", [{"text": SHORT}]),
    ]


def found(decontaminator, text):
    return decontaminator.columns([Document("d", text)])[0]["contaminated"]


def test_a_document_that_holds_an_evaluation_text_is_named_after_its_file(evaluations):
    checker = Decontaminator(evaluations)
    assert found(checker, f"{FILLER} {QUESTION} {FILLER}") == "trains.jsonl"
    assert found(checker, f"{FILLER}. {SHORT} {FILLER}") == "rivers.jsonl"
    assert found(checker, FILLER) == ""
    assert found(checker, "") == ""


def test_case_punctuation_and_layout_do_not_hide_a_match(evaluations):
    checker = Decontaminator(evaluations)
    assert found(checker, QUESTION.upper().replace(",", " --").replace(" ", "\n* ")) == "trains.jsonl"
    assert found(checker, SHORT.replace("Which", "\uff37hich")) == "rivers.jsonl"  # full-width W


def test_twelve_words_in_a_row_are_not_enough_and_thirteen_are(evaluations):
    checker = Decontaminator(evaluations)
    words = QUESTION.split()
    assert found(checker, " ".join(words[2:14])) == ""
    assert found(checker, " ".join(words[2:15])) == "trains.jsonl"
    assert found(checker, " ".join([*words[:9], "broken", *words[9:]])) == ""


def test_a_short_evaluation_text_counts_only_as_a_whole_and_a_tiny_one_never(evaluations):
    checker = Decontaminator(evaluations)
    assert found(checker, SHORT.rsplit(" ", 1)[0]) == ""
    assert found(checker, f"{TINY} {FILLER}") == ""
    assert (checker.texts, checker.too_short) == (2, 1)
    assert checker.ngrams == len(QUESTION.split()) - 12 + 1


def test_more_matches_may_be_asked_for_but_a_short_text_is_still_enough(evaluations):
    checker = Decontaminator(evaluations, DecontaminationSettings(min_matches=3))
    words = QUESTION.split()
    assert found(checker, " ".join(words[:14]) + " and again " + " ".join(words[:14])) == ""
    assert found(checker, " ".join(words[:15])) == "trains.jsonl"
    assert found(checker, f"{FILLER}: {SHORT}") == "rivers.jsonl"


def test_the_file_with_most_matches_gives_the_name(evaluations):
    checker = Decontaminator(evaluations)
    assert found(checker, f"{SHORT} {QUESTION}") == "trains.jsonl"


def test_texts_come_from_the_fields_that_are_named(tmp_path):
    records = [{"question": QUESTION, "id": 1}, {"question": "?", "answer": FILLER, "id": 2}]
    source = write(tmp_path / "quiz.jsonl", records)
    checker = Decontaminator([source], DecontaminationSettings(fields=("question", "answer")))
    assert found(checker, f"see: {FILLER}") == "quiz.jsonl"
    assert found(checker, QUESTION) == "quiz.jsonl"
    with pytest.raises(ConfigError, match=r"quiz.jsonl has no text in the field text; name its fields"):
        Decontaminator([source])
    with pytest.raises(ConfigError, match="no text long enough"):
        Decontaminator([write(tmp_path / "tiny.jsonl", [{"text": TINY}])])


def test_a_text_that_lies_across_a_cut_is_found_and_marks_the_windows_it_touches(evaluations):
    checker = Decontaminator(evaluations)
    words = QUESTION.split()
    parts = [FILLER, f"{FILLER} {' '.join(words[:9])}", f"{' '.join(words[9:])} {FILLER}", FILLER]
    columns = checker.columns([Document(f"d#w{number}", part) for number, part in enumerate(parts)])
    assert [column["contaminated"] for column in columns] == ["", "trains.jsonl", "trains.jsonl", ""]


def test_mistakes_in_the_files_are_named(evaluations, tmp_path):
    (tmp_path / "b").mkdir()
    twin = write(tmp_path / "b" / "rivers.jsonl", [{"text": SHORT}])
    with pytest.raises(ConfigError, match="same name"):
        Decontaminator([*evaluations, twin])
    with pytest.raises(ConfigError, match="at least one"):
        Decontaminator([])
    with pytest.raises(SourceNotFoundError):
        Decontaminator([str(tmp_path / "missing.jsonl")])
    with pytest.raises(ConfigError, match="min_words is 9"):
        DecontaminationSettings(words=8, min_words=9)


def test_the_fingerprint_follows_contents_and_settings_and_not_the_folder(evaluations, tmp_path):
    (tmp_path / "b").mkdir()
    moved = write(tmp_path / "b" / "rivers.jsonl", [{"text": SHORT}])
    changed = write(tmp_path / "b" / "trains.jsonl", [{"text": QUESTION + " Answer."}])
    same = Decontaminator(evaluations).fingerprint
    assert Decontaminator([evaluations[0], moved]).fingerprint == same
    assert Decontaminator([changed, evaluations[1]]).fingerprint != same
    assert Decontaminator(evaluations, DecontaminationSettings(min_matches=2)).fingerprint != same


alphabet = st.sampled_from(["one", "two", "Drei", "four's", "5", "字字", "हिन्दी", "—", "...", "été"])


@QUICK
@given(st.lists(alphabet, max_size=30), st.integers(1, 6))
def test_ngrams_are_equal_where_and_only_where_their_words_are(words, n):
    text = " ".join(words)
    word = word_hashes(text)
    grams = ngram_hashes(word, n)
    assert grams.size == max(0, word.size - n + 1)
    windows = [tuple(word[at : at + n].tolist()) for at in range(grams.size)]
    assert len(set(windows)) == np.unique(grams).size
    assert (word_hashes(f"!! {text.upper()} ...") == word).all()


def test_words_are_letters_and_digits_and_single_ideographs():
    assert word_hashes("Hello, world — 42!").size == 3
    assert word_hashes("漢字かな").size == 4
    assert word_hashes("हिन्दी में").size == 2
    assert word_hashes("... — \n\t ").size == 0
    assert word_hashes("").size == 0
    assert (word_hashes("don't") == word_hashes("DON'T")).all()
