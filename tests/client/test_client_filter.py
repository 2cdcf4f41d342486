import hashlib
import json

import datasets
import pytest
import zstandard
from curator_client import BatchOptions, Client, ConnectionOptions, RetryPolicy
from curator_client.cli import app
from curator_client.shards import ShardFolder
from curator_server.app import running_server
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from curator.api.v1 import scoring_pb2
from curator.errors import ArtifactError, ConfigError
from curator.records import Document
from tests.client.test_client_streams import breaking
from tests.contract.service_fakes import SETTINGS, LetterScorer, sample_documents

pytestmark = pytest.mark.timeout(300)
OPTIONS = ConnectionOptions(batches=BatchOptions(max_documents=10), retry=RetryPolicy(base_s=0.001))
DOCUMENTS = sample_documents(300)
SCORES = LetterScorer().score(DOCUMENTS)
KEPT = [document for document, score in zip(DOCUMENTS, SCORES, strict=True) if score.probability >= 0.5]
RULE = {"min_probability": 0.5, "target_shard_bytes": 4000}


@pytest.fixture(scope="module")
def address():
    with running_server(SETTINGS, [LetterScorer()]) as address:
        yield address


@pytest.fixture(scope="module")
def clean_run(address, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    with Client(address, OPTIONS) as client:
        report = client.filter(DOCUMENTS, folder, **RULE)
    return report, contents(folder)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def records(folder):
    for path in sorted(folder.glob("kept-*.jsonl.zst")):
        with zstandard.open(path, "rt", encoding="utf-8") as lines:
            yield from (json.loads(line) for line in lines)


def test_the_kept_documents_arrive_whole_in_order_with_their_scores(address, tmp_path):
    with Client(address, OPTIONS) as client:
        report = client.filter(iter(DOCUMENTS), tmp_path / "out", **RULE)
    rows = list(records(tmp_path / "out"))
    assert [row["id"] for row in rows] == [document.id for document in KEPT]
    assert [row["text"] for row in rows] == [document.text for document in KEPT]
    assert rows[0]["deep"] == {"a": "ü", "z": 1}
    assert (rows[0]["domain"], rows[0]["source"]) == (KEPT[0].domain, KEPT[0].source)
    by_id = {score.document_id: score for score in SCORES}
    assert all(row["curator_score"] == by_id[row["id"]].value for row in rows)
    assert report.documents_in == 300
    assert report.documents_kept == len(KEPT) == sum(shard.documents for shard in report.shards)
    assert report.tokens_in == sum(score.tokens for score in SCORES)
    assert sum(report.probability_histogram) == 300
    assert len(report.shards) > 3


def test_the_manifest_lists_every_shard_with_its_hash(clean_run):
    report, files = clean_run
    manifest = json.loads(files["manifest.json"])
    assert manifest["etag"] == "etag-1"
    assert manifest["threshold"] == {"min_probability": 0.5}
    assert {shard["name"] for shard in manifest["shards"]} == set(files) - {"manifest.json", "README.md"}
    for shard in manifest["shards"]:
        assert hashlib.sha256(files[shard["name"]]).hexdigest() == shard["sha256"]
        assert len(files[shard["name"]]) == shard["bytes"]
    assert manifest["documents_kept"] == report.documents_kept


def test_two_runs_give_the_same_bytes(address, clean_run, tmp_path):
    with Client(address, OPTIONS) as client:
        client.filter(DOCUMENTS, tmp_path / "again", **RULE)
    assert contents(tmp_path / "again") == clean_run[1]


@given(cuts=st.lists(st.integers(0, 40), min_size=1, max_size=4))
@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_broken_streams_resume_to_the_same_bytes(address, clean_run, tmp_path_factory, cuts):
    folder = tmp_path_factory.mktemp("broken")
    with Client(address, OPTIONS) as client:
        client._scoring.FilterDocuments = breaking(client._scoring.FilterDocuments, *cuts)
        report = client.filter(DOCUMENTS, folder, **RULE)
    assert contents(folder) == clean_run[1]
    assert report == clean_run[0]


def test_a_run_that_keeps_nothing_still_commits_and_bounds_its_memory(address, tmp_path):
    with Client(address, OPTIONS) as client:
        report = client.filter(DOCUMENTS, tmp_path, min_score=2.0, commit_every_bytes=2000)
    assert (report.documents_in, report.documents_rejected, report.shards) == (300, 300, ())
    assert report.not_kept_by_reason == {"below_threshold": 300}
    assert list(contents(tmp_path)) == ["README.md", "manifest.json"]


def test_nothing_vanishes_kept_rejected_and_failed_add_up(address, tmp_path):
    bad = [
        Document("half", "\ud800"),
        Document("big", "e" * (2 << 20)),
        Document("raises", "boom"),
        Document("no", "unreadable"),
    ]
    with Client(address, OPTIONS) as client:
        report = client.filter([*DOCUMENTS[:5], *bad], tmp_path, min_probability=0.5)
    assert report.documents_in == 9 == report.documents_kept + report.documents_rejected + report.documents_failed
    assert report.not_kept_by_reason["record_too_large"] == 1
    assert report.not_kept_by_reason["not_a_record"] == 1
    assert sum(report.not_kept_by_reason.values()) == report.documents_rejected + report.documents_failed


def test_load_dataset_opens_the_folder_as_it_is(clean_run, address, tmp_path):
    report, files = clean_run
    (tmp_path / "out").mkdir()
    for name, data in files.items():
        (tmp_path / "out" / name).write_bytes(data)
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train"] and loaded["train"]["id"][:] == [document.id for document in KEPT]
    assert f"| kept | {report.documents_kept} |" in files["README.md"].decode()


@pytest.mark.parametrize("name", ["notes.txt", "kept-1.jsonl.zst", "manifest.json.old"])
def test_a_folder_with_something_else_in_it_is_left_alone(address, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with Client(address) as client, pytest.raises(ConfigError, match=f"holds {name}, which is no part"):
        client.filter(DOCUMENTS, tmp_path, **RULE)
    assert contents(tmp_path) == {name: b"mine"}


def test_an_empty_input_gives_an_empty_result(address, tmp_path):
    with Client(address) as client:
        assert client.filter([], tmp_path, min_score=0.1).documents_in == 0
    assert json.loads((tmp_path / "manifest.json").read_text())["shards"] == []


def test_a_finished_folder_is_not_overwritten_and_a_threshold_is_needed(address, tmp_path):
    with Client(address) as client:
        client.filter([], tmp_path, min_score=0.1)
        with pytest.raises(ConfigError, match="already holds"):
            client.filter([], tmp_path, min_score=0.1)
        for threshold in ({}, {"min_score": 1.0, "min_probability": 0.5}):
            with pytest.raises(ConfigError, match="one threshold"):
                client.filter([], tmp_path / "other", **threshold)
    assert not (tmp_path / "other").exists()


def test_an_input_that_fails_leaves_whole_shards_and_no_manifest(address, tmp_path):
    def failing():
        yield from DOCUMENTS[:250]
        raise ZeroDivisionError

    with Client(address, OPTIONS) as client, pytest.raises(ZeroDivisionError):
        client.filter(failing(), tmp_path, **RULE)
    names = contents(tmp_path)
    assert "manifest.json" not in names
    assert not [name for name in names if "partial" in name]
    assert len(names) > 1
    with Client(address, OPTIONS) as client:
        report = client.filter(DOCUMENTS[:10], tmp_path, **RULE)
    assert set(contents(tmp_path)) == {"manifest.json", "README.md", *(shard.name for shard in report.shards)}


@pytest.mark.parametrize(
    "chunk",
    [
        scoring_pb2.ShardChunk(shard_id="kept-1", data=b"x", crc32=1),
        scoring_pb2.ShardChunk(shard_id="kept-1", data=b"", offset=5),
        scoring_pb2.ShardChunk(shard_id="sub/kept-1", data=b""),
    ],
)
def test_a_damaged_or_misplaced_piece_is_refused(tmp_path, chunk):
    folder = ShardFolder(tmp_path)
    with pytest.raises(ArtifactError):
        folder.chunk(chunk)
    folder.discard()
    assert contents(tmp_path) == {}


def test_a_shard_name_that_leaves_the_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="leaves the folder"):
        ShardFolder(tmp_path / "out").chunk(scoring_pb2.ShardChunk(shard_id="../evil"))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_shard_with_another_hash_is_refused(tmp_path):
    folder = ShardFolder(tmp_path)
    folder.chunk(scoring_pb2.ShardChunk(shard_id="kept-1", data=b"", crc32=0))
    with pytest.raises(ArtifactError, match="differs"):
        folder.commit(scoring_pb2.ShardCommit(shard_id="kept-1", document_count=1, sha256=b"other"))
    assert contents(tmp_path) == {}


def test_the_command_line_scores_filters_and_describes(address, tmp_path):
    pool = tmp_path / "pool.jsonl"
    lines = [json.dumps({"id": document.id, "text": document.text}) for document in DOCUMENTS[:20]]
    pool.write_text("\n".join([*lines, "not json"]) + "\n")
    runner = CliRunner()
    scored = runner.invoke(app, ["score", str(pool), "--address", address])
    assert scored.exit_code == 0, scored.output
    assert [json.loads(line)["value"] for line in scored.stdout.splitlines()] == [score.value for score in SCORES[:20]]
    assert "1 records could not be read (invalid_json: 1)" in scored.stderr
    arguments = ["filter", str(pool), "--output", str(tmp_path / "out"), "--address", address]
    filtered = runner.invoke(app, [*arguments, "--min-probability", "0.5"])
    assert filtered.exit_code == 0, filtered.output
    assert json.loads(filtered.stdout)["unread"] == {"invalid_json": 1}
    assert json.loads(runner.invoke(app, ["info", "--address", address]).stdout)["neuron_sets"][0]["etag"] == "etag-1"
    missing = runner.invoke(app, arguments)
    assert missing.exit_code == 1
    assert "CONFIG_INVALID" in missing.stderr


def test_the_command_line_takes_fields_of_other_names(address, tmp_path):
    pool = tmp_path / "pool.jsonl"
    pool.write_text(
        "".join(json.dumps({"url": one.id, "body": one.text, "lang": "en"}) + "\n" for one in DOCUMENTS[:20])
    )
    wrong = CliRunner().invoke(app, ["score", str(pool), "--address", address])
    assert wrong.exit_code == 1 and "body" in wrong.stderr and "--text-field" in wrong.stderr, wrong.output
    fields = ["--text-field", "body", "--id-field", "url", "--address", address]
    scored = CliRunner().invoke(app, ["score", str(pool), *fields])
    found = [json.loads(line)["document_id"] for line in scored.stdout.splitlines()]
    assert found == [one.id for one in DOCUMENTS[:20]], scored.output
    fields += ["--domain-field", "lang"]
    out = tmp_path / "out"
    filtered = CliRunner().invoke(app, ["filter", str(pool), *fields, "--output", str(out), "--min-probability", "0"])
    assert filtered.exit_code == 0, filtered.output
    assert {row["domain"] for row in records(out)} == {"en"}


def test_whoever_watches_hears_of_every_document_once_even_over_broken_streams(address, tmp_path):
    heard = []
    with Client(address, OPTIONS) as client:
        client._scoring.FilterDocuments = breaking(client._scoring.FilterDocuments, 9, 14, 6)
        report = client.filter(
            DOCUMENTS, tmp_path, watch=lambda *counts: heard.append(counts), commit_every_bytes=4000, **RULE
        )
    assert heard[-1] == (report.documents_in, report.documents_kept)
    assert len(heard) > 10
    assert max(documents for documents, _ in heard) == len(DOCUMENTS)
    assert [kept for _, kept in heard] == sorted(kept for _, kept in heard)
