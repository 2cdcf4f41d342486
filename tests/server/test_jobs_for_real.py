"""The mission over the wire, for real: bundled models, real workers, real processes; and a server that is killed in the middle.

The client runs in an interpreter in which none of the engine's libraries can be imported.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import zstandard
from curator_client import Client, ConnectionOptions, RetryPolicy, filter_spec, identify_spec, probe_spec, study_spec
from curator_server.jobs.store import Store

from curator.api.v1 import jobs_pb2
from curator.filtering.output import verify_output
from curator.neuronset.artifact import load_neuron_set
from curator.records import Document
from curator.text.environment import harvest

pytestmark = [pytest.mark.timeout(1120), pytest.mark.slow]
Job = jobs_pb2.Job
PATIENT = ConnectionOptions(timeout_s=600, retry=RetryPolicy(base_s=0.2, cap_s=1.0, patience_s=600))
MISSION = """
import json, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "datasets", "numpy", "faiss", "sklearn", "scipy", "pyarrow"}:
            raise ModuleNotFoundError(f"No module named {name!r} here", name=name)
sys.meta_path.insert(0, Absent())
from pathlib import Path
from curator_client import Client, ConnectionOptions, identify_spec, probe_spec, study_spec
from curator.records import Document
address, texts, out = sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])
examples = [Document(str(n), text) for n, text in enumerate(texts["examples"])]
other = [Document(str(n), text) for n, text in enumerate(texts["other"])]
pool = [Document(f"p{n}", text, domain=domain) for n, (domain, text) in enumerate(texts["pool"])]
probe = probe_spec({"cpp": examples, "prose": other}, sketch_dimensions=256)
with Client(address, ConnectionOptions(timeout_s=600)) as client:
    loading = [client.jobs.load_model(f"zoo:{name}", model_id=name).name for name in ("neox-32x2", "gpt2-32x2")]
    for name in loading:
        client.jobs.wait(name)
    groups = {"32x2": ["models/neox-32x2", "models/gpt2-32x2"]}
    study = client.jobs.create(study_spec(groups, probe, replicates=3), job_id="study")
    spec = identify_spec("models/neox-32x2", ["models/gpt2-32x2"], probe, rosetta_rule="paper", study=study.name)
    client.jobs.wait(study.name)
    job = client.jobs.wait(client.jobs.create(spec, job_id="identify").name)
    (neuron_set,) = job.neuron_sets
    report = client.filter(pool, out / "kept", neuron_set=neuron_set, min_probability=0.5)
    client.jobs.download_all(job, out / "report")
    scores = {result.document_id: result.probability for result in client.score(pool, neuron_set=neuron_set)}
print(json.dumps({"neuron_set": neuron_set, "kept": report.documents_kept, "in": report.documents_in, "scores": scores}))
"""


class Server:
    """A ``curator serve`` process on a state folder; killed and started again by the test."""

    def __init__(self, root, port):
        self.root, self.address = root, f"127.0.0.1:{port}"
        self.process = None

    def start(self):
        code = "import sys; from curator.cli.main import run; sys.argv = ['curator', *sys.argv[1:]]; run()"
        port, state, texts = self.address.rpartition(":")[2], self.root / "state", self.root / "texts"
        words = [
            "-v",
            "--log-json",
            "serve",
            "--port",
            port,
            "--device",
            "cpu",
            "--jobs",
            state,
            "--source-root",
            texts,
        ]
        words += ["--drain-delay", "0", "--grace", "2"]
        with (self.root / "server.log").open("ab") as log:
            command = [sys.executable, "-c", code, *map(str, words)]
            self.process = subprocess.Popen(command, stderr=log, stdout=log, env={**os.environ, "OMP_NUM_THREADS": "1"})

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        return self.process.wait(90)

    def client(self):
        return Client(self.address, PATIENT)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("jobs")
    (root / "texts").mkdir()
    running = Server(root, free_port())
    running.start()
    yield running
    if running.process.poll() is None:
        running.kill()


@pytest.fixture(scope="module")
def mission(server):
    """What the client without the engine got."""
    cpp, prose = ([document.text for document in harvest(domain, max_chars=400_000)] for domain in ("cpp", "prose"))
    texts = {
        "examples": [text[:4000] for text in cpp[:12]],
        "other": [text[:4000] for text in prose[:12]],
        "pool": [["cpp", text[:1200]] for text in cpp[12:40]] + [["prose", text[:1200]] for text in prose[12:40]],
    }
    (server.root / "texts.json").write_text(json.dumps(texts))
    with (server.root / "texts/pool.jsonl").open("w") as handle:
        for _ in range(6):
            for number, (domain, text) in enumerate(texts["pool"]):
                handle.write(json.dumps({"id": f"p{number}", "text": text, "domain": domain}) + "\n")
        handle.write("this is no record\n")
    with server.client() as client:
        client.server_info()
    script = server.root / "mission.py"
    script.write_text(MISSION)
    done = subprocess.run(
        [sys.executable, script, server.address, server.root / "texts.json", server.root / "out"],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:] + (server.root / "server.log").read_text()[-4000:]
    return {**json.loads(done.stdout), "out": server.root / "out", "pool": texts["pool"]}


def test_a_client_without_torch_identifies_from_a_handful_of_examples_and_filters(mission):
    assert mission["neuron_set"] == "models/neox-32x2/neuronSets/cpp"
    assert mission["in"] == len(mission["pool"]) and 0 < mission["kept"] < mission["in"]
    by_domain = {"cpp": [], "prose": []}
    for number, (domain, _) in enumerate(mission["pool"]):
        by_domain[domain].append(mission["scores"][f"p{number}"])
    mean = {domain: sum(found) / len(found) for domain, found in by_domain.items()}
    assert mean["cpp"] > mean["prose"] + 0.2
    manifest = json.loads((mission["out"] / "kept/manifest.json").read_text())
    assert manifest["neuron_set"] == mission["neuron_set"]


def test_the_report_that_justifies_the_set_comes_with_its_scaling_study(mission):
    page = (mission["out"] / "report/report.html").read_text()
    assert "32x2" in page and "cpp" in page
    report = json.loads((mission["out"] / "report/report.json").read_text())
    (point,) = report["inputs"]["study"]["points"]
    assert point["label"] == "32x2"
    assert len(point["paper_draws"]) == 3 and point["untrained"] is not None  # a full study, not the counts alone
    assert "paper" in {one["rule"] for one in point["selectivity"]}
    downloaded = load_neuron_set(mission["out"] / "report/neuron-set")
    assert downloaded.manifest.name == "cpp" and (mission["out"] / "report/study.json").is_file()


def test_the_catalog_names_what_the_jobs_made(server, mission):
    with server.client() as client:
        assert {model.name for model in client.jobs.models()} == {"models/neox-32x2", "models/gpt2-32x2"}
        atlases = client.jobs.atlases()
        models = ("zoo:neox-32x2", "zoo:gpt2-32x2")
        assert {atlas.model for atlas in atlases} == {*models, *(f"untrained:{model}" for model in models)}
        assert all(atlas.neuron_count == 256 and set(atlas.domains) == {"cpp", "prose"} for atlas in atlases)
        assert {report.job for report in client.jobs.reports()} == {"jobs/study", "jobs/identify"}
        (found,) = client.neuron_sets()
        assert (found.target, found.job) == ("cpp", "jobs/identify") and found.neuron_count > 0


def test_a_study_grows_by_a_size_and_keeps_what_it_has(server, mission, tmp_path):
    texts = json.loads((server.root / "texts.json").read_text())
    examples, other = ([Document(str(n), text) for n, text in enumerate(texts[name])] for name in ("examples", "other"))
    probe = probe_spec({"cpp": examples, "prose": other}, sketch_dimensions=256)
    neox, gpt2 = "models/neox-32x2", "models/gpt2-32x2"
    with server.client() as client:
        spec = study_spec({"turned": [gpt2, neox]}, probe, quick=True, append_to="jobs/study")
        grown = client.jobs.wait(client.jobs.create(spec, job_id="grown").name)
        client.jobs.download(grown, "study.json", tmp_path)
        before, after = (
            json.loads(path.read_text())["study"]["points"]
            for path in (mission["out"] / "report/study.json", tmp_path / "study.json")
        )
    assert [point["label"] for point in after] == ["32x2", "turned"]
    assert after[0] == before[0] and "paper_draws" not in after[1]


def folders_in(place, root):
    """Files that were downloaded and name the server's folders."""
    found = []
    for path in sorted(path for path in place.rglob("*") if path.is_file()):
        data = path.read_bytes()
        if path.suffix == ".zst":
            data = zstandard.ZstdDecompressor().stream_reader(data).read()
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            data = f"{table.to_pylist()} {table.schema.metadata}".encode()
        if str(root).encode() in data:
            found.append(path.relative_to(place).as_posix())
    return found


def filter_job(client, server, request_id):
    spec = filter_spec("pool.jsonl", neuron_set="cpp", keep_fraction=0.5)
    return client.jobs.create(spec, request_id=request_id).name


def test_a_filter_job_goes_on_after_its_server_was_killed(server, mission, tmp_path):
    with server.client() as client:
        whole = client.jobs.wait(filter_job(client, server, "undisturbed"))
        client.jobs.download_all(whole, tmp_path / "whole")
        report = verify_output(tmp_path / "whole")
        assert report.documents_in == 6 * len(mission["pool"]) and report.documents_unreadable == 1
        assert folders_in(tmp_path / "whole", server.root) == []
        name = filter_job(client, server, "killed")
        seen = follow_until(client, name, lambda job: job.progress.stage == "score")
        server.kill()
        worker_is_gone(server)
        server.start()
        seen += list(client.jobs.watch(name, after_revision=seen[-1].revision))
        assert [job.revision for job in seen] == list(range(seen[0].revision, seen[0].revision + len(seen)))
        assert Job.STATE_PENDING in {job.state for job in seen[2:]} and seen[-1].state == Job.STATE_SUCCEEDED
        client.jobs.download_all(seen[-1], tmp_path / "killed")
    names = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file())
    assert names == sorted(
        path.relative_to(tmp_path / "killed") for path in (tmp_path / "killed").rglob("*") if path.is_file()
    )
    same = [name for name in names if name.name not in {"timing.json"}]
    assert all((tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes() for name in same)


def worker_is_gone(server):
    """A worker leaves when its server dies, however that died."""
    folder = str(server.root / "state/jobs")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if readable(path)]
        if not any(folder.encode() in line and b"curator.jobs" in line for line in lines):
            return
        time.sleep(0.05)
    pytest.fail("the worker of a killed server lives on")


def readable(path):
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def test_a_running_identification_is_cancelled_and_another_goes_on_after_a_kill(server, mission):
    texts = json.loads((server.root / "texts.json").read_text())
    sources = {
        domain: [Document(str(number), text) for number, text in enumerate(texts[name])]
        for domain, name in (("prose", "other"), ("cpp", "examples"))
    }
    probe = probe_spec(sources, sketch_dimensions=512)  # atlases of its own
    spec = identify_spec("models/neox-32x2", ["models/gpt2-32x2"], probe, rosetta_rule="paper")
    with server.client() as client:
        cancelled = client.jobs.create(spec).name
        follow_until(client, cancelled, lambda job: job.state == Job.STATE_RUNNING)
        client.jobs.cancel(cancelled)
        *_, last = client.jobs.watch(cancelled)
        assert last.state == Job.STATE_CANCELLED
        name = client.jobs.create(spec).name
        seen = follow_until(client, name, lambda job: job.progress.stage.startswith("atlas of zoo:neox"))
        server.kill()
        worker_is_gone(server)
        server.start()
        later = list(client.jobs.watch(name, after_revision=seen[-1].revision))
        assert list(later[-1].neuron_sets) == ["models/neox-32x2/neuronSets/prose"]
        assert "atlas of zoo:gpt2-32x2 (kept from before)" in {job.progress.stage for job in later}
        assert client.score_batch(sources["cpp"][:2], neuron_set="cpp")  # a set of an earlier server


def follow_until(client, name, wanted):
    seen = []
    for job in client.jobs.watch(name):
        seen.append(job)
        if wanted(job):
            return seen
    pytest.fail(f"{name} ended too early: {seen[-1]}")


def test_sigterm_ends_the_worker_and_leaves_its_job_for_the_next_server(server, mission):
    with server.client() as client:
        name = filter_job(client, server, "sigterm")
        follow_until(client, name, lambda job: job.state == Job.STATE_RUNNING)
    assert server.kill(signal.SIGTERM) == 0
    worker_is_gone(server)
    store = Store(server.root / "state/jobs.sqlite3")
    assert store.get(name).state == Job.STATE_PENDING
    store.close()
    assert "Traceback" not in (server.root / "server.log").read_text()
