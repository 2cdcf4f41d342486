"""The fold bootstrap: weights are counts of folds, row 0 is the ordinary result, and every rule is applied to every replicate."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.rosetta.matching import MatchTable, match_atlases, true_view, verified_pairs
from curator.rosetta.neurons import match_peer
from curator.rosetta.resampling import NEIGHBOURS, Draws, fold_weights, peer_draws
from curator.rosetta.verify import even_folds, pair_sums
from curator.settings import MatchSettings
from tests.atlas.core_world import SETTINGS, make_atlas
from tests.rosetta.planted import FOLDS, fold_V, planted

WANTED = MatchSettings()


@cache
def _draws(world: Path) -> Draws:
    weight_BF = fold_weights(SETTINGS.folds, 6, seed=3)
    return peer_draws(make_atlas("gpt2", world), make_atlas("gpt_neox", world), WANTED, weight_BF)


@given(folds=st.integers(2, 16), replicates=st.integers(0, 30), seed=st.integers(0, 99))
@settings(deadline=None)
def test_every_replicate_draws_as_many_folds_as_there_are_and_some_of_either_half(folds, replicates, seed):
    weight_BF = fold_weights(folds, replicates, seed)
    assert weight_BF.shape == (1 + replicates, folds) and (weight_BF[0] == 1).all()
    np.testing.assert_array_equal(weight_BF.sum(axis=1), folds)
    even_F = even_folds(folds)
    assert weight_BF[:, even_F].any(axis=1).all() and weight_BF[:, ~even_F].any(axis=1).all()


def test_more_replicates_begin_with_the_same_ones():
    np.testing.assert_array_equal(fold_weights(8, 20, 5)[:11], fold_weights(8, 10, 5))


@given(st.lists(st.integers(0, 3), min_size=FOLDS, max_size=FOLDS).filter(any))
@settings(deadline=None, max_examples=25)
def test_sums_of_resampled_folds_are_those_of_a_text_with_repeated_folds(weights: list[int]):
    first, second, _ = planted([(0, 1), (2, 0)], (4, 4), 0.6, seed=1)
    pairs_P2 = np.asarray([(0, 1), (2, 0), (3, 3)])
    sums = pair_sums(first.held_NV, second.held_NV, pairs_P2, fold_V(), FOLDS)
    columns = np.concatenate([np.tile(np.flatnonzero(fold_V() == fold), times) for fold, times in enumerate(weights)])
    a, b = (view.held_NV[:, columns.astype(int)].astype(np.float64) for view in (first, second))
    expected = [np.corrcoef(a[i], b[j])[0, 1] for i, j in pairs_P2]
    np.testing.assert_allclose(sums.resampled(np.asarray(weights)).correlation(), expected, atol=1e-5)


def test_row_0_is_the_ordinary_match(world: Path):
    anchor, peer = make_atlas("gpt2", world), make_atlas("gpt_neox", world)
    plain, draws = match_peer(anchor, peer, WANTED), _draws(world)
    for name in ("first", "second", "rho", "margin", "hubness", "replicated"):
        np.testing.assert_array_equal(getattr(draws.match.matches, name), getattr(plain.matches, name))
    np.testing.assert_array_equal(draws.match.q, plain.q)
    np.testing.assert_array_equal(np.flatnonzero(draws.paper_BN[0]), plain.matches.first)
    np.testing.assert_array_equal(np.flatnonzero(draws.strict_BN[0]), plain.matches.first[plain.strict(WANTED.max_q)])
    np.testing.assert_allclose(draws.strength_BN[0][plain.matches.first], plain.matches.rho, rtol=1e-6)


@pytest.mark.parametrize("k", [1, 2, 5, NEIGHBOURS])
def test_ranks_say_for_which_k_a_neuron_is_matched(world: Path, k: int):
    anchor, peer = make_atlas("gpt2", world), make_atlas("gpt_neox", world)
    table = match_atlases(anchor, peer, MatchSettings(neighbours=k))
    np.testing.assert_array_equal(np.flatnonzero(_draws(world).rank_BN[0] < k), np.unique(table.first))


def test_every_row_is_the_match_on_its_folds_and_strict_ones_are_among_them(world: Path):
    draws, weight_BF = _draws(world), fold_weights(SETTINGS.folds, 6, seed=3)
    anchor, peer = make_atlas("gpt2", world), make_atlas("gpt_neox", world)
    found = verified_pairs(true_view(anchor), true_view(peer), anchor["held_fold_V"], WANTED, absolute=False)
    for row, weight_F in enumerate(weight_BF):
        table: MatchTable = found.matched(WANTED, absolute=False, weight_F=weight_F)
        np.testing.assert_array_equal(np.flatnonzero(draws.paper_BN[row]), table.first)
        assert not (draws.strict_BN[row] & ~draws.paper_BN[row]).any()
    assert len({row.tobytes() for row in draws.paper_BN}) > 1, "other folds, other matches"
