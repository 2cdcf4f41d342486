"""The three scorers on made-up features, and their calibration."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import average_precision_score, roc_auc_score

from curator.neuronset.artifact import best_method
from curator.neuronset.calibrate import _platt, fit_calibration, operating_points, reliability
from curator.neuronset.scorers import (
    Blended,
    Linear,
    Method,
    Standardiser,
    fit_blended,
    fit_linear,
    fit_signature,
    fit_single,
)
from curator.settings import CalibrationKind, NeuronSetSettings

SETTINGS = NeuronSetSettings()
NEURONS, POINTING = 10, (0, 4, 7)


def _features(documents: int = 400, seed: int = 0, gap: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """z (D, 3 K) where three neurons tell the positives apart, the fifth best of all; and the labels.

    Behind them stands what the wording says: something of the positives, far from zero and widely spread.
    """
    generator = np.random.default_rng(seed)
    positive = generator.random(documents) < 0.3
    values = generator.standard_normal((documents, 3, NEURONS)).astype(np.float32)
    values[:, :, POINTING] += gap * positive[:, None, None]
    values[:, :, 4] += gap * positive[:, None]
    wording = 50 + 9 * generator.standard_normal(documents) + 9 * positive
    return np.hstack([Standardiser.fit(values)(values), wording[:, None]]), positive


def _methods() -> dict[str, Method]:
    z, positive = _features()
    neurons = z[:, : 3 * NEURONS]
    linear = fit_linear(neurons, positive, SETTINGS)
    return {
        "single": fit_single(neurons, positive),
        "linear": linear,
        "signature": fit_signature(neurons, positive, SETTINGS),
        "blended": fit_blended(linear, 0, z),
    }


@pytest.mark.parametrize("name", ["single", "linear", "signature", "blended"])
def test_every_scorer_tells_separable_documents_apart_on_unseen_ones(name: str) -> None:
    z, positive = _features(seed=1)
    assert average_precision_score(positive, _methods()[name].score(z)) > 0.9


@pytest.mark.parametrize("name", ["single", "linear", "signature", "blended"])
def test_contributions_explain_the_score_and_point_at_the_right_neurons(name: str) -> None:
    z, positive = _features(seed=1)
    method = _methods()[name]
    contributions, score = method.contributions(z), method.score(z)
    assert contributions.shape == (len(z), NEURONS)
    offset = method.intercept if isinstance(method, Linear) else 0.0
    if isinstance(method, Blended):
        offset = method.linear.intercept / method.neuron_spread + method.wording(z)
    np.testing.assert_allclose(contributions.sum(axis=1) + offset, score, rtol=1e-5, atol=1e-5)
    strongest = contributions[positive].mean(axis=0).argsort()[::-1]
    assert strongest[0] in POINTING


def test_the_single_neuron_is_the_one_of_best_average_precision() -> None:
    z, positive = _features()
    z = z[:, : 3 * NEURONS]
    best = max(range(NEURONS), key=lambda n: average_precision_score(positive, z[:, n]))
    assert fit_single(z, positive).position == best == 4


def test_a_gated_neuron_may_point_at_a_target_by_a_low_reading() -> None:
    z, positive = _features()
    z = z[:, : 3 * NEURONS]
    turned = fit_single(-z, positive, either_direction=True)
    assert (turned.position, turned.direction) == (4, -1)
    np.testing.assert_allclose(turned.score(-z), fit_single(z, positive).score(z))
    assert fit_single(z, positive, either_direction=True).direction == 1


def test_a_scorer_is_for_each_document_alone() -> None:
    z, _ = _features(seed=2)
    for name, method in _methods().items():
        np.testing.assert_allclose(method.score(z)[17:18], method.score(z[17:18]), rtol=1e-5, err_msg=name)
        assert method.score(z[:0]).shape == (0,)
        assert method.contributions(z[:0]).shape == (0, NEURONS)


def test_standardised_features_are_clipped_and_constants_are_zero() -> None:
    values = np.random.default_rng(0).standard_normal((50, 3, 2)).astype(np.float32)
    values[:, 1, 1] = 5
    standardiser = Standardiser.fit(values)
    z = standardiser(values)
    np.testing.assert_allclose(z[:, [0, 1, 2, 4, 5]].std(axis=0), 1, rtol=1e-4)
    assert (z[:, 3] == 0).all()  # feature 1 of neuron 1
    assert standardiser(values + 1000).max() == 10


def test_on_a_tie_the_blend_wins_then_linear_and_then_the_simpler_one() -> None:
    assert best_method({"single": 0.9, "linear": 0.9, "signature": 0.9, "blended": 0.9}, 100) == "blended"
    assert best_method({"single": 0.9, "linear": 0.9, "signature": 0.9, "blended": 0.8}, 100) == "linear"
    assert best_method({"single": 0.95, "linear": 0.9, "signature": 0.95, "blended": 0.9}, 100) == "single"


def test_few_documents_do_not_make_a_worse_scorer_the_default() -> None:
    found = {"single": 0.254, "linear": 0.465, "signature": 0.484, "blended": 0.419}
    assert best_method(found, 8) == "blended"
    assert best_method(found, 80) == "linear"
    assert best_method(found, 8_000) == "signature"


def test_the_halves_of_a_blend_have_the_same_spread_whatever_their_scales() -> None:
    z, _ = _features()
    blend = _methods()["blended"]
    assert isinstance(blend, Blended)
    assert blend.wording(z).std() == pytest.approx(1) and blend.wording(z).mean() == pytest.approx(0, abs=1e-6)
    assert blend.contributions(z).sum(axis=1).std() == pytest.approx(1, abs=1e-3)
    scaled = z.copy()
    scaled[:, -1] *= 7
    np.testing.assert_allclose(fit_blended(blend.linear, 0, scaled).score(scaled), blend.score(z), rtol=1e-6)


def test_only_the_blend_looks_at_the_wording() -> None:
    z, _ = _features()
    changed = z.copy()
    changed[:, -1] = 0
    for name, method in _methods().items():
        assert np.array_equal(method.score(changed), method.score(z)) == (name != "blended")


def test_a_blend_tells_apart_what_neither_half_does_as_well() -> None:
    z, positive = _features(gap=0.3)
    linear = fit_linear(z[:, :-1], positive, SETTINGS)
    unseen, labels = _features(seed=1, gap=0.3)
    blend = average_precision_score(labels, fit_blended(linear, 0, z).score(unseen))
    assert blend > average_precision_score(labels, linear.score(unseen))
    assert blend > average_precision_score(labels, unseen[:, -1])


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), documents=st.sampled_from([40, 1600]), gap=st.sampled_from([-1.0, 0.0, 0.5, 3.0]))
def test_calibration_never_falls_and_stays_inside_zero_and_one(seed: int, documents: int, gap: float) -> None:
    generator = np.random.default_rng(seed)
    positive = generator.random(documents) < 0.4
    positive[0], positive[1] = True, False
    scores = 100 + 7 * (generator.standard_normal(documents) + gap * positive)
    calibration = fit_calibration(scores, positive)
    assert calibration.kind == ("isotonic" if documents > 1000 else "platt")
    probability = calibration(np.linspace(scores.min() - 100, scores.max() + 100, 500))
    assert (np.diff(probability) >= 0).all()
    assert probability.min() > 0
    assert probability.max() < 1


@pytest.mark.parametrize("documents", [300, 3000])
def test_calibrated_probabilities_are_right_on_unseen_documents(documents: int) -> None:
    generator = np.random.default_rng(5)

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        positive = generator.random(count) < 0.4
        return generator.standard_normal(count) + 1.5 * positive, positive

    calibration = fit_calibration(*draw(documents))
    scores, positive = draw(20_000)
    for entry in reliability(calibration(scores), positive):
        if entry["count"] > 300:
            assert entry["observed"] == pytest.approx(entry["predicted"], abs=0.1)
    assert roc_auc_score(positive, calibration(scores)) == pytest.approx(roc_auc_score(positive, scores), abs=0.01)
    assert np.isnan(calibration(np.asarray([np.nan]))).all()


@pytest.mark.parametrize(("inside", "outside", "gap"), [(30, 300, 2), (30, 300, 8), (100, 1000, 20), (15, 100, 4)])
def test_a_platt_calibration_is_its_curve_and_not_a_coarse_polygon(inside: int, outside: int, gap: float) -> None:
    generator = np.random.default_rng(0)
    positive = np.arange(inside + outside) < inside
    scores = 40 + 3 * (generator.standard_normal(inside + outside) + gap * positive)
    slope, offset = _platt(scores, positive)
    grid = np.linspace(scores.min() - 5, scores.max() + 5, 5_000)
    exact = np.clip(expit(slope * grid + offset), 1e-4, 1 - 1e-4)
    np.testing.assert_allclose(fit_calibration(scores, positive)(grid), exact, atol=2e-4)


def test_platts_smoothed_targets_bound_what_a_score_that_parts_all_documents_may_claim() -> None:
    positive = np.arange(50) < 10
    probability = fit_calibration(np.where(positive, 5.0, -5.0), positive)(np.asarray([-5.0, 5.0]))
    np.testing.assert_allclose(probability, [1 / 42, 11 / 12], atol=1e-3)  # (0 + 1)/(40 + 2) and (10 + 1)/(10 + 2)


def test_how_scores_become_probabilities_can_be_asked_for() -> None:
    generator = np.random.default_rng(2)
    for documents in (60, 2_000):
        positive = generator.random(documents) < 0.5
        scores = generator.standard_normal(documents) + positive
        for kind in get_args(CalibrationKind)[1:]:
            found = fit_calibration(scores, positive, kind)
            assert found.kind == kind
            assert (np.diff(found(np.linspace(-6, 6, 200))) >= 0).all()


def test_operating_points_count_what_a_threshold_keeps() -> None:
    probability, positive = np.asarray([0.95, 0.6, 0.55, 0.1]), np.asarray([True, False, True, False])
    points = {point.threshold: point for point in operating_points(probability, positive)}
    assert (points[0.5].kept_share, points[0.5].precision, points[0.5].recall) == (0.75, 2 / 3, 1.0)
    assert (points[0.95].precision, points[0.95].recall) == (1.0, 0.5)
    assert (points[0.99].kept_share, points[0.99].precision, points[0.99].recall) == (0.0, 1.0, 0.0)
