import math

import numpy as np
import pytest
from pydantic import ValidationError

from curator.errors import ConfigError
from curator.filtering.policy import Policy, TargetShare, fraction_count
from curator.filtering.select import select
from curator.records import Score
from tests.filtering.selection_rows import score_arrays


def kept(scores, tokens, policy, tie_break=None):
    values = np.zeros(len(scores)) if tie_break is None else tie_break
    return np.flatnonzero(select(score_arrays(scores, tokens_D=tokens, value_TD=[values]), policy).kept_D).tolist()


@pytest.mark.parametrize(
    "limits", [{}, {"threshold": 0.5, "keep_fraction": 0.1}, {"keep_fraction": 0.1, "token_budget": 5}]
)
def test_a_policy_has_exactly_one_limit(limits):
    with pytest.raises(ConfigError, match="exactly one of threshold, keep_fraction and token_budget"):
        Policy(**limits)


@pytest.mark.parametrize(
    "limits",
    [
        {"threshold": math.nan},
        {"threshold": 1.5},
        {"threshold": -0.1},
        {"threshold": math.inf, "field": "value"},
        {"keep_fraction": 0.0},
        {"keep_fraction": 1.01},
        {"keep_fraction": math.nan},
        {"token_budget": 0},
        {"soft_width": -0.1, "threshold": 0.5},
        {"soft_width": math.inf, "threshold": 0.5},
        {"soft_width": 5.0, "threshold": 0.5},
        {"near_duplicates": 0.0, "threshold": 0.5},
        {"near_duplicates": 1.5, "threshold": 0.5},
    ],
)
def test_a_limit_out_of_range_is_refused_by_name(limits):
    with pytest.raises(ConfigError, match=next(iter(limits))):
        Policy(**limits)


def test_unknown_settings_are_refused():
    with pytest.raises(ValidationError, match="recall"):
        Policy(threshold=0.5, recall=0.9)


def test_a_threshold_keeps_what_equals_it_and_never_nan():
    policy = Policy(threshold=0.5)
    assert policy.passes(Score("a", -9.0, 0.5, 1))
    assert not policy.passes(Score("b", 9.0, 0.49, 1))
    assert not policy.passes(Score("c", 9.0, math.nan, 1))
    assert not policy.needs_all_scores


def test_a_threshold_on_the_raw_value_may_be_any_number():
    assert Policy(threshold=-3.0, field="value").passes(Score("a", -2.5, 0.0, 1))


def test_a_fraction_cannot_decide_one_document_alone():
    with pytest.raises(ConfigError, match="need them all"):
        Policy(keep_fraction=0.5).passes(Score("a", 1.0, 1.0, 1))


def test_a_fraction_keeps_the_best_documents_in_any_order():
    assert kept([0.1, 0.9, 0.5, 0.7], [1, 1, 1, 1], Policy(keep_fraction=0.5)) == [1, 3]


def test_equal_scores_are_ranked_by_the_tie_breaker_and_then_by_order():
    assert kept([0.5] * 4, [1] * 4, Policy(keep_fraction=0.5)) == [0, 1]
    tie_break = np.array([1.0, 3.0, 2.0, 3.0])
    assert kept([0.5] * 4, [1] * 4, Policy(keep_fraction=0.5), tie_break=tie_break) == [1, 3]
    assert kept([0.5, 0.5, 0.6, 0.5], [1] * 4, Policy(keep_fraction=0.5), tie_break=tie_break) == [1, 2]


def test_a_token_budget_stops_before_the_first_document_that_does_not_fit():
    assert kept([0.9, 0.8, 0.7, 0.6], [5, 4, 3, 1], Policy(token_budget=10)) == [0, 1]
    assert kept([0.9, 0.8], [5, 5], Policy(token_budget=10)) == [0, 1]
    assert kept([0.9, 0.8], [11, 1], Policy(token_budget=10)) == []


def test_documents_without_a_finite_score_neither_win_nor_count():
    scores = [math.nan, 0.2, math.inf, 0.9]
    assert kept(scores, [1] * 4, Policy(keep_fraction=0.5)) == [3]
    assert kept(scores, [1] * 4, Policy(token_budget=9)) == [1, 3]
    assert kept(scores, [1] * 4, Policy(threshold=0.0)) == [1, 3]


@pytest.mark.parametrize("policy", [Policy(threshold=0.5), Policy(keep_fraction=0.5), Policy(token_budget=5)])
def test_an_empty_corpus_keeps_nothing(policy):
    assert kept([], [], policy) == []


def test_a_fraction_made_from_a_count_gives_the_count_back():
    assert all(fraction_count(part / whole, whole) == part for whole in range(1, 200) for part in range(1, whole + 1))
    assert fraction_count(0.5, 3) == 2
    assert fraction_count(0.01, 10) == 0


LAW, MATH = TargetShare(name="law", threshold=0.5), TargetShare(name="math", keep_fraction=0.1, threshold=0.2)
HALF, REST = TargetShare(name="law", weight=0.5), TargetShare(name="math", weight=1.5, threshold=0.1)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"targets": (LAW, LAW)}, "named twice"),
        ({"targets": (LAW, MATH), "target": "law"}, "either target or targets"),
        ({"targets": (LAW, MATH), "field": "value"}, "cannot be compared"),
        ({"targets": (LAW, MATH), "threshold": 0.5}, "no other limit"),
        ({"targets": (HALF, REST), "token_budget": 9, "keep_fraction": 0.5}, "no other limit"),
        ({"targets": (LAW, REST)}, "'math' needs a threshold"),
        ({"targets": (TargetShare(name="law"),)}, "'law' needs a threshold"),
        ({"targets": (HALF, LAW.model_copy(update={"name": "math"})), "token_budget": 9}, "each need a weight"),
        (
            {"targets": (HALF, TargetShare(name="math", weight=1, token_budget=3)), "token_budget": 9},
            "no budget of their",
        ),
    ],
)
def test_targets_that_contradict_each_other_are_refused_in_one_sentence(settings, complaint):
    with pytest.raises(ConfigError, match=complaint) as caught:
        Policy(**settings)
    assert str(caught.value).count(". ") == 0


@pytest.mark.parametrize(
    ("limits", "complaint"),
    [
        ({"weight": 0.0}, "weight of target 'law' is 0.0"),
        ({"weight": math.nan}, "weight of target 'law' is nan"),
        ({"threshold": 2.0}, "threshold of target 'law' is 2.0"),
        ({"keep_fraction": 0.0}, "keep_fraction of target 'law' is 0.0"),
        ({"token_budget": 0}, "token_budget of target 'law' is 0"),
        ({"token_budget": 5, "keep_fraction": 0.5}, "choose one"),
    ],
)
def test_a_share_out_of_range_is_refused_by_name(limits, complaint):
    with pytest.raises(ConfigError, match=complaint):
        TargetShare(name="law", **limits)


@pytest.mark.parametrize(
    "policy",
    [
        Policy(threshold=0.25, soft_width=0.1, seed=5, wanted="precision 0.95", windows="window"),
        Policy(targets=(LAW, MATH), drop_duplicates=True, near_duplicates=0.7),
        Policy(targets=(HALF, REST), token_budget=10**13),
    ],
)
def test_a_policy_survives_json(policy):
    assert Policy.model_validate_json(policy.model_dump_json()) == policy


def test_weights_are_resolved_into_tokens():
    assert [limit.token_budget for limit in Policy(targets=(HALF, REST), token_budget=9).limits] == [2, 6]
    assert Policy(targets=(LAW, MATH)).limits == (("law", 0.5, None, None), ("math", 0.2, 0.1, None))
    assert Policy(keep_fraction=0.5, target="law").limits == (("law", None, 0.5, None),)


@pytest.mark.parametrize("extra", [{"drop_duplicates": True}, {"near_duplicates": 0.8}])
def test_duplicates_cannot_be_found_one_by_one(extra):
    policy = Policy(threshold=0.5, **extra)
    assert policy.needs_all_scores
    with pytest.raises(ConfigError, match="need them all"):
        policy.passes(Score("a", 1.0, 1.0, 1))
