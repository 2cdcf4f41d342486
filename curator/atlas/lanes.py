"""Several threads work on consecutive batches, and yet every layer's sums are added in the order of the batches.

Each lane takes the next batch and runs the model on it; before it adds to a layer it waits until the batch before has done so.
The lanes so follow each other through the layers, an adding's length apart, and the result has the same bytes for any number
of lanes that have the same number of torch's threads each (with another number torch sums in another order, which moves last
bits). How many pay is in ``lm.lanes``. Memory: one layer's activations a lane. It does not know what is computed or added.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch

from curator.lm.lanes import lane_pool

Item = TypeVar("Item")
_LOOK_SECONDS = 0.25


class _Abandoned(Exception):  # noqa: N818 - ends the other lanes after one has failed; nobody outside sees it
    pass


class Turns:
    """Order at P places: item n may act at a place when item n - 1 has acted there."""

    def __init__(self, places: int) -> None:
        self._next = [0] * places
        self._moved = threading.Condition()
        self._abandoned = False

    @contextmanager
    def at(self, place: int, item: int) -> Generator[None, None, None]:
        """Wait for the item's turn at a place, and hand it on when the block ends well."""
        with self._moved:
            self._moved.wait_for(lambda: self._abandoned or self._next[place] == item)
            if self._abandoned:
                raise _Abandoned
        yield
        with self._moved:
            self._next[place] += 1
            self._moved.notify_all()

    def abandon(self) -> None:
        """Let nobody wait any longer."""
        with self._moved:
            self._abandoned = True
            self._moved.notify_all()


class Lanes(Generic[Item]):
    """Threads that take items from one iterator; ``work(item, number, turns)`` does one, its acts in order by ``turns``."""

    def __init__(self, count: int, places: int, work: Callable[[Item, int, Turns], None]) -> None:
        self._count, self._places, self._work = count, places, work

    def run(self, items: Iterator[Item], look: Callable[[], None]) -> None:
        """Work off the items; ``look`` is called in this thread a few times a second meanwhile.

        Raises what a lane, the iterator or ``look`` raised; by then every lane has ended.
        """
        turns, handed = Turns(self._places), _Handed(items)
        with lane_pool(self._count, "atlas-lane") as pool:
            running = {pool.submit(self._lane, handed, turns) for _ in range(self._count)}
            try:
                while wait(running, timeout=_LOOK_SECONDS, return_when=FIRST_EXCEPTION).not_done:
                    _raise_first(running)
                    look()
            finally:
                turns.abandon()
        _raise_first(running)

    def _lane(self, handed: _Handed[Item], turns: Turns) -> None:
        try:
            with torch.inference_mode():
                while (taken := handed.next()) is not None:
                    self._work(taken[1], taken[0], turns)
        except _Abandoned:
            return
        except BaseException:
            turns.abandon()
            raise


class _Handed(Generic[Item]):
    """Numbers the items of an iterator that several threads read."""

    def __init__(self, items: Iterator[Item]) -> None:
        self._items, self._lock, self._taken = items, threading.Lock(), 0

    def next(self) -> tuple[int, Item] | None:
        with self._lock:
            for item in self._items:
                self._taken += 1
                return self._taken - 1, item
            return None


def _raise_first(running: set[Future[None]]) -> None:
    for future in running:
        if future.done() and (error := future.exception()) is not None:
            raise error
