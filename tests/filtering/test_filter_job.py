import json
import math
import os
import subprocess
import sys

import pyarrow.parquet
import pytest

from curator.errors import ArtifactError, ArtifactNotFoundError, ConfigError, FingerprintError, MissingExtraError
from curator.filtering import job
from curator.filtering.evaluation import kept_ids
from curator.filtering.job import filter_stream, score_stream
from curator.filtering.output import OutputOptions, finished_report, load_manifest, verify_output
from curator.filtering.policy import Policy
from curator.filtering.shards import read_shard
from curator.filtering.tally import FilterReport
from curator.records import Document, Rejection, RejectReason, Score
from tests.filtering.filtering_pool import files_of, scored_document, small_pool

THRESHOLD = Policy(threshold=0.5)
POLICIES = [THRESHOLD, Policy(keep_fraction=0.25), Policy(token_budget=100), Policy(threshold=1.0, field="value")]
BOTH = OutputOptions(formats=("jsonl", "parquet"), target_shard_bytes=2_000)


def records(out, kind, pattern="*.jsonl.zst"):
    return [record for path in sorted((out / kind).glob(pattern)) for record in read_shard(path)]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.model_dump_json(exclude_none=True))
def test_every_document_ends_in_exactly_one_shard_and_the_tallies_add_up(tmp_path, policy):
    out = tmp_path / "out"
    report = filter_stream(small_pool(), policy, out, options=BOTH)
    kept, rejected = records(out, "kept"), records(out, "rejected")
    assert {record["id"] for record in kept + rejected} == {f"d{number}" for number in range(40)}
    assert len(kept) + len(rejected) == report.documents_in == 40
    assert (len(kept), len(rejected)) == (report.documents_kept, report.documents_rejected)
    assert report.adds_up and 0 < report.documents_kept < 40
    assert report.tokens_kept == sum(record["curator_tokens"] for record in kept)
    assert report.tokens_in == report.tokens_kept + sum(record["curator_tokens"] or 0 for record in rejected)
    assert sum(report.histogram_kept) == len(kept)
    assert sum(report.histogram_rejected) == len(rejected) - report.rejected["no_spans"]
    assert report.unreadable == {"invalid_json": 4}
    assert verify_output(out) == report


def test_kept_and_rejected_stay_in_the_order_of_the_corpus(tmp_path):
    for policy in POLICIES:
        out = tmp_path / policy.model_dump_json()[:24].replace('"', "").replace("{", "").replace(":", "")
        filter_stream(small_pool(), policy, out.with_name(f"{out.name}{POLICIES.index(policy)}"))
    for out in tmp_path.iterdir():
        for kind in ("kept", "rejected"):
            numbers = [int(record["id"][1:]) for record in records(out, kind)]
            assert numbers == sorted(numbers)


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (THRESHOLD, "below_threshold"),
        (Policy(keep_fraction=0.25), "over_budget"),
        (Policy(token_budget=90), "over_budget"),
    ],
)
def test_each_rejected_record_says_why(tmp_path, policy, reason):
    report = filter_stream(small_pool(), policy, tmp_path / "out")
    rejected = {record["id"]: record for record in records(tmp_path / "out", "rejected")}
    assert {record["curator_reason"] for record in rejected.values()} == {reason, "no_spans"}
    assert (rejected["d4"]["curator_reason"], rejected["d4"]["curator_detail"]) == ("no_spans", "only spaces")
    assert rejected["d4"]["curator_score"] is None
    assert report.rejected.keys() == {reason, "no_spans"}
    assert all(record["curator_reason"] == "" for record in records(tmp_path / "out", "kept"))


def test_a_fraction_keeps_exactly_the_best_and_reports_the_cutoff(tmp_path):
    report = filter_stream(small_pool(), Policy(keep_fraction=0.5), tmp_path / "out")
    kept, rejected = records(tmp_path / "out", "kept"), records(tmp_path / "out", "rejected")
    assert len(kept) == 18  # half of the 36 documents that have a score
    lowest = min(record["curator_probability"] for record in kept)
    assert lowest >= max(record["curator_probability"] or 0 for record in rejected)
    assert report.cutoff == lowest


def test_a_token_budget_is_respected(tmp_path):
    report = filter_stream(small_pool(), Policy(token_budget=100), tmp_path / "out")
    assert 100 - 8 < report.tokens_kept <= 100


def test_plateaus_of_a_calibrated_probability_are_ranked_by_the_raw_value(tmp_path):
    pool = [(Document(f"d{n}", "text"), Score(f"d{n}", value, 0.5, 1)) for n, value in enumerate([0.1, 0.4, 0.2, 0.3])]
    filter_stream(pool, Policy(keep_fraction=0.5), tmp_path / "out")
    assert list(kept_ids(tmp_path / "out")) == ["d1", "d3"]


@pytest.mark.parametrize("policy", [THRESHOLD, Policy(keep_fraction=0.5)])
@pytest.mark.parametrize(
    "score", [Score("bad", math.nan, 0.9, 3), Score("bad", 1.0, math.inf, 3), Score("bad", 1.0, 0.9, -1)]
)
def test_a_score_that_is_no_number_rejects_its_document_with_a_reason(tmp_path, policy, score):
    report = filter_stream([scored_document(0, 0.9), (Document("bad", "text"), score)], policy, tmp_path / "out")
    bad = next(record for record in records(tmp_path / "out", "rejected") if record["id"] == "bad")
    assert bad["curator_reason"] == "scoring_failed"
    assert "not finite" in bad["curator_detail"] or "-1 tokens" in bad["curator_detail"]
    assert (report.rejected["scoring_failed"], report.tokens_in) == (1, 10)


def test_unreadable_records_are_listed_with_place_and_reason_wherever_they_come_from(tmp_path):
    collected = []

    def pool():
        yield scored_document(0, 0.9)
        collected.append(Rejection("b.jsonl:2", RejectReason.EMPTY_TEXT, ""))
        yield Rejection("a.jsonl:1", RejectReason.INVALID_JSON, "why")
        yield Document("half\ud800", "text"), Score("half\ud800", 1.0, 0.9, 1)

    report = filter_stream(pool(), THRESHOLD, tmp_path / "out", unreadable=collected)
    lines = [json.loads(line) for line in (tmp_path / "out/unreadable.jsonl").read_text().splitlines()]
    assert [(line["place"], line["reason"]) for line in lines] == [
        ("a.jsonl:1", "invalid_json"), ("half\ud800", "invalid_utf8"), ("b.jsonl:2", "empty_text")
    ]  # fmt: skip
    assert lines[0]["detail"] == "why"
    assert (report.documents_in, report.documents_unreadable) == (1, 3)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.model_dump_json(exclude_none=True))
def test_two_runs_write_the_same_bytes(tmp_path, policy):
    for name in ("first", "second"):
        filter_stream(small_pool(), policy, tmp_path / name, options=BOTH, context={"model": "m1"})
    first = files_of(tmp_path / "first")
    assert first == files_of(tmp_path / "second")
    assert {"manifest.json", "README.md", "unreadable.jsonl", "scores.parquet"} < first.keys()


def test_the_sidecar_has_one_row_per_document_in_corpus_order(tmp_path):
    filter_stream(small_pool(), THRESHOLD, tmp_path / "out")
    rows = pyarrow.parquet.read_table(tmp_path / "out/scores.parquet").to_pylist()
    assert [row["document_id"] for row in rows] == [f"d{number}" for number in range(40)]
    assert rows[3] == {
        "document_id": "d3", "value": pytest.approx(-2.25), "probability": 0.275, "tokens": 8,
        "top_neurons": ["L1/U3", "L0/U3"], "kept": False, "reason": "below_threshold",
    }  # fmt: skip
    assert (rows[4]["value"], rows[4]["reason"]) == (None, "no_spans")
    assert [row["document_id"] for row in rows if row["kept"]] == list(kept_ids(tmp_path / "out"))


def test_rejected_shards_and_scores_can_be_left_out(tmp_path):
    options = OutputOptions(write_rejected=False, write_scores=False)
    report = filter_stream(small_pool(), THRESHOLD, tmp_path / "out", options=options)
    assert not (tmp_path / "out/rejected").exists()
    assert not (tmp_path / "out/scores.parquet").exists()
    assert verify_output(tmp_path / "out") == report


def test_a_finished_job_is_not_run_again(tmp_path):
    report = filter_stream(small_pool(), THRESHOLD, tmp_path / "out", context={"model": "m1"})
    before = files_of(tmp_path / "out")

    def never():
        raise AssertionError("the pool was read")
        yield

    assert filter_stream(never(), THRESHOLD, tmp_path / "out", context={"model": "m1"}) == report
    assert files_of(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"policy": Policy(threshold=0.6)}, "policy.threshold"),
        ({"context": {"model": "m2"}}, "context.model"),
        ({"context": {"model": "m1", "extra": "x"}}, "context.extra"),
        ({"options": OutputOptions(formats=("parquet",))}, "options.formats"),
    ],
)
def test_another_job_is_refused_with_the_name_of_what_differs(tmp_path, change, named):
    settings = {"policy": THRESHOLD, "context": {"model": "m1"}, "options": OutputOptions()}
    filter_stream(small_pool(), out=tmp_path / "out", **settings)
    before = files_of(tmp_path / "out")
    with pytest.raises(FingerprintError, match=rf"\({named} differ\)"):
        filter_stream(small_pool(), out=tmp_path / "out", **{**settings, **change})
    assert files_of(tmp_path / "out") == before


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("ten years of work")
    with pytest.raises(ConfigError, match="not empty"):
        filter_stream(small_pool(), THRESHOLD, tmp_path)
    with pytest.raises(ConfigError, match="is a file"):
        filter_stream(small_pool(), THRESHOLD, tmp_path / "thesis.txt")
    assert files_of(tmp_path) == {"thesis.txt": b"ten years of work"}
    assert finished_report(tmp_path / "new", THRESHOLD, OutputOptions(), {}) is None


def test_leftovers_of_a_dead_run_go_and_those_of_a_living_one_stay(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    leftover, foreign = tmp_path / f"out.partial-{dead.pid}", tmp_path / f"out.partial-{os.getppid()}"
    for folder in (leftover, foreign):
        folder.mkdir()
        (folder / "file").write_text("half")
    filter_stream(small_pool(), THRESHOLD, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["out", foreign.name])


def test_a_changed_missing_or_added_file_fails_the_verification(tmp_path):
    out = tmp_path / "out"
    filter_stream(small_pool(), THRESHOLD, out)
    shard = out / "kept/kept-00000.jsonl.zst"
    good = shard.read_bytes()
    shard.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(ArtifactError, match="not the file that the manifest describes"):
        verify_output(out)
    shard.unlink()
    with pytest.raises(ArtifactError, match="missing"):
        verify_output(out)
    shard.write_bytes(good)
    (out / "kept/kept-00001.jsonl.zst").write_bytes(good)
    with pytest.raises(ArtifactError, match="not in the manifest"):
        verify_output(out)
    (out / "manifest.json").unlink()
    with pytest.raises(ArtifactNotFoundError):
        verify_output(out)


def test_a_manifest_whose_counts_were_edited_fails_the_verification(tmp_path):
    out = tmp_path / "out"
    filter_stream(small_pool(), THRESHOLD, out)
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["report"]["documents_kept"] += 1
    (out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="disagree"):
        verify_output(out)
    (out / "manifest.json").write_text('{"format": "something else"}')
    with pytest.raises(ArtifactError, match="not a manifest of this version"):
        load_manifest(out)


def test_an_empty_stream_gives_a_finished_output_without_shards(tmp_path):
    for policy in (THRESHOLD, Policy(keep_fraction=0.5), Policy(token_budget=1)):
        out = tmp_path / policy.model_dump_json(exclude_none=True)[2:7]
        assert filter_stream([], policy, out) == FilterReport()
        assert load_manifest(out).files[0].name == "unreadable.jsonl"
        assert verify_output(out) == FilterReport()


def test_progress_ends_with_the_final_report(tmp_path):
    seen = []
    report = filter_stream(small_pool(200), Policy(keep_fraction=0.5), tmp_path / "out", progress=seen.append)
    assert seen[-1] == report
    counts = [(step.documents_in, step.documents_kept) for step in seen]
    assert counts == sorted(counts) and len(counts) > 5


class LengthScorer:
    name, etag, model_fingerprint = "length", "e", "f"

    def __init__(self):
        self.batches = []

    def score(self, documents):
        self.batches.append(len(documents))
        return [Score(document.id, float(len(document.text)), 0.5, 1) for document in documents]


def test_scoring_a_stream_batches_documents_and_passes_rejections_on():
    lost = Rejection("p:1", RejectReason.EMPTY_TEXT)
    stream = [Document("a", "x"), lost, Document("b", "xy"), Document("c", "")]
    scorer = LengthScorer()
    results = list(score_stream(stream, scorer, batch_documents=3))
    assert results[0] is lost
    assert [(document.id, score.value) for document, score in results[1:]] == [("a", 1.0), ("b", 2.0), ("c", 0.0)]
    assert scorer.batches == [2, 1]


def test_a_scorer_that_loses_a_document_is_an_error():
    class Forgetful(LengthScorer):
        def score(self, documents):
            return super().score(documents)[1:]

    with pytest.raises(ArtifactError, match="0 results for 1 documents"):
        list(score_stream([Document("a", "x")], Forgetful()))


def test_without_pyarrow_jsonl_still_works_and_parquet_is_refused_before_reading(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr(job, "find_spec", lambda name: None)
    report = filter_stream(small_pool(), THRESHOLD, tmp_path / "out")
    assert "scores.parquet" not in files_of(tmp_path / "out")
    assert "pyarrow is not installed" in caplog.text
    assert verify_output(tmp_path / "out") == report
    with pytest.raises(MissingExtraError, match="choose jsonl"):
        filter_stream(iter(int, 1), THRESHOLD, tmp_path / "never", options=OutputOptions(formats=("parquet",)))
    assert not (tmp_path / "never").exists()
