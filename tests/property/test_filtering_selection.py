import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.filtering.policy import Policy, fraction_count
from curator.filtering.select import select as select_rows
from tests.filtering.selection_rows import score_arrays

QUICK = settings(deadline=None, max_examples=50)
few_values = st.sampled_from([0.0, 0.1, 0.5, 0.5000001, 1.0, math.nan])
documents = st.lists(st.tuples(few_values | st.floats(0, 1), st.integers(0, 50), st.floats(-5, 5)), max_size=40)
policies = st.one_of(
    st.floats(0, 1).map(lambda value: Policy(threshold=value)),
    st.floats(0, 1, exclude_min=True).map(lambda value: Policy(keep_fraction=value)),
    st.integers(1, 800).map(lambda value: Policy(token_budget=value)),
)


def select(scores, tokens, policy, tie_break_D=None):
    """Mask of what one target's policy keeps."""
    values = np.zeros(scores.shape) if tie_break_D is None else tie_break_D
    return select_rows(score_arrays(scores, tokens_D=tokens, value_TD=values[None]), policy).kept_D


def arrays(pool):
    return (
        np.array([score for score, _, _ in pool], float),
        np.array([tokens for _, tokens, _ in pool], np.int64),
        np.array([tie for _, _, tie in pool], float),
    )


@QUICK
@given(documents, policies)
def test_a_higher_score_is_never_dropped_while_a_lower_one_is_kept(pool, policy):
    scores, tokens, ties = arrays(pool)
    mask = select(scores, tokens, policy, tie_break_D=ties)
    finite = np.isfinite(scores)
    assert not mask[~finite].any()
    if mask.any() and (finite & ~mask).any():
        assert scores[mask].min() >= scores[finite & ~mask].max()


@QUICK
@given(documents, st.integers(1, 800))
def test_a_budget_is_never_exceeded_and_the_next_document_would_exceed_it(pool, budget):
    scores, tokens, ties = arrays(pool)
    mask = select(scores, tokens, Policy(token_budget=budget), tie_break_D=ties)
    assert tokens[mask].sum() <= budget
    dropped = sorted(np.flatnonzero(np.isfinite(scores) & ~mask), key=lambda i: (-scores[i], -ties[i], i))
    if dropped:
        assert tokens[mask].sum() + tokens[dropped[0]] > budget


@QUICK
@given(documents, st.floats(0, 1, exclude_min=True))
def test_a_fraction_keeps_the_stated_number_exactly(pool, fraction):
    scores, tokens, _ = arrays(pool)
    finite = int(np.isfinite(scores).sum())
    assert select(scores, tokens, Policy(keep_fraction=fraction)).sum() == fraction_count(fraction, finite)
    assert abs(fraction_count(fraction, finite) - fraction * finite) <= 0.5 + 1e-9


@QUICK
@given(documents, st.floats(0, 1, exclude_min=True), st.floats(0, 1, exclude_min=True))
def test_a_larger_fraction_keeps_all_that_a_smaller_one_keeps(pool, one, other):
    scores, tokens, ties = arrays(pool)
    small, large = (
        select(scores, tokens, Policy(keep_fraction=fraction), tie_break_D=ties) for fraction in sorted((one, other))
    )
    assert not (small & ~large).any()


@QUICK
@given(documents, policies, st.randoms(use_true_random=False))
def test_the_choice_among_different_scores_does_not_depend_on_their_order(pool, policy, random):
    distinct = list({score: (score, tokens, tie) for score, tokens, tie in pool if not math.isnan(score)}.values())
    shuffled = random.sample(distinct, len(distinct))

    def chosen(part):
        scores, tokens, _ = arrays(part)
        return set(scores[select(scores, tokens, policy)].tolist())

    assert chosen(distinct) == chosen(shuffled)
