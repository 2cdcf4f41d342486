"""A filter that a draining server sends away ends with the bytes of one that nobody disturbed."""

import asyncio
import contextlib
import queue
import socket
import threading

import grpc
import pytest
from curator_client import BatchOptions, Client, ConnectionOptions, RetryPolicy
from curator_server.app import _Background, running_server

from curator.api.v1 import common_pb2, scoring_pb2, scoring_pb2_grpc
from tests.contract.service_fakes import SETTINGS, LetterScorer, sample_documents

pytestmark = pytest.mark.timeout(300)
TIMEOUT = 60
DOCUMENTS = sample_documents(300)
PATIENT = ConnectionOptions(
    batches=BatchOptions(max_documents=10), retry=RetryPolicy(attempts=1000, base_s=0.01, cap_s=0.05)
)


def drain(background):
    asyncio.run_coroutine_threadsafe(background.server.drain(), background._loop).result(10)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_open_shard_is_left_to_the_stream_that_resumes():
    background = _Background(SETTINGS, [LetterScorer()])
    with background as server, grpc.insecure_channel(server.address) as channel:
        requests = queue.SimpleQueue()
        requests.put(scoring_pb2.FilterDocumentsRequest(config=scoring_pb2.FilterConfig(min_probability=0.5)))
        call = scoring_pb2_grpc.ScoringServiceStub(channel).FilterDocuments(iter(requests.get, None), timeout=TIMEOUT)
        batch = common_pb2.DocumentBatch(seq=1)
        batch.documents.documents.add(id="a", text="eee")
        requests.put(scoring_pb2.FilterDocumentsRequest(batch=batch))
        seen = [next(call).WhichOneof("response") for _ in range(2)]
        drain(background)
        requests.put(None)
        rest = list(call)
    assert seen == ["opened", "progress"]
    assert [answer.WhichOneof("response") for answer in rest] == ["drain", "report"]
    assert rest[-1].report.documents_in == 0


@pytest.mark.parametrize("target_shard_bytes", [4000, 0])
def test_shards_and_manifest_are_those_of_an_undisturbed_run(tmp_path, target_shard_bytes):
    rule = {"min_probability": 0.5, "target_shard_bytes": target_shard_bytes}
    with socket.create_server(("127.0.0.1", 0)) as free:
        settings = SETTINGS.model_copy(update={"port": free.getsockname()[1]})
    with contextlib.ExitStack() as second, contextlib.ExitStack() as first:
        background = _Background(settings, [LetterScorer()])
        server = first.enter_context(background)

        def documents():
            for index, document in enumerate(DOCUMENTS):
                if index == 150:
                    drain(background)
                yield document

        def hand_over():
            first.close()
            second.enter_context(running_server(settings, [LetterScorer()]))

        with Client(server.address, PATIENT) as client:
            later = threading.Timer(0.3, hand_over)
            later.start()
            client.filter(documents(), tmp_path / "drained", **rule)
            later.join()
            client.filter(DOCUMENTS, tmp_path / "undisturbed", **rule)
    assert contents(tmp_path / "drained") == contents(tmp_path / "undisturbed")
