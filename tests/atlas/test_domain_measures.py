"""Measures of a neuron against a domain, at their ends."""

import numpy as np
import pytest

from curator.atlas.domains import auroc_N, discriminability_N, normalized_fire_Nc, specialisation_N

SHARE = np.asarray([0.5, 0.25, 0.25])


def test_auroc_needs_both_classes() -> None:
    with pytest.raises(ValueError, match="both classes"):
        auroc_N(np.zeros((3, 1)), np.ones(3, bool))


def test_d_prime_is_the_distance_of_the_means_in_deviations() -> None:
    values = np.asarray([[3.0, 1], [5, 1], [0, 1], [2, 1]])
    np.testing.assert_allclose(discriminability_N(values, np.asarray([1, 1, 0, 0], bool)), [3.0, 0.0])


def test_a_neuron_that_fires_as_the_text_is_spread_has_specialisation_zero() -> None:
    top = np.asarray([[0, 0, 1, 2]])
    np.testing.assert_allclose(specialisation_N(top, np.ones((1, 4)), SHARE), 0.0, atol=1e-12)
    np.testing.assert_allclose(normalized_fire_Nc(top, SHARE), [[1, 1, 1]])


def test_a_neuron_that_fires_in_one_domain_has_specialisation_one() -> None:
    top = np.asarray([[1, 1, 1, -1]])
    np.testing.assert_allclose(specialisation_N(top, np.asarray([[3, 2, 1, -np.inf]]), SHARE), 1.0)
    np.testing.assert_allclose(normalized_fire_Nc(top, SHARE), [[0, 4, 0]])


def test_specialisation_weighs_contexts_by_their_activation() -> None:
    top = np.asarray([[1, 2], [1, 2]])
    mild, strong = specialisation_N(top, np.asarray([[2.0, 1.0], [100.0, 1.0]]), SHARE)
    assert 0 < mild < strong < 1


def test_a_neuron_that_never_fires_above_zero_is_judged_by_its_counts() -> None:
    one, spread = specialisation_N(np.asarray([[1, 1, 1, 1], [0, 0, 1, 2]]), np.full((2, 4), -0.1), SHARE)
    assert one == pytest.approx(1.0)
    assert spread == pytest.approx(0.0, abs=1e-9)
