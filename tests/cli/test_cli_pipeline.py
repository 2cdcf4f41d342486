"""Identify, score and filter as a user does: tiny models, small files, the real command."""

import json
import re
import shutil

import pyarrow.parquet as pq
import pytest
import zstandard
from curator_server.app import running_server
from curator_server.settings import ServerSettings

import curator as curator_package
from curator.filtering.evaluation import kept_ids
from curator.filtering.output import load_manifest, verify_output
from curator.neuronset.artifact import load_neuron_set
from curator.serving import SetShelf
from tests.cli.cli_world import DOMAINS, curator, rows


def scored_rows(output):
    return [json.loads(line) for line in output.splitlines()]


def test_identify_writes_a_neuron_set_and_shows_what_it_found(world):
    result = world.identify("digits", world.root / "shown")
    assert result.exit_code == 0, result.output
    saved = load_neuron_set(world.root / "shown")
    assert saved.manifest.name == "digits" and list(saved.manifest.targets) == ["digits"]
    assert f"etag       {saved.etag}" in result.stdout
    assert "deranged text" in result.stdout and "average precision" in result.stdout
    assert saved.manifest.neurons[0].id in result.stdout
    default = saved.manifest.targets["digits"].default
    assert re.search(rf"{default}\s+│\s+default", result.stdout)


def test_a_second_identification_reads_the_atlases_of_the_first(world, home):
    first = load_neuron_set(world.neuron_set)
    atlases = sorted((home / "atlases").iterdir())
    result = world.identify("letters", world.root / "letters-set", "--max-neurons", "5", "--name", "few")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("kept from before") == 2
    assert sorted((home / "atlases").iterdir()) == atlases
    saved = load_neuron_set(world.root / "letters-set").manifest
    assert (saved.name, len(saved.neurons)) == ("few", 5)
    assert saved.atlas_fingerprint == first.manifest.atlas_fingerprint


def test_a_set_without_a_folder_is_found_by_its_name(world, home):
    shutil.copytree(world.neuron_set, home / "neuron-sets" / "by-name")
    result = curator("score", world.pool, "--neuron-set", "by-name")
    assert result.exit_code == 0, result.output
    assert len(scored_rows(result.stdout)) == 92


def test_a_folder_that_holds_something_else_is_not_replaced(world, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    result = world.identify("digits", tmp_path)
    assert result.exit_code == 2
    assert "holds no neuron set" in result.stderr
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_atlas_says_what_it_holds_and_is_found_again(world, home):
    words = ("atlas", "build", world.model("gpt2"), "--probe", world.probe, "--settings", world.settings)
    result = curator(*words)
    assert result.exit_code == 0, result.output
    assert re.search(r"neurons\s+│\s+96 ", result.stdout) and "dead neurons" in result.stdout
    assert str(home / "atlases" / "gpt2-0-") in result.stdout
    assert "kept from before" in curator(*words).stderr


def test_score_gives_every_record_one_line(world):
    result = curator("score", world.pool, "--neuron-set", world.neuron_set)
    assert result.exit_code == 0, result.output
    rows = scored_rows(result.stdout)
    assert len(rows) == 92
    assert sum("value" in row for row in rows) == 90
    assert [row["rejected"] for row in rows if "place" in row] == ["invalid_json"]
    assert next(row for row in rows if row.get("document_id") == "short")["rejected"] == "no_spans"
    assert "scored: 90" in result.stderr


@pytest.mark.parametrize("name", ["scores.jsonl", "scores.jsonl.zst", "scores.parquet"])
def test_score_writes_the_same_rows_to_a_file(world, tmp_path, name):
    path = tmp_path / name
    words = ("score", world.pool, "--neuron-set", world.neuron_set, "--method", "linear")
    printed = scored_rows(curator(*words).stdout)
    result = curator(*words, "--out", path)
    assert result.exit_code == 0 and result.stdout == ""
    if name.endswith(".parquet"):
        found = pq.read_table(path).to_pylist()
        rows = [{key: value for key, value in row.items() if value is not None} for row in found]
    elif name.endswith(".zst"):
        rows = scored_rows(zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read().decode())
    else:
        rows = scored_rows(path.read_text())
    assert rows == printed
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_a_threshold_keeps_exactly_what_score_says(world, tmp_path):
    out = tmp_path / "out"
    rows = scored_rows(curator("score", world.pool, "--neuron-set", world.neuron_set).stdout)
    result = curator("filter", world.pool, "--neuron-set", world.neuron_set, "--threshold", "0.5", "--out", out)
    assert result.exit_code == 0, result.output
    wanted = [row["document_id"] for row in rows if row.get("probability", 0) >= 0.5]
    assert 0 < len(wanted) < 90
    assert list(kept_ids(out)) == wanted
    report = verify_output(out)
    assert (report.documents_in, report.documents_unreadable, report.rejected["no_spans"]) == (91, 1, 1)
    assert "unreadable: invalid_json" in result.stdout and "rejected: below_threshold" in result.stdout
    assert "tokens/s" in result.stderr


def test_a_fraction_keeps_the_best_third_and_they_are_the_target(world, tmp_path):
    out = tmp_path / "out"
    result = curator(
        "filter", world.pool, "--neuron-set", world.neuron_set, "--keep-fraction", 1 / 3, "--by", "value",
        "--format", "jsonl", "--format", "parquet", "--no-rejected", "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    kept = list(kept_ids(out))
    assert len(kept) == 30
    assert sum(name.startswith("digits") for name in kept) >= 27
    assert {path.suffix for path in (out / "kept").iterdir()} == {".zst", ".parquet"}
    assert not list((out / "rejected").glob("*")) and verify_output(out).documents_kept == 30


def test_a_token_budget_is_not_exceeded(world, tmp_path):
    out = tmp_path / "out"
    result = curator("filter", world.pool, "--neuron-set", world.neuron_set, "--token-budget", "1k", "--out", out)
    assert result.exit_code == 0, result.output
    report = verify_output(out)
    assert 0 < report.tokens_kept <= 1000 < report.tokens_in
    assert report.rejected["over_budget"] > 0


def test_the_same_job_again_loads_no_model_and_writes_nothing(world, tmp_path):
    pool, models = tmp_path / "pool.jsonl", tmp_path / "model"
    shutil.copy(world.pool, pool)
    shutil.copytree(world.model("gpt2"), models)
    words = (
        "filter",
        pool,
        "--neuron-set",
        world.neuron_set,
        "--model",
        models,
        "--threshold",
        0.5,
        "--out",
        tmp_path / "o",
    )
    first = curator(*words)
    assert first.exit_code == 0, first.output
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "o").rglob("*")}
    shutil.rmtree(models)
    again = curator(*words)
    assert again.exit_code == 0, again.output
    assert "already holds this job" in again.stderr and again.stdout.splitlines()[1:] == first.stdout.splitlines()[1:]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "o").rglob("*")} == written

    with pool.open("a") as handle:
        handle.write(json.dumps({"text": "one more"}) + "\n")
    grown = curator(*words)
    assert grown.exit_code == 1
    assert grown.stderr.startswith("error [FINGERPRINT_MISMATCH]: ")
    assert "the input" in grown.stderr and "pool.jsonl changed" in grown.stderr


def test_scores_serve_another_policy_without_the_model(world, tmp_path):
    models = tmp_path / "model"
    shutil.copytree(world.model("gpt2"), models)
    words = ("filter", world.pool, "--neuron-set", world.neuron_set, "--model", models)
    assert curator(*words, "--threshold", 0.5, "--out", tmp_path / "first").exit_code == 0
    assert curator(*words, "--keep-fraction", 0.2, "--out", tmp_path / "direct").exit_code == 0
    shutil.rmtree(models)
    words = ("filter", "--from-scores", tmp_path / "first", "--keep-fraction", 0.2, "--out", tmp_path / "again")
    again = curator(*words)
    assert again.exit_code == 0, again.output
    assert list(kept_ids(tmp_path / "again")) == list(kept_ids(tmp_path / "direct"))
    assert load_manifest(tmp_path / "again") == load_manifest(tmp_path / "direct")
    both = curator(*words, "--neuron-set", world.neuron_set)
    assert both.exit_code == 2 and "leave one of them out" in both.stderr


@pytest.mark.slow
def test_two_workers_write_what_one_writes_in_every_format(world, tmp_path):
    words = ("filter", world.pool, "--neuron-set", world.neuron_set, "--threshold", 0.5, "--piece-size", "4kB")
    words = (*words, "--format", "arrow", "--format", "jsonl", "--shard-size", "2kB", "--rejected")
    for workers in (1, 2):
        result = curator(*words, "--workers", workers, "--out", tmp_path / str(workers))
        assert result.exit_code == 0, result.output
    one, two = (load_manifest(tmp_path / str(workers)) for workers in (1, 2))
    assert one.report == two.report and one.context == two.context
    assert [file.name for file in one.files] == [file.name for file in two.files]
    assert list(kept_ids(tmp_path / "1")) == list(kept_ids(tmp_path / "2"))
    assert len(one.shards("kept", "arrow")) == len(one.shards("kept", "jsonl")) > 1


def test_the_command_is_a_function_too(world, tmp_path):
    policy = curator_package.Policy(threshold=0.5)
    report = curator_package.filter_dataset(world.pool, world.neuron_set, tmp_path / "by-function", policy)
    words = (
        "filter",
        world.pool,
        "--neuron-set",
        world.neuron_set,
        "--threshold",
        0.5,
        "--out",
        tmp_path / "by-command",
    )
    assert curator(*words).exit_code == 0
    assert load_manifest(tmp_path / "by-function") == load_manifest(tmp_path / "by-command")
    again = curator_package.reselect_dataset(
        tmp_path / "by-function", tmp_path / "half", curator_package.Policy(keep_fraction=0.5)
    )
    assert again.documents_kept == 45 and verify_output(tmp_path / "by-function") == report
    with pytest.raises(AttributeError, match="no attribute 'filter'"):
        curator_package.filter  # noqa: B018


def test_a_wanted_recall_becomes_a_threshold_that_the_manifest_explains(world, tmp_path):
    words = ("filter", world.pool, "--neuron-set", world.neuron_set, "--out", tmp_path / "out")
    result = curator(*words, "--recall", 0.5)
    assert result.exit_code == 0, result.output
    policy = load_manifest(tmp_path / "out").policy
    assert policy.wanted == "recall 0.5" and 0 < policy.threshold <= 1
    assert curator(*words, "--recall", 0.5, "--threshold", 0.5).exit_code == 2


def test_several_targets_share_a_budget(world, tmp_path):
    folder = world.root / "mixed-targets"
    assert world.identify("digits", folder, "--target", "letters", "--name", "mixed").exit_code == 0
    words = ("filter", world.pool, "--neuron-set", folder, "--token-budget", "1k", "--out", tmp_path / "out")
    result = curator(*words, "--mix", "digits=1", "--mix", "letters=3")
    assert result.exit_code == 0, result.output
    targets = verify_output(tmp_path / "out").targets
    assert 0 < targets["digits"].tokens_kept <= 250 and 0 < targets["letters"].tokens_kept <= 750
    assert curator(*words, "--mix", "digits").exit_code == 2


def test_a_model_that_the_set_was_not_made_for_is_refused_with_one_sentence(world, tmp_path):
    words = ("filter", world.pool, "--neuron-set", world.neuron_set, "--threshold", 0.5, "--out", tmp_path / "out")
    result = curator(*words, "--model", world.model("gpt2", seed=1))
    assert result.exit_code == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error [FINGERPRINT_MISMATCH]: The neuron set 'digits' was made for")
    assert "Traceback" not in result.output and not (tmp_path / "out").exists()


def test_a_changed_neuron_set_is_refused(world, tmp_path):
    shutil.copytree(world.neuron_set, tmp_path / "set")
    manifest = tmp_path / "set" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"digits"', '"digitz"', 1))
    result = curator("score", world.pool, "--neuron-set", tmp_path / "set")
    assert result.exit_code == 1 and result.stderr.startswith("error [ARTIFACT_CORRUPT]: ")


def test_a_remote_filter_keeps_what_a_local_one_keeps_under_the_same_identity(world, tmp_path):
    scorers = SetShelf(device="cpu").open(world.neuron_set)
    words = ("filter", world.pool, "--threshold", 0.5)
    with running_server(ServerSettings(port=0), scorers) as address:
        remote = curator(*words, "--remote", address, "--out", tmp_path / "remote")
        unknown = curator(*words, "--remote", address, "--neuron-set", "law", "--out", tmp_path / "unknown")
    local = curator(*words, "--neuron-set", world.neuron_set, "--out", tmp_path / "local")
    assert remote.exit_code == local.exit_code == 0, remote.output + local.output
    assert list(kept_ids(tmp_path / "remote")) == list(kept_ids(tmp_path / "local"))
    assert load_manifest(tmp_path / "remote").context == load_manifest(tmp_path / "local").context
    assert unknown.exit_code == 1 and unknown.stderr.startswith("error [ARTIFACT_NOT_FOUND]: ")


def test_a_set_of_two_targets_is_offered_once_for_each_on_one_model(world):
    folder = world.root / "two-targets"
    assert world.identify("digits", folder, "--target", "letters", "--name", "two").exit_code == 0
    both = SetShelf(device="cpu").open(folder)
    assert [one.scorer.name for one in both] == ["two.digits", "two.letters"]
    assert len({one.scorer.etag for one in both}) == 2
    ambiguous = curator("score", world.pool, "--neuron-set", folder)
    assert ambiguous.exit_code == 2 and "digits, letters" in ambiguous.stderr


def test_an_unknown_target_is_answered_with_the_domains_there_are(world):
    result = world.identify("law", world.root / "never")
    assert result.exit_code == 2
    assert all(domain in result.stderr for domain in DOMAINS) and "law" in result.stderr
    assert not (world.root / "never").exists()


def test_a_report_is_written_beside_the_set_when_asked_for(world, tmp_path):
    result = world.identify("digits", tmp_path / "set", "--report", str(tmp_path / "report"))
    assert result.exit_code == 0, result.output
    page = tmp_path / "report" / "report.html"
    assert f"report     {page}" in result.stdout and "digits" in page.read_text()


def test_a_cascade_says_what_its_prefilter_promises(world, tmp_path):
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(f"{json.dumps(row)}\n" for row in rows(400, seed=3)))
    words = ("filter", pool, "--neuron-set", world.neuron_set, "--threshold", 0.5, "--cascade", "--cascade-recall", 0.8)
    done = curator(*words, "--cascade-sample", 500, "--out", tmp_path / "kept")
    assert done.exit_code == 0, done.output
    assert "cascade  for digits the prefilter passes" in done.output
    assert "with 95% confidence" in done.output
    assert "rejected: prefiltered" in done.output
    refused = curator(*words, "--cascade-sample", "60k", "--out", tmp_path / "most")
    assert refused.exit_code == 2
    assert "too few for a cascade" in refused.output
