"""Why a document has its score: samples where they are wanted, and effects of tokens that add up to the score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curator.neuronset.features import document_features
from curator.neuronset.reasons import VERDICTS, explain, sample_documents
from curator.neuronset.scorers import METHODS, Blended
from curator.neuronset.thresholds import Reported
from curator.records import Document
from tests.atlas.core_world import make_backbone, make_corpus
from tests.neuronset.made_set import make_set
from tests.neuronset.test_set_scorers import _features, _methods


def _reported(probability: list[float], positive: list[int]) -> Reported:
    count = len(probability)
    score = np.asarray(probability) * 10
    return Reported(
        score, np.asarray(probability), np.asarray(positive, dtype=bool), np.arange(count), np.full(count, 7)
    )


REPORTED = _reported(
    [0.99, 0.9, 0.8, 0.7, 0.6, 0.55, 0.45, 0.4, 0.3, 0.2, 0.1, 0.01], [1, 1, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0]
)
DOMAINS = ["t", "t", "a", "t", "b", "t", "a", "t", "a", "b", "b", "b"]


def test_samples_are_mistakes_clear_cases_and_close_ones_each_document_once() -> None:
    found = sample_documents(REPORTED, DOMAINS, 0.5, clear=2, near=1, wrong=1)
    assert {verdict: [row for row, v in found.items() if v == verdict] for verdict in VERDICTS} == {
        "clear keep": [0, 1],
        "just kept": [5],
        "wrongly kept": [2],
        "just dropped": [6],
        "wrongly dropped": [7],
        "clear drop": [8, 11],  # the lowest of each domain first
    }


def test_a_perfect_filter_has_no_mistakes_to_show() -> None:
    found = sample_documents(_reported([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0]), ["t", "t", "a", "a"], 0.5)
    assert set(found.values()) == {"clear keep", "clear drop"}


def test_a_threshold_keeps_documents_hits_and_tokens() -> None:
    kept = REPORTED.kept(0.6)
    assert (kept.documents, kept.on_target, kept.tokens) == (5, 3, 35)
    assert REPORTED.kept(1.0).documents == 0


@pytest.mark.parametrize("name", METHODS)
def test_a_gradient_is_the_slope_of_its_score(name: str) -> None:
    z, _ = _features(documents=6, seed=2)
    method, z = _methods()[name], z.astype(np.float32)
    gradient = method.gradient(z)
    assert gradient.shape == z.shape
    generator = np.random.default_rng(0)
    step = (0.01 * generator.standard_normal(z.shape)).astype(np.float32)
    measured = method.score(z + step) - method.score(z - step)
    np.testing.assert_allclose(2 * (gradient * step).sum(axis=1), measured, rtol=0.05, atol=2e-4)


@pytest.mark.parametrize("name", METHODS)
def test_a_reason_has_the_scorers_own_score_and_neurons(world: Path, name: str) -> None:
    neuron_set, backbone, documents = make_set(world), make_backbone("gpt2", world), make_corpus().documents[:6]
    features = document_features(backbone, [d.text for d in documents], neuron_set.choice, skip_tokens=4)
    z = neuron_set.evidence(features.values_DfK, [d.text for d in documents])
    method = neuron_set.method("digits", name)
    reasons = explain(backbone, neuron_set, "digits", name, documents)
    for row, reason in enumerate(reasons):
        assert reason is not None and reason.tokens == features.tokens_D[row]
        assert reason.score == pytest.approx(method.score(z)[row], abs=1e-3)
        effects = method.contributions(z)[row]
        strongest = max([*effects, method.wording(z)[row]] if isinstance(method, Blended) else effects)
        assert not reason.raised or reason.raised[0][1] == pytest.approx(strongest, abs=1e-3)
        assert reason.text in documents[row].text and sum(reason.lengths) == len(reason.text)


def test_effects_of_all_tokens_add_up_to_the_linear_score_less_its_intercept(world: Path) -> None:
    neuron_set, backbone, documents = make_set(world), make_backbone("gpt2", world), make_corpus().documents[:20]
    features = document_features(backbone, [d.text for d in documents], neuron_set.choice, skip_tokens=4)
    standard = (features.values_DfK - neuron_set.standardiser.mean_fK) / neuron_set.standardiser.scale_fK
    unclipped = np.abs(standard).max(axis=(1, 2)) < 10
    assert unclipped.sum() > 10
    for row, reason in enumerate(explain(backbone, neuron_set, "digits", "linear", documents)):
        if unclipped[row]:
            total = sum(effect for effect in reason.effects if effect is not None) + reason.elsewhere
            assert reason.intercept + total == pytest.approx(reason.score, abs=1e-3)


def test_the_shown_stretch_is_where_tokens_moved_the_score_most(world: Path) -> None:
    text = "lorem ipsum dolor sit amet " * 40 + "17 23 42 99 58 71 " * 12 + "sed diam nonumy tempor " * 40
    (reason,) = explain(make_backbone("gpt2", world), make_set(world), "digits", "linear", [Document("long", text)])
    assert reason is not None and len(reason.text.encode()) <= 480
    assert "42 99 58" in reason.text


def test_a_document_without_a_scored_token_has_no_reason(world: Path) -> None:
    assert explain(make_backbone("gpt2", world), make_set(world), "digits", "linear", [Document("short", "a")]) == [
        None
    ]
