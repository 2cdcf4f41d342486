"""What a text's own letters say: the numbers are scikit-learn's, a text is alike in any company, and sets carry it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfTransformer

from curator.neuronset.artifact import NeuronSet
from curator.neuronset.wording import (
    BITS,
    Wording,
    fit_wording,
    inverse_frequencies,
    text_counts,
    unit_weights,
)
from tests.atlas.core_world import make_corpus
from tests.neuronset.made_set import TARGETS, make_set

LAW = ["The court shall hear the appeal of the party.", "A statute of limitations bars the claim in court."] * 6
CODE = ["for key in values: print(key)", "def add(first, second): return first + second"] * 6
TEXTS = [*LAW, *CODE]
IS_LAW = np.arange(len(TEXTS)) < len(LAW)


def test_the_rows_are_scikit_learns_tf_idf() -> None:
    counts = text_counts(TEXTS)
    expected = TfidfTransformer(sublinear_tf=True).fit_transform(counts.astype(np.float64))
    found = unit_weights(counts, inverse_frequencies(counts))
    np.testing.assert_allclose(found.toarray(), expected.toarray(), rtol=1e-6)


def test_an_unseen_text_of_the_target_scores_higher() -> None:
    fitted = fit_wording(TEXTS, np.stack([IS_LAW, ~IS_LAW]), 100.0)
    scores = fitted.scores(["The party may appeal to the court.", "return first + 1 if second else key"])
    assert scores[0, 0] > scores[1, 0] and scores[0, 1] < scores[1, 1]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(max_size=80), min_size=1, max_size=6))
def test_a_text_is_scored_alike_in_any_company_and_an_empty_one_says_nothing(texts: list[str]) -> None:
    generator = np.random.default_rng(0)
    made = Wording(
        generator.random(1 << BITS).astype(np.float32), generator.normal(size=(2, 1 << BITS)).astype(np.float32)
    )
    together = made.scores([*texts, "", "\ud800 is no UTF-8"])
    assert np.isfinite(together).all() and (together[-2] == 0).all()
    np.testing.assert_allclose(together[: len(texts)], np.concatenate([made.scores([text]) for text in texts]))


def test_labels_of_few_among_many_documents_count_alike() -> None:
    texts, labels = [*LAW[:2], *CODE * 20], np.arange(2 + 20 * len(CODE)) < 2
    fitted = fit_wording(texts, labels[None], 100.0)
    assert fitted.scores(LAW[:1])[0, 0] > fitted.scores(CODE[:1])[0, 0]


@pytest.fixture
def made(world: Path) -> NeuronSet:
    return make_set(world)


def test_a_set_shows_its_scorers_the_wording_behind_the_neurons(made: NeuronSet) -> None:
    texts = [document.text for document in make_corpus().documents[:5]]
    values = np.random.default_rng(0).standard_normal((5, 3, len(made.manifest.neurons))).astype(np.float32)
    whole, bare = made.evidence(values, texts), made.evidence(values, texts, wording=False)
    assert whole.shape[1] == bare.shape[1] + len(TARGETS)
    np.testing.assert_array_equal(whole[:, : bare.shape[1]], bare)
    assert made.wording is not None
    np.testing.assert_allclose(whole[:, bare.shape[1] :], made.wording.scores(texts))
    for target in TARGETS:
        assert np.isfinite(made.method(target, "blended").score(whole)).all()


def test_the_wording_is_the_same_at_every_depth(made: NeuronSet) -> None:
    shallow, texts = made.shallower(1), ["17 23 42", "lorem ipsum dolor"]
    assert made.wording is not None and shallow.wording is not None
    np.testing.assert_array_equal(shallow.wording.scores(texts), made.wording.scores(texts))
    values = np.zeros((2, 3, len(shallow.manifest.neurons)), np.float32)
    assert shallow.method("digits", "blended").score(shallow.evidence(values, texts)).shape == (2,)


def test_a_set_made_before_there_was_a_wording_still_scores(made: NeuronSet) -> None:
    arrays = {name: array for name, array in made.arrays.items() if "wording" not in name and "blended" not in name}
    old = NeuronSet(made.manifest, arrays)
    values = np.zeros((1, 3, len(made.manifest.neurons)), np.float32)
    assert old.wording is None
    assert old.method("digits", "linear").score(old.evidence(values, ["text"])).shape == (1,)
