"""The cascade: what the prefilter computes, what its cutoff promises, and that nothing is dropped in silence."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.errors import ArtifactError, ArtifactNotFoundError, ConfigError, FingerprintError, InsufficientDataError
from curator.records import Document, Rejection, RejectReason, Score
from curator.scoring import prefilter as prefilters
from curator.scoring.cascade import Cascade, train_cascade
from curator.scoring.distill import distilled_prefilter, safe_cutoff
from curator.scoring.prefilter import Prefilter, load_prefilter, save_prefilter
from curator.settings import PrefilterSettings
from curator.text.ngrams import ORDERS, buckets, folded
from tests.atlas.core_world import make_text

CUTOFFS = {"digits": 0.4, "letters": 0.55}
SETTINGS = PrefilterSettings(recall=0.9, bits=14, fit_documents=400)


class ByDigits:
    """Scores a text by its share of digits and of letters, and counts what it is asked."""

    name, etag, model_fingerprint, targets = "fake", "fake-etag", "fake-model", ("digits", "letters")

    def __init__(self) -> None:
        self.asked = 0

    def score_targets(self, documents: Sequence[Document]) -> list[tuple[Score, ...] | Rejection]:
        self.asked += len(documents)
        return [self._one(document) for document in documents]

    def _one(self, document: Document) -> tuple[Score, ...] | Rejection:
        if not document.text:
            return Rejection(document.id, RejectReason.NO_SPANS)
        shares = (sum(map(kind, document.text)) / len(document.text) for kind in (str.isdigit, str.isalpha))
        return tuple(Score(document.id, share, min(1.0, share), 9) for share in shares)


def _documents(count: int, share: float = 0.2, seed: int = 0) -> list[Document]:
    generator = np.random.default_rng(seed)
    domains = generator.choice(["digits", "letters", "marks"], count, p=[share, 0.1, 0.9 - share])
    return [Document(f"{seed}-{n}", make_text(str(d), generator, 40), str(d)) for n, d in enumerate(domains)]


def _trained(seed: int = 0) -> Cascade:
    return train_cascade(ByDigits(), _documents(1500, seed=seed), CUTOFFS, SETTINGS)


def test_a_bucket_is_the_hash_of_its_bytes_alone() -> None:
    data = folded("Ab1 stra\u00dfe ab2 straSSE")
    for order in ORDERS:
        found = buckets(data, order, 18)
        assert len(found) == len(data) - order + 1
        for place, bucket in enumerate(found):
            assert buckets(data[place : place + order], order, 18).tolist() == [bucket]
        assert int(found.max()) < 1 << 18
    assert buckets(b"abc", 4, 18).tolist() == []
    assert folded("A9 z") == folded("a1 Z")


@settings(deadline=None, max_examples=50)
@given(texts=st.lists(st.text(max_size=40), max_size=12), seed=st.integers(0, 9))
def test_a_score_is_the_mean_weight_and_does_not_feel_its_neighbours(texts: list[str], seed: int) -> None:
    weights = np.random.default_rng(seed).standard_normal((2, 1 << 10)).astype(np.float32)
    made = Prefilter(("a", "b"), weights, (0.0, 0.0), "etag", {})
    found = made.scores(texts)
    assert found.shape == (2, len(texts))
    for place, text in enumerate(texts):
        hashed = np.concatenate([buckets(folded(text), order, 10) for order in ORDERS])
        expected = weights[:, hashed].mean(axis=1, dtype=np.float64) if len(hashed) else [-np.inf, -np.inf]
        np.testing.assert_allclose(found[:, place], expected, rtol=1e-6, atol=1e-9)
        if not len(hashed):
            assert made.passes([text])[0]  # nothing speaks against it


def test_many_texts_are_scored_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    made, texts = _trained().prefilter, [document.text for document in _documents(50, seed=5)]
    whole = made.scores(texts)
    monkeypatch.setattr(prefilters, "_BATCH_BYTES", 500)
    np.testing.assert_allclose(made.scores(texts), whole, rtol=1e-9)


def test_what_the_full_scorer_would_keep_passes_as_often_as_promised() -> None:
    cascade, pool = _trained(), _documents(3000, seed=7)
    passes = cascade.prefilter.passes([document.text for document in pool])
    kept = np.asarray([result[0].probability >= 0.4 for result in ByDigits().score_targets(pool)])
    assert passes[kept].mean() >= 0.88  # promised: 0.9 with 95 %, of another sample
    assert passes.mean() < 0.5
    report = cascade.prefilter.report["targets"][0]
    assert 0.9 <= report["recall_bound"] <= report["recall"] <= 1
    assert report["kept"] >= 16


def test_a_sample_of_one_data_set_is_cut_in_two_all_the_same() -> None:
    """Dolma and RedPajama say the data set where a source should stand; all documents used to calibrate and none to fit."""
    documents = [replace(document, source="c4") for document in _documents(1500)]
    report = train_cascade(ByDigits(), documents, CUTOFFS, SETTINGS).prefilter.report
    assert report["split_by"] == "document"
    assert report["targets"][0]["documents"] == 1500 - SETTINGS.fit_documents
    assert _trained().prefilter.report["split_by"] == "source"


def test_a_promise_of_recall_is_broken_no_more_often_than_stated() -> None:
    """Scores that the text does not tell: the cutoff then is a quantile, and its recall is known."""
    generator, broken = np.random.default_rng(3), 0
    texts = [f"{word:x}" * 6 for word in generator.integers(0, 1 << 30, 400)]
    documents = [Document(str(place), text) for place, text in enumerate(texts)]
    for draw in range(40):
        kept = np.random.default_rng(draw).random(400) < 0.5
        results = [(Score(d.id, float(k), float(k), 1),) for d, k in zip(documents, kept, strict=True)]
        made = distilled_prefilter(documents, results, {"x": 0.5}, "etag", replace_seed(SETTINGS, draw))
        fresh = [f"{word:x}" * 6 for word in np.random.default_rng(1000 + draw).integers(0, 1 << 30, 2000)]
        broken += float(made.passes(fresh).mean()) < 0.9
    assert broken <= 6


def replace_seed(given: PrefilterSettings, seed: int) -> PrefilterSettings:
    return given.model_copy(update={"seed": seed})


def test_the_cascade_asks_the_model_only_about_what_passes_and_rejects_the_rest_by_name() -> None:
    cascade = _trained()
    scorer = ByDigits()
    cascade = Cascade(scorer, cascade.prefilter)
    pool = [*_documents(200, seed=8), Document("empty", "")]
    results = cascade.score_targets(pool)
    passes = cascade.prefilter.passes([document.text for document in pool])
    assert scorer.asked == passes.sum() < len(pool)
    full = ByDigits().score_targets(pool)
    for document, result, passed, expected in zip(pool, results, passes, full, strict=True):
        if passed:
            assert result == expected
        else:
            assert isinstance(result, Rejection)
            assert (result.place, result.reason) == (document.id, RejectReason.PREFILTERED)
    assert cascade.score_targets([]) == []
    assert (cascade.name, cascade.targets) == ("fake", ("digits", "letters"))


def test_training_is_deterministic_and_the_etag_names_the_prefilter() -> None:
    one, other, third = _trained(), _trained(), _trained(seed=1)
    assert one.etag == other.etag != third.etag
    assert one.etag.startswith("fake-etag+prefilter-")
    np.testing.assert_array_equal(one.prefilter.weights_TB, other.prefilter.weights_TB)


def test_a_prefilter_survives_the_disk_and_refuses_change_and_strangers(tmp_path: Path) -> None:
    cascade = _trained()
    save_prefilter(cascade.prefilter, tmp_path / "prefilter")
    loaded = Cascade(ByDigits(), load_prefilter(tmp_path / "prefilter"))
    assert loaded.etag == cascade.etag
    assert loaded.prefilter.report == cascade.prefilter.report
    with pytest.raises(FingerprintError, match="make it again"):
        Cascade(ByDigits(), replace(cascade.prefilter, scorer_etag="another"))
    weights = cascade.prefilter.weights_TB.copy()
    weights[0, 0] += 1
    np.save(tmp_path / "prefilter" / "weights.npy", weights)
    with pytest.raises(ArtifactError, match="changed"):
        load_prefilter(tmp_path / "prefilter")
    (tmp_path / "prefilter" / "weights.npy").write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_prefilter(tmp_path / "prefilter")
    with pytest.raises(ArtifactNotFoundError):
        load_prefilter(tmp_path / "absent")


def test_cutoffs_of_a_fraction_come_from_the_sample() -> None:
    trained = train_cascade(
        ByDigits(), _documents(1500), lambda p_TD: [safe_cutoff(p_D, 0.1) for p_D in p_TD], SETTINGS
    )
    cutoffs = [report["scorer_cutoff"] for report in trained.prefilter.report["targets"]]
    pool = ByDigits().score_targets(_documents(4000, seed=11))
    for target, cutoff in enumerate(cutoffs):
        assert np.mean([result[target].probability >= cutoff for result in pool]) >= 0.1


def test_a_safe_cutoff_is_too_high_no_more_often_than_stated() -> None:
    generator = np.random.default_rng(0)
    too_high = [safe_cutoff(generator.random(300), 0.05) > 0.95 for _ in range(1000)]
    assert np.mean(too_high) <= 0.06
    with pytest.raises(InsufficientDataError):
        safe_cutoff(np.ones(5), 0.9)


def test_a_sample_that_is_too_small_is_refused_with_how_large_it_must_be() -> None:
    with pytest.raises(InsufficientDataError, match="draw a sample of about"):
        train_cascade(
            ByDigits(),
            _documents(600, share=0.3),
            CUTOFFS,
            SETTINGS.model_copy(update={"recall": 0.999}),
        )
    with pytest.raises(InsufficientDataError, match="draw a larger sample"):
        train_cascade(ByDigits(), _documents(100), CUTOFFS | {"digits": 0.999}, SETTINGS)
    with pytest.raises(ConfigError, match="one result for each"):
        distilled_prefilter(_documents(3), [], {"digits": 0.5}, "etag", SETTINGS)
