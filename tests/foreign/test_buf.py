"""buf: its lint of the contract, and its Go client, which learns the contract from the server's reflection."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from curator_server.app import running_server
from google.rpc import status_pb2

from curator.api.generate import ROOT
from tests.contract.service_fakes import SETTINGS, LetterScorer

pytestmark = pytest.mark.timeout(480)
LINT = "version: v2\nlint:\n  use: [STANDARD]\n  ignore: [google]\n"


def buf(*arguments, cwd, **more):
    found = shutil.which("buf", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
    if found is None:
        pytest.skip("buf-bin has no program for this machine")
    environment = {**os.environ, "BUF_CACHE_DIR": str(cwd / "cache"), "HTTPS_PROXY": "http://127.0.0.1:9"}
    return subprocess.run(
        [found, *arguments], check=False, cwd=cwd, env=environment, capture_output=True, text=True, timeout=180, **more
    )


@pytest.fixture
def module(tmp_path):
    """The contract as a module of buf's, with the imports that it takes from googleapis."""
    shutil.copytree(ROOT / "proto" / "curator", tmp_path / "curator")
    (tmp_path / "google" / "rpc").mkdir(parents=True)
    shutil.copy(Path(status_pb2.__file__).with_name("status.proto"), tmp_path / "google" / "rpc")
    (tmp_path / "buf.yaml").write_text(LINT)
    return tmp_path


def test_the_contract_passes_the_standard_lint(module):
    done = buf("lint", cwd=module)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_lint_would_find_a_fault(module):
    path = module / "curator/api/v1/common.proto"
    path.write_text(path.read_text().replace("string text = 2;", "string Text = 2;"))
    done = buf("lint", cwd=module)
    assert done.returncode != 0
    assert "lower_snake_case" in done.stdout


@pytest.fixture(scope="module")
def address():
    with running_server(SETTINGS.model_copy(update={"reflection": True}), [LetterScorer()]) as address:
        yield address


def call(address, method, *messages, cwd):
    """Call with the schema that the server itself describes; returns the answers, or the error."""
    options = ("--protocol", "grpc", "--http2-prior-knowledge", "--data", "@-")
    done = buf("curl", *options, f"http://{address}/{method}", cwd=cwd, input="\n".join(map(json.dumps, messages)))
    if done.returncode != 0:
        return json.loads(done.stderr)
    decoder, answers, rest = json.JSONDecoder(), [], done.stdout.strip()
    while rest:
        answer, end = decoder.raw_decode(rest)
        answers.append(answer)
        rest = rest[end:].lstrip()
    return answers


def batch(seq, *texts):
    return {
        "seq": seq,
        "documents": {"documents": [{"id": f"{seq}.{n}", "text": text} for n, text in enumerate(texts)]},
    }


def test_a_unary_call_by_reflection(address, tmp_path):
    method = "curator.api.v1.ScoringService/ScoreBatch"
    (answer,) = call(address, method, {"config": {}, "batch": batch(1, "eee", "abc")}, cwd=tmp_path)
    assert answer["result"]["probabilities"] == [1, 0]


def test_a_stream_by_reflection(address, tmp_path):
    sent = [{"config": {}}, *({"batch": batch(seq, "ee", "ab")} for seq in (1, 2, 3))]
    opened, *answers = call(address, "curator.api.v1.ScoringService/ScoreDocuments", *sent, cwd=tmp_path)
    assert opened["opened"]["neuronSetEtag"] == "etag-1"
    assert [answer["result"]["seq"] for answer in answers] == ["1", "2", "3"]


def test_health_by_reflection(address, tmp_path):
    asked = {"service": "curator.api.v1.ScoringService"}
    assert call(address, "grpc.health.v1.Health/Check", asked, cwd=tmp_path) == [{"status": "SERVING"}]


def test_an_error_carries_its_details(address, tmp_path):
    asked = {"config": {"etag": "other"}, "batch": batch(1, "a")}
    error = call(address, "curator.api.v1.ScoringService/ScoreBatch", asked, cwd=tmp_path)
    assert error["code"] == grpc.StatusCode.FAILED_PRECONDITION.value[1].replace(" ", "_")
    assert error["details"][0]["type"] == "google.rpc.ErrorInfo"
