"""What goes wrong around jobs: disks that refuse for a while, servers killed between two states, models that load slowly."""

import asyncio
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from curator_client import AsyncClient, Client, ConnectionOptions, RetryPolicy
from curator_server.app import build_server
from curator_server.jobs.store import Store

from curator.api.v1 import catalog_pb2, catalog_pb2_grpc, jobs_pb2
from curator.errors import ArtifactNotFoundError, JobNotFoundError, StorageError
from curator.filtering.policy import Policy
from curator.orders import FilterOrder, Work
from tests.contract.job_fakes import JobWorld
from tests.contract.job_requests import identify, study, until
from tests.contract.service_fakes import LetterScorer, sample_documents

pytestmark = pytest.mark.timeout(300)
Job, Model = jobs_pb2.Job, catalog_pb2.Model
ENDED = {Job.STATE_SUCCEEDED, Job.STATE_FAILED, Job.STATE_CANCELLED}


@pytest.fixture
def world(tmp_path):
    return JobWorld(tmp_path)


class BadDisk:
    """Lets a store's changes through, or not."""

    def __init__(self, store):
        self.full, self.refused, self._change, store.change = False, 0, store.change, self.change

    def change(self, *args, **kwargs):
        if self.full:
            self.refused += 1
            raise StorageError("The job database cannot be written; free space on the server's disk.")
        return self._change(*args, **kwargs)


def running(client, spec):
    name = client.jobs.create(spec).name
    until(lambda: client.jobs.get(name).state == Job.STATE_RUNNING)
    return name


def test_a_disk_that_is_full_for_a_while_neither_fails_a_job_nor_strands_it(world):
    with world.server() as server, Client(server.address) as client:
        world.loaded(client, "a", "b")
        world.workers.gate.clear()
        name = running(client, identify())
        disk = BadDisk(server.jobs.store)
        disk.full = True
        world.workers.gate.set()
        until(lambda: disk.refused >= 2)
        disk.full = False
        assert client.jobs.wait(name).state == Job.STATE_SUCCEEDED


def test_progress_that_cannot_be_kept_is_lost_and_the_job_goes_on(world):
    world.workers.steps = 20
    with world.server() as server, Client(server.address) as client:
        world.loaded(client, "a", "b")
        store, real = server.jobs.store, server.jobs.store.change

        def change(key, edit, **kept):
            if not kept and edit.__module__.endswith("course"):
                raise StorageError("full")
            return real(key, edit, **kept)

        store.change = change
        job = client.jobs.wait(client.jobs.create(study()).name)
        assert job.state == Job.STATE_SUCCEEDED and job.progress.stage == ""


def test_a_job_that_nobody_works_on_waits_again_or_is_cancelled_when_asked(world):
    with world.server() as server, Client(server.address) as client:
        world.loaded(client, "a", "b")
        runner, store = server.jobs.runner, server.jobs.store
        world.workers.gate.clear()
        busy = running(client, study())  # the only slot
        lost = [client.jobs.create(study()).name for _ in range(2)]
        for name in lost:
            store.change(name, lambda job: setattr(job, "state", Job.STATE_RUNNING) or True)
        assert client.jobs.cancel(lost[0]).state == Job.STATE_CANCELLED
        client.jobs.delete(lost[0])
        server.engine._loop.call_soon_threadsafe(runner._keep.set)
        until(lambda: client.jobs.get(lost[1]).state == Job.STATE_PENDING)
        world.workers.gate.set()
        assert all(client.jobs.wait(name).state == Job.STATE_SUCCEEDED for name in (busy, lost[1]))


def test_expired_jobs_are_removed_while_every_slot_is_busy(world):
    with world.server() as server, Client(server.address) as client:
        world.loaded(client, "a", "b")
        done = client.jobs.wait(client.jobs.create(study()).name)
        world.workers.gate.clear()
        running(client, study())
        with server.jobs.store._database.transaction() as database:
            database.execute("UPDATE jobs SET expires = 1 WHERE uid = ?", (done.uid,))
        server.engine._loop.call_soon_threadsafe(server.jobs.runner._keep.set)
        until(lambda: not server.jobs.store.exists(done.uid))
        world.workers.gate.set()


@pytest.mark.parametrize("state", [Job.STATE_CANCELLING, Job.STATE_CANCELLED])
def test_a_server_that_is_killed_while_a_load_is_cancelled_leaves_no_model_that_loads_for_ever(world, state):
    world.workers.gate.clear()
    with world.server() as server, Client(server.address) as client:
        job = client.jobs.load_model("zoo:m", model_id="m")
        until(lambda: client.jobs.get(job.name).state == Job.STATE_RUNNING)
        with server.jobs.store._database.transaction() as database:  # the very moment, as an older version left it
            found = server.jobs.store._database._connection.execute("SELECT job FROM jobs").fetchone()[0]
            changed = Job.FromString(found)
            changed.state = state
            database.execute("UPDATE jobs SET state = ?, job = ?", (state, changed.SerializeToString()))
        shutil.copytree(world.root / "state", world.root / "killed")
        world.workers.gate.set()
    shutil.rmtree(world.root / "state")
    (world.root / "killed").rename(world.root / "state")
    with world.client() as client:
        assert client.jobs.get(job.name).state == Job.STATE_CANCELLED
        states = {model.name: model.state for model in client.jobs.models()}
        assert states["models/m"] == Model.STATE_FAILED
        client.jobs.wait(client.jobs.load_model("zoo:n", model_id="m").name)
        client.jobs.unload_model("models/m")


def test_a_waiting_load_that_is_cancelled_frees_its_name_in_the_same_transaction(world):
    world.workers.gate.clear()
    with world.server() as server, Client(server.address) as client:
        client.jobs.load_model("zoo:a")
        waiting = client.jobs.load_model("zoo:m", model_id="m")
        store = server.jobs.store
        store.change(waiting.name, lambda job: setattr(job, "state", Job.STATE_CANCELLED) or True)
        assert store.catalog.models()["models/m"].state == Model.STATE_FAILED
        world.workers.gate.set()


def test_a_watcher_of_a_deleted_job_hears_so_at_once_even_if_the_name_is_used_again(world):
    with world.server() as server, Client(server.address) as client:
        world.loaded(client, "a", "b")
        world.workers.gate.clear()
        job = client.jobs.create(identify(neuron_set_id="one"), job_id="x")
        until(lambda: client.jobs.get(job.name).state == Job.STATE_RUNNING)
        queries, real = [], server.jobs.store.revisions
        server.jobs.store.revisions = lambda *args, **more: queries.append(args) or real(*args, **more)
        hold = threading.Event()

        async def slow_watcher():
            revisions = server.jobs.servicer.WatchJob(jobs_pb2.WatchJobRequest(name=job.name), None)
            await anext(revisions)
            await asyncio.to_thread(hold.wait)
            async for _ in revisions:
                pass

        watching = asyncio.run_coroutine_threadsafe(slow_watcher(), server.engine._loop)
        until(lambda: server.jobs.hub.watchers == 1)
        world.workers.gate.set()
        until(lambda: client.jobs.get(job.name).state in ENDED)
        client.jobs.delete(job.name)
        world.workers.gate.clear()
        client.jobs.create(identify(neuron_set_id="two"), job_id="x")
        hold.set()
        with pytest.raises(JobNotFoundError, match="deleted"):
            watching.result(10)
        assert len(queries) < 20
        world.workers.gate.set()


def test_a_model_that_loads_slowly_delays_neither_other_calls_nor_streams(world):
    with world.server() as server:
        patient = ConnectionOptions(timeout_s=5, retry=RetryPolicy(attempts=1))
        with Client(server.address, patient) as client, ThreadPoolExecutor(40) as pool:
            world.loaded(client, "a", "b")
            world.shelf.gate = threading.Event()
            name = client.jobs.create(identify()).name
            until(lambda: world.shelf.opened)
            deletions = [pool.submit(client.jobs.delete_neuron_set, f"models/zz/neuronSets/{n}") for n in range(8)]
            for deletion in deletions:
                with pytest.raises(ArtifactNotFoundError):
                    deletion.result(5)
            assert len(list(client.jobs.list())) == 3
            client.jobs.unload_model("models/b")
            assert client.score_batch(sample_documents(2), neuron_set="given")
            world.shelf.gate.set()
            assert client.jobs.wait(name).neuron_sets


def test_a_set_whose_model_was_unloaded_while_it_was_opened_is_kept_and_not_offered(world):
    with world.client() as client:
        world.loaded(client, "a", "b")
        world.shelf.gate = threading.Event()
        name = client.jobs.create(identify(neuron_set_id="x")).name
        until(lambda: world.shelf.opened)
        client.jobs.unload_model("models/a")
        world.shelf.gate.set()
        assert list(client.jobs.wait(name).neuron_sets) == ["models/a/neuronSets/x"]
        assert [found.name for found in client.neuron_sets() if found.job] == []
        assert "f" * 64 not in world.shelf.forgotten  # the scorer that was given reads it
        world.loaded(client, "a")
        assert [found.name for found in client.neuron_sets() if found.job] == ["models/a/neuronSets/x"]


def test_stopping_waits_for_no_model_that_is_being_loaded_and_the_job_waits_for_the_next_server(world):
    name = asyncio.run(stopped_while_loading(world))
    world.shelf.gate.set()
    store = Store(world.root / "state/jobs.sqlite3")
    assert store.get(name).state == Job.STATE_PENDING
    store.close()
    with world.client() as client:
        assert client.jobs.wait(name).neuron_sets


async def stopped_while_loading(world):
    server = build_server(world.settings, [LetterScorer(name="given")], shelf=world.shelf, launch=world.workers)
    await server.start()
    async with AsyncClient(server.address) as client:
        for name in "ab":
            await client.jobs.wait((await client.jobs.load_model(f"zoo:{name}", model_id=name)).name)
        world.shelf.gate = threading.Event()
        job = await client.jobs.create(identify())
        while not world.shelf.opened:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    began = time.monotonic()
    await server.drain()
    await server.stop()
    assert (
        time.monotonic() - began < 20
    )  # grace_s and stop_s are seconds, and the model stays away for longer than this
    return job.name


def test_a_worker_is_told_which_request_it_works_for(world):
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    with world.server() as server, grpc.insecure_channel(server.address) as channel, Client(server.address) as client:
        request = catalog_pb2.LoadModelRequest(spec=jobs_pb2.LoadModelSpec(repo="zoo:a"))
        metadata = [("x-request-id", "nightly-7"), ("traceparent", f"00-{trace}-{span}-01")]
        job = catalog_pb2_grpc.CatalogServiceStub(channel).LoadModel(request, timeout=60, metadata=metadata).job
        client.jobs.wait(job.name)
    told = {"request_id": "nightly-7", "traceparent": f"00-{trace}-{span}-01"}
    assert world.workers.works[-1].call == told


def test_every_line_of_a_worker_s_log_names_its_request(tmp_path):
    order = FilterOrder(
        sources=("texts/absent.jsonl",), neuron_set=str(tmp_path / "absent"), target="law", etag="e",
        policy=Policy(keep_fraction=0.5), out=str(tmp_path / "artifacts"),
    )  # fmt: skip
    Work(order=order, atlases=str(tmp_path), call={"request_id": "nightly-7"}).save(tmp_path)
    command = [sys.executable, "-m", "curator.jobs", str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as worker:
        said, log = worker.stdout.read(), worker.stderr.read()
    assert '"failure"' in said
    assert "[nightly-7] the job failed" in log
