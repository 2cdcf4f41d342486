"""What the client refuses to do with a token, and the files of its TLS."""

import pytest
from curator_client import AsyncClient, Client, ConnectionOptions
from curator_client.cli import app
from curator_server.app import running_server
from typer.testing import CliRunner

from curator.errors import ConfigError
from tests.contract.service_fakes import SETTINGS, LetterScorer

pytestmark = pytest.mark.timeout(300)
TOKEN = "0123456789abcdef0123"


@pytest.mark.parametrize("address", ["10.0.0.4:50051", "example.org:443", "dns:///example.org:443", "0.0.0.0:1"])
async def test_a_token_never_leaves_the_machine_unencrypted_unless_told_to(address):
    for make in (Client, AsyncClient):
        with pytest.raises(ConfigError, match="everyone to read") as caught:
            make(address, ConnectionOptions(token=TOKEN))
        assert TOKEN not in str(caught.value)
    for allowed in (ConnectionOptions(token=TOKEN, insecure=True), ConnectionOptions(token=TOKEN, tls=True)):
        Client(address, allowed).close()
    Client(address, ConnectionOptions()).close()  # without a token there is none to lose


def test_on_this_machine_a_token_needs_no_tls(tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{TOKEN} score\n")
    settings = SETTINGS.model_copy(update={"token_file": tokens})
    with running_server(settings, [LetterScorer()]) as address:
        with Client(address, ConnectionOptions(token=TOKEN)) as client:
            assert client.server_info().version
        with (
            Client(address, ConnectionOptions(token="wrong")) as client,
            pytest.raises(ConfigError, match="bearer token"),
        ):
            client.server_info()


def test_a_certificate_needs_its_key_and_files_must_be_there(tmp_path):
    absent = tmp_path / "absent.pem"
    for options in (ConnectionOptions(tls_certificate=absent), ConnectionOptions(tls_key=absent)):
        with pytest.raises(ConfigError, match="needs its key"):
            Client("localhost:1", options)
    for options in (ConnectionOptions(tls_roots=absent), ConnectionOptions(tls_certificate=absent, tls_key=absent)):
        with pytest.raises(ConfigError, match=r"absent\.pem cannot be read"):
            Client("localhost:1", options)


def test_the_command_line_says_the_same():
    done = CliRunner().invoke(app, ["info", "--address", "example.org:1", "--token", TOKEN])
    assert done.exit_code == 1
    assert "insecure" in done.output and TOKEN not in done.output
    done = CliRunner().invoke(app, ["info", "--tls-cert", "c.pem"])
    assert "needs its key" in done.output
