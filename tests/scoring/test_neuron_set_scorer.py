"""Scoring documents on a neuron set: one result each, in order, whatever stands beside them."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from curator.errors import ConfigError, FingerprintError
from curator.neuronset.artifact import MethodName, save_neuron_set
from curator.records import Document, Rejection, RejectReason, Score
from curator.scoring.scorer import NeuronSetScorer, load_scorer
from tests.atlas.core_world import make_backbone, make_corpus
from tests.neuronset.made_set import make_set


@cache
def _scorer(world: Path, domain: str = "digits", method: MethodName | None = None) -> NeuronSetScorer:
    folder = world / "scored-set"
    if not folder.exists():
        save_neuron_set(make_set(world), folder)
    return load_scorer(folder, make_backbone("gpt2", world), domain=domain, method=method)


def _unseen(count: int = 20) -> list[Document]:
    return list(make_corpus(20, seed=9).documents)[:count]


def _values(results: list[Score | Rejection]) -> np.ndarray:
    assert all(isinstance(result, Score) for result in results)
    return np.asarray([(r.value, r.probability) for r in results if isinstance(r, Score)])


@pytest.mark.parametrize("method", ["single", "linear", "signature"])
def test_unseen_documents_of_the_target_score_higher(world: Path, method: MethodName) -> None:
    documents = _unseen(60)
    values = _values(_scorer(world, "digits", method).score(documents))
    positive = [document.domain == "digits" for document in documents]
    assert roc_auc_score(positive, values[:, 0]) > 0.95
    assert ((values[:, 1] > 0) & (values[:, 1] < 1)).all()


def test_there_is_one_result_for_each_document_in_order(world: Path) -> None:
    documents = _unseen()
    results = _scorer(world).score(documents)
    assert [r.document_id for r in results if isinstance(r, Score)] == [document.id for document in documents]
    assert _scorer(world).score([]) == []


def test_what_cannot_be_scored_is_rejected_alone(world: Path) -> None:
    good = _unseen(3)
    bad = [Document("empty", ""), Document("one", "x"), Document("surrogate", "broken \ud800 text that is long enough")]
    mixed = [bad[0], good[0], bad[1], good[1], bad[2], good[2]]
    results = _scorer(world).score(mixed)
    rejected = [result for result in results if isinstance(result, Rejection)]
    assert [result.place for result in rejected] == ["empty", "one", "surrogate"]
    assert [r.reason for r in rejected] == [RejectReason.NO_SPANS, RejectReason.NO_SPANS, RejectReason.INVALID_UTF8]
    np.testing.assert_allclose(_values(results[1::2]), _values(_scorer(world).score(good)), atol=1e-4)
    assert all(isinstance(result, Rejection) for result in _scorer(world).score(bad))


@pytest.mark.parametrize("method", ["single", "linear", "signature"])
def test_scores_do_not_depend_on_the_batch(world: Path, method: MethodName) -> None:
    documents, scorer = _unseen(), _scorer(world, "letters", method)
    together = _values(scorer.score(documents))
    alone = np.concatenate([_values(scorer.score([document])) for document in documents])
    turned = _values(scorer.score(documents[::-1]))[::-1]
    np.testing.assert_allclose(together, alone, atol=1e-4)
    np.testing.assert_allclose(together, turned, atol=1e-4)


def test_the_etag_tells_set_domain_and_method_apart(world: Path) -> None:
    scorers = [
        _scorer(world, domain, method)
        for domain in ("digits", "letters")
        for method in ("single", "linear", "signature")
    ]  # fmt: skip
    assert len({scorer.etag for scorer in scorers}) == 6
    assert (
        scorers[0].etag == NeuronSetScorer(make_backbone("gpt2", world), scorers[0].neuron_set, "digits", "single").etag
    )
    assert all(scorer.etag.startswith(scorer.neuron_set.etag) for scorer in scorers)


def test_the_default_method_is_the_sets_and_the_explanation_names_its_neurons(world: Path) -> None:
    scorer = _scorer(world)
    manifest = scorer.neuron_set.manifest
    assert scorer.method_name == manifest.targets["digits"].default
    assert (scorer.name, scorer.model_fingerprint) == ("tiny", manifest.model_fingerprint)
    known = {neuron.id for neuron in manifest.neurons}
    for result in scorer.score(_unseen()):
        assert isinstance(result, Score)
        assert len(result.top_neurons) <= 3
        assert set(result.top_neurons) <= known
        assert result.tokens > 0


def test_a_scorer_refuses_another_model_and_an_unknown_domain(world: Path) -> None:
    with pytest.raises(FingerprintError):
        NeuronSetScorer(make_backbone("llama", world), make_set(world), "digits")
    with pytest.raises(ConfigError):
        NeuronSetScorer(make_backbone("gpt2", world), make_set(world), "poetry")
