"""The service under SIGKILL: a hundred dead servers, a hundred dead clients; nothing is lost, doubled or left behind."""

import random
import time

import pytest
from curator_client import Client
from curator_server.app import _Background

from tests.contract.service_fakes import SETTINGS, LetterScorer, wait_until_idle
from tests.faults.service_processes import OPTIONS, KilledServer, corpus, filter_into, filtering_client

pytestmark = pytest.mark.timeout(960)
KILLS = 100
COUNT = 4_000


@pytest.fixture
def server():
    found = KilledServer()
    yield found
    found.end()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What filtering gives when nobody is killed."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    with _Background(SETTINGS, [LetterScorer()]) as background:
        filter_into(background.address, iter(corpus(COUNT)), out)
    return contents(out)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def killing(server, documents, seed):
    """The documents; while they are read, the server dies again and again, each time after a few more of them."""
    chance, left = random.Random(seed), 0
    for document in documents:
        if left == 0 and server.kills < KILLS:
            server.kill()
            left = chance.randint(1, 2 * COUNT // KILLS - 10)
        left -= 1
        yield document


def test_scores_are_complete_and_in_order_through_a_hundred_dead_servers(server):
    documents = corpus(COUNT)
    with Client(server.address, OPTIONS) as client:
        assert list(client.score(killing(server, documents, 1))) == LetterScorer().score(documents)
    assert server.kills == KILLS


def test_shards_are_the_same_bytes_through_a_hundred_dead_servers(server, undisturbed, tmp_path):
    filter_into(server.address, killing(server, corpus(COUNT), 2), tmp_path / "out")
    assert server.kills == KILLS
    assert contents(tmp_path / "out") == undisturbed


def test_a_hundred_dead_clients_leave_no_work_behind_and_no_broken_result(undisturbed, tmp_path):
    out, chance, seen = tmp_path / "out", random.Random(3), set()
    with _Background(SETTINGS, [LetterScorer()]) as background:
        for _ in range(KILLS):
            with filtering_client(background.address, COUNT, out, read=chance.randrange(20, COUNT // 6)):
                time.sleep(chance.uniform(0, 0.01))
            assert "manifest.json" not in contents(out)
            whole = {name: data for name, data in contents(out).items() if name.endswith(".jsonl.zst")}
            assert whole.items() <= undisturbed.items()
            seen.add(len(whole))
        wait_until_idle(background)
        filter_into(background.address, iter(corpus(COUNT)), out)
    assert contents(out) == undisturbed
    assert len(seen) > 2, "the kills all fell on the same place"
