"""``curator health`` against servers that serve, drain, are not there, and want TLS."""

import asyncio

import pytest
from curator_server.app import _Background, running_server

from tests.cli.cli_world import curator
from tests.contract.service_fakes import SETTINGS, LetterScorer
from tests.server.certificates import needs_openssl, self_signed


@pytest.fixture(scope="module")
def address():
    with running_server(SETTINGS, [LetterScorer()]) as found:
        yield found


@pytest.mark.parametrize("service", ["", "curator.api.v1.ScoringService"])
def test_a_server_that_serves_is_healthy(address, service):
    result = curator("health", "--address", address, "--service", service)
    assert result.exit_code == 0, result.output
    assert result.output == f"{address} SERVING\n"


def test_a_service_that_is_not_offered_is_not_healthy(address):
    result = curator("health", "--address", address, "--service", "curator.api.v1.JobService")
    assert result.exit_code == 1
    assert "does not answer (NOT_FOUND)" in result.output


def test_nobody_at_the_address_is_one_sentence():
    result = curator("health", "--address", "127.0.0.1:1", "--timeout", 2)
    assert result.exit_code == 1
    assert "does not answer (UNAVAILABLE)" in result.output


def test_a_server_that_drains_is_no_longer_healthy():
    background = _Background(SETTINGS, [LetterScorer()])
    with background as server:
        asyncio.run_coroutine_threadsafe(server.health.enter_graceful_shutdown(), background._loop).result(5)
        result = curator("health", "--address", server.address)
    assert result.exit_code == 1
    assert "says NOT_SERVING" in result.output


@needs_openssl
def test_a_server_behind_tls_is_asked_by_the_name_in_its_certificate(tmp_path):
    certificate, key = self_signed(tmp_path, "server")
    settings = SETTINGS.model_copy(update={"tls_certificate": certificate, "tls_key": key})
    with running_server(settings, [LetterScorer()]) as found:
        words = ("health", "--address", found, "--tls-roots", certificate, "--timeout", 10)
        assert curator(*words, "--tls-name", "localhost").exit_code == 0
        assert curator(*words, "--tls-name", "elsewhere.example.org").exit_code == 1
        assert curator("health", "--address", found, "--timeout", 2).exit_code == 1
