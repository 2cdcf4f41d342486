"""Names that jobs give: a neuron set is never replaced, and a clash is the mistake of the call that comes second."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from curator.api.v1 import catalog_pb2, jobs_pb2
from curator.errors import AlreadyExistsError, ArtifactNotFoundError, CancelledJobError, CuratorError, JobError
from curator.orders import Failure
from tests.contract.job_fakes import JobWorld
from tests.contract.job_requests import identify, until

pytestmark = pytest.mark.timeout(300)
Job, Model = jobs_pb2.Job, catalog_pb2.Model


@pytest.fixture
def world(tmp_path):
    return JobWorld(tmp_path)


def sets(client, **more):
    request = catalog_pb2.ListNeuronSetsRequest(**more)
    found = client.jobs._catalog.ListNeuronSets(request, timeout=60).neuron_sets
    return {one.name: one for one in found if one.job}


def test_a_published_set_outlives_its_job_and_is_not_replaced_by_another_of_the_same_name(world):
    two = ("law", "news")
    with world.client() as client:
        world.loaded(client, "a", "b")
        first = client.jobs.wait(client.jobs.create(identify(two, neuron_set_id="x"), job_id="mine").name)
        before = sets(client)
        client.jobs.delete(first.name)
        for job_id in ("mine", "other"):
            with pytest.raises(AlreadyExistsError, match="models/a/neuronSets/x"):
                client.jobs.create(identify(two, neuron_set_id="x", targets=["news"]), job_id=job_id)
        with pytest.raises(AlreadyExistsError, match="neuron_set_id"):
            client.jobs.create(identify(two, neuron_set_id="x"), validate_only=True)
        assert sets(client) == before and before["models/a/neuronSets/x"].target == "law"
        client.jobs.delete_neuron_set("models/a/neuronSets/x")
        again = client.jobs.create(identify(two, neuron_set_id="x", targets=["news"]))
        assert list(client.jobs.wait(again.name).neuron_sets) == ["models/a/neuronSets/x"]


def test_a_clash_of_names_is_told_when_the_job_is_created_and_ends_with_the_job_that_held_the_name(world):
    with world.client() as client:
        world.loaded(client, "a", "b")
        world.workers.gate.clear()
        holder = client.jobs.create(identify(neuron_set_id="x"))
        with pytest.raises(AlreadyExistsError, match="or a job that makes it"):
            client.jobs.create(identify(neuron_set_id="x"))
        client.jobs.cancel(holder.name)
        with pytest.raises(CancelledJobError):
            client.jobs.wait(holder.name)
        world.workers.gate.set()
        world.workers.failure = Failure(code="DATA_INSUFFICIENT", message="There is too little text.")
        with pytest.raises(CuratorError, match="too little"):
            client.jobs.wait(client.jobs.create(identify(neuron_set_id="x")).name)
        world.workers.failure = None
        assert client.jobs.wait(client.jobs.create(identify(neuron_set_id="x")).name).neuron_sets


def test_a_set_of_two_domains_holds_the_names_of_both(world):
    with world.client() as client:
        world.loaded(client, "a", "b")
        client.jobs.create(identify(("law", "news"), neuron_set_id="x", targets=["law", "news"]))
        for taken in ("x", "x.law", "x.news"):
            with pytest.raises(AlreadyExistsError):
                client.jobs.create(identify(neuron_set_id=taken))
        client.jobs.create(identify(neuron_set_id="x.prose"))


def test_a_name_of_a_model_stands_for_its_repository_revision_and_type(world):
    with world.client() as client:
        world.loaded(client, "a")
        client.jobs.wait(client.jobs.load_model("zoo:a", model_id="a", dtype="auto").name)  # the same again
        for other in ({"repo": "zoo:b"}, {"repo": "zoo:a", "revision": "r2"}, {"repo": "zoo:a", "dtype": "bfloat16"}):
            with pytest.raises(AlreadyExistsError, match="another model 'models/a'"):
                client.jobs.load_model(model_id="a", **other)
        client.jobs.unload_model("models/a")
        client.jobs.wait(client.jobs.load_model("zoo:b", model_id="a").name)


def test_of_two_loads_under_one_name_the_refused_one_starts_no_job(world):
    with world.client() as client, ThreadPoolExecutor(8) as pool:
        for turn in range(6):
            repos = [f"zoo:r{turn}{letter}" for letter in "pqrs"]

            def load(repo):
                try:
                    return client.jobs.load_model(repo, model_id="z").name
                except AlreadyExistsError:
                    return ""

            accepted = [name for name in pool.map(load, repos) if name]
            jobs = [job for job in client.jobs.list("kind = load_model") if job.load_model.repo in repos]
            assert len(accepted) == len(jobs) == 1
            client.jobs.wait(accepted[0])
            (model,) = [found for found in client.jobs.models() if found.name == "models/z"]
            assert model.repo == jobs[0].load_model.repo
            client.jobs.unload_model("models/z")


def test_one_request_that_is_sent_many_times_at_once_is_one_job(world):
    with world.client() as client, ThreadPoolExecutor(16) as pool:
        world.loaded(client, "a", "b")
        for turn in range(4):
            spec = identify(neuron_set_id=f"x{turn}")
            made = pool.map(lambda _, spec=spec, turn=turn: client.jobs.create(spec, request_id=f"r{turn}"), range(16))
            assert len({job.uid for job in made}) == 1


def test_a_set_whose_model_is_unloaded_is_listed_on_request_and_can_be_deleted(world):
    name = "models/a/neuronSets/x"
    with world.client() as client:
        world.loaded(client, "a", "b")
        job = client.jobs.wait(client.jobs.create(identify(neuron_set_id="x")).name)
        client.jobs.unload_model("models/a")
        assert sets(client) == {}
        found = sets(client, parent="models/a", show_unloaded=True)[name]
        assert (found.unloaded, found.job, found.target) == (True, job.name, "law")
        folders = list((world.root / "state/neuron-sets/a").iterdir())
        client.jobs.delete_neuron_set(name)
        assert len(folders) == 1 and not folders[0].exists()
        assert sets(client, show_unloaded=True) == {}
        with pytest.raises(ArtifactNotFoundError):
            client.jobs.delete_neuron_set(name)


def test_a_set_of_other_weights_is_not_opened_under_their_name(world):
    with world.client() as client:
        world.loaded(client, "a", "b")
        client.jobs.wait(client.jobs.create(identify(neuron_set_id="x")).name)
        client.jobs.unload_model("models/a")
        world.shelf.opened.clear()
        world.fingerprint("zoo:other", "e" * 64)
        client.jobs.wait(client.jobs.load_model("zoo:other", model_id="a").name)
        assert sets(client) == {} and world.shelf.opened == []


def test_a_name_is_not_turned_to_new_weights_of_the_same_repository(world):
    with world.client() as client:
        world.loaded(client, "a", "b")
        world.fingerprint("zoo:a", "e" * 64)
        with pytest.raises(AlreadyExistsError, match="other weights"):
            client.jobs.wait(client.jobs.load_model("zoo:a", model_id="a").name)
        (model,) = [found for found in client.jobs.models() if found.name == "models/a"]
        assert (model.fingerprint, model.state) == ("f" * 64, Model.STATE_ACTIVE)


def test_an_atlas_is_not_removed_while_a_job_may_read_it(world):
    with world.client() as client:
        world.loaded(client, "a", "b")
        atlas = world.root / "state/atlases/tiny"
        atlas.mkdir(parents=True)
        world.workers.gate.clear()
        job = client.jobs.create(identify())
        until(lambda: client.jobs.get(job.name).state == Job.STATE_RUNNING)
        with pytest.raises(JobError, match="may read the atlas"):
            client.jobs.delete_atlas("atlases/tiny")
        world.workers.gate.set()
        client.jobs.wait(job.name)
        client.jobs.delete_atlas("atlases/tiny")
        assert list(atlas.parent.iterdir()) == []
