"""Whatever a handler raises, a client learns what the table allows and nothing of the inside."""

import asyncio
import logging

import grpc
import pytest
from curator_server.app import SERVICES, running_server
from curator_server.calls import StatusError
from curator_server.interceptors import CallInterceptor
from curator_server.metrics import ServerMetrics
from google.protobuf import message_factory
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.api.status import DETAILS_KEY, RULES, error_from_status, retry_delay_s, status_from_call
from curator.api.v1 import catalog_pb2, catalog_pb2_grpc, jobs_pb2, scoring_pb2
from curator.errors import CuratorError, all_error_classes
from tests.contract.service_fakes import SETTINGS, LetterScorer

pytestmark = pytest.mark.timeout(480)
SECRET = "secret-of-the-inside"
METHODS = [
    method
    for module in (catalog_pb2, jobs_pb2, scoring_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


@pytest.fixture(scope="module", autouse=True)
def quiet():
    logger = logging.getLogger("curator_server.interceptors")
    logger.setLevel(logging.CRITICAL)  # every example would log tracebacks
    yield
    logger.setLevel(logging.NOTSET)


class StrangeError(Exception):
    def __str__(self):
        raise RuntimeError(f"not even text: {SECRET}")


PRIVATE = [
    ValueError, OSError, KeyError, RuntimeError, MemoryError, UnicodeError, StopIteration, StopAsyncIteration,
    AssertionError, RecursionError, ArithmeticError, asyncio.QueueFull, TimeoutError, StrangeError,
    lambda text: ExceptionGroup(text, [ValueError(text)]), lambda text: OSError(2, text, f"/srv/{text}"),
    lambda text: UnicodeDecodeError("utf-8", text.encode(), 0, 1, text), CuratorError,
]  # fmt: skip
raised = st.one_of(
    st.sampled_from(PRIVATE).map(lambda make: make(SECRET)),
    st.sampled_from(all_error_classes()).map(lambda cls: cls("One sentence with the fix.")),
)


class RaisingHandler(grpc.GenericRpcHandler):
    """Every method of the contract, of its own kind; each raises what it is told, before or after its first answer."""

    def __init__(self):
        self.error, self.late, self.generating = ValueError(), False, False

    def service(self, handler_call_details):
        method = next(found for found in METHODS if path_of(found) == handler_call_details.method)
        answer = message_factory.GetMessageClass(method.output_type)()

        async def awaited(request, context):
            if method.server_streaming and self.late:
                await context.write(answer)
            raise self.error

        async def generated(request, context):
            if self.late:
                yield answer
            raise self.error

        behaviour = generated if method.server_streaming and self.generating else awaited
        return getattr(grpc, f"{kind_of(method)}_rpc_method_handler")(
            behaviour, response_serializer=lambda message: message.SerializeToString()
        )


def kind_of(method):
    return f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"


def path_of(method):
    return f"/{method.containing_service.full_name}/{method.name}"


async def call(channel, method, body=b""):
    """What the server answers. When a call ends while the asyncio client still writes, the client may put a status of its own in
    the place of the server's (grpc issue 36066); then it is asked again.
    """
    for _ in range(5):
        answered = await called(channel, method, body)
        if answered is None or answered.details() != "Internal error from Core":
            return answered
    return answered


async def called(channel, method, body):
    stub = getattr(channel, kind_of(method))(path_of(method))
    request = iter([body]) if method.client_streaming else body
    answer = stub(request, timeout=60)
    try:
        if method.server_streaming:
            async for _ in answer:
                pass
        else:
            await answer
    except grpc.aio.AioRpcError as error:
        return error
    return None


def everything_said(error):
    status = status_from_call(error)
    parts = [
        error.details(),
        error.debug_error_string(),
        repr(error.trailing_metadata()),
        repr(error.initial_metadata()),
    ]
    return " ".join([*map(str, parts), str(status)])


async def raise_through_every_method(error, late, generating):
    handler = RaisingHandler()
    handler.error, handler.late, handler.generating = error, late, generating
    server = grpc.aio.server(interceptors=[CallInterceptor(ServerMetrics())])
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        found = [(method, await call(channel, method)) for method in METHODS]
    await server.stop(None)
    return found


@settings(deadline=None, max_examples=50)
@given(raised, st.booleans(), st.booleans())
def test_an_exception_crosses_the_wire_as_the_table_says(error, late, generating):
    code = error.code if isinstance(error, CuratorError) else "INTERNAL"
    for method, answered in asyncio.run(raise_through_every_method(error, late, generating)):
        assert answered is not None, method.full_name
        assert answered.code() is RULES[code].status, method.full_name
        said = everything_said(answered)
        assert SECRET not in said and "Traceback" not in said, (method.full_name, said)
        status = status_from_call(answered)
        assert type(error_from_status(status)) is (type(error) if isinstance(error, CuratorError) else CuratorError)
        trailing = dict(iter(answered.trailing_metadata()))
        assert DETAILS_KEY in trailing and trailing["x-request-id"] in said
        pushback = trailing.get("grpc-retry-pushback-ms")
        later = code in {"OVERLOADED", "SERVER_UNREACHABLE"}
        assert (pushback is not None) == later == (retry_delay_s(status) is not None)


def test_bytes_that_are_no_message_are_refused_without_a_word_of_the_inside():
    served = [method for method in METHODS if method.containing_service.full_name in SERVICES]

    async def send_garbage(address):
        async with grpc.aio.insecure_channel(address) as channel:
            return [(method, await call(channel, method, b"\xff\xff garbage")) for method in served]

    with running_server(SETTINGS, [LetterScorer()]) as address:
        for method, answered in asyncio.run(send_garbage(address)):
            assert answered.code() is grpc.StatusCode.INVALID_ARGUMENT, method.full_name
            said = everything_said(answered)
            assert not any(word in said for word in ("Traceback", ".py", "DecodeError", "garbage")), said


@pytest.mark.parametrize("letter", ["x", "é", "😀", "%"])
@pytest.mark.parametrize("count", [1_000, 8_000, 100_000])
def test_a_long_name_is_not_found_whatever_its_length(letter, count):
    with running_server(SETTINGS, [LetterScorer()]) as address, grpc.insecure_channel(address) as channel:
        request = catalog_pb2.GetNeuronSetRequest(name=letter * count)
        with pytest.raises(grpc.RpcError) as caught:
            catalog_pb2_grpc.CatalogServiceStub(channel).GetNeuronSet(request, timeout=60)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert len(caught.value.details()) <= 512


def test_whoever_is_sent_away_is_told_when_to_come_back_and_not_all_at_once():
    async def delays():
        handler = RaisingHandler()
        handler.error = StatusError(grpc.StatusCode.UNAVAILABLE, "The server is going away.")
        server = grpc.aio.server(interceptors=[CallInterceptor(ServerMetrics())])
        server.add_generic_rpc_handlers((handler,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        method = next(found for found in METHODS if found.name == "ScoreBatch")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            found = [await call(channel, method) for _ in range(8)]
        await server.stop(None)
        return [(retry_delay_s(status_from_call(one)), dict(iter(one.trailing_metadata()))) for one in found]

    told = asyncio.run(delays())
    assert all(0.1 <= delay <= 0.5 for delay, _ in told)
    assert len({delay for delay, _ in told}) > 1
    assert all(trailing["grpc-retry-pushback-ms"] == str(round(delay * 1000)) for delay, trailing in told)
