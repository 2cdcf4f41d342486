"""Counts along thresholds, k, text and control classes, read off the draws of made-up peers."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.rosetta.neurons import PeerMatch
from curator.rosetta.resampling import NEIGHBOURS, Draws
from curator.scaling.curves import class_counts, neighbour_curve, shared_BN, threshold_curve
from tests.scaling.test_selectivity import NEURONS, made_atlas

NO_MATCH = object.__new__(PeerMatch)


def made_draws(seed: int, rows: int = 4) -> Draws:
    """A peer that matches some neurons at random: a rank for each, a strength for those of rank 0, some of them strict."""
    generator = np.random.default_rng(seed)
    rank_BN = generator.integers(0, NEIGHBOURS + 1, (rows, NEURONS)).astype(np.uint8)
    strength_BN = np.where(rank_BN == 0, generator.uniform(0, 1, rank_BN.shape), -np.inf).astype(np.float32)
    return Draws(NO_MATCH, rank_BN, strength_BN, (rank_BN == 0) & (generator.random(rank_BN.shape) < 0.5))


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=3, unique=True))
@settings(deadline=None, max_examples=40)
def test_curves_are_monotone_and_begin_at_the_paper_count_in_every_replicate(seeds: list[int]):
    draws = [made_draws(seed) for seed in seeds]
    paper = shared_BN(draws, "paper").sum(axis=1)
    for curve, falling in ((threshold_curve(draws), True), (neighbour_curve(draws), False)):
        table = np.asarray([[one.count, *one.draws] for one in curve.counts])
        np.testing.assert_array_equal(table[0], paper)
        steps = np.diff(table, axis=0)
        assert (steps <= 0).all() if falling else (steps >= 0).all()


def test_a_threshold_holds_in_every_peer():
    draws = [made_draws(1), made_draws(2)]
    curve = threshold_curve(draws)
    at = curve.rho.index(0.5)
    both = (draws[0].strength_BN[0] >= 0.5) & (draws[1].strength_BN[0] >= 0.5)
    assert curve.counts[at].count == both.sum()


def test_the_carried_rosetta_class_is_the_intersection_and_controls_are_none_of_it():
    atlas, draws = made_atlas(), [made_draws(3), made_draws(4)]
    found = {one.name: one for one in class_counts(atlas, draws, "paper")}
    assert found["rosetta"].carried == shared_BN(draws, "paper")[0].sum()
    assert found["rosetta"].members == np.mean([one.paper_BN[0].sum() for one in draws])
    for name in ("high kurtosis", "same activity"):
        assert found[name].members <= found["rosetta"].members
        assert 0 <= found[name].carried <= found[name].members
        assert len(found[name].draws) == 3


def test_a_single_peer_has_no_classes():
    assert class_counts(made_atlas(), [made_draws(1)], "paper") == ()
