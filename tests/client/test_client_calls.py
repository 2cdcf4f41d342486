"""What travels beside a message: the caller's metadata, a request id, the place in a trace; and what an error says of it."""

import json
import subprocess
import sys

import pytest
from curator_client import AsyncClient, Client, ConnectionOptions
from curator_client.calls import call_metadata
from curator_client.cli import app
from curator_server.app import running_server
from opentelemetry import context, trace
from typer.testing import CliRunner

from curator.errors import ArtifactNotFoundError, ConfigError
from tests.client.test_client_filter import DOCUMENTS, contents
from tests.contract.job_fakes import JobWorld
from tests.contract.service_fakes import SETTINGS, LetterScorer

pytestmark = pytest.mark.timeout(300)
TOKEN = "0123456789abcdef0123"


@pytest.fixture(scope="module")
def address():
    with running_server(SETTINGS, [LetterScorer()]) as address:
        yield address


def test_every_call_has_a_request_id_of_its_own_unless_the_caller_gives_one():
    first, second = (dict(call_metadata("", ())) for _ in range(2))
    assert set(first) == {"x-request-id"} and first != second
    given = dict(call_metadata("t", (("X-Request-Id", "mine"), ("tenant", "a"))))
    assert given == {"x-request-id": "mine", "tenant": "a", "authorization": "Bearer t"}


def test_metadata_may_be_a_function_that_is_asked_at_each_call():
    numbers = iter("12")
    options = ConnectionOptions(metadata=lambda: (("number", next(numbers)),))
    assert [dict(options.call_metadata())["number"] for _ in range(2)] == ["1", "2"]


async def test_an_error_has_the_request_id_as_a_note(address):
    options = ConnectionOptions(metadata=(("x-request-id", "find-me-42"),))
    with Client(address, options) as client:
        for work in (
            lambda: client.score_batch(DOCUMENTS, neuron_set="absent"),
            lambda: list(client.score(DOCUMENTS, neuron_set="absent")),
        ):
            with pytest.raises(ArtifactNotFoundError) as caught:
                work()
            assert "find-me-42" in caught.value.__notes__[0]
    async with AsyncClient(address, options) as client:
        with pytest.raises(ArtifactNotFoundError) as caught:
            await client.score_batch(DOCUMENTS, neuron_set="absent")
        assert "find-me-42" in caught.value.__notes__[0]


def test_the_current_trace_travels_where_opentelemetry_is_in_use():
    span = trace.NonRecordingSpan(trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1)))
    token = context.attach(trace.set_span_in_context(span))
    try:
        sent = dict(call_metadata("", ()))
    finally:
        context.detach(token)
    assert sent["traceparent"] == f"00-{0xABC:032x}-{0xDEF:016x}-01"
    assert "traceparent" not in dict(call_metadata("", ()))


def test_opentelemetry_is_never_imported_for_it():
    code = "import sys; from curator_client import calls; calls.call_metadata('', ()); print('opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180, check=True)
    assert done.stdout.strip() == "False"


def test_a_token_may_stand_in_a_file_that_is_read_at_every_call(tmp_path):
    known, mine = tmp_path / "tokens", tmp_path / "token"
    known.write_text(f"{TOKEN} score\n")
    mine.write_text(f"{TOKEN}\n")
    with running_server(SETTINGS.model_copy(update={"token_file": known}), [LetterScorer()]) as address:
        with Client(address, ConnectionOptions(token_file=mine)) as client:
            assert client.server_info().version
            mine.write_text("wrong")
            with pytest.raises(ConfigError, match="bearer token"):
                client.server_info()
            for content in ("", "two tokens"):
                mine.write_text(content)
                with pytest.raises(ConfigError, match="one token and nothing else"):
                    client.server_info()
            mine.unlink()
            with pytest.raises(ConfigError, match="cannot be read"):
                client.server_info()
        mine.write_text(TOKEN)
        done = CliRunner().invoke(app, ["info", "--address", address, "--token-file", str(mine)])
        assert done.exit_code == 0, done.output
    with pytest.raises(ConfigError, match="everyone to read"):
        Client("example.org:1", ConnectionOptions(token_file=mine))


def test_the_command_line_checks_a_model_without_loading_it(tmp_path):
    world = JobWorld(tmp_path / "world")
    with world.server() as server:
        words = ["models", "--address", server.address, "load", "zoo:a", "--model-id", "a", "--check", "--wait"]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0 and "uid" not in json.loads(done.stdout), done.output
        listed = CliRunner().invoke(app, ["models", "--address", server.address, "list"])
        assert "models/a" not in listed.stdout
    assert world.workers.works == []


def test_the_command_line_loses_track_of_nothing_that_it_reads(address, tmp_path):
    pool, out = tmp_path / "pool.jsonl", tmp_path / "out"
    lines = [json.dumps({"id": document.id, "text": document.text}) for document in DOCUMENTS[:20]]
    huge = json.dumps({"id": "huge", "text": "e" * (SETTINGS.max_document_bytes + 1)})
    pool.write_text("\n".join([*lines, "not json", huge, '{"id": "x"}']) + "\n")
    done = CliRunner().invoke(
        app, ["filter", str(pool), "--output", str(out), "--address", address, "--min-score", "0.2"]
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["documents_in"] == 23 == told["documents_kept"] + sum(told["not_kept_by_reason"].values())
    assert told["listed"] == {"refused.jsonl": 1, "unreadable.jsonl": 2}
    unreadable = [json.loads(line) for line in contents(out)["unreadable.jsonl"].splitlines()]
    assert {one["reason"] for one in unreadable} == {"invalid_json", "missing_field"}
    assert all(one["place"].startswith("pool.jsonl:") or "pool.jsonl" in one["place"] for one in unreadable)
    assert json.loads(contents(out)["refused.jsonl"])["place"] == "huge"
