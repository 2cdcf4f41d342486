"""Whose a folder is while a filter runs, and what stands in it at the end."""

import errno
import json
import threading

import pytest
from curator_client import AsyncClient, Client, ConnectionOptions
from curator_server.app import running_server

from curator.errors import ArtifactError, ConfigError, StorageError
from curator.records import Document, Rejection, RejectReason
from tests.client.test_client_filter import DOCUMENTS, OPTIONS, RULE, clean_run, contents, records  # noqa: F401
from tests.contract.service_fakes import SETTINGS, LetterScorer

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def address():
    with running_server(SETTINGS, [LetterScorer()]) as address:
        yield address


async def test_a_second_run_into_a_folder_is_refused_and_harms_nothing(address, clean_run, tmp_path):  # noqa: F811
    half, go_on = threading.Event(), threading.Event()

    def slow():
        for index, document in enumerate(DOCUMENTS):
            if index == 250:
                half.set()
                assert go_on.wait(60)
            yield document

    reports = []
    with Client(address, OPTIONS) as client:
        first = threading.Thread(target=lambda: reports.append(client.filter(slow(), tmp_path, **RULE)))
        first.start()
        assert half.wait(60)
        with pytest.raises(ConfigError, match="Another process is at work"):
            client.filter(DOCUMENTS, tmp_path, **RULE)
        async with AsyncClient(address, OPTIONS) as second:
            with pytest.raises(ConfigError, match="Another process is at work"):
                await second.filter(DOCUMENTS, tmp_path, **RULE)
        go_on.set()
        first.join()
    assert reports == [clean_run[0]]
    assert contents(tmp_path) == clean_run[1], "not even the lock is left"


def test_no_manifest_is_written_for_shards_that_are_gone(address, tmp_path):
    def meddling():
        yield from DOCUMENTS[:-1]
        next(tmp_path.glob("kept-*.zst")).unlink()
        yield DOCUMENTS[-1]

    with Client(address, OPTIONS) as client, pytest.raises(ArtifactError, match="removed or changed"):
        client.filter(meddling(), tmp_path, **RULE)
    assert not (tmp_path / "manifest.json").exists()
    with Client(address, OPTIONS) as client:
        client.filter(DOCUMENTS, tmp_path, **RULE)
    assert (tmp_path / "manifest.json").exists()


@pytest.mark.parametrize("lazy", [False, True])
def test_what_a_source_could_not_read_is_named_and_the_tallies_add_up(address, tmp_path, lazy):
    bad = [Rejection("pool:2", RejectReason.INVALID_JSON, "not JSON"), Rejection("pool:4", RejectReason.EMPTY_TEXT)]
    items = [DOCUMENTS[0], bad[0], Document("half", "\ud800"), bad[1], Document("no", "unreadable"), *DOCUMENTS[1:40]]
    with Client(address, OPTIONS) as client:
        assert [type(one) for one in list(client.score(items))[:5]].count(Rejection) == 4
        report = client.filter(iter(items) if lazy else items, tmp_path, **RULE)
    assert report.documents_in == 44 == report.documents_kept + report.documents_rejected + report.documents_failed
    assert report.documents_failed == 4
    assert sum(report.not_kept_by_reason.values()) == report.documents_rejected + 4
    unreadable = [json.loads(line) for line in (tmp_path / "unreadable.jsonl").read_text().splitlines()]
    assert [(one["place"], one["reason"]) for one in unreadable] == [
        ("pool:2", "invalid_json"),
        ("pool:4", "empty_text"),
    ]
    refused = [json.loads(line) for line in (tmp_path / "refused.jsonl").read_text().splitlines()]
    assert [(one["place"], one["reason"]) for one in refused] == [("half", "not_a_record")]
    assert report.listed == {"refused.jsonl": 1, "unreadable.jsonl": 2}


def test_a_run_of_nothing_but_what_cannot_be_sent_ends_well(address, tmp_path):
    bad = [Rejection(f"pool:{index}", RejectReason.INVALID_JSON) for index in range(25)]
    with Client(address, OPTIONS) as client:
        report = client.filter(iter(bad), tmp_path, min_score=0.0)
        assert list(client.score(iter(bad))) == bad
    assert (report.documents_in, report.documents_failed, report.listed) == (25, 25, {"unreadable.jsonl": 25})


def test_a_folder_on_a_file_system_without_locks_is_used_all_the_same(address, tmp_path, monkeypatch):
    import fcntl

    def without(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", without)
    with Client(address, ConnectionOptions()) as client:
        assert client.filter(DOCUMENTS, tmp_path, **RULE).documents_in == 300
    assert len(list(records(tmp_path))) > 10


def test_a_full_disk_is_said_in_a_sentence(address, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("curator_client.shards.os.fsync", full)
    with Client(address, OPTIONS) as client, pytest.raises(StorageError, match="free space there"):
        client.filter(DOCUMENTS, tmp_path, **RULE)
    assert not [name for name in contents(tmp_path) if "partial" in name or name == "manifest.json"]
