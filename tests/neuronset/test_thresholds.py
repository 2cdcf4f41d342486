"""Thresholds from a wish: what is promised holds, on simulated documents whose truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from curator.errors import ConfigError, InsufficientDataError
from curator.neuronset.thresholds import (
    HeldOut,
    fewest,
    lower_bound,
    shifted,
    threshold_for_precision,
    threshold_for_recall,
)


def _draw(generator: np.random.Generator, documents: int, share: float = 0.5) -> HeldOut:
    """Probabilities on a coarse grid (ties, as isotonic calibration makes them); about two in five negatives overlap."""
    positive = generator.random(documents) < share
    raw = np.where(positive, generator.beta(5, 1.5, documents), generator.beta(1.5, 4, documents))
    return HeldOut.of(np.round(raw, 2), positive)


def _true_precision(threshold: float, share: float = 0.5) -> float:
    big = _draw(np.random.default_rng(99), 200_000, share)
    return float(big.positive_R[big.probability_R >= threshold].mean())


@settings(deadline=None, max_examples=50)
@given(hits=st.integers(0, 200), more=st.integers(0, 200), error=st.floats(0.001, 0.4))
def test_the_bound_is_clopper_and_pearsons(hits: int, more: int, error: float) -> None:
    if hits + more:
        expected = binomtest(hits, hits + more, alternative="greater").proportion_ci(1 - error, "exact").low
        assert float(lower_bound(hits, hits + more, error)) == pytest.approx(expected, abs=1e-9)


def test_a_certified_precision_is_missed_no_more_often_than_promised() -> None:
    generator, truth, missed, found = np.random.default_rng(0), {}, 0, 0
    for _ in range(400):
        try:
            chosen = threshold_for_precision(_draw(generator, 400), 0.9, target="law", confidence=0.9)
        except InsufficientDataError:
            continue
        found += 1
        truth.setdefault(chosen.threshold, _true_precision(chosen.threshold))
        missed += truth[chosen.threshold] < 0.9
    assert found > 350  # there is power
    assert missed <= 0.1 * found
    assert max(truth) < 0.99  # and not all of it at the strictest threshold


def test_a_certified_recall_is_missed_no_more_often_than_promised() -> None:
    generator, missed = np.random.default_rng(1), 0
    big = _draw(np.random.default_rng(98), 200_000)
    positives = big.probability_R[big.positive_R]
    for _ in range(400):
        chosen = threshold_for_recall(_draw(generator, 400), 0.9, target="law", confidence=0.9)
        missed += float((positives >= chosen.threshold).mean()) < 0.9
    assert missed <= 0.1 * 400
    assert chosen.threshold > 0.3


def test_what_is_stated_can_be_counted_again() -> None:
    held_out = _draw(np.random.default_rng(2), 2000)
    chosen = threshold_for_precision(held_out, 0.95, target="law")
    kept = held_out.positive_R[held_out.probability_R >= chosen.threshold]
    assert (chosen.documents, chosen.estimate) == (len(kept), kept.mean())
    assert 0.95 <= chosen.lower_bound < chosen.estimate
    assert "of 2,000 held-out documents" in chosen.sentence
    recall = threshold_for_recall(held_out, 0.95, target="law")
    reached = (held_out.probability_R >= recall.threshold) & held_out.positive_R
    assert recall.estimate == reached.sum() / held_out.positive_R.sum()
    assert 0.95 <= recall.lower_bound < recall.estimate


def test_one_unlucky_document_at_the_top_does_not_end_the_search() -> None:
    held_out = _draw(np.random.default_rng(3), 2000)
    spoiled = HeldOut.of(np.append(held_out.probability_R, 1.0), np.append(held_out.positive_R, False))
    before, after = (threshold_for_precision(one, 0.9, target="law") for one in (held_out, spoiled))
    assert after.documents > 0.9 * before.documents


def test_a_rarer_target_needs_a_stricter_threshold_and_the_shift_is_right() -> None:
    held_out = _draw(np.random.default_rng(4), 4000)
    own = threshold_for_precision(held_out, 0.9, target="law")
    rarer = threshold_for_precision(held_out, 0.9, target="law", prevalence=0.2)
    assert rarer.threshold > own.threshold
    assert rarer.lower_bound >= 0.9
    assert _true_precision(rarer.threshold, 0.2) >= 0.9
    assert rarer.estimate == pytest.approx(_true_precision(rarer.threshold, 0.2), abs=0.03)


@settings(deadline=None, max_examples=50)
@given(p=st.floats(0.01, 0.99), share=st.floats(0.01, 0.99), prevalence=st.floats(0.01, 0.99))
def test_shifting_to_another_mixture_and_back_changes_nothing(p: float, share: float, prevalence: float) -> None:
    there = shifted(p, share, prevalence)
    assert shifted(there, prevalence, share) == pytest.approx(p)
    assert (there > p) == (prevalence > share) or abs(prevalence - share) < 1e-9 or abs(there - p) < 1e-9


def test_too_few_documents_are_refused_with_how_many_it_takes() -> None:
    few = HeldOut.of(np.linspace(0, 1, 60), np.arange(60) >= 30)
    assert fewest(0.95, 0.95) == 59
    with pytest.raises(InsufficientDataError, match="takes 59 at least"):
        threshold_for_recall(few, 0.95, target="law")
    with pytest.raises(InsufficientDataError, match="it takes about"):
        threshold_for_precision(few, 0.99, target="law")
    mixed = HeldOut.of(np.linspace(0, 1, 400), np.arange(400) % 2 == 0)
    with pytest.raises(InsufficientDataError, match="no threshold reaches it"):
        threshold_for_precision(mixed, 0.9, target="law")
    with pytest.raises(InsufficientDataError, match="both kinds"):
        threshold_for_precision(HeldOut.of(np.ones(9), np.ones(9, bool)), 0.9, target="law")
    with pytest.raises(InsufficientDataError, match="both kinds"):
        threshold_for_recall(HeldOut.of(np.ones(0), np.ones(0, bool)), 0.9, target="law")


@pytest.mark.parametrize("wanted", [0.0, 1.0, 95.0, -1.0])
def test_a_wish_outside_zero_and_one_is_refused(wanted: float) -> None:
    held_out = _draw(np.random.default_rng(5), 100)
    with pytest.raises(ConfigError):
        threshold_for_precision(held_out, wanted, target="law")
    with pytest.raises(ConfigError):
        threshold_for_recall(held_out, wanted, target="law")
    with pytest.raises(ConfigError):
        threshold_for_precision(held_out, 0.5, target="law", prevalence=wanted)
