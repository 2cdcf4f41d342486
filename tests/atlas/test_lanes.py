"""Lanes work at once and act in order; a failure in one ends them all."""

from __future__ import annotations

import threading
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.atlas.lanes import Lanes, Turns

PLACES = 3


def _nothing() -> None:
    return None


@settings(deadline=None, max_examples=25)
@given(items=st.integers(0, 30), count=st.integers(1, 6), seed=st.integers(0, 99))
def test_every_place_sees_all_items_in_their_order(items: int, count: int, seed: int) -> None:
    seen: list[list[int]] = [[] for _ in range(PLACES)]

    def work(item: int, number: int, turns: Turns) -> None:
        time.sleep(((item * 7919 + seed) % 5) / 5000)
        for place in range(PLACES):
            with turns.at(place, number):
                seen[place].append(item)

    Lanes(count, PLACES, work).run(iter(range(items)), _nothing)
    assert seen == [list(range(items))] * PLACES


def test_lanes_are_busy_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=30)

    def work(item: int, number: int, turns: Turns) -> None:
        together.wait()
        for place in range(PLACES):
            with turns.at(place, number):
                pass

    Lanes(3, PLACES, work).run(iter(range(3)), _nothing)
    assert not together.broken


@pytest.mark.parametrize("failing", ["lane", "items", "look"])
def test_what_fails_in_one_place_ends_the_run_and_is_raised(failing: str) -> None:
    def items():
        yield from range(1000)
        raise OSError("items")

    def work(item: int, number: int, turns: Turns) -> None:
        if failing == "lane" and item == 5:
            raise OSError("lane")
        time.sleep(0.001 if failing == "look" else 0)
        for place in range(PLACES):
            with turns.at(place, number):
                pass

    def look() -> None:
        if failing == "look":
            raise OSError("look")

    before, threads = threading.active_count(), torch.get_num_threads()
    with pytest.raises(OSError, match=failing):
        Lanes(4, PLACES, work).run(items(), look)
    assert threading.active_count() == before
    assert torch.get_num_threads() == threads
