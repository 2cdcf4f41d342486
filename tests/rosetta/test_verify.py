"""Verification: the float64 referee, and the certificate that sums of low precision would fail."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from curator.rosetta.matching import match_views
from curator.rosetta.verify import PairSums, certificate, pair_sums, referee
from curator.settings import MatchSettings
from tests.rosetta.planted import FOLDS, HELD, fold_V, planted

EVERYTHING = np.ones(FOLDS, bool)
PAIRS = np.stack([np.arange(50)] * 2, axis=1)


def _world(rho: float = 0.9, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    first, second, _ = planted([(n, n) for n in range(50)], (50, 50), rho, seed)
    return first.held_NV, second.held_NV


def test_the_referee_is_pearsons_correlation() -> None:
    a, b = _world()
    expected = [np.corrcoef(a[i].astype(float), b[j].astype(float))[0, 1] for i, j in PAIRS]
    np.testing.assert_allclose(referee(a, b, PAIRS), expected, atol=1e-12)


def test_the_referee_gives_a_constant_neuron_no_correlation_and_leaves_out_holes_as_verification_does() -> None:
    a, b = (values.copy() for values in _world())
    a[0] = 1.0
    a[:, :40] = b[:, 30:60] = np.nan
    found = pair_sums(a, b, PAIRS, fold_V(), FOLDS).correlation(EVERYTHING)
    expected = [np.corrcoef(a[i, 60:].astype(float), b[j, 60:].astype(float))[0, 1] for i, j in PAIRS[1:]]
    np.testing.assert_allclose(found[1:], expected, atol=1e-6)
    np.testing.assert_allclose(referee(a, b, PAIRS), found, atol=1e-6)
    assert referee(a, b, PAIRS)[0] == 0


def test_float32_products_with_float64_sums_are_certified() -> None:
    a, b = _world()
    sums = pair_sums(a, b, PAIRS, fold_V(), FOLDS)
    assert 0 < certificate(sums, a, b, PAIRS) < 1e-6


def _bf16_sums(a: np.ndarray, b: np.ndarray) -> PairSums:
    """What an accumulator in bf16 holds after adding span by span."""
    x, y = (torch.from_numpy(v.astype(np.float32)).bfloat16() for v in (a, b))
    total = torch.zeros(len(PAIRS), dtype=torch.bfloat16)
    for span in range(HELD):
        total += x[PAIRS[:, 0], span] * y[PAIRS[:, 1], span]
    exact = pair_sums(a, b, PAIRS, np.zeros(HELD, int), 1)
    return replace(exact, xy=total.double().numpy()[:, None])


def test_a_bf16_accumulator_would_fail_the_certificate() -> None:
    a, b = _world()
    assert certificate(_bf16_sums(a, b), a, b, PAIRS) > 1e-3


def test_the_certificate_samples_by_its_seed_and_sees_one_wrong_pair_among_few() -> None:
    a, b = _world()
    sums = pair_sums(a, b, PAIRS, fold_V(), FOLDS)
    hole = a.copy()
    hole[3, :300] = np.nan  # of one neuron only, which no atlas has: the referee would see it
    assert certificate(pair_sums(hole, b, PAIRS, fold_V(), FOLDS), hole, b, PAIRS) > 1e-3
    wrong = sums.xy.copy()
    wrong[7, 3] += 100
    off = abs(100 / HELD)
    assert certificate(replace(sums, xy=wrong), a, b, PAIRS) == pytest.approx(off, rel=0.1)
    assert certificate(sums, a, b, PAIRS, seed=1) == certificate(sums, a, b, PAIRS, seed=2), "50 pairs are all drawn"
    none = np.zeros((0, 2), int)
    assert certificate(pair_sums(a, b, none, fold_V(), FOLDS), a, b, none) == 0


def test_a_match_table_carries_the_certificate_of_its_own_verification() -> None:
    first, second, _ = planted([(0, 0)], (20, 20), 0.8, seed=1)
    assert 0 < match_views(first, second, fold_V(), MatchSettings(), absolute=False).certificate < 1e-6

    def other_way(pairs_P2: np.ndarray) -> PairSums:
        return pair_sums(first.held_NV, second.held_NV, pairs_P2, fold_V(), FOLDS)

    table = match_views(first, second, fold_V(), MatchSettings(), absolute=False, verify=other_way)
    assert np.isnan(table.certificate), "nobody has certified what another way of verifying summed"
    assert len(table) > 0


def test_sums_of_several_lots_are_joined_with_the_worst_of_their_certificates() -> None:
    whole = pair_sums(*_world(), PAIRS, fold_V(), FOLDS)
    lots = [
        replace(whole.of(rows), certificate=worst) for rows, worst in ((np.arange(20), 1e-7), (np.arange(20, 50), 3e-7))
    ]
    joined = PairSums.joined(lots)
    assert joined.certificate == 3e-7
    np.testing.assert_array_equal(joined.count_F, whole.count_F)
    np.testing.assert_array_equal(joined.correlation(), whole.correlation(EVERYTHING))
    np.testing.assert_array_equal(joined.jackknife_error(), whole.jackknife_error())


def test_sums_do_not_depend_on_the_memory_budget() -> None:
    a, b = _world(seed=2)
    whole, part = (
        pair_sums(a, b, PAIRS, fold_V(), FOLDS, memory_bytes=budget) for budget in (2 << 30, 4 * 8 * HELD * 3)
    )
    for name in PairSums.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(whole, name), getattr(part, name))
