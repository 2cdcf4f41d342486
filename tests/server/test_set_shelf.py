"""Models are loaded once, and nobody waits for one that they do not want."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from curator.errors import ModelError
from curator.serving import SetShelf

pytestmark = pytest.mark.timeout(300)


class Loader:
    """What ``model_of`` gives: a model that comes when the gate is open."""

    def __init__(self, name, gate, loads):
        self.name, self.gate, self.loads = name, gate, loads

    def load(self):
        self.loads.append(self.name)
        assert self.gate.wait(30)
        if self.name == "broken" and self.loads.count("broken") == 1:
            raise ModelError("The model is broken.")
        return self.name


@pytest.fixture
def shop(monkeypatch):
    """A shelf, the gates of its models, and the loads so far."""
    gates, loads = {}, []

    def model_of(manifest, **_):
        gates.setdefault(manifest.model, threading.Event())
        return Loader(manifest.model, gates[manifest.model], loads)

    monkeypatch.setattr("curator.neuronset.places.model_of", model_of)
    return SetShelf(), gates, loads


def manifest(name):
    return SimpleNamespace(model=name, model_fingerprint=name, tokenizer_fingerprint="t")


def until(wanted):
    while not wanted():
        threading.Event().wait(0.005)


def test_a_model_that_loads_slowly_delays_neither_another_one_nor_forgetting(shop):
    shelf, gates, loads = shop
    gates["quick"] = threading.Event()
    gates["quick"].set()
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(shelf._backbone, manifest("slow"))
        until(lambda: loads == ["slow"])
        assert pool.submit(shelf._backbone, manifest("quick")).result(5) == "quick"
        pool.submit(shelf.forget, "quick").result(5)
        gates["slow"].set()
        assert slow.result(5) == "slow"


def test_two_callers_load_a_model_once_and_a_load_that_failed_is_tried_again(shop):
    shelf, gates, loads = shop
    with ThreadPoolExecutor() as pool:
        both = [pool.submit(shelf._backbone, manifest("broken")) for _ in range(2)]
        until(lambda: loads)
        gates["broken"].set()
        for one in both:
            with pytest.raises(ModelError):
                one.result(5)
    assert (shelf._backbone(manifest("broken")), shelf._backbone(manifest("broken"))) == ("broken", "broken")
    assert loads == ["broken"] * 2
