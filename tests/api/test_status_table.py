import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from curator import errors
from curator.api import status as table
from curator.records import Rejection, RejectReason


def test_the_table_has_a_rule_for_every_error_code_and_no_other():
    assert set(table.RULES) == {cls.code for cls in errors.all_error_classes()}


@pytest.mark.parametrize("cls", errors.all_error_classes(), ids=lambda cls: cls.__name__)
def test_every_error_comes_back_as_its_own_class(cls):
    status = table.status_from_error(cls("Something is wrong; fix it."))
    back = table.error_from_status(status)
    assert type(back) is cls
    assert status.code == table.RULES[cls.code].status.value[0]
    assert str(back) == ("Something is wrong; fix it." if table.RULES[cls.code].public else "internal error")


def test_an_unexpected_exception_shows_a_request_id_and_nothing_else():
    status = table.status_from_error(KeyError("/home/secret"), request_id="abc")
    assert status.message == "internal error, request abc"
    assert b"secret" not in status.SerializeToString()


def test_only_overload_and_unavailability_may_be_retried():
    delays = {cls.code: table.retry_delay_s(table.status_from_error(cls("x"))) for cls in errors.all_error_classes()}
    assert {code for code, delay in delays.items() if delay is not None} == {"OVERLOADED", "SERVER_UNREACHABLE"}
    assert delays["OVERLOADED"] == table.DEFAULT_RETRY_DELAY_S
    assert table.retry_delay_s(status_pb2.Status(code=grpc.StatusCode.UNAVAILABLE.value[0])) == 0.0
    assert table.retry_delay_s(status_pb2.Status(code=grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])) is None


@pytest.mark.parametrize("code", list(grpc.StatusCode), ids=lambda code: code.name)
def test_a_status_without_our_details_still_becomes_a_curator_error(code):
    error = table.error_from_status(status_pb2.Status(code=code.value[0], message="proxy says no"))
    assert isinstance(error, errors.CuratorError)
    assert "proxy says no" in str(error)


def test_a_server_that_says_when_to_come_back_is_not_called_unreachable():
    status = status_pb2.Status(code=grpc.StatusCode.UNAVAILABLE.value[0], message="The server is starting.")
    assert type(table.error_from_status(status)) is errors.UnreachableError
    status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay={"seconds": 1}))
    assert type(table.error_from_status(status)) is errors.OverloadedError


@pytest.mark.parametrize("reason", list(RejectReason))
def test_every_reject_reason_survives_the_wire(reason):
    rejection = Rejection("pool.jsonl:17", reason, "why")
    assert table.rejection_from_status(table.status_from_rejection(rejection)) == rejection


def test_an_unknown_reject_reason_becomes_scoring_failed():
    back = table.rejection_from_status(status_pb2.Status(code=3, message="from the future"))
    assert back == Rejection("", RejectReason.SCORING_FAILED, "from the future")
