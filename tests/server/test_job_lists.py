"""What comes in pages: jobs without their artifacts, artifacts by name, tokens that belong to one list; and what is kept once."""

import sqlite3

import grpc
import pytest
from curator_client import AsyncClient, Client, filter_spec, study_spec
from curator_server.jobs.store import SHOWN_ARTIFACTS, Store

from curator.api.v1 import catalog_pb2, catalog_pb2_grpc, jobs_pb2, jobs_pb2_grpc
from curator.errors import ArtifactNotFoundError, ConfigError, JobNotFoundError, LimitError
from tests.contract.job_fakes import JobWorld
from tests.contract.job_requests import EXAMPLES, identify, study

pytestmark = pytest.mark.timeout(300)
Job = jobs_pb2.Job
VERSION_1 = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
    state INTEGER NOT NULL, request_id TEXT UNIQUE, digest BLOB NOT NULL, place TEXT NOT NULL DEFAULT '',
    expires REAL, job BLOB NOT NULL);
CREATE INDEX jobs_by_state ON jobs (state, number);
CREATE TABLE revisions (
    uid TEXT NOT NULL, revision INTEGER NOT NULL, job BLOB NOT NULL, PRIMARY KEY (uid, revision)) WITHOUT ROWID;
CREATE TABLE models (name TEXT PRIMARY KEY, model BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE neuron_sets (
    name TEXT PRIMARY KEY, folder TEXT NOT NULL, job TEXT NOT NULL, created REAL NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 1;
"""


@pytest.fixture
def world(tmp_path):
    return JobWorld(tmp_path)


def test_a_job_with_very_many_artifacts_can_be_read_watched_listed_and_paged(world):
    world.workers.files = 90_000
    with world.client() as client:
        world.loaded(client, "a", "b")
        job = client.jobs.wait(client.jobs.create(identify()).name)
        assert (job.artifact_count, len(job.artifacts)) == (90_000, SHOWN_ARTIFACTS)
        assert client.jobs.get(job.name) == job
        listed = next(iter(client.jobs.list()))
        assert (listed.name, listed.artifact_count, len(listed.artifacts)) == (job.name, 90_000, 0)
        assert listed.identify_neurons == job.identify_neurons
        assert len(client.jobs.reports()[0].artifacts) == 1
        names = [artifact.name for artifact in client.jobs.artifacts(listed)]
        assert len(set(names)) == 90_000 and names == sorted(names)


def test_an_artifact_that_does_not_come_with_its_job_is_downloaded_all_the_same(world, tmp_path):
    world.workers.files = SHOWN_ARTIFACTS + 20
    with world.client() as client:
        world.loaded(client, "a", "b")
        job = client.jobs.wait(client.jobs.create(identify()).name)
        assert "report.html" not in {artifact.name for artifact in job.artifacts}
        assert client.jobs.download(job, "report.html", tmp_path / "out").stat().st_size
        assert client.jobs.download(next(iter(client.jobs.list())), "report.html", tmp_path / "out").is_file()
        with pytest.raises(ArtifactNotFoundError):
            client.jobs.download(job, "never.html", tmp_path / "out")
        world.workers.files = 1
        small = client.jobs.wait(client.jobs.create(study()).name)
        (listed,) = [one for one in client.jobs.list() if one.name == small.name]
        assert [path.name for path in client.jobs.download_all(listed, tmp_path / "all")] == ["study.json"]
        with pytest.raises(JobNotFoundError):
            client.jobs.artifacts("jobs/never")


async def test_the_asynchronous_client_pages_too(world):
    world.workers.files = SHOWN_ARTIFACTS + 20
    with world.server() as server:
        with Client(server.address) as client:
            world.loaded(client, "a", "b")
            job = client.jobs.wait(client.jobs.create(identify()).name)
        async with AsyncClient(server.address) as client:
            assert len(await client.jobs.artifacts(job)) == SHOWN_ARTIFACTS + 20


def test_a_token_belongs_to_one_list_with_one_parent_and_filter(world):
    with world.server() as server, grpc.insecure_channel(server.address) as channel:
        catalog, jobs = catalog_pb2_grpc.CatalogServiceStub(channel), jobs_pb2_grpc.JobServiceStub(channel)
        with Client(server.address) as client:
            world.loaded(client, "a", "b")
            for number in range(2):
                client.jobs.wait(client.jobs.create(identify(neuron_set_id=f"x{number}")).name)

        def sets(**more):
            return catalog.ListNeuronSets(catalog_pb2.ListNeuronSetsRequest(page_size=1, **more), timeout=60)

        def models(**more):
            return catalog.ListModels(catalog_pb2.ListModelsRequest(page_size=1, **more), timeout=60)

        token = sets().next_page_token
        assert sets(page_token=token).neuron_sets and models().next_page_token
        wrong = [
            lambda: sets(page_token="!!!!"),
            lambda: sets(page_token=f" {token}"),
            lambda: sets(page_token=token, parent="models/a"),
            lambda: sets(page_token=token, show_unloaded=True),
            lambda: sets(page_token=models().next_page_token),
            lambda: models(page_token=token),
            lambda: jobs.ListJobs(jobs_pb2.ListJobsRequest(page_token=token), timeout=60),
        ]
        for ask in wrong:
            with pytest.raises(grpc.RpcError, match="page_token") as refused:
                ask()
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("parent", ["nonsense/..", "models/", "models/a/neuronSets/x", "models/..", "a"])
def test_a_parent_that_is_no_model_is_refused(world, parent):
    with world.server() as server, grpc.insecure_channel(server.address) as channel:
        catalog = catalog_pb2_grpc.CatalogServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            catalog.ListNeuronSets(catalog_pb2.ListNeuronSetsRequest(parent=parent), timeout=60)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert not catalog.ListNeuronSets(catalog_pb2.ListNeuronSetsRequest(parent="models/z"), timeout=60).neuron_sets


def test_a_spec_is_written_once_however_many_revisions_there_are(world):
    world.workers.steps = 50
    with world.client() as client:
        world.loaded(client, "a", "b")
        client.jobs.wait(client.jobs.create(identify()).name)
        world.text()
        spec = filter_spec(["pool.jsonl"] * 900, neuron_set="law", keep_fraction=0.5)
        job = client.jobs.wait(client.jobs.create(spec).name)
        assert job.revision > 50 and len(job.filter_dataset.input.files.uris) == 900
        assert all(
            len(one.filter_dataset.input.files.uris) == 900 for one in client.jobs.watch(job.name, after_revision=1)
        )
    with sqlite3.connect(world.root / "state/jobs.sqlite3") as database:
        (held,) = database.execute("SELECT sum(length(job)) FROM revisions WHERE uid = ?", (job.uid,)).fetchone()
    database.close()
    assert held < 50 * 250


def test_a_database_of_the_first_version_is_taken_over_with_all_it_holds(tmp_path):
    job = Job(name="jobs/old", uid="u", revision=2, state=Job.STATE_SUCCEEDED, identify_neurons=identify())
    job.artifacts.add(name="report.html", byte_size=3)
    model = catalog_pb2.Model(name="models/a", repo="zoo:a", state=catalog_pb2.Model.STATE_ACTIVE, fingerprint="f")
    with sqlite3.connect(tmp_path / "jobs.sqlite3") as old:
        old.executescript(VERSION_1)
        blob = job.SerializeToString()
        old.execute(
            "INSERT INTO jobs VALUES (1, 'u', 'jobs/old', 'identify_neurons', 4, NULL, x'00', '/out', NULL, ?)", (blob,)
        )
        old.execute("INSERT INTO revisions VALUES ('u', 2, ?)", (blob,))
        old.execute("INSERT INTO models VALUES ('models/a', ?)", (model.SerializeToString(),))
        old.execute("INSERT INTO neuron_sets VALUES ('models/a/neuronSets/law', '/sets/law', 'jobs/old', 5.0)")
    old.close()
    for _ in range(2):
        store = Store(tmp_path / "jobs.sqlite3")
        job.artifact_count = 1
        assert store.get("jobs/old") == store.revisions("u", 0)[0] == job
        assert store.place("jobs/old") == "/out" and store.catalog.models() == {"models/a": model}
        (kept,) = store.catalog.sets()
        assert (kept.uid, store.catalog.offered_names(kept)) == ("u", {"models/a/neuronSets/law": ""})
        store.catalog.require_free_model("models/a", jobs_pb2.LoadModelSpec(repo="zoo:a", dtype="float32"))
        store.close()


def test_specs_have_a_largest_size(world):
    world.given |= {"max_uris": 3, "max_spec_bytes": 2000}
    world.text()
    with world.client() as client:
        world.loaded(client, "a", "b")
        client.jobs.wait(client.jobs.create(identify()).name)  # documents do not count
        client.jobs.create(filter_spec(["pool.jsonl"] * 3, neuron_set="law", keep_fraction=0.5), validate_only=True)
        for uris, error in ((["pool.jsonl"] * 4, ConfigError), ([f"{'x' * 3000}.jsonl"], LimitError)):
            with pytest.raises(error, match="at most"):
                client.jobs.create(filter_spec(uris, neuron_set="law", keep_fraction=0.5))


def test_numbers_in_a_spec_have_caps_of_the_operator_s(world):
    world.given |= {"max_neurons": 300, "max_sketch_dimensions": 4096, "max_domains": 2, "max_models": 3}
    with world.client() as client:
        world.loaded(client, "a", "b")
        for wrong in (
            identify(max_neurons=301),
            identify(max_neurons=4_000_000_000),
            study(sketch_dimensions=4104),
            study(sketch_dimensions=1 << 31),
            study(seed=1 << 31),
            study_spec({"s": ["models/a", "models/b"]}, {"law": EXAMPLES}, replicates=10_001),
            identify(("law", "news", "prose")),
            study_spec({label: ["models/a", "models/b"] for label in "xy"}, {"law": EXAMPLES}),
        ):
            with pytest.raises(ConfigError, match="at most on this server"):
                client.jobs.create(wrong)
        client.jobs.create(identify(("law", "news"), max_neurons=300), validate_only=True)
        client.jobs.create(study(sketch_dimensions=4096), validate_only=True)
