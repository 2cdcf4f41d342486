"""Measures of selectivity agree with their definitions, and groups are compared with neurons alike in layer and activity."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from curator.atlas.store import Atlas, AtlasManifest
from curator.scaling.controls import active_fraction, pole, same_activity
from curator.scaling.selectivity import cliffs_delta, contrast, panel, selectivity

NEURONS, SPANS, LAYERS = 60, 400, 3
values = arrays(np.float64, st.integers(1, 30), elements=st.integers(-5, 5).map(float))


def made_atlas(*, gated: bool = False, seed: int = 0) -> Atlas:
    """Three layers of neurons that fire on ever fewer spans; held-back values as an atlas keeps them."""
    generator = np.random.default_rng(seed)
    raw_NV = generator.standard_normal((NEURONS, SPANS)) - np.linspace(0, 2, NEURONS)[:, None]
    raw_NV = np.maximum(raw_NV, -0.1) * generator.uniform(0.5, 2, (NEURONS, 1))
    if gated:
        raw_NV[::2] *= -1
    mean, deviation = raw_NV.mean(axis=1), raw_NV.std(axis=1)
    z_NV = (raw_NV - mean[:, None]) / deviation[:, None]
    manifest = AtlasManifest.model_construct(model="made", layer_widths=(NEURONS // LAYERS,) * LAYERS, gated=gated)
    return Atlas(
        manifest,
        {
            "held_NV": z_NV.astype(np.float32),
            "mean": mean,
            "deviation": deviation,
            "skewness": (z_NV**3).mean(axis=1),
            "excess_kurtosis": (z_NV**4).mean(axis=1) - 3,
            "positive_fraction": (raw_NV > 0).mean(axis=1),
            "alive": np.ones(NEURONS, bool),
        },
    )


def gini_by_definition(r: np.ndarray) -> float:
    """Mean absolute difference over twice the mean, of distinct pairs."""
    return float(np.abs(r[:, None] - r[None, :]).sum() / (2 * len(r) * (len(r) - 1) * r.mean()))


@pytest.mark.parametrize("gated", [False, True])
def test_sparseness_is_that_of_the_activation_above_zero_on_the_firing_side(gated: bool):
    atlas = made_atlas(gated=gated)
    found = panel(atlas, np.arange(NEURONS))
    for neuron in (0, 7, 31, 59):
        raw = atlas["held_NV"][neuron].astype(float) * atlas["deviation"][neuron] + atlas["mean"][neuron]
        r = np.maximum(raw * pole(atlas)[neuron], 0)
        n = len(r)
        assert found["gini"][neuron] == pytest.approx(gini_by_definition(r), rel=1e-6)
        a = r.mean() ** 2 / (r**2).mean()
        assert found["treves_rolls"][neuron] == pytest.approx((1 - a) / (1 - 1 / n), rel=1e-6)
        ratio = np.abs(r).sum() / np.sqrt((r**2).sum())
        assert found["hoyer"][neuron] == pytest.approx((n**0.5 - ratio) / (n**0.5 - 1), rel=1e-6)
        assert found["active_fraction"][neuron] == pytest.approx((r > 0).mean())


def test_one_spike_is_1_and_a_constant_is_0_and_silence_is_0():
    atlas = made_atlas()
    held = np.zeros((3, SPANS))
    held[0, 4] = 5.0
    held[1] = 1.0
    arrays_of = {**atlas.arrays, "held_NV": held, "mean": np.zeros(NEURONS), "deviation": np.ones(NEURONS)}
    found = panel(Atlas(atlas.manifest, arrays_of), np.arange(3))
    for measure in ("gini", "treves_rolls", "hoyer"):
        np.testing.assert_allclose(found[measure], [1, 0, 0], atol=1e-9)


@given(first=values, second=values)
@settings(deadline=None)
def test_cliffs_delta_is_the_difference_of_two_probabilities(first: np.ndarray, second: np.ndarray):
    above, below = (first[:, None] > second).mean(), (first[:, None] < second).mean()
    assert cliffs_delta(first, second) == pytest.approx(above - below)
    assert cliffs_delta(second, first) == pytest.approx(below - above)


@given(seed=st.integers(0, 50), chosen=st.integers(1, 40))
@settings(deadline=None, max_examples=30)
def test_controls_are_distinct_unchosen_neurons_of_the_same_layer(seed: int, chosen: int):
    atlas = made_atlas()
    order = np.random.default_rng(seed).permutation(NEURONS)
    mine, pool = np.sort(order[:chosen]), np.sort(order[chosen:])
    alike = same_activity(atlas, mine, pool)
    found = alike[alike >= 0]
    assert len(np.unique(found)) == len(found) and np.isin(found, pool).all()
    np.testing.assert_array_equal(atlas.layer_of[found], atlas.layer_of[mine[alike >= 0]])
    for layer in range(LAYERS):
        here, spare = (atlas.layer_of[mine] == layer).sum(), (atlas.layer_of[pool] == layer).sum()
        assert (atlas.layer_of[found] == layer).sum() == min(here, spare)


def test_controls_are_as_active_as_the_pool_allows():
    atlas = made_atlas()
    mine = np.asarray([3, 23, 43])
    pool = np.setdiff1d(np.arange(NEURONS), mine)
    for one, other in zip(mine, same_activity(atlas, mine, pool), strict=True):
        same_layer = pool[atlas.layer_of[pool] == atlas.layer_of[one]]
        nearest = np.abs(active_fraction(atlas)[same_layer] - active_fraction(atlas)[one]).min()
        assert abs(active_fraction(atlas)[other] - active_fraction(atlas)[one]) == pytest.approx(nearest)


def test_a_planted_difference_is_found_with_its_sign_and_none_is_not():
    generator = np.random.default_rng(0)
    base = generator.standard_normal(80)
    apart = contrast("gini", base + 1.5, generator.standard_normal(80))
    assert apart.interval[0] > 0 and apart.delta_interval[0] > 0 and apart.difference > 1
    alike = contrast("gini", base, generator.permutation(base))
    assert alike.delta_interval[0] < 0 < alike.delta_interval[1] and alike.cliffs_delta == pytest.approx(0, abs=1e-12)


def _draws_of_layers(shift: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Six layers of 20 pairs; the difference is one of the layer more than of the pair."""
    generator, layer = np.random.default_rng(seed), np.repeat(np.arange(6), 20)
    own = generator.standard_normal(6)[layer] + shift
    return own + 0.3 * generator.standard_normal(120), 0.3 * generator.standard_normal(120), layer


def test_the_interval_covers_a_difference_that_layers_have_in_common():
    """Pairs of a layer are no independent witnesses: drawn alone they cover the truth in half of the cases."""
    covered, alone = 0, 0
    for seed in range(60):
        mine, theirs, layer = _draws_of_layers(1.0, seed)
        for clustered in (True, False):
            found = contrast("gini", mine, theirs, seed, layer_R=layer if clustered else None).interval
            hit = found[0] < 1.0 < found[1]
            covered, alone = covered + (hit and clustered), alone + (hit and not clustered)
    assert covered >= 48 and alone < 36


def test_pairs_alone_are_drawn_of_fewer_than_three_layers():
    mine, theirs, layer = _draws_of_layers(1.0, 0)
    assert contrast("gini", mine, theirs, layer_R=layer % 2) == contrast("gini", mine, theirs)
    assert contrast("gini", mine, theirs, layer_R=layer % 3) != contrast("gini", mine, theirs)


def test_an_outlier_moves_the_mean_and_neither_median_nor_trimmed_mean():
    plain, struck = np.arange(30.0), np.r_[np.arange(29.0), 1e6]
    one, other = (contrast("excess_kurtosis", side, plain).rosetta for side in (plain, struck))
    assert other.mean > 1e4 and one.median == other.median and one.trimmed == other.trimmed


def test_a_panel_counts_who_had_no_one_to_be_compared_with():
    atlas = made_atlas()
    first_layer = np.arange(NEURONS // LAYERS)
    found = selectivity(atlas, "strict", first_layer, first_layer[:0])
    assert found is None
    some = selectivity(atlas, "strict", first_layer[:15], first_layer[15:])
    assert some is not None and (some.neurons, some.others, some.unmatched) == (5, 5, 10)
    assert [one.measure for one in some.contrasts][-1] == "active_fraction", "no weights, no vocabulary kurtosis"
