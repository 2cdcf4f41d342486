"""The end of a ranking found without the ranking: the same units as the walk that sorts them all."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.filtering.assign import assign
from curator.filtering.cut import Cut, Ranking, Walk, falling
from curator.filtering.policy import TargetLimit

NUMBERS = st.sampled_from([0.0, -0.0, 0.25, 0.5, 1.0, math.nan]) | st.floats(-2, 2, allow_nan=False)
LIMITS = st.one_of(
    st.builds(TargetLimit, st.just("law"), st.none() | st.just(0.25), st.floats(0.01, 1)),
    st.builds(TargetLimit, st.just("law"), st.none() | st.just(0.25), st.none(), st.integers(0, 200)),
    st.builds(TargetLimit, st.just("law"), st.just(0.25), st.floats(0.01, 1), st.integers(0, 200)),
)


@settings(deadline=None, max_examples=200)
@given(
    rows=st.lists(st.tuples(NUMBERS, st.sampled_from([-1.0, 0.0, 2.5]), st.integers(0, 30)), max_size=40),
    limit=LIMITS,
    parts=st.integers(1, 5),
    unranked=st.integers(0, 20),
)
def test_in_parts_the_same_units_are_kept_as_by_the_walk_over_all(tmp_path_factory, rows, limit, parts, unranked):
    score, value = (np.array([row[place] for row in rows], float) for place in (0, 1))
    tokens = np.array([row[2] for row in rows], np.int64)
    expected = assign(score[None], value[None], tokens, [limit], unranked) == 0
    pieces = np.array_split(np.arange(len(rows)), parts)
    with Ranking(tmp_path_factory.getbasetemp(), limit) as ranking:
        for number, part in enumerate(pieces):
            ranking.add(score[part], value[part], tokens[part], unranked if number == 0 else 0)
        cut = ranking.cut()
    walk = Walk(cut, limit)
    found = [walk.take(score[part], value[part]) for part in pieces]
    assert np.concatenate(found).tolist() == expected.tolist()
    if walk.score is not None and expected.any():
        assert walk.score <= score[expected].min()


def test_more_rows_than_a_block_with_many_equal_ones_are_cut_exactly(tmp_path):
    generator = np.random.default_rng(0)
    score = generator.integers(0, 50, 200_000) / 50
    value, tokens = generator.integers(0, 3, 200_000) * 1.0, generator.integers(1, 900, 200_000)
    limit = TargetLimit("law", token_budget=int(tokens.sum() // 3))
    with Ranking(tmp_path, limit) as ranking:
        for start in range(0, 200_000, 70_001):
            part = slice(start, start + 70_001)
            ranking.add(score[part], value[part], tokens[part])
        walk = Walk(ranking.cut(), limit)
    found = np.concatenate([walk.take(score[:99], value[:99]), walk.take(score[99:], value[99:])])
    assert (found == (assign(score[None], value[None], tokens, [limit]) == 0)).all()
    left = limit.token_budget - tokens[found].sum()
    assert 0 <= left < 900


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=False), min_size=2, max_size=30))
def test_keys_rise_as_numbers_fall(numbers):
    array = np.array(numbers)
    keys = falling(array)
    order = np.argsort(-array, kind="stable")
    assert (np.diff(keys[order].astype(object)) >= 0).all()
    assert ((array[:-1] == array[1:]) == (keys[:-1] == keys[1:])).all()


@pytest.mark.parametrize("score", [0.0, 0.75, -3.5, 1e-300])
def test_a_cut_knows_its_score(score):
    key = int(falling(np.array([score]))[0])
    assert Walk(Cut(key, 0, 1), TargetLimit("law")).score == score
    assert Walk(Cut(), TargetLimit("law")).score is None
