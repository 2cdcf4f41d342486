import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.errors import ArtifactError, ConfigError
from curator.filtering.policy import Policy, TargetShare, fraction_count
from curator.filtering.select import select
from curator.records import Score
from tests.filtering.selection_rows import codes, names, score_arrays

QUICK = settings(deadline=None, max_examples=50)
PLATEAU = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, math.nan]) | st.floats(0, 1)


def kept(arrays, policy):
    return np.flatnonzero(select(arrays, policy).kept_D).tolist()


@st.composite
def corpora(draw, targets=3):
    """Arrays of a few documents for one to three targets, with plateaus, missing scores and documents without tokens."""
    rows = draw(st.integers(0, 30))
    named = ("law", "math", "news")[: draw(st.integers(1, targets))]
    column = st.lists(PLATEAU, min_size=rows, max_size=rows)
    tokens = draw(st.lists(st.integers(0, 40), min_size=rows, max_size=rows))
    probabilities = {name: draw(column) for name in named}
    values = np.array([draw(st.lists(st.integers(-2, 2), min_size=rows, max_size=rows)) for _ in named], float)
    return score_arrays(probabilities, tokens_D=tokens, value_TD=values.reshape(len(named), rows))


floors = st.none() | st.sampled_from([0.25, 0.5])
own_limits = st.one_of(
    st.builds(dict, threshold=st.sampled_from([0.0, 0.25, 0.5])),
    st.builds(dict, keep_fraction=st.floats(0.05, 1), threshold=floors),
    st.builds(dict, token_budget=st.integers(1, 200), threshold=floors),
)


@st.composite
def mixtures(draw, names):
    if draw(st.booleans()):
        shares = [TargetShare(name=name, **draw(own_limits)) for name in names]
        return Policy(targets=tuple(shares))
    shares = [TargetShare(name=name, weight=draw(st.floats(0.1, 9)), threshold=draw(floors)) for name in names]
    return Policy(targets=tuple(shares), token_budget=draw(st.integers(1, 400)))


def walked(arrays, policy):
    """The definition, word for word: walk all pairs in order; a target closes at what does not fit."""
    limits = policy.limits
    rows = [arrays.targets.index(limit.name) for limit in limits]
    pairs = []
    for target, (row, limit) in enumerate(zip(rows, limits, strict=True)):
        score, value = arrays.probability_TD[row], arrays.value_TD[row]
        floor = -math.inf if limit.threshold is None else limit.threshold
        able = [d for d in range(arrays.rows) if score[d] >= floor]
        able.sort(key=lambda d: (-score[d], -value[d], d))
        pairs += [(-score[d], rank, target, d) for rank, d in enumerate(able)]
    target_of, spent, closed = {}, [0] * len(limits), set()
    for _, _, target, document in sorted(pairs):
        if target in closed or document in target_of:
            continue
        limit, row = limits[target], rows[target]
        tokens = spent[target] + int(arrays.tokens_D[document])
        units = sum(other == target for other in target_of.values()) + 1
        most = math.inf
        if limit.keep_fraction is not None:
            most = fraction_count(limit.keep_fraction, int(np.isfinite(arrays.probability_TD[row]).sum()))
        if units > most or (limit.token_budget is not None and tokens > limit.token_budget):
            closed.add(target)
        else:
            target_of[document], spent[target] = target, tokens
    return [target_of.get(document, -1) for document in range(arrays.rows)]


@QUICK
@given(st.data())
def test_the_fast_assignment_is_the_walk_of_its_definition(data):
    arrays = data.draw(corpora())
    policy = data.draw(mixtures(arrays.targets))
    assert select(arrays, policy).target_D.tolist() == walked(arrays, policy)


@QUICK
@given(st.data())
def test_a_document_counts_once_and_no_budget_is_exceeded(data):
    arrays = data.draw(corpora())
    policy = data.draw(mixtures(arrays.targets))
    verdicts = select(arrays, policy)
    assert (verdicts.kept_D == (verdicts.target_D >= 0)).all()
    assert (verdicts.kept_D == (verdicts.reason_D == 0)).all()
    for target, (total, limit) in enumerate(zip(verdicts.targets, policy.limits, strict=True)):
        mine = verdicts.target_D == target
        assert total.documents == mine.sum()
        assert total.tokens == arrays.tokens_D[mine].sum()
        if limit.token_budget is not None:
            assert total.left_over == limit.token_budget - total.tokens >= 0


@QUICK
@given(st.data())
def test_what_nobody_took_never_scores_higher_than_what_a_target_took(data):
    arrays = data.draw(corpora())
    verdicts = select(arrays, data.draw(mixtures(arrays.targets)))
    for target, score in enumerate(arrays.probability_TD):
        mine, free = verdicts.target_D == target, ~verdicts.kept_D & np.isfinite(score)
        if mine.any() and free.any():
            assert score[mine].min() >= score[free].max()


@QUICK
@given(st.data())
def test_one_share_decides_like_the_plain_policy(data):
    arrays = data.draw(corpora(targets=1))
    limit = data.draw(
        own_limits.filter(lambda limits: len([value for value in limits.values() if value is not None]) == 1)
    )
    plain, shared = Policy(**limit), Policy(targets=(TargetShare(name="law", **limit),))
    assert (select(arrays, plain).reason_D == select(arrays, shared).reason_D).all()


@QUICK
@given(st.data())
def test_how_the_corpus_is_ordered_does_not_matter_where_no_scores_are_equal(data):
    arrays = data.draw(corpora())
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    shape = arrays.probability_TD.shape
    columns = dict(zip(arrays.targets, rng.permutation(np.prod(shape)).reshape(shape) / 1e3, strict=True))
    policy = data.draw(mixtures(arrays.targets))
    order = rng.permutation(arrays.rows)
    straight = select(score_arrays(columns, tokens_D=arrays.tokens_D), policy)
    turned = select(
        score_arrays({name: column[order] for name, column in columns.items()}, tokens_D=arrays.tokens_D[order]), policy
    )
    assert (straight.target_D[order] == turned.target_D).all()


def test_weights_share_a_budget_and_the_rest_of_it_is_reported():
    arrays = score_arrays({"law": [0.9] * 6 + [0.1] * 6, "math": [0.1] * 6 + [0.8] * 6}, tokens_D=[10] * 12)
    shares = (TargetShare(name="law", weight=3, threshold=0.5), TargetShare(name="math", weight=1, threshold=0.5))
    verdicts = select(arrays, Policy(targets=shares, token_budget=62))
    assert [total.token_budget for total in verdicts.targets] == [46, 15]
    assert [total.tokens for total in verdicts.targets] == [40, 10]
    assert [total.left_over for total in verdicts.targets] == [6, 5]
    assert [total.cutoff for total in verdicts.targets] == [0.9, 0.8]
    assert set(names(verdicts.reason_D)) == {"", "over_budget"}


def test_a_document_goes_to_its_next_target_where_the_best_one_is_full():
    arrays = score_arrays({"law": [0.9, 0.8, 0.7], "math": [0.1, 0.6, 0.2]})
    shares = (TargetShare(name="law", token_budget=1), TargetShare(name="math", token_budget=1))
    assert select(arrays, Policy(targets=shares)).target_D.tolist() == [0, 1, -1]


def test_thresholds_of_several_targets_give_each_document_to_the_one_it_scores_highest_for():
    arrays = score_arrays({"law": [0.9, 0.6, 0.1, 0.1], "math": [0.8, 0.7, 0.6, math.nan]})
    shares = (TargetShare(name="law", threshold=0.5), TargetShare(name="math", threshold=0.65))
    verdicts = select(arrays, Policy(targets=shares))
    assert verdicts.target_D.tolist() == [0, 1, -1, -1]
    assert names(verdicts.reason_D) == ["", "", "below_threshold", "below_threshold"]


def test_a_policy_takes_the_target_it_names():
    arrays = score_arrays({"law": [0.9, 0.1], "math": [0.1, 0.9]})
    assert kept(arrays, Policy(threshold=0.5, target="math")) == [1]
    with pytest.raises(ConfigError, match="names no target; choose one of: law, math"):
        select(arrays, Policy(threshold=0.5))
    with pytest.raises(ConfigError, match="no scores for target 'news'"):
        select(arrays, Policy(threshold=0.5, target="news"))


def test_the_first_reason_in_order_is_the_one_reported():
    arrays = score_arrays(
        [math.nan, math.nan, math.nan, 0.9, 0.9, 0.9, 0.2, 0.9],
        reason_D=codes(["invalid_json", "prefiltered", "", "", "", "", "", ""]),
        unreadable_D=[True] + [False] * 7,
        contaminated_D=[True, True, True, True, False, False, False, False],
        text_hash_D2=[[0, 0]] * 6 + [[1, 0], [2, 0]],
    )
    verdicts = select(arrays, Policy(threshold=0.5, drop_duplicates=True))
    expected = ["invalid_json", "prefiltered", "scoring_failed", "contaminated", "", "duplicate", "below_threshold", ""]
    assert names(verdicts.reason_D) == expected
    assert kept(arrays, Policy(threshold=0.5, drop_contaminated=False)) == [3, 4, 5, 7]


def test_copies_go_before_the_budget_is_spent_and_the_best_copy_stays():
    arrays = score_arrays(
        [0.7, 0.9, 0.9, 0.6, 0.5], tokens_D=[10] * 5, text_hash_D2=[[1, 2], [1, 2], [1, 2], [3, 3], [1, 9]]
    )
    verdicts = select(arrays, Policy(token_budget=20, drop_duplicates=True))
    assert names(verdicts.reason_D) == ["duplicate", "", "duplicate", "", "over_budget"]
    fraction = select(arrays, Policy(keep_fraction=1 / 3, drop_duplicates=True))
    assert np.flatnonzero(fraction.kept_D).tolist() == [1]


def test_duplicates_that_were_not_computed_are_asked_for_in_vain():
    arrays = score_arrays([0.5], text_hash_D2=None)
    with pytest.raises(ConfigError, match="no text hashes"):
        select(arrays, Policy(threshold=0.5, drop_duplicates=True))
    with pytest.raises(ConfigError, match="no MinHash signatures"):
        select(arrays, Policy(threshold=0.5, near_duplicates=0.8))


@pytest.mark.parametrize("policy", [Policy(threshold=0.5), Policy(keep_fraction=0.5), Policy(token_budget=3)])
def test_an_empty_job_gives_empty_verdicts(policy):
    verdicts = select(score_arrays([]), policy)
    assert verdicts.kept_D.size == 0
    assert verdicts.targets[0].cutoff is None


@pytest.mark.parametrize("limit", [{"threshold": 0.5}, {"keep_fraction": 0.5}, {"token_budget": 2500}])
def test_sampling_near_the_cut_keeps_a_share_that_rises_linearly(limit):
    rows = 20_000
    score = (np.arange(rows) + 0.5) / rows
    policy = Policy(**limit, soft_width=0.2, seed=7)
    chosen = select(score_arrays(score, tokens_D=[1] * rows), policy).kept_D
    cut = {"token_budget": 1 - 2500 / rows}.get(next(iter(limit)), 0.5)
    assert not chosen[score < cut - 0.11].any()
    if cut < 0.89:
        assert chosen[score > cut + 0.11].all()
        for low in (-0.08, -0.04, 0.0, 0.04):
            zone = (score >= cut + low) & (score < cut + low + 0.04)
            assert chosen[zone].mean() == pytest.approx(0.5 + (low + 0.02) / 0.2, abs=0.05)
    if "threshold" not in limit:
        assert chosen.sum() == (rows // 2 if "keep_fraction" in limit else 2500)


def test_a_draw_depends_on_seed_and_id_alone_and_is_the_same_one_by_one():
    score = np.linspace(0.4, 0.6, 500)
    arrays = score_arrays(score)
    policy = Policy(threshold=0.5, soft_width=0.2, seed=3)
    chosen = select(arrays, policy).kept_D
    back = score_arrays(score[::-1], id_hash_D=arrays.id_hash_D[::-1])
    assert (select(back, policy).kept_D == chosen[::-1]).all()
    one_by_one = [policy.passes(Score(f"doc-{row}", 0.0, value, 1)) for row, value in enumerate(score)]
    assert one_by_one == chosen.tolist()
    other = select(arrays, policy.model_copy(update={"seed": 4})).kept_D
    assert 100 < (other != chosen).sum() < 400


WINDOWED = {
    "document_D": [0, 1, 1, 1, 2, 2, 3],
    "window_D": [-1, 0, 1, 2, 0, 1, -1],
    "tokens_D": [3, 1, 3, 1, 5, 5, 7],
}


def test_windows_become_documents_by_mean_by_maximum_or_stay_windows():
    score = [0.6, 0.1, 0.9, 0.1, 0.4, 0.4, 0.1]
    arrays = score_arrays(score, **WINDOWED)
    mean = select(arrays, Policy(threshold=0.5))
    assert mean.kept_D.tolist() == [True, True, True, True, False, False, False]  # (0.1 + 2.7 + 0.1) / 5 = 0.58
    assert mean.targets[0].documents == 2
    assert mean.targets[0].tokens == 8
    assert not mean.by_window
    most = select(arrays, Policy(threshold=0.9, windows="document_max"))
    assert np.flatnonzero(most.kept_D).tolist() == [1, 2, 3]
    each = select(arrays, Policy(threshold=0.5, windows="window"))
    assert np.flatnonzero(each.kept_D).tolist() == [0, 2]
    assert each.by_window


def test_a_document_whose_windows_failed_in_part_is_decided_by_the_others():
    arrays = score_arrays(
        [0.6, math.nan, 0.9, math.nan, math.nan, math.nan, 0.1],
        reason_D=codes(["", "no_spans", "", "no_spans", "scoring_failed", "no_spans", ""]),
        **WINDOWED,
    )
    verdicts = select(arrays, Policy(threshold=0.5))
    assert names(verdicts.reason_D) == ["", "", "", "", "scoring_failed", "scoring_failed", "below_threshold"]
    assert verdicts.targets[0].cutoff == 0.6


def test_copies_of_documents_in_windows_are_found_and_one_contaminated_window_is_enough():
    hashes = [[1, 1], [2, 2], [3, 3], [2, 2], [3, 3], [3, 3], [2, 2]]
    fields = {"document_D": [0, 1, 1, 2, 2, 3, 3], "window_D": [-1, 0, 1, 0, 1, 0, 1], "text_hash_D2": hashes}
    arrays = score_arrays([0.9] * 7, contaminated_D=[False] * 6 + [True], **fields)
    verdicts = select(arrays, Policy(threshold=0.5, drop_duplicates=True))
    assert names(verdicts.reason_D) == ["", "", "", "duplicate", "duplicate", "contaminated", "contaminated"]


@QUICK
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.sampled_from(["document_mean", "document_max"]))
def test_documents_in_one_piece_keep_their_scores_bit_for_bit(scores, rule):
    arrays = score_arrays(
        [*scores, 0.5, 0.5],
        document_D=[*range(len(scores)), len(scores), len(scores)],
        window_D=[-1] * len(scores) + [0, 1],
        tokens_D=[7] * (len(scores) + 2),
    )
    for threshold in scores[:3]:
        chosen = select(arrays, Policy(threshold=threshold, windows=rule)).kept_D
        assert chosen[: len(scores)].tolist() == [score >= threshold for score in scores]


def test_mixing_weights_never_promise_more_than_the_budget():
    shares = tuple(TargetShare(name=f"t{number}", weight=weight) for number, weight in enumerate((0.1, 0.2, 0.7)))
    budgets = [limit.token_budget for limit in Policy(targets=shares, token_budget=10**15 + 1).limits]
    assert 10**15 - 2 <= sum(budgets) <= 10**15 + 1
    assert Fraction(budgets[2], budgets[0]) == pytest.approx(7, rel=1e-9)


def test_arrays_that_contradict_each_other_are_refused():
    with pytest.raises(ArtifactError, match="piece_D"):
        score_arrays([0.5, 0.6], piece_D=[0])
    with pytest.raises(ArtifactError, match="negative"):
        score_arrays([0.5], tokens_D=[-1])
    with pytest.raises(ArtifactError, match="text_hash_D2"):
        score_arrays([0.5], text_hash_D2=[[1, 2, 3]])
