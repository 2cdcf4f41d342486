"""Jobs with a prefilter before the model: what they keep, what they say of it, and that they too are made exactly once."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from curator.errors import ConfigError, FingerprintError, InsufficientDataError
from curator.filtering.cascade import SampledScores, least_probabilities
from curator.filtering.cascade_plan import CascadeOptions, CascadePlan
from curator.filtering.dataset import filter_sources, reselect, run_request
from curator.filtering.engines import LocalEngine
from curator.filtering.job import ScorerIdentity
from curator.filtering.output import load_manifest, verify_output
from curator.filtering.parts import prepare, score_part
from curator.filtering.policy import Policy, TargetShare
from curator.filtering.request import FilterRequest
from curator.filtering.sample import SAMPLE
from curator.records import Document, Score
from curator.shares import Share
from tests.atlas.core_world import make_text
from tests.faults.injector import Injector, Killed, injected
from tests.filtering.filtering_pool import files_of

OPTIONS = CascadeOptions(sample_documents=500, recall=0.9, bits=14, fit_documents=256)
POLICY = Policy(threshold=0.35)
SETTINGS = {"cascade": OPTIONS, "piece_bytes": 40_000}
DOCUMENTS = 1_600


@dataclass
class ByDigits:
    """Scores a text by its share of digits, and of letters where there are two targets."""

    targets: tuple[str, ...]
    asked: Path | None = None
    name, etag, model_fingerprint = "fake", "fake-etag", "fake-model"

    def score_targets(self, documents: Sequence[Document]) -> list[tuple[Score, ...]]:
        if self.asked:
            with self.asked.open("a") as handle:
                handle.writelines(f"{document.id}\n" for document in documents)
        return [self._one(document) for document in documents]

    def _one(self, document: Document) -> tuple[Score, ...]:
        kinds = (str.isdigit, str.isalpha)[: len(self.targets)]
        shares = [sum(map(kind, document.text)) / max(1, len(document.text)) for kind in kinds]
        return tuple(Score(document.id, share, min(1.0, share), 1 + len(document.text) // 4) for share in shares)


@dataclass(frozen=True)
class Factory:
    """Loads a ``ByDigits``, which writes down what it is asked. Picklable."""

    targets: tuple[str, ...] = ("digits",)
    asked: Path | None = None

    @property
    def identity(self) -> ScorerIdentity:
        return ScorerIdentity.of(self(0))

    def __call__(self, worker: int) -> ByDigits:
        return ByDigits(self.targets, self.asked)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    generator = np.random.default_rng(4)
    domains = generator.choice(["digits", "letters", "marks"], DOCUMENTS, p=[0.25, 0.15, 0.6])
    path = tmp_path_factory.mktemp("cascade") / "pool.jsonl"
    with path.open("w", encoding="utf-8") as handle:
        for number, domain in enumerate(domains):
            text = make_text(str(domain), generator, 40)
            handle.write(json.dumps({"id": f"d{number}", "text": text, "source": f"s{number}"}) + "\n")
    return path


def run(pool, out, policy=POLICY, factory=None, **settings):
    return filter_sources([str(pool)], factory or Factory(), out, policy, **{**SETTINGS, **settings})


@pytest.fixture(scope="module")
def full(pool, tmp_path_factory):
    """The same job without a prefilter."""
    out = tmp_path_factory.mktemp("full") / "out"
    run(pool, out, cascade=None)
    return out


@pytest.fixture(scope="module")
def cascaded(pool, tmp_path_factory):
    out = tmp_path_factory.mktemp("cascaded") / "out"
    run(pool, out)
    return out


def decisions(out):
    return {row["document_id"]: row for row in pq.read_table(out / "decisions.parquet").to_pylist()}


def kept(out):
    return {name for name, row in decisions(out).items() if row["kept"]}


def test_it_keeps_nothing_else_than_the_full_job_and_nearly_all_of_it(full, cascaded):
    assert kept(cascaded) <= kept(full)
    assert len(kept(cascaded)) >= 0.9 * len(kept(full)) > 300


def test_what_it_stops_is_counted_and_named_and_the_output_is_whole(full, cascaded):
    report = verify_output(cascaded)
    stopped = {name for name, row in decisions(cascaded).items() if row["reason"] == "prefiltered"}
    assert report.rejected["prefiltered"] == len(stopped) > DOCUMENTS // 2
    assert report.documents_in == DOCUMENTS == len(decisions(cascaded))
    assert set(decisions(cascaded)) == set(decisions(full))


def test_the_model_is_asked_about_the_sample_and_about_what_passes(pool, cascaded, tmp_path):
    asked = tmp_path / "asked"
    run(pool, tmp_path / "out", factory=Factory(asked=asked))
    passing = [name for name, row in decisions(cascaded).items() if row["reason"] != "prefiltered"]
    names = asked.read_text().split()
    sample = names[: len(names) - len(passing)]
    assert sorted(names[len(sample) :]) == sorted(passing)
    assert 350 < len(sample) == len(set(sample)) < 650


def test_the_manifest_and_the_card_state_the_recall_on_held_out_documents(cascaded):
    stated = load_manifest(cascaded).prefilter
    (target,) = stated["targets"]
    assert stated["held"] and stated["settings"]["sample_documents"] == 500
    assert 0.9 <= target["recall_bound"] <= target["recall"] <= 1
    assert target["scorer_cutoff"] == 0.35 and target["kept"] > 22
    assert "recall_bound" in (cascaded / "README.md").read_text()
    assert not (cascaded / SAMPLE).exists()


def test_two_workers_and_one_make_the_same_bytes(pool, cascaded, tmp_path):
    run(pool, tmp_path / "out", engine=LocalEngine(2))
    assert files_of(tmp_path / "out") == files_of(cascaded)


def test_parts_score_behind_the_prefilter_that_preparing_has_learned(pool, cascaded, tmp_path):
    out = tmp_path / "out"
    request = FilterRequest(sources=(str(pool),), factory=Factory(), out=out, policy=POLICY, **SETTINGS)
    prepare(request)
    assert all(score_part(request, Share(index, 2)).scored for index in (0, 1))
    run_request(request)
    assert files_of(out) == files_of(cascaded)


def test_killed_over_and_over_the_output_is_the_same_to_the_byte(pool, cascaded, tmp_path):
    draws, points, out = random.Random(5), [], tmp_path / "out"
    while not out.exists():
        injector = Injector(draws.randint(1, 50), after=draws.random() < 0.5)
        try:
            with injected(injector):
                run(pool, out)
        except Killed:
            points.append(injector.killed_at)
    assert files_of(out) == files_of(cascaded)
    places = " ".join(points)
    assert "sample" in places and "scores" in places


def test_a_finished_job_is_left_alone_and_one_with_another_prefilter_is_refused(pool, cascaded):
    before = files_of(cascaded)
    run(pool, cascaded)
    assert files_of(cascaded) == before
    with pytest.raises(FingerprintError, match=r"cascade\.options"):
        run(pool, cascaded, cascade=OPTIONS.model_copy(update={"recall": 0.8}))


def test_fractions_and_budgets_keep_what_they_would_without_it_but_for_the_recall(pool, tmp_path):
    for name, policy in (("f", Policy(keep_fraction=0.1)), ("b", Policy(token_budget=6_000))):
        plain = run(pool, tmp_path / f"{name}-full", policy, cascade=None)
        report = run(pool, tmp_path / f"{name}-cascade", policy)
        assert load_manifest(tmp_path / f"{name}-cascade").prefilter["held"]
        assert report.documents_kept == pytest.approx(plain.documents_kept, rel=0.06)
        same = kept(tmp_path / f"{name}-cascade") & kept(tmp_path / f"{name}-full")
        assert len(same) >= 0.85 * plain.documents_kept


def test_a_fraction_is_one_of_all_documents_the_stopped_ones_included(pool, tmp_path):
    report = run(pool, tmp_path / "out", Policy(keep_fraction=0.1))
    assert report.documents_kept == DOCUMENTS // 10


def test_several_targets_each_have_a_cutoff(pool, tmp_path):
    shares = (TargetShare(name="digits", weight=1), TargetShare(name="letters", weight=2))
    policy = Policy(token_budget=9_000, targets=shares)
    factory = Factory(("digits", "letters"))
    report = run(pool, tmp_path / "out", policy, factory)
    plain = run(pool, tmp_path / "full", policy, factory, cascade=None)
    stated = load_manifest(tmp_path / "out").prefilter
    assert [one["target"] for one in stated["targets"]] == ["digits", "letters"] and stated["held"]
    for name in ("digits", "letters"):
        assert report.targets[name].tokens_kept == pytest.approx(plain.targets[name].tokens_kept, rel=0.06)


def test_kept_scores_serve_stricter_policies_and_refuse_looser_ones(cascaded, tmp_path):
    report = reselect(cascaded, tmp_path / "stricter", Policy(threshold=0.5))
    assert report.documents_kept > 0 and kept(tmp_path / "stricter") < kept(cascaded)
    assert verify_output(tmp_path / "stricter").rejected["prefiltered"] > 0
    with pytest.raises(ConfigError, match=r"below the probability 0\.35 for 'digits'"):
        reselect(cascaded, tmp_path / "looser", Policy(threshold=0.2))
    with pytest.raises(ConfigError, match="may have stopped"):
        reselect(cascaded, tmp_path / "more", Policy(keep_fraction=0.6))


@pytest.mark.parametrize(
    ("policy", "window", "message"),
    [
        (Policy(threshold=0.4, field="value"), 0, "needs probabilities"),
        (Policy(threshold=0.4), 500, "decided as a whole"),
        (Policy(keep_fraction=0.1, drop_duplicates=True), 0, "duplicates"),
        (Policy(threshold=0.4, target="digits"), 0, "keeps nothing for 'letters'"),
    ],
)
def test_what_nothing_can_be_promised_for_is_refused(policy, window, message):
    with pytest.raises(ConfigError, match=message):
        CascadePlan.of(OPTIONS, policy, ["digits", "letters"][: 1 + ("letters" in message)], window)


def test_windows_that_are_decided_on_their_own_are_stopped_on_their_own(pool, tmp_path):
    policy = Policy(threshold=0.35, windows="window")
    run(pool, tmp_path / "out", policy, window_characters=70)
    rows = pq.read_table(tmp_path / "out" / "decisions.parquet").to_pylist()
    assert len(rows) > DOCUMENTS
    assert sum(row["reason"] == "prefiltered" for row in rows) > len(rows) // 2
    verify_output(tmp_path / "out")


def test_a_sample_that_is_most_of_the_input_or_too_small_is_refused_with_numbers(pool, tmp_path):
    with pytest.raises(ConfigError, match="about 1,600 documents, too few"):
        run(pool, tmp_path / "most", cascade=OPTIONS.model_copy(update={"sample_documents": 1_000}))
    with pytest.raises(InsufficientDataError, match=r"draw a sample of about [\d,]+ documents"):
        run(pool, tmp_path / "small", cascade=OPTIONS.model_copy(update={"recall": 0.995}))


def test_the_cutoff_of_a_fraction_lies_below_its_quantile_and_covers_all_targets_together():
    probability_TD = np.random.default_rng(0).random((2, 2_000))
    sample = SampledScores(probability_TD, np.full(2_000, 10, np.int64), share=0.5)
    one = CascadePlan(options=OPTIONS, policy=Policy(keep_fraction=0.1))
    cutoff = least_probabilities(one, ["a"], SampledScores(probability_TD[:1], sample.tokens_D, 0.5))["a"]
    assert 0.87 < cutoff < np.quantile(probability_TD[0], 0.9)
    shares = (TargetShare(name="a", keep_fraction=0.1), TargetShare(name="b", token_budget=4_000, threshold=0.3))
    both = least_probabilities(CascadePlan(options=OPTIONS, policy=Policy(targets=shares)), ["a", "b"], sample)
    # 4,000 tokens of the pool are 200 of the sample's documents; both tenths are a fifth, 0.22 by the recall
    assert both == pytest.approx({"a": 0.765, "b": 0.765}, abs=0.02)
    soft = CascadePlan(options=OPTIONS, policy=Policy(threshold=0.6, soft_width=0.2))
    assert least_probabilities(soft, ["a"], SampledScores(probability_TD[:1], sample.tokens_D, 1))[
        "a"
    ] == pytest.approx(0.5)


def test_a_policy_that_keeps_everything_has_no_use_for_it(pool, tmp_path):
    with pytest.raises(ConfigError, match="nothing to stop"):
        run(pool, tmp_path / "out", Policy(keep_fraction=1.0))
