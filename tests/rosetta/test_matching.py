"""Matching against an exact all-pairs referee, on models with planted pairs."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from curator.rosetta.matching import MatchTable, View, candidate_pairs, match_views, mutual_nearest
from curator.rosetta.verify import pair_sums
from curator.settings import MatchSettings
from tests.rosetta.planted import FOLDS, HELD, all_pairs_mutual, fold_V, planted, standardised

PAIRS = [(3, 30), (7, 2), (19, 11), (40, 40), (55, 0)]
SIZES = (60, 50)


def _match(first: View, second: View, *, absolute: bool = False, **settings: int) -> MatchTable:
    return match_views(first, second, fold_V(), MatchSettings(**settings), absolute)


def _pairs(table: MatchTable) -> set[tuple[int, int]]:
    return set(zip(table.first.tolist(), table.second.tolist(), strict=True))


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("k", [1, 3])
def test_with_all_neurons_as_candidates_matches_are_those_of_the_referee(k: int, absolute: bool) -> None:
    first, second, _ = planted(PAIRS, SIZES, 0.4, seed=0, random_signs=absolute)
    table = _match(first, second, absolute=absolute, candidates=max(SIZES), neighbours=k)
    assert _pairs(table) == all_pairs_mutual(first, second, k, absolute=absolute)


def test_planted_pairs_are_found_among_sixteen_candidates_with_their_correlation() -> None:
    first, second, _ = planted(PAIRS, SIZES, 0.5, seed=1)
    table = _match(first, second)
    assert _pairs(table) >= set(PAIRS)
    strong = table.rho > 0.3
    assert set(zip(table.first[strong].tolist(), table.second[strong].tolist(), strict=True)) == set(PAIRS)
    exact = (standardised(first.held_NV.astype(float)) @ standardised(second.held_NV.astype(float)).T) / HELD
    np.testing.assert_allclose(table.rho, exact[table.first, table.second], atol=1e-4)
    np.testing.assert_allclose(table.sketch_rho[strong], 0.5, atol=5 / np.sqrt(1024))
    assert table.replicated[strong].all()


def test_independent_models_match_only_weakly() -> None:
    table = _match(*planted([], SIZES, 0.0, seed=2)[:2])
    assert (table.rho < 5 / np.sqrt(HELD)).all()
    assert table.replicated.sum() <= 3


def test_pairs_of_random_sign_are_found_by_magnitude_and_keep_their_sign() -> None:
    first, second, signs = planted(PAIRS, SIZES, 0.6, seed=3, random_signs=True)
    assert set(signs.tolist()) == {-1, 1}
    table = _match(first, second, absolute=True)
    found = dict(zip(zip(table.first.tolist(), table.second.tolist(), strict=True), table.rho.tolist(), strict=True))
    for pair, sign in zip(PAIRS, signs, strict=True):
        assert np.sign(found[pair]) == sign
    negative = {pair for pair, sign in zip(PAIRS, signs, strict=True) if sign < 0}
    signed = _match(first, second)
    assert not _pairs(signed) & negative
    assert _pairs(signed) >= set(PAIRS) - negative


def test_dead_neurons_match_nothing() -> None:
    first, second, _ = planted(PAIRS, SIZES, 0.6, seed=4)
    dead = View(first.signature_Nd, first.held_NV, np.arange(SIZES[0]) != 7)
    table = _match(dead, second, candidates=max(SIZES))
    assert 7 not in table.first
    assert table.strongest[7] == 0
    assert _pairs(table) == all_pairs_mutual(dead, second, 1, absolute=False)


def test_a_model_without_living_neurons_matches_nothing() -> None:
    first, second, _ = planted(PAIRS, SIZES, 0.6, seed=4)
    table = _match(View(first.signature_Nd, first.held_NV, np.zeros(SIZES[0], bool)), second)
    assert len(table) == 0
    assert (table.strongest == 0).all()
    assert table.strongest.shape == (SIZES[0],)


def test_margin_hubness_and_strongest_are_those_of_all_pairs() -> None:
    first, second, _ = planted(PAIRS, SIZES, 0.5, seed=5)
    table = _match(first, second, candidates=max(SIZES))
    rho = standardised(first.held_NV.astype(float)) @ standardised(second.held_NV.astype(float)).T / HELD
    ordered = -np.sort(-rho, axis=1)
    np.testing.assert_allclose(table.margin, (ordered[:, 0] - ordered[:, 1])[table.first], atol=1e-4)
    np.testing.assert_allclose(table.strongest, np.maximum(ordered[:, 0], 0), atol=1e-4)
    hubness = np.bincount(rho.argmax(axis=1), minlength=SIZES[1])
    np.testing.assert_array_equal(table.hubness, hubness[table.second])


def test_a_pair_that_lives_in_one_half_of_the_folds_is_a_match_that_did_not_replicate() -> None:
    first, second, _ = planted([(3, 30)], SIZES, 0.9, seed=6)
    held = second.held_NV.copy()
    odd = fold_V() % 2 == 1
    held[30, odd] = np.random.default_rng(0).standard_normal(odd.sum())
    table = _match(first, View(second.signature_Nd, held, second.alive))
    row = int(np.flatnonzero((table.first == 3) & (table.second == 30))[0])
    assert table.rho[row] > 0.3
    assert not table.replicated[row]


def test_ties_go_to_the_lower_neuron_on_both_sides() -> None:
    pairs = np.asarray([[0, 1], [0, 0], [1, 0], [1, 1]])
    assert mutual_nearest(pairs, np.ones(4), 1).tolist() == [False, True, False, False]
    assert mutual_nearest(pairs, np.ones(4), 2).all()


def test_copies_of_one_neuron_match_once_and_always_the_same() -> None:
    first, second, _ = planted([(3, 30)], SIZES, 0.8, seed=7)
    held, signature = second.held_NV.copy(), second.signature_Nd.copy()
    held[[12, 45]], signature[[12, 45]] = held[30], signature[30]
    table = _match(first, View(signature, held, second.alive))
    assert table.second[table.first == 3].tolist() == [12]
    assert table.margin[table.first == 3] == pytest.approx(0.0, abs=1e-6)


def test_the_margin_of_a_neuron_without_a_runner_up_is_its_strength() -> None:
    first, second, _ = planted([(0, 0)], (3, 1), 0.8, seed=7)
    table = _match(first, second)
    np.testing.assert_array_equal(table.margin, table.rho)


def test_candidates_of_one_direction_are_those_that_the_first_model_proposes() -> None:
    first, second, _ = planted(PAIRS, SIZES, 0.4, seed=8)
    wanted = MatchSettings(candidates=2)
    both, _ = candidate_pairs(first, second, wanted, False)
    forward, _ = candidate_pairs(first, second, wanted, False, forward_only=True)
    assert np.bincount(forward[:, 0], minlength=SIZES[0]).tolist() == [2] * SIZES[0]
    assert set(map(tuple, forward.tolist())) < set(map(tuple, both.tolist()))


def test_rows_are_ordered_and_two_runs_are_equal() -> None:
    first, second, _ = planted(PAIRS, SIZES, 0.4, seed=8)
    one, two = (_match(first, second, neighbours=2) for _ in range(2))
    assert sorted(_pairs(one)) == list(zip(one.first.tolist(), one.second.tolist(), strict=True))
    for name in MatchTable.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_the_jackknife_error_is_the_analytic_one_for_independent_spans() -> None:
    rho, neurons, folds = 0.5, 200, 24
    first, second, _ = planted([(n, n) for n in range(neurons)], (neurons, neurons), rho, seed=9)
    pairs = np.stack([np.arange(neurons)] * 2, axis=1)
    sums = pair_sums(first.held_NV, second.held_NV, pairs, np.arange(HELD) % folds, folds)
    analytic = (1 - rho**2) / np.sqrt(HELD)
    error, spread = sums.jackknife_error(), sums.correlation(np.ones(folds, bool)).std()
    assert np.sqrt((error**2).mean()) == pytest.approx(analytic, rel=0.1)
    assert spread == pytest.approx(analytic, rel=0.2)


def test_an_error_that_one_fold_cannot_tell_is_infinite() -> None:
    first, second, _ = planted([(0, 0)], (2, 2), 0.5, seed=9)
    sums = pair_sums(first.held_NV, second.held_NV, np.asarray([[0, 0]]), np.zeros(HELD, int), FOLDS)
    assert np.isinf(sums.jackknife_error()).all()


def test_a_span_that_one_side_does_not_cover_is_left_out_and_a_constant_neuron_correlates_with_nothing() -> None:
    first, second, _ = planted([(0, 0)], (2, 2), 0.9, seed=10)
    holes, other = first.held_NV.copy(), second.held_NV.copy()
    holes[1] = 1.0
    holes[:, :50] = other[:, 40:90] = np.nan
    pairs = np.asarray([[0, 0], [1, 1]])
    found = pair_sums(holes, other, pairs, fold_V(), FOLDS)
    expected = pair_sums(holes[:, 90:], other[:, 90:], pairs, fold_V()[90:], FOLDS)
    np.testing.assert_array_equal(found.count_F, expected.count_F)
    np.testing.assert_array_equal(found.correlation(), expected.correlation())
    assert found.correlation()[1] == 0


@pytest.mark.parametrize("absolute", [False, True])
def test_matches_depend_neither_on_the_memory_budget_nor_on_where_the_arrays_lie(
    absolute: bool, tmp_path: Path
) -> None:
    first, second, _ = planted(PAIRS, SIZES, 0.4, seed=12)
    whole = _match(first, second, absolute=absolute)
    views = []
    for number, view in enumerate((first, second)):
        for name in ("signature_Nd", "held_NV"):
            np.save(tmp_path / f"{number}-{name}.npy", getattr(view, name))
        mapped = (np.load(tmp_path / f"{number}-{name}.npy", mmap_mode="r") for name in ("signature_Nd", "held_NV"))
        views.append(View(*mapped, view.alive))
    for budget in (2 << 30, 8 * 8 * HELD * 3):
        part = match_views(*views, fold_V(), MatchSettings(), absolute, memory_bytes=budget)
        for name in MatchTable.__dataclass_fields__:
            np.testing.assert_allclose(getattr(part, name), getattr(whole, name), atol=1e-6, err_msg=name)


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_every_kind_of_index_finds_the_planted_pairs(kind: Literal["ivf", "hnsw"]) -> None:
    first, second, _ = planted(PAIRS, SIZES, 0.5, seed=13)
    table = match_views(first, second, fold_V(), MatchSettings(index=kind), absolute=False)
    assert _pairs(table) >= set(PAIRS)
