"""Selectors against hand-computed cases, one contract for all of them, and measures against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from curator.bakeoff import measures
from curator.bakeoff.entrants import text_selectors
from curator.bakeoff.neurons import (
    HiddenCosine,
    HiddenLogistic,
    NagProfile,
    NeuronBlended,
    NeuronLinear,
    NeuronSignature,
    NeuronSingle,
    NeuronViews,
    Perplexity,
    ProbeSingle,
)
from curator.bakeoff.reading import Reading
from curator.bakeoff.selectors import Lesson, Selector, log_ratio
from curator.bakeoff.texts import TextViews
from curator.records import Document
from curator.settings import NeuronSetSettings

WORDS = {"on": "law court judge statute clause", "off": "def return import class self"}
DOCUMENTS, NEURONS, HIDDEN = 80, 12, 6


def _reading() -> Reading:
    random = np.random.default_rng(0)
    domains = ["on" if row % 4 == 0 else "off" for row in range(DOCUMENTS)]
    texts = [" ".join(random.choice(WORDS[domain].split(), 30)) for domain in domains]
    documents = tuple(
        Document(str(row), text, domain, f"s{row}")
        for row, (text, domain) in enumerate(zip(texts, domains, strict=True))
    )
    on_D = np.asarray([domain == "on" for domain in domains])
    values_DfN = random.normal(size=(DOCUMENTS, 3, NEURONS)).astype(np.float32)
    values_DfN[on_D, :, :4] += 3
    hidden_DH = random.normal(size=(DOCUMENTS, HIDDEN)).astype(np.float32) + 2 * on_D[:, None]
    return Reading(documents, values_DfN, hidden_DH, random.random(DOCUMENTS), np.repeat([0, 1], NEURONS // 2))


READING = _reading()
DOMAIN_D = np.asarray([document.domain for document in READING.documents])
POOL = np.arange(40, DOCUMENTS)
LESSON = Lesson("on", np.flatnonzero(DOMAIN_D[:40] == "on"), np.flatnonzero(DOMAIN_D[:40] == "off"), POOL, seed=1)
VIEWS = TextViews([document.text for document in READING.documents], POOL)
NEURON_VIEWS = NeuronViews(READING, POOL)
ALL = np.arange(NEURONS)
SETTINGS = NeuronSetSettings()


def every_selector() -> list[Selector]:
    return [
        *text_selectors(VIEWS, DOMAIN_D),
        Perplexity("perplexity", "model", 0, NEURON_VIEWS),
        HiddenCosine("cosine", "model", 1, NEURON_VIEWS),
        HiddenLogistic("logistic", "model", 1, NEURON_VIEWS),
        NagProfile("NAG", "model", 1, NEURON_VIEWS, subtracted=False),
        NagProfile("NAG less background", "model", 1, NEURON_VIEWS, subtracted=True),
        ProbeSingle("probe", "neurons", 0, NEURON_VIEWS, {"on": (0, 1)}),
        NeuronSingle("single", "neurons", 1, NEURON_VIEWS, ALL, gated=False),
        NeuronSignature("signature", "neurons", 1, NEURON_VIEWS, ALL, SETTINGS),
        NeuronLinear("linear", "neurons", 1, NEURON_VIEWS, ALL, SETTINGS),
        NeuronBlended("blended", "neurons", 1, NEURON_VIEWS, ALL, SETTINGS, VIEWS),
    ]


BLIND = {"random", "length-matched random", "perplexity"}


@pytest.mark.parametrize("selector", every_selector(), ids=lambda selector: selector.name)
def test_a_selector_scores_any_rows_alike_and_finds_a_plain_target(selector: Selector) -> None:
    first, again = selector.fit(LESSON), selector.fit(LESSON)
    scores = first(POOL)
    assert scores.shape == POOL.shape and np.isfinite(scores).all()
    np.testing.assert_allclose(again(POOL), scores)
    np.testing.assert_allclose(first(POOL[::-1])[::-1], scores, rtol=1e-5, atol=1e-6)
    if selector.name not in BLIND | {"NAG", "NAG less background"}:
        assert measures.precision_at_budget(scores, DOMAIN_D[POOL] == "on") >= 0.7


def test_the_weights_of_dsir_are_those_computed_by_hand() -> None:
    target, raw = np.asarray([3.0, 1.0, 0.0]), np.asarray([1.0, 1.0, 8.0])
    expected = [math.log((4 / 7) / (2 / 13)), math.log((2 / 7) / (2 / 13)), math.log((1 / 7) / (9 / 13))]
    np.testing.assert_allclose(log_ratio(target, raw, 1.0), expected)


def test_random_choices_differ_by_seed() -> None:
    chance = text_selectors(VIEWS, DOMAIN_D)[1]
    other = Lesson("on", LESSON.positive_P, LESSON.negative_M, POOL, seed=2)
    assert not np.array_equal(chance.fit(LESSON)(POOL), chance.fit(other)(POOL))


def test_the_neurons_that_nag_counts_are_the_strongest_of_each_layer() -> None:
    active = NEURON_VIEWS.most_active
    assert active.shape == (DOCUMENTS, NEURONS)
    assert (active[:, :6].sum(axis=1) == 6).all()  # layers of fewer than twenty neurons are all active


SCORED = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40).filter(
    lambda rows: 0 < sum(truth for _, truth in rows) < len(rows)
)


@given(SCORED)
def test_average_precision_is_scikit_learns(rows: list[tuple[int, bool]]) -> None:
    scores, truth = (np.asarray(column) for column in zip(*rows, strict=True))
    found = measures.average_precision(scores.astype(float), truth)
    assert found == pytest.approx(average_precision_score(truth, scores))


@given(SCORED)
def test_precision_at_the_oracles_budget_is_also_recall(rows: list[tuple[int, bool]]) -> None:
    scores, truth = (np.asarray(column) for column in zip(*rows, strict=True))
    kept = measures.chosen(scores.astype(float), int(truth.sum()))
    hits = truth[kept].sum()
    assert measures.precision_at_budget(scores.astype(float), truth) == hits / len(kept) == hits / truth.sum()


def test_scores_that_are_not_numbers_rank_last() -> None:
    assert measures.chosen(np.asarray([np.nan, -5.0, 2.0]), 3).tolist() == [2, 1, 0]
    assert measures.average_precision(np.asarray([np.nan, 1.0]), np.asarray([True, False])) == 0.5


def test_divergence_is_zero_for_equal_counts_and_the_reduction_is_above_it_for_the_targets_own_text() -> None:
    counts = VIEWS.counts
    on, mixed = (measures.total_counts(counts, rows) for rows in (POOL[DOMAIN_D[POOL] == "on"], POOL))
    assert measures.kl_divergence(on, on) == pytest.approx(0, abs=1e-12)
    assert measures.kl_reduction(on, on, mixed) > 0 > measures.kl_reduction(on, mixed, on)


def test_overlap_and_shift_are_those_counted_by_hand() -> None:
    assert measures.jaccard(np.asarray([1, 2, 3]), np.asarray([2, 3, 4])) == 0.5
    texts, sources = ["aa", "aaaa", "äöü", "aaaa"], ["s", "s", "t", "u"]
    lengths, foreign = (np.asarray([of(text) for text in texts]) for of in (len, measures.mostly_foreign))
    found = measures.shift(lengths, foreign, sources, np.asarray([0, 1]), np.asarray([2, 3]))
    assert found.length == pytest.approx(3 / 3.5)
    assert found.sources == pytest.approx(1 / 2)
    assert found.not_ascii == 0
    assert measures.shift(lengths, foreign, sources, np.asarray([2]), np.asarray([3])).not_ascii == 1
