import inspect
from pathlib import Path

import grpc
import pytest
from curator_server.app import SERVICES, running_server
from curator_server.metrics import ServerMetrics
from curator_server.registry import Registry, neuron_set_resource
from curator_server.settings import ServerSettings
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from pydantic import ValidationError

from curator.api.v1 import scoring_pb2
from curator.cli.serve_cmd import serve
from curator.errors import ArtifactNotFoundError, ConfigError, CuratorError, FingerprintError
from tests.contract.service_fakes import SETTINGS, LetterScorer


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.9.9.9"])
def test_a_loopback_address_needs_no_tls(host):
    ServerSettings(host=host).check_exposure()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.4", "example.org", ""])
def test_any_other_address_needs_tls_or_the_word(host):
    with pytest.raises(ConfigError, match="insecure=True"):
        ServerSettings(host=host).check_exposure()
    ServerSettings(host=host, insecure=True).check_exposure()


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, "without TLS"),
        ({"token_file"}, "without TLS"),
        ({"tls"}, "without tokens"),
        ({"tls", "token_file"}, None),
        ({"tls", "tls_client_ca"}, None),
    ],
)
def test_beyond_this_machine_both_encryption_and_known_callers_are_asked_for(given, missing):
    tls = {"tls_certificate": Path("c.pem"), "tls_key": Path("k.pem")} if "tls" in given else {}
    files = {name: Path(name) for name in given if name != "tls"}
    settings = ServerSettings(host="0.0.0.0", **tls, **files)
    if missing is None:
        settings.check_exposure()
    else:
        with pytest.raises(ConfigError, match=missing):
            settings.check_exposure()
    settings.model_copy(update={"insecure": True}).check_exposure()


def test_client_certificates_without_tls_are_refused_everywhere():
    with pytest.raises(ConfigError, match="need TLS"):
        ServerSettings(tls_client_ca=Path("ca.pem"), insecure=True).check_exposure()


@pytest.mark.parametrize(
    ("host", "asked", "offered"),
    [("127.0.0.1", None, True), ("0.0.0.0", None, False), ("127.0.0.1", False, False), ("0.0.0.0", True, True)],
)
def test_reflection_is_for_this_machine_unless_asked_for(host, asked, offered):
    assert ServerSettings(host=host, reflection=asked).offers_reflection is offered


@pytest.mark.parametrize("offered", [True, False])
def test_reflection_describes_the_contract_or_is_not_there(offered):
    settings = SETTINGS.model_copy(update={"reflection": offered})
    with running_server(settings, [LetterScorer()]) as address, grpc.insecure_channel(address) as channel:
        found = ProtoReflectionDescriptorDatabase(channel)
        if offered:
            assert {*SERVICES, "grpc.health.v1.Health"} <= set(found.get_services())
            pool = DescriptorPool(found)
            assert pool.FindServiceByName(SERVICES[0]).methods_by_name["FilterDocuments"].server_streaming
        else:
            with pytest.raises(grpc.RpcError) as caught:
                found.get_services()
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_the_command_line_has_an_option_for_each_setting_of_who_and_where():
    offered = set(inspect.signature(serve).parameters)
    for setting, option in (
        ("tls_certificate", "tls_cert"),
        ("max_queued_documents", "max_queued"),
        ("grace_s", "grace"),
        ("max_connection_age_s", "connection_age"),
        ("max_connection_grace_s", "connection_grace"),
    ):
        assert setting in ServerSettings.model_fields and option in offered
    same = {
        "host",
        "port",
        "insecure",
        "tls_key",
        "tls_client_ca",
        "token_file",
        "reflection",
        "metrics_port",
        "metrics_host",
    }
    assert same <= offered & set(ServerSettings.model_fields)


def test_the_page_on_serving_names_every_setting_and_every_metric():
    page = (Path(__file__).resolve().parents[2] / "docs/serving.md").read_text()
    metrics = ServerMetrics()
    names = {family.name for family in metrics.registry.collect() if family.name.startswith(("curator_", "grpc_"))}
    gauges = {"curator_queue_documents", "curator_queue_bytes", "curator_open_streams"}
    for name in sorted({*ServerSettings.model_fields, *names, *gauges}):
        assert f"`{name}" in page, name


def test_a_certificate_without_its_key_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="both"):
        ServerSettings(tls_certificate=tmp_path / "c.pem").check_exposure()


def test_settings_are_frozen_and_closed():
    with pytest.raises(ValidationError):
        ServerSettings(prot=1)
    with pytest.raises(ValidationError):
        ServerSettings().port = 1


def test_an_absent_or_empty_token_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        ServerSettings(token_file=tmp_path / "absent").check_files()
    (tmp_path / "empty").write_text("\n \n")
    with pytest.raises(ConfigError, match="empty"):
        ServerSettings(token_file=tmp_path / "empty").check_files()


def test_a_scorer_is_found_by_full_name_by_short_name_or_alone():
    one, two = LetterScorer(), LetterScorer(name="other")
    registry = Registry([two, one])
    assert registry.find("letter-e") is registry.find(neuron_set_resource(one)) is one
    assert list(registry.scorers) == sorted(registry.scorers)
    with pytest.raises(ConfigError, match="2 neuron sets fit"):
        registry.find("")
    with pytest.raises(ArtifactNotFoundError):
        registry.find("absent")
    assert Registry([one]).find("") is one


def test_a_long_name_is_not_repeated_in_full():
    for ask in (Registry([LetterScorer()]).find, lambda name: Registry([LetterScorer()]).resolve(pinned(name))):
        with pytest.raises(CuratorError) as caught:
            ask("x" * 100_000)
        assert len(str(caught.value)) < 300


def pinned(etag):
    return scoring_pb2.ScoreConfig(etag=etag)


def test_a_scorer_that_was_taken_away_is_an_error_of_ours():
    scorer = LetterScorer()
    registry = Registry([scorer])
    assert registry.offered(scorer).scorer is scorer
    registry.remove([neuron_set_resource(scorer)])
    with pytest.raises(ArtifactNotFoundError, match="no longer"):
        registry.offered(scorer)


def test_an_unknown_ordering_is_refused():
    with pytest.raises(ConfigError, match="no ordering 99"):
        Registry([LetterScorer()]).resolve(scoring_pb2.ScoreConfig(ordering=99))


def test_a_registry_refuses_nothing_and_doubles():
    with pytest.raises(ConfigError):
        Registry([])
    with pytest.raises(ConfigError):
        Registry([LetterScorer(), LetterScorer()])


def test_a_pinned_etag_must_match_and_truncation_is_not_offered():
    registry = Registry([LetterScorer()])
    assert registry.resolve(scoring_pb2.ScoreConfig(etag="etag-1")).etag == "etag-1"
    with pytest.raises(FingerprintError, match="etag-1, not other"):
        registry.resolve(scoring_pb2.ScoreConfig(etag="other"))
    with pytest.raises(ConfigError, match="truncation"):
        registry.resolve(scoring_pb2.ScoreConfig(truncation=scoring_pb2.ScoreConfig.TRUNCATION_HEAD))
