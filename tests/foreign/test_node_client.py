"""Node's own gRPC, which shares no code with Python's, against the server: the contract is in the .proto files alone."""

import base64
import io
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import zstandard
from curator_server.app import _Background
from google.rpc import status_pb2

from curator.api.generate import ROOT
from tests.contract.service_fakes import SETTINGS, LetterScorer, sample_documents

pytestmark = pytest.mark.timeout(720)
HERE = Path(__file__).parent
DOCUMENTS = sample_documents(200)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The client with its packages beside it; their versions and hashes are in the lock file."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("no node with npm on this machine")
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", "client.mjs"):
        shutil.copy(HERE / name, folder)
    command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0", "--fetch-timeout=30000"]
    installed = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True, timeout=450)
    if installed.returncode != 0:
        pytest.skip(f"the packages of the Node client cannot be installed here: {installed.stderr.strip()[-200:]}")
    return [node, str(folder / "client.mjs")]


@pytest.fixture(scope="module")
def run(program):
    """What the client saw, and the server afterwards."""
    wire = [{"id": one.id, "text": one.text, "source": one.source, "domain": one.domain} for one in DOCUMENTS]
    settings = SETTINGS.model_copy(update={"max_inflight_batches": 4})
    with _Background(settings, [LetterScorer()]) as server:
        command = [*program, server.address, str(ROOT / "proto"), str(Path(status_pb2.__file__).parents[2])]
        done = subprocess.run(command, check=False, input=json.dumps(wire), capture_output=True, text=True, timeout=270)
        assert done.returncode == 0, done.stderr
        yield json.loads(done.stdout), server


@pytest.fixture
def seen(run):
    return run[0]


def probabilities():
    return {one.id: score.probability for one, score in zip(DOCUMENTS, LetterScorer().score(DOCUMENTS), strict=True)}


def test_unary_calls_answer_a_node_client(seen):
    assert seen["info"]["limits"]["max_inflight_batches"] == 4
    assert len(seen["sets"]["neuron_sets"]) == 1
    expected = [probabilities()[one.id] for one in DOCUMENTS[:16]]
    assert seen["batch"]["result"]["probabilities"] == expected


def test_a_refusal_has_the_status_that_the_contract_names(seen):
    assert seen["wrong_etag"]["code"] == "FAILED_PRECONDITION"


def test_a_node_client_under_credit_gets_every_score(seen):
    assert seen["score"] == {"code": "OK", "sent": 13, "done": 13}
    found = [value for seq in sorted(seen["probabilities"], key=int) for value in seen["probabilities"][seq]]
    assert found == list(probabilities().values())


def test_a_node_client_gets_shards_that_are_whole_and_hold_what_passes(seen):
    assert seen["filter"]["code"] == "OK"
    assert len(seen["shards"]) > 1
    assert all(shard["whole"] for shard in seen["shards"])
    lines = [
        json.loads(line)
        for shard in seen["shards"]
        for line in zstandard.ZstdDecompressor()
        .stream_reader(io.BytesIO(base64.b64decode(shard["data"])))
        .read()
        .splitlines()
    ]
    expected = [one.id for one in DOCUMENTS if probabilities()[one.id] >= 0.4]
    assert [line["id"] for line in lines] == expected
    assert seen["report"]["documents_kept"] == len(expected) == sum(shard["documents"] for shard in seen["shards"])


def test_a_node_client_that_cancels_leaves_nothing_behind(run):
    seen, server = run
    assert seen["cancelled"] == "CANCELLED"
    assert server.engine.queued_documents == 0
