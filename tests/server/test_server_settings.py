import pytest
from curator_server.registry import Registry, neuron_set_resource
from curator_server.settings import ServerSettings
from pydantic import ValidationError

from curator.api.v1 import scoring_pb2
from curator.errors import ArtifactNotFoundError, ConfigError, FingerprintError
from tests.contract.service_fakes import LetterScorer


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.9.9.9"])
def test_a_loopback_address_needs_no_tls(host):
    ServerSettings(host=host).check_exposure()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.4", "example.org", ""])
def test_any_other_address_needs_tls_or_the_word(host):
    with pytest.raises(ConfigError, match="insecure=True"):
        ServerSettings(host=host).check_exposure()
    ServerSettings(host=host, insecure=True).check_exposure()


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
        ServerSettings(token_file=tmp_path / "absent").read_tokens()
    (tmp_path / "empty").write_text("\n \n")
    with pytest.raises(ConfigError, match="empty"):
        ServerSettings(token_file=tmp_path / "empty").read_tokens()


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
