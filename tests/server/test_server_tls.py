"""TLS as clients meet it: certificates of both sides, and their renewal while the server runs."""

import logging
import ssl
import time

import pytest
from curator_client import Client, ConnectionOptions, RetryPolicy
from curator_server.app import running_server
from curator_server.tls import server_credentials

from curator.errors import ConfigError, OverloadedError
from tests.contract.service_fakes import SETTINGS, LetterScorer, sample_documents
from tests.server.certificates import needs_openssl, self_signed, signed_by

pytestmark = [pytest.mark.timeout(300), needs_openssl]
ONCE = RetryPolicy(attempts=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    authority = self_signed(folder, "authority")
    return {
        "server": self_signed(folder, "server"),
        "authority": authority,
        "client": signed_by(folder, "client", authority),
        "stranger": signed_by(folder, "stranger", self_signed(folder, "other-authority")),
    }


def settings_with(certificate, key, **more):
    return SETTINGS.model_copy(update={"tls_certificate": certificate, "tls_key": key, **more})


def served_certificate(address):
    host, port = address.split(":")
    return ssl.get_server_certificate((host, int(port)), timeout=30).strip()


def test_tls_serves_those_who_trust_it_and_nobody_else(made):
    with running_server(settings_with(*made["server"]), [LetterScorer()]) as address:
        with Client(address, ConnectionOptions(tls_roots=made["server"][0])) as client:
            assert list(client.score(sample_documents(20))) == LetterScorer().score(sample_documents(20))
        for options in (ConnectionOptions(retry=ONCE), ConnectionOptions(tls=True, retry=ONCE)):
            with Client(address, options) as client, pytest.raises(OverloadedError):
                client.server_info()


def test_with_a_client_authority_only_its_clients_may_connect(made):
    settings = settings_with(*made["server"], tls_client_ca=made["authority"][0])

    def options(name):
        certificate, key = made[name] if name else (None, None)
        return ConnectionOptions(tls_roots=made["server"][0], tls_certificate=certificate, tls_key=key, retry=ONCE)

    with running_server(settings, [LetterScorer()]) as address:
        with Client(address, options("client")) as client:
            assert client.score_batch(sample_documents(3)) == LetterScorer().score(sample_documents(3))
        for name in ("", "stranger"):
            with Client(address, options(name)) as client, pytest.raises(OverloadedError):
                client.server_info()


def test_a_renewed_certificate_serves_the_next_connection_and_half_a_renewal_changes_nothing(made, tmp_path, caplog):
    certificate, key = tmp_path / "live.pem", tmp_path / "live.key"
    old, new = made["server"], self_signed(tmp_path, "renewed")

    def put(pair):
        certificate.write_bytes(pair[0].read_bytes())
        key.write_bytes(pair[1].read_bytes())

    put(old)
    with (
        caplog.at_level(logging.INFO, "curator_server.tls"),
        running_server(settings_with(certificate, key), [LetterScorer()]) as address,
        Client(address, ConnectionOptions(tls_roots=old[0])) as open_before,
    ):
        assert open_before.server_info().version
        assert served_certificate(address) == old[0].read_text().strip()
        certificate.write_bytes(new[0].read_bytes())  # the key does not fit yet
        assert served_certificate(address) == old[0].read_text().strip()
        key.unlink()
        assert served_certificate(address) == old[0].read_text().strip()
        put(new)
        deadline = time.monotonic() + 30
        while served_certificate(address) != new[0].read_text().strip() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert served_certificate(address) == new[0].read_text().strip()
        assert open_before.server_info().version
        with Client(address, ConnectionOptions(tls_roots=new[0])) as client:
            assert client.server_info().version
    assert "TLS files read again" in caplog.text


def test_an_absent_file_is_named(made, tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.pem"):
        server_credentials(tmp_path / "absent.pem", made["server"][1])
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        settings_with(*made["server"], tls_client_ca=tmp_path / "ca.pem").check_files()
