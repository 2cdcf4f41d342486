"""Tokens: the file, the comparison, the scopes, and that no method of the contract is forgotten."""

import hashlib
import hmac
import logging

import grpc
import pytest
from curator_server import tokens as tokens_module
from curator_server.access import ANY, OPEN_SERVICES, SCOPES
from curator_server.app import running_server
from curator_server.tokens import Scope, TokenFile, parse_tokens
from google.protobuf import message_factory
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.api.status import error_from_status, status_from_call
from curator.api.v1 import catalog_pb2, jobs_pb2, scoring_pb2, scoring_pb2_grpc
from curator.errors import ConfigError
from tests.contract.service_fakes import SETTINGS, LetterScorer

pytestmark = pytest.mark.timeout(300)
TIMEOUT = 60
SECRETS = {name: f"{name}-{'0123456789abcdef' * 2}" for name in ("score", "jobs", "admin", "both", "hashed", "plain")}
OURS = [
    service
    for module in (catalog_pb2, jobs_pb2, scoring_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
]
METHODS = [method for service in OURS for method in service.methods]


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "tokens"
    digest = hashlib.sha256(SECRETS["hashed"].encode()).hexdigest()
    path.write_text(
        f"# for the tests\n\n{SECRETS['score']} score\n{SECRETS['jobs']} jobs\n{SECRETS['admin']} admin\n"
        f"{SECRETS['both']} score,jobs\nsha256:{digest} jobs\n{SECRETS['plain']}\n"
    )
    path.chmod(0o600)
    return path


def call(channel, service, method, token=None, **request):
    """Call a method of the descriptors with an empty request; returns the status code."""
    descriptor = next(
        found for found in METHODS if (found.containing_service.full_name, found.name) == (service, method)
    )
    make = message_factory.GetMessageClass(descriptor.input_type)
    kind = (
        f"{'stream' if descriptor.client_streaming else 'unary'}_{'stream' if descriptor.server_streaming else 'unary'}"
    )
    stub = getattr(channel, kind)(f"/{service}/{method}", make.SerializeToString, lambda data: data)
    body = iter([make(**request)]) if descriptor.client_streaming else make(**request)
    metadata = [] if token is None else [("authorization", f"Bearer {token}")]
    try:
        answer = stub(body, timeout=TIMEOUT, metadata=metadata)
        if descriptor.server_streaming:
            list(answer)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def test_the_table_of_scopes_names_every_method_of_the_contract_and_nothing_else():
    ours = {name: set(methods) for name, methods in SCOPES.items() if name.startswith("curator.")}
    assert ours == {service.full_name: {method.name for method in service.methods} for service in OURS}
    assert all(scopes and scopes <= ANY for methods in SCOPES.values() for scopes in methods.values())
    assert {health_pb2.DESCRIPTOR.services_by_name["Health"].full_name} == OPEN_SERVICES


def test_every_method_asks_for_a_token_and_the_scope_of_the_table(token_file):
    settings_ = SETTINGS.model_copy(update={"token_file": token_file})
    denied = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
    served = [method for method in METHODS if method.containing_service.name != "JobService"]
    with running_server(settings_, [LetterScorer()]) as address, grpc.insecure_channel(address) as channel:
        for method in served:
            service = method.containing_service.full_name
            needed = SCOPES[service][method.name]
            for bad in (None, "", "wrong", SECRETS["score"][:-1]):
                assert call(channel, service, method.name, bad) is grpc.StatusCode.UNAUTHENTICATED, method.full_name
            for holder, scope in (("score", Scope.SCORE), ("hashed", Scope.JOBS), ("plain", Scope.SCORE)):
                code = call(channel, service, method.name, SECRETS[holder])
                assert (code not in denied) == (scope in needed), (method.full_name, holder, code)
                assert code is not grpc.StatusCode.UNAUTHENTICATED
            assert call(channel, service, method.name, SECRETS["admin"]) not in denied


@pytest.mark.parametrize(("token", "code"), [("wrong", "UNAUTHENTICATED"), (SECRETS["jobs"], "PERMISSION_DENIED")])
def test_a_refusal_says_which_and_names_the_request_in_its_details(token_file, token, code):
    settings_ = SETTINGS.model_copy(update={"token_file": token_file})
    metadata = [("authorization", f"Bearer {token}"), ("x-request-id", "mine")]
    with running_server(settings_, [LetterScorer()]) as address, grpc.insecure_channel(address) as channel:
        stub = scoring_pb2_grpc.ScoringServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.ScoreBatch(scoring_pb2.ScoreBatchRequest(), timeout=TIMEOUT, metadata=metadata)
    assert caught.value.code().name == code
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.RequestInfo()
    details = status_from_call(caught.value).details
    assert any(detail.Unpack(info) for detail in details) and any(detail.Unpack(request) for detail in details)
    assert (info.reason, request.request_id) == (code, "mine")
    assert isinstance(error_from_status(status_from_call(caught.value)), ConfigError)
    assert "score" in caught.value.details() or code == "UNAUTHENTICATED"


def test_what_a_stranger_sends_is_not_even_read(token_file):
    settings_ = SETTINGS.model_copy(update={"token_file": token_file})
    with running_server(settings_, [LetterScorer()]) as address, grpc.insecure_channel(address) as channel:
        for token, code in (("wrong", "UNAUTHENTICATED"), (SECRETS["score"], "INVALID_ARGUMENT")):
            stub = channel.unary_unary("/curator.api.v1.ScoringService/ScoreBatch")
            with pytest.raises(grpc.RpcError) as caught:
                stub(b"\xff garbage", timeout=TIMEOUT, metadata=[("authorization", f"Bearer {token}")])
            assert caught.value.code().name == code


def test_health_is_open_and_reflection_is_not(token_file):
    settings_ = SETTINGS.model_copy(update={"token_file": token_file})
    with running_server(settings_, [LetterScorer()]) as address, grpc.insecure_channel(address) as channel:
        assert health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT).status == 1
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        with pytest.raises(grpc.RpcError) as caught:
            next(stub.ServerReflectionInfo(iter([request]), timeout=TIMEOUT))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        metadata = [("authorization", f"bearer {SECRETS['jobs']}")]
        answer = next(stub.ServerReflectionInfo(iter([request]), timeout=TIMEOUT, metadata=metadata))
        assert "curator.api.v1.ScoringService" in {found.name for found in answer.list_services_response.service}


def test_admin_includes_the_others_and_a_bare_token_may_score(token_file):
    found = TokenFile(token_file)
    assert found.scopes_of(SECRETS["admin"].encode()) == ANY
    assert found.scopes_of(SECRETS["both"].encode()) == {Scope.SCORE, Scope.JOBS}
    assert found.scopes_of(SECRETS["plain"].encode()) == {Scope.SCORE}
    assert found.scopes_of(SECRETS["hashed"].encode()) == {Scope.JOBS}
    assert found.scopes_of(hashlib.sha256(SECRETS["hashed"].encode()).hexdigest().encode()) is None


def test_every_entry_is_compared_whatever_is_given(token_file, monkeypatch):
    compared = []

    def counting(a, b):
        compared.append((len(a), len(b)))
        return hmac.compare_digest(a, b)

    found = TokenFile(token_file)
    monkeypatch.setattr(tokens_module, "hmac", type("Hmac", (), {"compare_digest": staticmethod(counting)}))
    for given_ in (SECRETS["score"], SECRETS["plain"], "", "x" * 10_000):
        compared.clear()
        found.scopes_of(given_.encode())
        assert compared == [(32, 32)] * 6


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=60))
def test_no_other_text_is_a_token(text):
    [entry] = parse_tokens(b"0123456789abcdef0123 score", "f")
    assert (hashlib.sha256(text.encode("utf-8", "replace")).digest() == entry.digest) == (
        text == "0123456789abcdef0123"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"secret-secret-secret everything", "unknown scope in line 2"),
        (b"secret-secret-secret score,", "unknown scope"),
        (b"secret-secret-secret \xff", "unknown scope"),
        (b"secret-secret-secret score jobs", "more than two words"),
        (b"sha256:12345 score", "damaged hash"),
        (b"first-first-first-first jobs", "line 2 .* twice"),
    ],
)
def test_a_wrong_line_is_named_by_its_number_and_never_quoted(line, message):
    with pytest.raises(ConfigError, match=message) as caught:
        parse_tokens(b"first-first-first-first score\n" + line, "file")
    assert "secret-" not in str(caught.value)


def test_a_file_that_others_may_read_and_a_short_token_are_warned_of(token_file, caplog):
    TokenFile(token_file)
    assert not caplog.records
    token_file.chmod(0o644)
    token_file.write_text("abc score\n")
    TokenFile(token_file)
    assert "every user of this machine" in caplog.text
    assert "short enough to guess" in caplog.text
    assert "abc" not in caplog.text.replace(str(token_file), "")


def test_a_changed_file_is_read_again_and_a_broken_one_changes_nothing(token_file, caplog):
    found = TokenFile(token_file)
    with caplog.at_level(logging.INFO, "curator_server.tokens"):
        token_file.write_text("a-new-token-a-new-token jobs\n")
        assert found.scopes_of(b"a-new-token-a-new-token") == {Scope.JOBS}
        assert found.scopes_of(SECRETS["admin"].encode()) is None
        for break_it in (lambda: token_file.write_text("a b c d\n"), token_file.unlink):
            break_it()
            assert found.scopes_of(b"a-new-token-a-new-token") == {Scope.JOBS}
        token_file.write_text(f"{SECRETS['score']} score\n")
        assert found.scopes_of(b"a-new-token-a-new-token") is None
    assert caplog.text.count("the old tokens stay") == 2
    assert caplog.text.count("read again") == 2
