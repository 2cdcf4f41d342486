"""Measures of a neuron against a domain, at their ends."""

import numpy as np
import pytest

from curator.atlas.domains import (
    auroc_N,
    discriminability_N,
    first_of_document_Nk,
    mutual_information_N,
    normalized_fire_Nc,
    specialisation_N,
)

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
    top = np.tile([1, 2], (2, 6))  # twelve contexts: of one or two the index says nothing beyond chance
    mild, strong = specialisation_N(top, np.stack([np.tile([2.0, 1.0], 6), np.tile([100.0, 1.0], 6)]), SHARE)
    assert 0 < mild < strong < 1


def test_a_neuron_that_never_fires_above_zero_is_judged_by_its_counts() -> None:
    one, spread = specialisation_N(np.asarray([[1, 1, 1, 1], [0, 0, 1, 2]]), np.full((2, 4), -0.1), SHARE)
    assert one == pytest.approx(1.0)
    assert spread == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("contexts", [5, 20])
def test_neurons_without_a_preference_have_no_specialisation_however_few_their_contexts(contexts: int) -> None:
    generator, share = np.random.default_rng(0), np.asarray([0.3, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.03, 0.02])
    top = generator.choice(10, p=share, size=(2_000, contexts))
    found = specialisation_N(top, generator.uniform(1, 2, top.shape), share)
    assert np.median(found) < 0.02
    assert found.mean() < 0.1


def test_a_half_specialised_neuron_stays_between_however_many_its_contexts() -> None:
    generator, share = np.random.default_rng(0), np.full(10, 0.1)
    means = []
    for contexts in (10, 20, 80):
        own = generator.random((2_000, contexts)) < 0.6
        top = np.where(own, 0, generator.integers(0, 10, own.shape))
        means.append(specialisation_N(top, np.ones(top.shape), share).mean())
    assert max(means) - min(means) < 0.06, "the plain index falls from 0.56 to 0.40"


def test_less_than_two_contexts_say_nothing_of_specialisation() -> None:
    top = np.asarray([[1, -1, -1], [-1, -1, -1], [1, 1, -1]])
    found = specialisation_N(top, np.where(top < 0, -np.inf, 1.0), SHARE)
    assert np.isnan(found).tolist() == [True, True, False]


def test_the_first_context_of_a_document_is_its_highest() -> None:
    found = first_of_document_Nk(np.asarray([[4, 4, 7, 4, 7, -1], [1, 2, 3, -1, -1, -1]]))
    assert found.tolist() == [[True, False, True, False, False, False], [True, True, True, False, False, False]]


def test_mutual_information_is_the_entropy_of_the_labels_for_a_neuron_that_tells_all_and_nothing_for_noise() -> None:
    generator, positive = np.random.default_rng(0), np.arange(400) < 100
    noise = generator.standard_normal((400, 500))
    separated = noise[:, :3] + 9 * positive[:, None]
    entropy = -(0.25 * np.log2(0.25) + 0.75 * np.log2(0.75))
    np.testing.assert_allclose(mutual_information_N(separated, positive), entropy, atol=0.03)
    np.testing.assert_allclose(mutual_information_N(-separated, positive), entropy, atol=0.03)
    assert mutual_information_N(noise, positive).mean() < 0.006
    assert (mutual_information_N(noise, positive) >= 0).all()


def test_mutual_information_sees_a_domain_in_the_middle_where_auroc_sees_none() -> None:
    generator, positive = np.random.default_rng(0), np.arange(600) < 200
    outside = np.where(generator.random(600) < 0.5, -4, 4) + generator.standard_normal(600)
    values = np.where(positive, 0.3 * generator.standard_normal(600), outside)[:, None]
    assert abs(auroc_N(values, positive)[0] - 0.5) < 0.06
    assert mutual_information_N(values, positive)[0] > 0.6


def test_mutual_information_does_not_feel_a_monotone_change_of_the_values_and_takes_ties_together() -> None:
    generator, positive = np.random.default_rng(0), np.arange(300) < 90
    values = np.round(generator.standard_normal((300, 4)) + positive[:, None], 1)
    np.testing.assert_allclose(mutual_information_N(np.exp(values), positive), mutual_information_N(values, positive))
    assert mutual_information_N(np.zeros((300, 1)), positive)[0] == 0
    with pytest.raises(ValueError, match="both classes"):
        mutual_information_N(values, np.zeros(300, bool))
