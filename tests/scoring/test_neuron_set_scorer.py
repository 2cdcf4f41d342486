"""Scoring documents on a neuron set: one result each, in order, whatever stands beside them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from curator.errors import ConfigError, FingerprintError
from curator.lm.backbone import load_backbone
from curator.neuronset.artifact import MethodName
from curator.neuronset.features import DocumentFeatures, document_features
from curator.neuronset.scorers import METHODS
from curator.records import Rejection, RejectReason, Score
from curator.scoring.scorer import NeuronSetScorer
from tests.atlas.core_world import make_backbone
from tests.neuronset.made_set import make_set
from tests.scoring.made_scorer import bad_documents, make_scorer, passes, unseen


def _values(results: list[Score | Rejection]) -> np.ndarray:
    assert all(isinstance(result, Score) for result in results)
    return np.asarray([(r.value, r.probability) for r in results if isinstance(r, Score)])


@pytest.mark.parametrize("method", ["single", "linear", "signature", "blended"])
def test_unseen_documents_of_the_target_score_higher(world: Path, method: MethodName) -> None:
    documents = unseen(60)
    values = _values(make_scorer(world, "digits", method).score(documents))
    positive = [document.domain == "digits" for document in documents]
    assert roc_auc_score(positive, values[:, 0]) > 0.95
    assert ((values[:, 1] > 0) & (values[:, 1] < 1)).all()


def test_one_activation_that_is_not_finite_rejects_its_document_alone(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*args: Any, **options: Any) -> DocumentFeatures:
        found = document_features(*args, **options)
        found.values_DfK[1, 2, -1] = np.inf  # not the first feature of the first neuron
        return found

    monkeypatch.setattr("curator.scoring.scorer.document_features", damaged)
    first, second, third = make_scorer(world).score(unseen(3))
    assert isinstance(first, Score) and isinstance(third, Score)
    assert isinstance(second, Rejection)
    assert (second.reason, second.detail) == (RejectReason.SCORING_FAILED, "the model's activations are not finite")


def test_there_is_one_result_for_each_document_in_order(world: Path) -> None:
    documents = unseen()
    results = make_scorer(world).score(documents)
    assert [r.document_id for r in results if isinstance(r, Score)] == [document.id for document in documents]
    assert make_scorer(world).score([]) == []


def test_what_cannot_be_scored_is_rejected_alone(world: Path) -> None:
    good = unseen(3)
    bad = bad_documents()
    mixed = [bad[0], good[0], bad[1], good[1], bad[2], good[2]]
    results = make_scorer(world).score(mixed)
    rejected = [result for result in results if isinstance(result, Rejection)]
    assert [result.place for result in rejected] == ["empty", "one", "surrogate"]
    assert [r.reason for r in rejected] == [RejectReason.NO_SPANS, RejectReason.NO_SPANS, RejectReason.INVALID_UTF8]
    np.testing.assert_allclose(_values(results[1::2]), _values(make_scorer(world).score(good)), atol=1e-4)
    assert all(isinstance(result, Rejection) for result in make_scorer(world).score(bad))


def test_batches_in_turn_are_scored_as_each_is_alone(world: Path) -> None:
    documents, scorer = unseen(), make_scorer(world)
    batches = [documents[:7], [], bad_documents(), documents[7:]]
    found = list(scorer.score_batches(batches))
    assert [len(part) for part in found] == [len(batch) for batch in batches]
    assert found[2] == scorer.score(bad_documents())
    alone = [result for batch in batches for result in scorer.score(batch)]
    joined = [result for part in found for result in part]
    assert [type(result) for result in joined] == [type(result) for result in alone]
    good = [place for place, result in enumerate(alone) if isinstance(result, Score)]
    np.testing.assert_allclose(_values([joined[i] for i in good]), _values([alone[i] for i in good]), atol=1e-4)


def test_several_targets_are_scored_from_one_reading_as_each_is_alone(world: Path) -> None:
    documents = [*unseen(), *bad_documents()]
    both = make_scorer(world, ("letters", "digits"))
    with passes(both) as counted:
        results = both.score_targets(documents)
    with passes(both) as alone:
        both.score(documents)
    assert counted == alone
    assert counted[0] > 0
    for place, target in enumerate(both.targets):
        expected = make_scorer(world, target).score(documents)
        for result, one in zip(results, expected, strict=True):
            if isinstance(one, Rejection):
                assert result == one
            else:
                assert isinstance(result, tuple)
                assert result[place] == one


def test_a_target_is_named_once(world: Path) -> None:
    backbone, made = make_backbone("gpt2", world), make_set(world)
    for wrong in (("digits", "digits"), (), None):
        with pytest.raises(ConfigError):
            NeuronSetScorer(backbone, made, wrong)


@pytest.mark.parametrize("method", ["single", "linear", "signature", "blended"])
def test_scores_do_not_depend_on_the_batch(world: Path, method: MethodName) -> None:
    documents, scorer = unseen(), make_scorer(world, "letters", method)
    together = _values(scorer.score(documents))
    alone = np.concatenate([_values(scorer.score([document])) for document in documents])
    turned = _values(scorer.score(documents[::-1]))[::-1]
    np.testing.assert_allclose(together, alone, atol=1e-4)
    np.testing.assert_allclose(together, turned, atol=1e-4)


def test_the_etag_tells_set_domain_and_method_apart(world: Path) -> None:
    scorers = [
        make_scorer(world, domain, method)
        for domain in ("digits", "letters")
        for method in ("single", "linear", "signature", "blended")
    ]  # fmt: skip
    scorers += [make_scorer(world, ("digits", "letters")), make_scorer(world, ("letters", "digits"))]
    assert len({scorer.etag for scorer in scorers}) == 10
    assert (
        scorers[0].etag == NeuronSetScorer(make_backbone("gpt2", world), scorers[0].neuron_set, "digits", "single").etag
    )
    assert all(scorer.etag.startswith(scorer.neuron_set.etag) for scorer in scorers)


def test_the_default_method_is_the_sets_and_the_explanation_names_its_neurons(world: Path) -> None:
    scorer = make_scorer(world)
    manifest = scorer.neuron_set.manifest
    assert scorer.method_name == manifest.targets["digits"].default
    assert (scorer.name, scorer.model_fingerprint) == ("tiny", manifest.model_fingerprint)
    known = {neuron.id for neuron in manifest.neurons}
    for result in scorer.score(unseen()):
        assert isinstance(result, Score)
        assert len(result.top_neurons) <= 3
        assert set(result.top_neurons) <= known
        assert result.tokens > 0


def test_a_scorer_refuses_another_model_and_an_unknown_domain(world: Path) -> None:
    with pytest.raises(FingerprintError):
        NeuronSetScorer(make_backbone("llama", world), make_set(world), "digits")
    with pytest.raises(ConfigError):
        NeuronSetScorer(make_backbone("gpt2", world), make_set(world), "poetry")


def test_bfloat16_moves_scores_little_and_decisions_hardly(world: Path) -> None:
    """Untrained weights at their own scale, so this bounds the arithmetic and not a trained model."""
    half = load_backbone(str(world / "core-gpt2-0"), dtype="bfloat16", max_tokens=40)
    documents = unseen(60)
    for method in METHODS:
        exact = make_scorer(world, "digits", method)
        rough = NeuronSetScorer(half, exact.neuron_set, "digits", method)
        there, here = _values(exact.score(documents)), _values(rough.score(documents))
        spread = there[:, 0].std()
        assert 0 < np.abs(here[:, 0] - there[:, 0]).max() < 0.25 * spread
        near = np.abs(there[:, 1] - 0.5) < 0.1
        assert ((here[:, 1] >= 0.5) == (there[:, 1] >= 0.5))[~near].all()
