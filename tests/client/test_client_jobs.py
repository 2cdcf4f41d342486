"""Jobs on the client's side: downloads that go on, watches that miss nothing, the asynchronous twin, the command line."""

import hashlib
import json
import zlib

import pytest
from curator_client import AsyncClient, data_source, filter_spec, study_spec
from curator_client.cli import app
from curator_client.cli_server import job_row, say_all
from curator_client.job_flows import DownloadFlow, WatchFlow, require_success
from typer.testing import CliRunner

from curator.api.v1 import jobs_pb2
from curator.errors import ArtifactError, ArtifactNotFoundError, ConfigError, CuratorError, JobError
from curator.records import Document
from tests.contract.job_fakes import JobWorld

pytestmark = pytest.mark.timeout(300)
Job = jobs_pb2.Job
BYTES = bytes(range(256)) * 10
EXAMPLES = [Document(str(number), "tree and leaf " * 60) for number in range(5)]


@pytest.fixture
def world(tmp_path):
    return JobWorld(tmp_path / "world")


def finished_job(name="shard.bin", content=BYTES):
    artifact = jobs_pb2.Artifact(name=name, byte_size=len(content), sha256=hashlib.sha256(content).digest())
    return Job(name="jobs/one", uid="u", state=Job.STATE_SUCCEEDED, artifacts=[artifact])


def piece(start, end, data=None):
    data = BYTES[start:end] if data is None else data
    return jobs_pb2.DownloadArtifactResponse(data=data, offset=start, crc32=zlib.crc32(data))


def test_a_download_goes_on_after_the_last_byte_of_an_earlier_one(tmp_path):
    first = DownloadFlow(finished_job(), "shard.bin", tmp_path)
    first.open()
    first.take(piece(0, 1000))
    first.close()
    assert not (tmp_path / "shard.bin").exists()
    second = DownloadFlow(finished_job(), "shard.bin", tmp_path)
    second.open()
    assert second.request().read_offset == 1000 and not second.complete
    second.take(piece(1000, len(BYTES)))
    assert second.complete and second.finish().read_bytes() == BYTES
    assert [path.name for path in tmp_path.iterdir()] == ["shard.bin"]
    third = DownloadFlow(finished_job(), "shard.bin", tmp_path)
    third.open()
    assert third.complete and third.finish() == tmp_path / "shard.bin"


def test_damaged_missing_and_wrong_bytes_never_get_the_name(tmp_path):
    flow = DownloadFlow(finished_job(), "shard.bin", tmp_path)
    flow.open()
    damaged = piece(0, 10)
    damaged.crc32 ^= 1
    with pytest.raises(ArtifactError, match="damaged"):
        flow.take(damaged)
    with pytest.raises(ArtifactError, match="missing"):
        flow.take(piece(5, 10))
    flow.take(piece(0, len(BYTES), data=bytes(len(BYTES))))
    with pytest.raises(ArtifactError, match="not what the job stated"):
        flow.finish()
    assert list(tmp_path.iterdir()) == []


def test_an_artifact_of_another_version_is_not_gone_on_with(tmp_path):
    old = DownloadFlow(finished_job(content=b"x" * 5000), "shard.bin", tmp_path)
    old.open()
    old.take(piece(0, 4000, data=b"x" * 4000))
    old.close()
    new = DownloadFlow(finished_job(), "shard.bin", tmp_path)
    new.open()
    assert new.request().read_offset == 0
    new.close()


def test_a_name_that_leaves_the_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="leaves the folder"):
        DownloadFlow(finished_job("../evil"), "../evil", tmp_path / "out")
    with pytest.raises(ArtifactNotFoundError):
        DownloadFlow(finished_job(), "other.bin", tmp_path)


def test_a_watch_notices_a_gap_and_a_name_that_was_given_again():
    flow = WatchFlow("jobs/one")
    flow.take(jobs_pb2.WatchJobResponse(job=Job(name="jobs/one", uid="u", revision=4)))
    assert flow.request().after_revision == 4
    with pytest.raises(CuratorError, match="left out"):
        flow.take(jobs_pb2.WatchJobResponse(job=Job(name="jobs/one", uid="u", revision=6)))
    with pytest.raises(JobError, match="another job"):
        flow.take(jobs_pb2.WatchJobResponse(job=Job(name="jobs/one", uid="v", revision=5)))
    with pytest.raises(JobError, match="has not ended"):
        require_success(Job(name="jobs/one", state=Job.STATE_RUNNING))


def test_text_is_uris_or_documents_and_a_filter_has_one_limit():
    assert list(data_source("pool.jsonl").files.uris) == ["pool.jsonl"]
    assert list(data_source(["a", "b"]).files.uris) == ["a", "b"]
    assert [one.id for one in data_source(EXAMPLES).documents.documents] == ["0", "1", "2", "3", "4"]
    for wrong in ([], ["a", EXAMPLES[0]]):
        with pytest.raises(ConfigError):
            data_source(wrong)
    with pytest.raises(ConfigError, match="one limit"):
        filter_spec("pool.jsonl")
    with pytest.raises(ConfigError, match="one limit"):
        filter_spec("pool.jsonl", min_score=1.0, token_budget=5)


def test_a_study_names_models_beside_a_size_that_it_has():
    groups, text = {"s": ["models/a", "models/b"]}, {"law": "law.jsonl"}
    spec = study_spec(groups, text, beside={"s": ["models/c"]}, replicates=5)
    (group,) = spec.groups
    assert (group.model, list(group.peers), list(group.beside)) == ("models/a", ["models/b"], ["models/c"])
    assert spec.depth == spec.DEPTH_FULL and study_spec(groups, text, quick=True).depth == spec.DEPTH_QUICK
    with pytest.raises(ConfigError, match="'t'"):
        study_spec(groups, text, beside={"t": ["models/c"]})


async def test_the_asynchronous_client_does_the_same(world, tmp_path):
    with world.server() as server:
        async with AsyncClient(server.address) as client:
            for name in ("a", "b"):
                await client.jobs.wait((await client.jobs.load_model(f"zoo:{name}", model_id=name)).name)
            spec = study_spec({"small": ["models/a", "models/b"]}, {"law": EXAMPLES})
            created = await client.jobs.create(spec, request_id="one")
            heard = []
            done = await client.jobs.wait(created.name, on_change=heard.append)
            assert heard[-1] == done == await client.jobs.get(created.name)
            assert (await client.jobs.create(spec, request_id="one")).uid == created.uid
            revisions = [job.revision async for job in client.jobs.watch(created.name, after_revision=1)]
            assert revisions == list(range(2, done.revision + 1))
            path = await client.jobs.download(done, "study.json", tmp_path / "out")
            assert hashlib.sha256(path.read_bytes()).digest() == done.artifacts[0].sha256
            names = [job.name async for job in client.jobs.list(page_size=1)]
            assert names[0] == created.name
            assert (await client.jobs.cancel(created.name)).state == Job.STATE_SUCCEEDED
            await client.jobs.delete(created.name)


def test_lists_are_tables_on_a_terminal_and_json_elsewhere(monkeypatch, capsys):
    job = Job(name="jobs/mine", state=Job.STATE_FAILED, identify_neurons={"model": "models/a"})
    job.error.message = "There is no text; name some."
    say_all([job], ("job", "kind", "state", "progress", "created"), job_row, json=False)
    assert json.loads(capsys.readouterr().out)["name"] == "jobs/mine"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "150")
    say_all([job], ("job", "kind", "state", "progress", "created"), job_row, json=False)
    table = capsys.readouterr().out
    assert all(word in table for word in ("mine", "identify_neurons", "failed", "There is no text")), table
    say_all([job], ("job",), job_row, json=True)
    assert json.loads(capsys.readouterr().out)["name"] == "jobs/mine"


def test_the_command_line_loads_identifies_watches_and_downloads(world, tmp_path):
    examples = tmp_path / "law.jsonl"
    examples.write_text("".join(json.dumps({"id": one.id, "text": one.text}) + "\n" for one in EXAMPLES))
    with world.server() as server:

        def run(group, *words):
            result = CliRunner().invoke(app, [group, "--address", server.address, *map(str, words)])
            return result, [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]

        for name in ("a", "b"):
            result, (job,) = run("models", "load", f"zoo:{name}", "--wait")
            assert result.exit_code == 0 and job["state"] == "STATE_SUCCEEDED" and "running: step" in result.stderr
        words = ("identify", "--model", "models/a", "--peer", "models/b", "--examples", f"law={examples}")
        result, (job,) = run("jobs", *words, "--job-id", "mine", "--check")
        assert result.exit_code == 0 and "uid" not in job
        result, (job,) = run("jobs", *words, "--job-id", "mine", "--wait")
        assert result.exit_code == 0 and job["neuron_sets"] == ["models/a/neuronSets/law"], result.output
        result, _ = run("jobs", "download", "mine", "--output", tmp_path / "report")
        assert result.exit_code == 0 and (tmp_path / "report/report.html").is_file()
        _, jobs = run("jobs", "list", "--filter", "kind = identify_neurons")
        assert [job["name"] for job in jobs] == ["jobs/mine"]
        grouped = ("--group", "s=models/a,models/b+models/a", "--source", "law=env:legal")
        result, (job,) = run("jobs", "study", *grouped, "--replicates", 3, "--job-id", "sized", "--wait")
        assert result.exit_code == 0 and job["build_study"]["groups"][0]["beside"] == ["models/a"]
        result, (job,) = run(
            "jobs", "study", *grouped[2:], "--group", "t=models/b,models/a", "--append", "sized", "--quick"
        )
        assert result.exit_code == 0 and job["build_study"]["append_to"] == "jobs/sized", result.output
        source = world.text()
        result, (job,) = run("jobs", "filter", source, "--neuron-set", "law", "--keep-fraction", "0.5", "--wait")
        assert result.exit_code == 0 and job["artifacts"][0]["name"] == "kept/kept-0.jsonl"
        assert run("jobs", "delete", "mine")[0].exit_code == 0
        result, _ = run("jobs", "get", "mine")
        assert result.exit_code == 1 and "[JOB_NOT_FOUND]" in result.stderr
        bare = ("identify", "--model", "a", "--peer", "b", "--examples", f"law={examples}", "--neuron-set-id", "law2")
        result, _ = run("jobs", *bare, "--check")
        assert result.exit_code == 0, result.output  # models/ may be left out
        result, _ = run("jobs", *words, "--text-field", "body")
        assert result.exit_code == 1 and "--text-field" in result.stderr and "law.jsonl:1" in result.stderr
        result, _ = run("jobs", *words, "--source", "law=env:legal")
        assert result.exit_code == 1 and "named twice" in result.stderr
        _, models = run("models", "list")
        assert "models/a" in {model["name"] for model in models}
        assert run("models", "unload", "models/a")[0].exit_code == 0
