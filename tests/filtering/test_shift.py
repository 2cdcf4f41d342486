import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.filtering.policy import Policy
from curator.filtering.select import select
from curator.filtering.shift import MOST_SOURCES, OTHERS, Shift, ShiftClass, shift_of
from tests.filtering.selection_rows import codes, score_arrays


def test_a_preference_for_long_documents_and_for_one_source_is_seen():
    arrays = score_arrays([0.1, 0.9, 0.2, 0.8], tokens_D=[10, 300, 20, 500], piece_D=[0, 1, 1, 2])
    shift = shift_of(arrays, select(arrays, Policy(threshold=0.5)), ["a.jsonl", "b.jsonl", "b.jsonl"])
    assert shift.by_length == (
        ShiftClass("0 to 15 tokens", 1, 0, 10, 0),
        ShiftClass("16 to 63 tokens", 1, 0, 20, 0),
        ShiftClass("256 to 1023 tokens", 2, 2, 800, 800),
    )
    assert shift.by_source == (ShiftClass("a.jsonl", 1, 0, 10, 0), ShiftClass("b.jsonl", 3, 2, 820, 800))
    assert (shift.median_tokens_in, shift.median_tokens_kept) == (160.0, 400.0)
    assert json.loads(json.dumps(shift.to_json()))["by_source"][1]["tokens_kept"] == 800


def test_unreadable_records_are_left_out_and_windows_count_as_their_document():
    arrays = score_arrays(
        [np.nan, 0.9, 0.1],
        reason_D=codes(["invalid_json", "", ""]),
        unreadable_D=[True, False, False],
        tokens_D=[0, 40, 60],
        document_D=[0, 1, 1],
        window_D=[-1, 0, 1],
    )
    shift = shift_of(arrays, select(arrays, Policy(threshold=0.5, windows="window")), ["a"])
    assert shift.by_length == (ShiftClass("64 to 255 tokens", 1, 1, 100, 40),)


def test_the_sources_with_most_documents_are_listed_where_there_are_too_many():
    pieces = [*range(60), 59, 59]
    arrays = score_arrays([0.9] * 62, piece_D=pieces)
    shift = shift_of(arrays, select(arrays, Policy(threshold=0.5)), [f"part-{number}" for number in range(60)])
    assert len(shift.by_source) == MOST_SOURCES + 1
    assert shift.by_source[-2] == ShiftClass("part-59", 3, 3, 3, 3)
    assert shift.by_source[-1] == ShiftClass(OTHERS, 10, 10, 10, 10)


def test_an_empty_job_has_no_classes():
    arrays = score_arrays([])
    assert shift_of(arrays, select(arrays, Policy(threshold=0.5)), []) == Shift((), (), 0.0, 0.0)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 20_000), st.integers(0, 3)), max_size=30))
def test_both_tables_add_up_to_the_whole(rows):
    score, tokens, piece = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    arrays = score_arrays(score, tokens_D=tokens, piece_D=sorted(piece))
    verdicts = select(arrays, Policy(threshold=0.5))
    shift = shift_of(arrays, verdicts, ["a", "b", "a", "c"])
    for table in (shift.by_length, shift.by_source):
        assert sum(one.documents_in for one in table) == len(rows)
        assert sum(one.documents_kept for one in table) == verdicts.kept_D.sum()
        assert sum(one.tokens_in for one in table) == sum(tokens)
        assert sum(one.tokens_kept for one in table) == arrays.tokens_D[verdicts.kept_D].sum()
