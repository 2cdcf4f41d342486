"""The life of a job as a client sees it, with workers that do what the test says."""

import socket
import sqlite3
import zlib

import grpc
import pytest
from curator_client import Client, RetryPolicy, filter_spec, identify_spec, study_spec

from curator.api.v1 import catalog_pb2, catalog_pb2_grpc, jobs_pb2, jobs_pb2_grpc
from curator.errors import (
    AlreadyExistsError,
    ArtifactNotFoundError,
    CancelledJobError,
    ConfigError,
    CuratorError,
    InsufficientDataError,
    JobError,
    JobNotFoundError,
    LimitError,
    ModelNotFoundError,
    OverloadedError,
    SourceNotFoundError,
)
from curator.orders import Failure
from curator.records import Document
from curator.settings import AtlasSettings, NeuronSetSettings
from tests.contract.job_fakes import FINGERPRINT, JobWorld
from tests.contract.job_requests import EXAMPLES, identify, study, until
from tests.contract.service_fakes import sample_documents

pytestmark = pytest.mark.timeout(300)
Job = jobs_pb2.Job


@pytest.fixture
def world(tmp_path):
    return JobWorld(tmp_path)


def test_a_job_goes_from_pending_to_succeeded_and_lists_its_artifacts(world):
    with world.client() as client:
        world.loaded(client, "a", "b")
        created = client.jobs.create(study(), job_id="first")
        assert (created.name, created.state, created.revision) == ("jobs/first", Job.STATE_PENDING, 1)
        job = client.jobs.wait("jobs/first")
        assert (
            job.uid == created.uid
            and job.start_time.ToSeconds()
            and job.expire_time.ToSeconds() > job.end_time.ToSeconds()
        )
        assert [artifact.name for artifact in job.artifacts] == ["study.json"]
        assert client.jobs.get("jobs/first") == job


def test_a_watch_shows_every_revision_in_order_and_goes_on_after_any_of_them(world):
    world.workers.steps = 6
    with world.client() as client:
        world.loaded(client, "a", "b")
        name = client.jobs.create(study()).name
        client.jobs.wait(name)
        all_of_it = list(client.jobs.watch(name, after_revision=1))
        assert [job.revision for job in all_of_it] == list(range(2, len(all_of_it) + 2))
        assert [job.progress.stage for job in all_of_it if job.progress.stage][:6] == [f"step {n}" for n in range(6)]
        assert all_of_it[-1].state == Job.STATE_SUCCEEDED
        middle = all_of_it[3].revision
        assert list(client.jobs.watch(name, after_revision=middle)) == all_of_it[4:]
        assert list(client.jobs.watch(name, after_revision=all_of_it[-1].revision)) == []
        assert list(client.jobs.watch(name)) == all_of_it[-1:]
        with pytest.raises(ConfigError, match="no revision 999"):
            list(client.jobs.watch(name, after_revision=999))


def test_a_watch_that_begins_early_hears_what_comes(world):
    world.workers.gate.clear()
    with world.client() as client:
        revisions = client.jobs.watch(client.jobs.load_model("zoo:a").name)
        seen = [next(revisions)]
        while seen[-1].progress.stage != "step 2":
            seen.append(next(revisions))
        world.workers.gate.set()
        seen.extend(revisions)
        assert [job.revision for job in seen] == list(range(seen[0].revision, seen[0].revision + len(seen)))
        assert seen[-1].state == Job.STATE_SUCCEEDED


def test_one_request_id_makes_one_job_and_another_spec_is_refused(world):
    with world.client() as client:
        world.loaded(client, "a", "b")
        first = client.jobs.create(study(), request_id="same")
        client.jobs.wait(first.name)
        again = client.jobs.create(study(), request_id="same")
        assert (again.uid, again.state) == (first.uid, Job.STATE_SUCCEEDED)
        with pytest.raises(AlreadyExistsError, match="another request"):
            client.jobs.create(study(seed=1), request_id="same")
        with pytest.raises(AlreadyExistsError, match="another request"):
            client.jobs.create(study(), request_id="same", job_id="named")
        with pytest.raises(ConfigError, match="request id"):
            client.jobs.create(study(), request_id="x" * 200)
        loading = client.jobs.load_model("zoo:c", request_id="load")
        assert client.jobs.load_model("zoo:c", request_id="load").uid == loading.uid


def test_a_job_id_is_given_once(world):
    with world.client() as client:
        world.loaded(client, "a", "b")
        client.jobs.create(study(), job_id="mine")
        with pytest.raises(AlreadyExistsError, match="jobs/mine"):
            client.jobs.create(study(), job_id="mine")
        for forged in ("../mine", "a/b", "", "x" * 65, ".hidden"):
            if forged:
                with pytest.raises(ConfigError, match="job_id"):
                    client.jobs.create(study(), job_id=forged)


def test_validating_starts_nothing(world):
    with world.client() as client:
        world.loaded(client, "a", "b")
        launched = len(world.workers.works)
        job = client.jobs.create(study(), job_id="never", validate_only=True)
        assert (job.name, job.uid) == ("jobs/never", "")
        with pytest.raises(JobNotFoundError):
            client.jobs.get("jobs/never")
        with pytest.raises(ModelNotFoundError, match="models/zzz"):
            client.jobs.create(identify_spec("models/zzz", ["models/a"], {"law": EXAMPLES}), validate_only=True)
        assert len(world.workers.works) == launched


def test_jobs_are_listed_newest_first_in_pages_and_by_state_and_kind(world):
    with world.client() as client:
        world.loaded(client, "a", "b")
        names = [client.jobs.create(study(), job_id=f"j{number}").name for number in range(5)]
        for name in names:
            client.jobs.wait(name)
        listed = [job.name for job in client.jobs.list("kind = build_study", page_size=2)]
        assert listed == names[::-1]
        assert [job.name for job in client.jobs.list("state = SUCCEEDED AND kind = load_model")][::-1] == [
            job.name for job in client.jobs.list("kind = load_model")
        ][::-1]
        assert list(client.jobs.list("state = FAILED")) == []
        for wrong in ("state = NEVER", "colour = red", "kind = tea"):
            with pytest.raises(ConfigError):
                list(client.jobs.list(wrong))


def test_a_page_of_large_jobs_is_short_and_the_list_still_whole(world, monkeypatch):
    monkeypatch.setattr("curator_server.job_servicer._PAGE_BYTES", 10)
    with world.client() as client:
        world.loaded(client, "a", "b", "c")
        assert [job.model for job in client.jobs.list()] == ["models/c", "models/b", "models/a"]


def test_a_page_token_is_checked(world):
    with world.server() as server, grpc.insecure_channel(server.address) as channel:
        jobs, catalog = jobs_pb2_grpc.JobServiceStub(channel), catalog_pb2_grpc.CatalogServiceStub(channel)
        for number in range(3):
            catalog.LoadModel(catalog_pb2.LoadModelRequest(spec=jobs_pb2.LoadModelSpec(repo=f"zoo:{number}")))
        page = jobs.ListJobs(jobs_pb2.ListJobsRequest(page_size=2), timeout=60)
        assert len(page.jobs) == 2 and page.next_page_token
        rest = jobs.ListJobs(jobs_pb2.ListJobsRequest(page_size=2, page_token=page.next_page_token), timeout=60)
        assert len(rest.jobs) == 1 and not rest.next_page_token
        forged = [
            {"page_token": "???"},
            {"page_token": "bm9uc2Vuc2U="},
            {"page_token": page.next_page_token, "filter": "state = RUNNING"},
            {"page_size": -1},
        ]
        for request in forged:
            with pytest.raises(grpc.RpcError) as refused:
                jobs.ListJobs(jobs_pb2.ListJobsRequest(**request), timeout=60)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_cancelling_a_running_job_stops_its_worker_and_may_be_asked_twice(world):
    with world.client() as client:
        world.loaded(client, "a", "b")
        world.workers.gate.clear()
        name = client.jobs.create(study()).name
        until(lambda: client.jobs.get(name).state == Job.STATE_RUNNING)
        waiting = client.jobs.create(study()).name
        assert client.jobs.cancel(waiting).state == Job.STATE_CANCELLED
        assert client.jobs.cancel(name).state == Job.STATE_CANCELLING
        client.jobs.cancel(name)
        with pytest.raises(CancelledJobError, match=name):
            client.jobs.wait(name)
        ended = client.jobs.get(name)
        assert client.jobs.cancel(name) == ended and ended.state == Job.STATE_CANCELLED
        with pytest.raises(JobNotFoundError):
            client.jobs.cancel("jobs/never")


def test_a_job_is_deleted_only_after_its_end_and_with_all_it_wrote(world):
    with world.client() as client:
        world.loaded(client, "a", "b")
        world.workers.gate.clear()
        name = client.jobs.create(study(), job_id="again").name
        with pytest.raises(JobError, match="has not ended"):
            client.jobs.delete(name)
        world.workers.gate.set()
        uid = client.jobs.wait(name).uid
        client.jobs.delete(name)
        with pytest.raises(JobNotFoundError):
            client.jobs.get(name)
        assert not (world.root / "state/jobs" / uid).exists()
        assert client.jobs.create(study(), job_id="again").uid != uid


def test_an_artifact_comes_in_pieces_from_any_offset(world):
    with world.server() as server, grpc.insecure_channel(server.address) as channel:
        jobs = jobs_pb2_grpc.JobServiceStub(channel)
        spec = filter_spec(str(world.text()), neuron_set="given", keep_fraction=0.5)
        request = jobs_pb2.CreateJobRequest(job=Job(filter_dataset=spec))
        with pytest.raises(grpc.RpcError, match="not on the server's disk"):
            jobs.CreateJob(request, timeout=60)
    with world.client() as client:
        world.loaded(client, "a", "b")
        job = client.jobs.wait(client.jobs.create(study()).name)
        whole = bytes(range(256)) * 12_000
        stub, name = client.jobs._jobs, job.name
        for offset, limit in ((0, 0), (1_500_000, 0), (10, 20), (len(whole), 0), (5, len(whole) * 2)):
            request = jobs_pb2.DownloadArtifactRequest(
                job=name, artifact="study.json", read_offset=offset, read_limit=limit
            )
            found = list(stub.DownloadArtifact(request, timeout=60))
            assert b"".join(piece.data for piece in found) == whole[offset : offset + limit if limit else None]
            assert all(len(piece.data) <= 1 << 20 and zlib.crc32(piece.data) == piece.crc32 for piece in found)
        for forged in ("../result.json", "result.json", "/etc/passwd", "", "study.json/../study.json"):
            with pytest.raises(grpc.RpcError) as refused:
                list(stub.DownloadArtifact(jobs_pb2.DownloadArtifactRequest(job=name, artifact=forged), timeout=60))
            assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.RpcError, match="beyond its end"):
            request = jobs_pb2.DownloadArtifactRequest(job=name, artifact="study.json", read_offset=len(whole) + 1)
            list(stub.DownloadArtifact(request, timeout=60))


def test_an_artifact_that_was_replaced_by_a_link_is_not_followed(world, tmp_path):
    with world.client() as client:
        world.loaded(client, "a", "b")
        job = client.jobs.wait(client.jobs.create(study()).name)
        (tmp_path / "secret").write_bytes(b"x" * job.artifacts[0].byte_size)
        path = world.root / "state/jobs" / job.uid / "artifacts/study.json"
        path.unlink()
        path.symlink_to(tmp_path / "secret")
        with pytest.raises(CuratorError, match="not what the job wrote"):
            client.jobs.download(job, "study.json", tmp_path / "out")


@pytest.mark.parametrize(
    "uri",
    ["../secret.jsonl", "/etc/passwd", "link.jsonl", "linked/*.jsonl", "sub/../../secret.jsonl", "~/x.jsonl", "file:///etc/hosts",
     "-", "hf:owner/data", "s3://bucket/x.jsonl", "local://secret.jsonl", "*/../../*.jsonl", "folder", "file://{root}/secret.jsonl"],
)  # fmt: skip
def test_a_forged_source_is_refused_without_a_word_on_what_is_there(world, uri):
    secret = world.root / "secret.jsonl"
    secret.write_text('{"text": "secret"}\n')
    (world.made("texts") / "link.jsonl").symlink_to(secret)
    (world.root / "texts/linked").symlink_to(world.root)
    world.made("texts/folder")
    (world.root / "texts/folder/inner.jsonl").symlink_to(secret)
    with world.client() as client:
        world.loaded(client, "a", "b")
        text = uri.replace("{root}", str(world.root))
        with pytest.raises(ConfigError) as refused:
            client.jobs.create(study_spec({"s": ["models/a", "models/b"]}, {"law": text}))
        assert str(world.root) not in str(refused.value).replace(text, "")


def test_sources_below_a_root_are_read_by_absolute_and_by_relative_name(world):
    path = world.text("deep/pool.jsonl")
    with world.client() as client:
        world.loaded(client, "a", "b")
        for uri in (str(path), "deep/pool.jsonl", "deep/*.jsonl", "deep", f"file://{path}", "env:python"):
            client.jobs.wait(client.jobs.create(study_spec({"s": ["models/a", "models/b"]}, {"law": uri})).name)
            (found,) = world.workers.works[-1].order.probe.domains["law"]
            assert (
                found.startswith("texts/deep") or found == uri == "env:python"
            )  # as the worker finds it, among links to roots
        (world.root / "texts/odd.txt").write_text("tree")
        with pytest.raises(ConfigError, match=r"^odd\.txt has a suffix"):
            client.jobs.create(study_spec({"s": ["models/a", "models/b"]}, {"law": "odd.txt"}))
        with pytest.raises(SourceNotFoundError, match="'absent"):
            client.jobs.create(study_spec({"s": ["models/a", "models/b"]}, {"law": "absent.jsonl"}))


def test_outputs_stay_below_the_output_roots_and_are_not_overwritten(world):
    with world.client() as client:
        world.loaded(client, "a", "b")
        client.jobs.wait(client.jobs.create(identify()).name)
        source = str(world.text())

        def create(**more):
            return client.jobs.create(filter_spec(source, neuron_set="law", keep_fraction=0.5, **more))

        world.made("outputs")
        (world.root / "outputs/out").symlink_to(world.root)
        for forged in ("../x", "/etc/x", "out", "out/x", "", "*"):
            if forged:
                with pytest.raises(ConfigError):
                    create(output_uri=forged)
        job = client.jobs.wait(create(output_uri="kept-law").name)
        assert (world.root / "outputs/kept-law/kept/kept-0.jsonl").is_file()
        client.jobs.download(job, "kept/kept-0.jsonl", world.root / "fetched")
        assert (world.root / "fetched/kept/kept-0.jsonl").stat().st_size == job.artifacts[0].byte_size
        with pytest.raises(ConfigError, match="not empty"):
            create(output_uri="kept-law")
        client.jobs.wait(create(output_uri="kept-law", resume=True).name)
        client.jobs.wait(create().name)


def test_only_models_of_the_list_are_loaded(world):
    with world.client() as client:
        for forged in ("evil/model", "zoo:../x", "owner/../../etc", "/etc", "", "ZOO:a"):
            with pytest.raises(ConfigError):
                client.jobs.load_model(forged, model_id="x")
        client.jobs.wait(client.jobs.load_model("owner/tiny").name)
        (model,) = [found for found in client.jobs.models() if found.repo]
        assert (model.name, model.fingerprint, model.max_tokens) == ("models/tiny", FINGERPRINT, 64)
        with pytest.raises(AlreadyExistsError, match="models/tiny"):
            client.jobs.load_model("owner/other", model_id="tiny")


def test_every_scope_opens_its_own_methods_only(world, tmp_path):
    tokens = {name: f"{name}-{'0123456789abcdef' * 2}" for name in ("score", "jobs", "admin")}
    path = tmp_path / "tokens"
    path.write_text("".join(f"{token} {name}\n" for name, token in tokens.items()))
    path.chmod(0o600)
    world.server_given["token_file"] = path
    requests = {
        "CreateJob": jobs_pb2.CreateJobRequest, "GetJob": jobs_pb2.GetJobRequest, "ListJobs": jobs_pb2.ListJobsRequest,
        "CancelJob": jobs_pb2.CancelJobRequest, "DeleteJob": jobs_pb2.DeleteJobRequest,
        "ListArtifacts": jobs_pb2.ListArtifactsRequest,
        "WatchJob": jobs_pb2.WatchJobRequest, "DownloadArtifact": jobs_pb2.DownloadArtifactRequest,
    }  # fmt: skip
    admin = {
        "LoadModel": catalog_pb2.LoadModelRequest, "UnloadModel": catalog_pb2.UnloadModelRequest,
        "DeleteNeuronSet": catalog_pb2.DeleteNeuronSetRequest, "DeleteAtlas": catalog_pb2.DeleteAtlasRequest,
    }  # fmt: skip
    with world.server() as server, grpc.insecure_channel(server.address) as channel:
        jobs, catalog = jobs_pb2_grpc.JobServiceStub(channel), catalog_pb2_grpc.CatalogServiceStub(channel)

        def code(stub, method, request, token):
            metadata = [("authorization", f"Bearer {tokens[token]}")] if token else []
            try:
                answer = getattr(stub, method)(request(), timeout=60, metadata=metadata)
                if method in {"WatchJob", "DownloadArtifact"}:
                    list(answer)
            except grpc.RpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        refused = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
        for method, request in requests.items():
            assert code(jobs, method, request, None) is grpc.StatusCode.UNAUTHENTICATED
            assert code(jobs, method, request, "score") is grpc.StatusCode.PERMISSION_DENIED
            assert code(jobs, method, request, "jobs") not in refused
        for method, request in admin.items():
            assert code(catalog, method, request, "jobs") is grpc.StatusCode.PERMISSION_DENIED
            assert code(catalog, method, request, "admin") not in refused
        spec = jobs_pb2.CreateJobRequest(job=Job(load_model=jobs_pb2.LoadModelSpec(repo="zoo:a")))
        assert code(jobs, "CreateJob", lambda: spec, "jobs") is grpc.StatusCode.INVALID_ARGUMENT


def test_a_worker_s_error_keeps_its_class_and_loses_the_server_s_folders(world):
    with world.client() as client:
        world.loaded(client, "a", "b")
        world.workers.failure = Failure(
            code="DATA_INSUFFICIENT", message=f"There is too little text in {world.root}/texts/pool.jsonl; give more."
        )
        with pytest.raises(InsufficientDataError, match=r"too little text in pool\.jsonl; give more"):
            client.jobs.wait(client.jobs.create(study()).name)
        world.workers.failure = Failure(code="INTERNAL", message="the secret of the worker")
        with pytest.raises(CuratorError, match="internal error") as internal:
            client.jobs.wait(client.jobs.create(study()).name)
        assert "secret" not in str(internal.value)
        world.workers.failure, world.workers.status = None, -9
        with pytest.raises(JobError, match="signal 9"):
            client.jobs.wait(client.jobs.create(study()).name)
        world.workers.status = 3
        with pytest.raises(CuratorError, match="internal error"):
            client.jobs.wait(client.jobs.create(study()).name)


def test_a_model_that_cannot_be_loaded_is_failed_and_may_be_tried_again(world):
    with world.client() as client:
        world.workers.failure = Failure(code="MODEL_NOT_FOUND", message="There is no such model.")
        with pytest.raises(ModelNotFoundError):
            client.jobs.wait(client.jobs.load_model("zoo:a").name)
        states = {model.name: model.state for model in client.jobs.models()}
        assert states["models/a"] == catalog_pb2.Model.STATE_FAILED
        with pytest.raises(JobError, match="not loaded"):
            client.jobs.create(identify())
        world.workers.failure = None
        world.loaded(client, "a")
        states = {model.name: model.state for model in client.jobs.models()}
        assert states["models/a"] == catalog_pb2.Model.STATE_ACTIVE


def test_an_identified_set_can_be_scored_with_until_its_model_is_unloaded(world):
    with world.client() as client:
        world.loaded(client, "a", "b")
        job = client.jobs.wait(client.jobs.create(identify(targets=["law", "prose"], neuron_set_id="two")).name)
        assert list(job.neuron_sets) == ["models/a/neuronSets/two.law", "models/a/neuronSets/two.prose"]
        scored = client.score_batch(sample_documents(3), neuron_set="models/a/neuronSets/two.prose")
        assert len(scored) == 3
        assert {found.name for found in client.neuron_sets()} >= set(job.neuron_sets)
        (report,) = client.jobs.reports()
        assert (report.job, list(report.neuron_sets)) == (job.name, list(job.neuron_sets))
        with pytest.raises(AlreadyExistsError):
            client.jobs.wait(client.jobs.create(identify(neuron_set_id="two")).name)
        client.jobs.unload_model("models/a")
        with pytest.raises(ArtifactNotFoundError):
            client.score_batch(sample_documents(3), neuron_set="two.prose")
        world.loaded(client, "a")
        assert client.score_batch(sample_documents(3), neuron_set="two.prose") == scored
        client.jobs.delete_neuron_set("models/a/neuronSets/two.law")
        with pytest.raises(ArtifactNotFoundError):
            client.score_batch(sample_documents(3), neuron_set="two.prose")
        with pytest.raises(JobError, match="given when the server was started"):
            client.jobs.delete_neuron_set(next(found.name for found in client.neuron_sets()))
        with pytest.raises(ArtifactNotFoundError):
            client.jobs.delete_atlas("atlases/../jobs")


def test_examples_become_passages_in_the_job_s_folder_and_are_not_echoed(world):
    with world.client() as client:
        world.loaded(client, "a", "b")
        job = client.jobs.wait(client.jobs.create(identify()).name)
        source = job.identify_neurons.probe.sources[0].source
        assert source.WhichOneof("source") == "documents" and not source.documents.documents
        lines = (world.workers.folders[-1] / "inputs/0.jsonl").read_text().splitlines()
        assert len(lines) >= 2 * len(EXAMPLES)
        assert set(world.workers.works[-1].order.probe.domains) == {"law", "prose", "python", "legal", "docstrings"}
        with pytest.raises(ConfigError, match="no document"):
            client.jobs.create(identify_spec("models/a", ["models/b"], {"law": [Document("x", " ")]}))
        with pytest.raises(LimitError):
            many = [Document(str(number), "tree") for number in range(2000)]
            client.jobs.create(identify_spec("models/a", ["models/b"], {"law": many}))


def test_a_spec_that_makes_no_sense_is_refused_at_once(world):
    with world.client() as client:
        world.loaded(client, "a", "b")
        source = str(world.text())
        wrong = [
            identify_spec("models/a", [], {"law": EXAMPLES}),
            identify_spec("models/a", ["models/a"], {"law": EXAMPLES}),
            identify_spec("models/a", ["models/b"], {}),
            identify_spec("models/a", ["models/b"], {"law": EXAMPLES}, targets=["tea"]),
            identify_spec("models/a", ["models/b"], {"law": EXAMPLES}, rosetta_rule="loud"),
            identify_spec("models/a", ["models/b"], {"law": EXAMPLES}, neuron_set_id="../x"),
            study_spec({}, {"law": EXAMPLES}),
            study_spec({"s": ["models/a"]}, {"law": EXAMPLES}),
            study_spec({"s": ["models/a", "models/b"]}, {"law": EXAMPLES}, beside={"s": ["models/a"]}, quick=True),
            study_spec({"s": ["models/a", "models/b"]}, {"law": EXAMPLES}, replicates=10**6),
            study(sketch_dimensions=7),
            study(tokens_per_domain=10**12),
            filter_spec(source, neuron_set="given", keep_fraction=2.0),
        ]
        for spec in wrong:
            with pytest.raises(ConfigError):
                client.jobs.create(spec)
        with pytest.raises(JobNotFoundError):
            client.jobs.create(identify(study="jobs/never"))
        assert client.jobs.create(identify(study=client.jobs.wait(client.jobs.create(study()).name).name)).name


def test_what_a_caller_leaves_out_is_as_on_the_command_line(world):
    with world.client() as client:
        world.loaded(client, "a", "b", "c")
        client.jobs.wait(client.jobs.create(identify()).name)
        order = world.workers.works[-1].order
        defaults = NeuronSetSettings()
        assert (order.max_neurons, order.rosetta_rule) == (defaults.max_neurons, defaults.rosetta_rule)
        assert order.probe.sketch_dimensions == AtlasSettings().sketch_dimensions
        done = client.jobs.wait(client.jobs.create(study()).name)
        order = world.workers.works[-1].order
        assert (order.full, order.replicates, order.append_to, order.groups[0].beside) == (True, 200, "", ())
        groups = {"small": ["models/a", "models/b"]}
        spec = study_spec(groups, {"law": EXAMPLES}, beside={"small": ["models/c"]}, replicates=7, append_to=done.name)
        client.jobs.wait(client.jobs.create(spec).name)
        order = world.workers.works[-1].order
        assert order.append_to.endswith("artifacts/study.json") and order.replicates == 7
        assert [model.name for model in order.groups[0].beside] == ["zoo:c"]


def test_too_many_waiting_jobs_are_refused_for_now(world):
    world.given["max_pending"] = 2
    with world.client(retry=RetryPolicy(attempts=1)) as client:
        world.loaded(client, "a", "b")
        world.workers.gate.clear()
        running = client.jobs.create(study()).name
        until(lambda: client.jobs.get(running).state == Job.STATE_RUNNING)
        for _ in range(2):
            client.jobs.create(study())
        with pytest.raises(OverloadedError, match="waiting"):
            client.jobs.create(study())
        world.workers.gate.set()


def test_the_next_server_goes_on_with_what_the_last_one_left(world):
    with world.client() as client:
        world.loaded(client, "a", "b")
        done = client.jobs.wait(client.jobs.create(identify()).name)
        world.workers.gate.clear()
        running, waiting = client.jobs.create(study()).name, client.jobs.create(study()).name
        until(lambda: client.jobs.get(running).state == Job.STATE_RUNNING)
    world.workers.gate.set()
    with world.client() as client:
        for name in (running, waiting):
            assert client.jobs.wait(name).state == Job.STATE_SUCCEEDED
        assert client.jobs.get(done.name) == done
        assert len(client.score_batch(sample_documents(2), neuron_set=done.neuron_sets[0])) == 2
        assert {model.name for model in client.jobs.models()} >= {"models/a", "models/b"}


def test_a_watcher_survives_its_server(world, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        world.server_given["port"] = free.getsockname()[1]
    with world.client() as client:
        world.loaded(client, "a", "b")
        world.workers.gate.clear()
        name = client.jobs.create(study()).name
        revisions = client.jobs.watch(name)
        seen = [next(revisions)]
        while seen[-1].progress.stage != "step 2":
            seen.append(next(revisions))
        address = client.address
    world.workers.gate.set()
    with world.server(), Client(address) as client:
        seen += list(client.jobs.watch(name, after_revision=seen[-1].revision))
    assert [job.revision for job in seen] == list(range(seen[0].revision, seen[0].revision + len(seen)))
    assert seen[-1].state == Job.STATE_SUCCEEDED


def test_two_servers_do_not_share_a_state_folder(world):
    with world.server(), pytest.raises(ConfigError, match="at work"), world.server():
        pass


def test_jobs_are_counted_for_prometheus_and_expire(world):
    with world.server() as server, Client(server.address) as client:
        world.loaded(client, "a", "b")
        client.jobs.wait(client.jobs.create(study()).name)
        sample = server.metrics.registry.get_sample_value
        assert sample("curator_jobs", {"state": "succeeded"}) == 3
        assert sample("curator_jobs_started_total", {"kind": "build_study"}) == 1
        assert sample("curator_jobs_ended_total", {"kind": "load_model", "state": "succeeded"}) == 2
        assert sample("curator_job_seconds_count", {"kind": "build_study"}) == 1
    with sqlite3.connect(world.root / "state/jobs.sqlite3") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        database.execute("UPDATE jobs SET expires = 1 WHERE kind = 'build_study'")
    database.close()
    with world.client() as client:
        world.loaded(client, "a")
        assert list(client.jobs.list("kind = build_study")) == []


def test_the_server_says_that_it_runs_jobs(world):
    with world.client() as client:
        assert {"jobs", "identify_neurons"} <= set(client.server_info().features)
