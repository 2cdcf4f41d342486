import io
import json
import math
import shutil

import pyarrow.parquet as pq
import pytest

from curator.errors import (
    ArtifactError,
    ArtifactNotFoundError,
    ConfigError,
    FingerprintError,
    InsufficientDataError,
    SourceNotFoundError,
)
from curator.filtering import phases, tasks, write_shard
from curator.filtering.adopt import link_or_copy
from curator.filtering.dataset import reselect
from curator.filtering.evaluation import kept_ids
from curator.filtering.job import load_plan
from curator.filtering.output import OutputOptions, load_manifest, verify_output
from curator.filtering.policy import Policy, TargetShare
from curator.filtering.shards import read_shard
from curator.filtering.tally import FilterReport
from curator.text.rows import SourceOptions
from tests.filtering.filtering_pool import Factory, files_of, line, run, small_pool, write_pool

THRESHOLD = Policy(threshold=0.5)
POLICIES = [THRESHOLD, Policy(keep_fraction=0.25), Policy(token_budget=100), Policy(threshold=1.0, field="value")]
BOTH = OutputOptions(formats=("jsonl", "parquet"), target_shard_bytes=2_000, write_rejected=True)
REJECTED = OutputOptions(write_rejected=True)
IDS = {f"d{number}" for number in range(40)}


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    return write_pool(tmp_path_factory.mktemp("pool") / "pool.jsonl")


def records(out, kind, pattern="*.jsonl.zst"):
    return [record for path in sorted((out / kind).glob(pattern)) for record in read_shard(path)]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.model_dump_json(exclude_defaults=True))
@pytest.mark.parametrize("piece_bytes", [600, 1 << 20])
def test_every_document_ends_in_exactly_one_shard_and_the_tallies_add_up(pool, tmp_path, policy, piece_bytes):
    out = tmp_path / "out"
    report = run(pool, out, policy, options=BOTH, piece_bytes=piece_bytes)
    kept, rejected = records(out, "kept"), records(out, "rejected")
    assert sorted(record["id"] for record in kept + rejected) == sorted(IDS)
    assert len(kept) + len(rejected) == report.documents_in == report.rows_in == 40
    assert (len(kept), len(rejected)) == (report.documents_kept, report.documents_rejected)
    assert report.adds_up and 0 < report.documents_kept < 40
    assert report.tokens_kept == sum(record["curator_tokens"] for record in kept)
    assert report.tokens_in == report.tokens_kept + sum(record["curator_tokens"] or 0 for record in rejected)
    assert sum(report.targets["law"].histogram_kept) == len(kept)
    assert sum(report.targets["law"].histogram_rejected) == len(rejected) - report.rejected["no_spans"]
    assert report.unreadable == {"invalid_json": 4}
    for kind in (kept, rejected):
        numbers = [int(record["id"][1:]) for record in kind]
        assert numbers == sorted(numbers)
    assert verify_output(out) == report


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (THRESHOLD, "below_threshold"),
        (Policy(keep_fraction=0.25), "over_budget"),
        (Policy(token_budget=90), "over_budget"),
    ],
)
def test_each_rejected_record_says_why(pool, tmp_path, policy, reason):
    report = run(pool, tmp_path / "out", policy, options=REJECTED)
    rejected = {record["id"]: record for record in records(tmp_path / "out", "rejected")}
    assert {record["curator_reason"] for record in rejected.values()} == {reason, "no_spans"}
    assert (rejected["d4"]["curator_reason"], rejected["d4"]["curator_detail"]) == ("no_spans", "only spaces")
    assert rejected["d4"]["curator_score"] is None and rejected["d4"]["curator_target"] == ""
    assert report.rejected.keys() == {reason, "no_spans"}
    kept = records(tmp_path / "out", "kept")
    assert all((record["curator_reason"], record["curator_target"]) == ("", "law") for record in kept)


def test_a_fraction_keeps_exactly_the_best_and_reports_the_cutoff(pool, tmp_path):
    report = run(pool, tmp_path / "out", Policy(keep_fraction=0.5), options=REJECTED, piece_bytes=600)
    kept, rejected = records(tmp_path / "out", "kept"), records(tmp_path / "out", "rejected")
    assert len(kept) == 18  # half of the 36 documents that have a score
    lowest = min(record["curator_probability"] for record in kept)
    assert lowest >= max(record["curator_probability"] or 0 for record in rejected)
    assert report.targets["law"].cutoff == lowest


def test_what_cannot_be_scored_is_rejected_with_a_reason(tmp_path):
    lines = [line(0, 0.9), line(1, math.nan), line(2, math.inf), line(3, 0.9, tokens=-1)]
    report = run(write_pool(tmp_path / "p.jsonl", lines), tmp_path / "out", THRESHOLD, options=REJECTED)
    found = {record["id"]: record for record in records(tmp_path / "out", "rejected")}
    assert {record["curator_reason"] for record in found.values()} == {"scoring_failed"}
    assert "not finite" in found["d1"]["curator_detail"] and "-1 tokens" in found["d3"]["curator_detail"]
    assert (report.rejected, report.tokens_in) == ({"scoring_failed": 3}, 10)


def test_unreadable_records_are_listed_with_place_and_reason(pool, tmp_path):
    run(pool, tmp_path / "out", THRESHOLD, piece_bytes=600)
    lines = [json.loads(text) for text in (tmp_path / "out/unreadable.jsonl").read_text().splitlines()]
    assert len(lines) == 4 and {one["reason"] for one in lines} == {"invalid_json"}
    assert all(one["place"].startswith(str(pool)) and one["detail"] for one in lines)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.model_dump_json(exclude_defaults=True))
def test_two_runs_write_the_same_bytes(pool, tmp_path, policy):
    for name in ("first", "second"):
        run(pool, tmp_path / name, policy, options=BOTH, piece_bytes=900)
    first = files_of(tmp_path / "first")
    assert first == files_of(tmp_path / "second")
    assert {"manifest.json", "README.md", "unreadable.jsonl", "plan.json", "decisions.parquet"} < first.keys()
    assert "timing.json" not in first and (tmp_path / "first/timing.json").is_file()


def test_how_the_input_is_cut_changes_no_shard_and_no_decision(pool, tmp_path):
    for name, piece_bytes in (("small", 500), ("large", 1 << 20)):
        run(pool, tmp_path / name, Policy(keep_fraction=0.5), options=BOTH, piece_bytes=piece_bytes)
    small, large = files_of(tmp_path / "small"), files_of(tmp_path / "large")
    same = [name for name in large if name.startswith(("kept", "rejected")) or name == "decisions.parquet"]
    assert len(same) > 8 and all(small[name] == large[name] for name in same)
    assert len(list((tmp_path / "small/scores").iterdir())) > 6


def test_score_files_have_one_row_per_record_in_corpus_order(pool, tmp_path):
    run(pool, tmp_path / "out", THRESHOLD, piece_bytes=900)
    tables = [pq.read_table(path) for path in sorted((tmp_path / "out/scores").iterdir())]
    rows = [row for table in tables for row in table.to_pylist()]
    assert len(tables) > 3 and len(rows) == 44
    assert [row["document_id"] for row in rows if not row["place"]] == [f"d{number}" for number in range(40)]
    by_id = {row["document_id"]: row for row in rows}
    third = by_id["d3"]
    assert (third["value:law"], third["probability:law"], third["tokens"]) == (pytest.approx(-2.25), 0.275, 8)
    assert (third["neurons:law"], third["reason"], third["window"]) == (["L1/U0", "L0/U3"], "", -1)
    assert (by_id["d4"]["value:law"], by_id["d4"]["reason"]) == (None, "no_spans")
    assert len(third["text_hash"]) == 16 and third["minhash"] == b"" and third["contaminated"] == ""


def test_the_decisions_say_of_every_document_what_became_of_it_and_where_it_is(pool, tmp_path):
    run(pool, tmp_path / "out", THRESHOLD, options=BOTH, piece_bytes=900)
    rows = pq.read_table(tmp_path / "out/decisions.parquet").to_pylist()
    assert [row["document_id"] for row in rows] == [f"d{number}" for number in range(40)]
    assert [row["document_id"] for row in rows if row["kept"]] == list(kept_ids(tmp_path / "out"))
    for row in rows:
        path = tmp_path / "out" / row["shard"].split("-")[0] / f"{row['shard']}.jsonl.zst"
        assert row["document_id"] in {record["id"] for record in read_shard(path)}
        assert (row["target"], row["reason"] == "") == (("law", True) if row["kept"] else ("", False))


def test_rejected_documents_are_left_out_unless_asked_for(pool, tmp_path):
    report = run(pool, tmp_path / "out", THRESHOLD)
    assert not (tmp_path / "out/rejected").exists()
    assert verify_output(tmp_path / "out") == report
    rows = pq.read_table(tmp_path / "out/decisions.parquet").to_pylist()
    assert {row["shard"] for row in rows if not row["kept"]} == {""}


def test_a_finished_job_loads_no_model_and_changes_nothing(pool, tmp_path):
    loads = tmp_path / "loads"
    report = run(pool, tmp_path / "out", THRESHOLD, Factory(loads=loads))
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "out").rglob("*.*")}
    assert run(pool, tmp_path / "out", THRESHOLD, Factory(loads=loads)) == report
    assert loads.read_text() == "0\n"
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "out").rglob("*.*")} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["loads", "out"]


CHANGES = [
    ({"policy": Policy(threshold=0.6)}, r"policy\.threshold"),
    ({"factory": Factory(model_fingerprint="model-2")}, "the model"),
    ({"factory": Factory(etag="etag-2")}, "the neuron set or its method"),
    ({"factory": Factory(targets=("law", "code"))}, "targets"),
    ({"options": OutputOptions(formats=("parquet",))}, r"options\.formats"),
    ({"source_options": SourceOptions(source_field="book")}, r"source_options\.source_field"),
    ({"piece_bytes": 700}, "piece size"),
    ({"window_characters": 100}, "the windows settings"),
]


@pytest.mark.parametrize(("change", "named"), CHANGES)
def test_another_job_is_refused_with_the_name_of_what_changed(pool, tmp_path, change, named):
    settings = {"policy": THRESHOLD, "factory": Factory(), "piece_bytes": 900}
    run(pool, tmp_path / "out", **settings)
    before = files_of(tmp_path)
    with pytest.raises(FingerprintError, match=f"another job: {named} changed"):
        run(pool, tmp_path / "out", **{**settings, **change})
    assert files_of(tmp_path) == before


@pytest.mark.parametrize(("change", "named"), CHANGES[:3])
def test_a_job_that_was_interrupted_is_not_taken_up_by_another(pool, tmp_path, monkeypatch, change, named):
    settings = {"policy": THRESHOLD, "factory": Factory(), "piece_bytes": 900}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(phases, "make_selection", _interrupted)
        run(pool, tmp_path / "out", **settings)
    with pytest.raises(FingerprintError, match=named):
        run(pool, tmp_path / "out", **{**settings, **change})
    loads = tmp_path / "loads"
    run(pool, tmp_path / "out", **{**settings, "factory": Factory(loads=loads)})
    assert not loads.exists()  # all pieces were scored before


def test_a_folder_in_which_nothing_was_finished_is_held_to_nothing(pool, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tasks, "run_shard", _interrupted)
        run(pool, tmp_path / "out", THRESHOLD)
    assert (tmp_path / "out.work/plan.json").is_file()
    run(pool, tmp_path / "out", Policy(threshold=0.7))
    assert load_manifest(tmp_path / "out").policy.threshold == 0.7


def _interrupted(*_, **__):
    raise KeyboardInterrupt


def test_a_changed_input_is_refused_by_name(tmp_path):
    pool = write_pool(tmp_path / "pool.jsonl")
    run(pool, tmp_path / "out", THRESHOLD)
    with pool.open("a") as handle:
        handle.write(line(99, 0.9) + "\n")
    with pytest.raises(FingerprintError, match=r"the input .*pool\.jsonl changed"):
        run(pool, tmp_path / "out", THRESHOLD)


def test_another_spelling_of_a_path_is_the_same_job_and_its_ledger_goes_on(tmp_path, monkeypatch):
    write_pool(tmp_path / "in/pool.jsonl")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    spellings = [
        "in/pool.jsonl",
        "./in/../in/pool.jsonl",
        f"{tmp_path}/in/pool.jsonl",
        f"file://{tmp_path}/link/pool.jsonl",
    ]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(phases, "make_selection", _interrupted)
        run(spellings[:1], tmp_path / "out", THRESHOLD)
    factory = Factory(loads=tmp_path / "loads")
    reports = [run([spelling], tmp_path / "out", THRESHOLD, factory) for spelling in spellings[::-1]]
    assert reports[0].documents_in == 40 and reports[1:] == reports[:1] * 3
    assert not (tmp_path / "loads").exists()
    assert load_plan(tmp_path / "out").scoring.sources == ("in/pool.jsonl",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "a.jsonl").rename(folder / "c.jsonl"), r"the input .*a\.jsonl moved to .*c\.jsonl;"),
        (lambda folder: (folder / "a.jsonl").unlink(), r"job: the input .*a\.jsonl is missing;"),
        (lambda folder: write_pool(folder / "c.jsonl", [line(1, 0.5)]), r"the input .*c\.jsonl is new;"),
        (lambda folder: write_pool(folder / "a.jsonl", [line(1, 0.5)]), r"the input .*a\.jsonl changed;"),
    ],
)
def test_an_input_that_is_missing_moved_new_or_changed_is_told_as_that(tmp_path, change, message):
    write_pool(tmp_path / "in/a.jsonl")
    write_pool(tmp_path / "in/b.jsonl", [line(2, 0.5)])
    run([str(tmp_path / "in")], tmp_path / "out", THRESHOLD)
    change(tmp_path / "in")
    with pytest.raises(FingerprintError, match=message):
        run([str(tmp_path / "in")], tmp_path / "out", THRESHOLD)


def test_selecting_again_from_another_folder_says_that_a_relative_input_is_missing(tmp_path, monkeypatch):
    write_pool(tmp_path / "pool.jsonl")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    run(["pool.jsonl"], tmp_path / "out", THRESHOLD)
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(
        SourceNotFoundError, match=r"pool\.jsonl is missing; .* run from the folder that the job was begun in"
    ):
        reselect(tmp_path / "out", tmp_path / "again", Policy(threshold=0.2))
    monkeypatch.chdir(tmp_path)
    assert reselect(tmp_path / "out", tmp_path / "again", Policy(threshold=0.2)).documents_in == 40


@pytest.mark.parametrize("moment", ["run_shard", "make_selection", "write_shards"])
def test_an_input_that_changes_while_the_job_runs_is_noticed(tmp_path, monkeypatch, moment):
    pool = write_pool(tmp_path / "pool.jsonl")
    home = phases if moment == "make_selection" else tasks
    original, text = getattr(home, moment), pool.read_text()

    def changing(*arguments, **named):
        pool.write_text(text.replace("Text of document 3", "Text of document X"))
        return original(*arguments, **named)

    with (
        monkeypatch.context() as patch,
        pytest.raises(FingerprintError, match=r"pool\.jsonl changed while the job ran"),
    ):
        patch.setattr(home, moment, changing)
        run(pool, tmp_path / "out", THRESHOLD, options=REJECTED)
    assert not (tmp_path / "out").exists()
    pool.write_text(text)
    assert run(pool, tmp_path / "out", THRESHOLD, options=REJECTED).documents_in == 40


def test_a_missing_source_leaves_nothing_behind(tmp_path):
    with pytest.raises(SourceNotFoundError):
        run(tmp_path / "absent.jsonl", tmp_path / "out", THRESHOLD)
    with pytest.raises(ConfigError, match="nothing to filter"):
        run([], tmp_path / "out", THRESHOLD)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_else_in_it_is_left_alone(pool, tmp_path):
    (tmp_path / "thesis.txt").write_text("ten years of work")
    with pytest.raises(ConfigError, match="not empty"):
        run(pool, tmp_path, THRESHOLD)
    with pytest.raises(ConfigError, match="is a file"):
        run(pool, tmp_path / "thesis.txt", THRESHOLD)
    assert files_of(tmp_path) == {"thesis.txt": b"ten years of work"}


def test_a_changed_missing_or_added_file_fails_the_verification(pool, tmp_path):
    out = tmp_path / "out"
    run(pool, out, THRESHOLD)
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


def test_a_manifest_whose_counts_were_edited_fails_the_verification(pool, tmp_path):
    out = tmp_path / "out"
    run(pool, out, THRESHOLD)
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["report"]["rows_kept"] += 1
    (out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="disagree"):
        verify_output(out)
    (out / "manifest.json").write_text('{"format": "something else"}')
    with pytest.raises(ArtifactError, match="not a manifest of this version"):
        load_manifest(out)


def test_a_damaged_score_file_is_noticed_before_it_is_used(pool, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(phases, "make_selection", _interrupted)
        run(pool, tmp_path / "out", THRESHOLD, piece_bytes=900)
    scores = tmp_path / "out.work/scores/scores-00001.parquet"
    good = scores.read_bytes()
    scores.write_bytes(good[:-5] + b"x" + good[-4:])
    with pytest.raises(ArtifactError, match="delete it and run the same job again"):
        run(pool, tmp_path / "out", THRESHOLD, piece_bytes=900)
    scores.unlink()
    run(pool, tmp_path / "out", THRESHOLD, piece_bytes=900)
    assert (tmp_path / "out/scores/scores-00001.parquet").read_bytes() == good


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        ({"a": []}, InsufficientDataError, "holds no records"),
        (
            {"a": [], "b": ['{"body": "x"}'] * 300},
            ConfigError,
            r"b\.jsonl:1 has no field 'text', .*'body'; .*--text-field",
        ),
        (
            {"a": ['{"body": "x"}'] * 300, "b": ["{broken"]},
            InsufficientDataError,
            r"None of the 301 records .*a\.jsonl:1",
        ),
    ],
)
def test_an_input_without_documents_is_refused_and_makes_no_output(tmp_path, files, error, message):
    for name, lines in files.items():
        write_pool(tmp_path / f"in/{name}.jsonl", lines)
    factory = Factory(loads=tmp_path / "loads")
    with pytest.raises(error, match=message):
        run([str(tmp_path / "in")], tmp_path / "out", THRESHOLD, factory)
    assert not (tmp_path / "out").exists()
    if error is ConfigError:
        assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_one_good_file_is_enough_of_an_input(tmp_path):
    write_pool(tmp_path / "in/a.jsonl", ['{"body": "x"}'] * 300)
    write_pool(tmp_path / "in/b.jsonl")
    report = run([str(tmp_path / "in")], tmp_path / "out", THRESHOLD)
    assert (report.documents_in, report.unreadable["missing_field"]) == (40, 300)


def test_several_targets_share_a_budget_and_no_document_counts_twice(pool, tmp_path):
    shares = (TargetShare(name="law", weight=1), TargetShare(name="code", weight=1))
    policy, out = Policy(token_budget=120, targets=shares), tmp_path / "out"
    report = run(pool, out, policy, Factory(targets=("law", "code")), options=BOTH)
    kept = records(out, "kept")
    assert {record["curator_target"] for record in kept} == {"law", "code"}
    assert all(0 < target.tokens_kept <= 60 for target in report.targets.values())
    assert len({record["id"] for record in kept}) == len(kept) == sum(t.rows_kept for t in report.targets.values())
    for record in kept:
        assert record["curator_probability"] == record["curator_probabilities"][record["curator_target"]]
    assert records(out, "kept", "*.parquet")[0]["curator_probabilities"] == kept[0]["curator_probabilities"]


def test_one_of_several_scored_targets_can_be_selected_for(pool, tmp_path):
    factory = Factory(targets=("law", "code"))
    run(pool, tmp_path / "out", Policy(threshold=0.8, target="code"), factory)
    kept = records(tmp_path / "out", "kept")
    assert kept and all(record["curator_probabilities"]["law"] <= 0.2 + 1e-9 for record in kept)
    again = reselect(tmp_path / "out", tmp_path / "law", Policy(threshold=0.8, target="law"))
    assert again.targets["law"].cutoff >= 0.8


def test_selecting_again_from_scores_is_what_a_new_job_would_be(pool, tmp_path):
    run(pool, tmp_path / "first", THRESHOLD, piece_bytes=900)
    for number, policy in enumerate(POLICIES):
        run(pool, tmp_path / f"whole-{number}", policy, options=BOTH, piece_bytes=900)
        report = reselect(tmp_path / "first", tmp_path / f"again-{number}", policy, options=BOTH)
        assert files_of(tmp_path / f"again-{number}") == files_of(tmp_path / f"whole-{number}")
        assert verify_output(tmp_path / f"again-{number}") == report
    verify_output(tmp_path / "first")


def test_a_score_file_that_is_taken_over_twice_leaves_no_second_name(tmp_path):
    """Killed between the link and its entry, a job links again; renaming onto another name of one file does nothing."""
    (tmp_path / "made").write_bytes(b"scores")
    for _ in range(2):
        link_or_copy(tmp_path / "made", tmp_path / "job/scores")
    assert files_of(tmp_path / "job") == {"scores": b"scores"}


def test_selecting_again_needs_the_sources_and_says_so(tmp_path):
    pool = write_pool(tmp_path / "pool.jsonl")
    run(pool, tmp_path / "first", THRESHOLD)
    pool.write_text(pool.read_text().replace("document 7", "document 8"))
    with pytest.raises(FingerprintError, match="changed"):
        reselect(tmp_path / "first", tmp_path / "again", Policy(threshold=0.2))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ("", r"nowhere is not the output of a finished filter, with manifest\.json and scores/"),
        ("nowhere", r"nowhere is not the output"),
        ("nowhere.work", r"the filter into .*nowhere is not finished; run it"),
    ],
)
def test_selecting_again_needs_a_finished_output_and_says_what_is_expected_there(tmp_path, made, message):
    (tmp_path / made).mkdir(exist_ok=True)
    with pytest.raises(ArtifactNotFoundError, match=message):
        reselect(tmp_path / "nowhere", tmp_path / "again", THRESHOLD)


def test_standard_input_is_spooled_and_the_same_text_is_the_same_job(tmp_path):
    text = "".join(f"{one}\n" for one in small_pool()).encode()
    report = run(["-"], tmp_path / "out", THRESHOLD, stdin=io.BytesIO(text), piece_bytes=900)
    assert report.documents_in == 40 and not (tmp_path / "out/input").exists()
    places = [json.loads(one)["place"] for one in (tmp_path / "out/unreadable.jsonl").read_text().splitlines()]
    assert len(places) == 4 and all(place.startswith("-") for place in places)
    assert run(["-"], tmp_path / "out", THRESHOLD, stdin=io.BytesIO(text), piece_bytes=900) == report
    with pytest.raises(FingerprintError, match="the input - changed"):
        run(["-"], tmp_path / "out", THRESHOLD, stdin=io.BytesIO(text + b"{}\n"), piece_bytes=900)
    run(["-"], tmp_path / "twin", THRESHOLD, stdin=io.BytesIO(text), piece_bytes=900)
    assert files_of(tmp_path / "twin") == files_of(tmp_path / "out")
    with pytest.raises(ConfigError, match="standard input"):
        reselect(tmp_path / "out", tmp_path / "again", THRESHOLD)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "twin"]


def test_an_interrupted_job_on_standard_input_goes_on_with_the_same_text_alone(tmp_path, monkeypatch):
    text = "".join(f"{one}\n" for one in small_pool()).encode()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(phases, "make_selection", _interrupted)
        run(["-"], tmp_path / "out", THRESHOLD, stdin=io.BytesIO(text))
    with pytest.raises(FingerprintError, match="Standard input changed"):
        run(["-"], tmp_path / "out", THRESHOLD, stdin=io.BytesIO(b"other"))
    assert run(["-"], tmp_path / "out", THRESHOLD, stdin=io.BytesIO(text)).documents_in == 40


def test_a_row_that_is_not_what_was_scored_is_never_written(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(write_shard, "text_hash", lambda text: bytes(16))
    with pytest.raises(FingerprintError, match="changed while the job ran"):
        run(pool, tmp_path / "out", THRESHOLD)
    assert not (tmp_path / "out").exists()


def test_progress_is_followed_through_all_phases_and_kept_in_a_file_of_its_own(pool, tmp_path):
    seen = []
    report = run(pool, tmp_path / "out", THRESHOLD, watch=seen.append, piece_bytes=900)
    phases = [state.phase for state in seen]
    assert list(dict.fromkeys(phases)) == ["cut", "score", "select", "write"]
    scored = [state for state in seen if state.phase == "score"]
    assert (scored[-1].done, scored[-1].tokens) == (scored[-1].total, report.tokens_in)
    assert [state.records for state in scored] == sorted(state.records for state in scored)
    timing = json.loads((tmp_path / "out/timing.json").read_text())
    assert timing["score"]["tokens"] == report.tokens_in and timing["score"]["seconds"] > 0
    assert "timing" not in (tmp_path / "out/manifest.json").read_text()


def test_a_pool_of_many_files_and_formats_is_one_corpus(tmp_path):
    import zstandard

    first, second = small_pool()[:20], small_pool()[20:]
    write_pool(tmp_path / "in/a.jsonl", first)
    text = "".join(f"{one}\n" for one in second).encode()
    (tmp_path / "in/b.jsonl.zst").write_bytes(zstandard.compress(text))
    report = run([str(tmp_path / "in")], tmp_path / "out", THRESHOLD)
    whole = run(write_pool(tmp_path / "whole.jsonl"), tmp_path / "one", THRESHOLD)
    assert report == whole
    assert list(kept_ids(tmp_path / "out")) == list(kept_ids(tmp_path / "one"))
    assert len(load_plan(tmp_path / "out").scoring.pieces) == 2


def test_a_report_of_nothing_is_the_zero(tmp_path):
    report = run(write_pool(tmp_path / "p.jsonl"), tmp_path / "out", THRESHOLD)
    assert report + FilterReport() == report
    shutil.rmtree(tmp_path / "out")
