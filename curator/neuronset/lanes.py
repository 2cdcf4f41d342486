"""Keeps all cores busy while a model reads batches: the next group is prepared beside it, small models run on several threads.

Where one lane is worth having (``lm.lanes``), batches run one after the other in one thread with all of torch's threads; with
several lanes each has its share of them. A further thread prepares the next group meanwhile. Any number of lanes gives the same
numbers where the products of one thread and of several agree, as they do to the last bit on the machines tried; the batches are
the same in any case. Cost: one group in memory beside the one that runs. It does not know what is computed. While lanes run,
threads that other code creates inherit the lanes' number of torch threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from curator.lm.lanes import lane_pool

Piece = TypeVar("Piece")
Group = TypeVar("Group")
Batch = TypeVar("Batch")
Result = TypeVar("Result")


class Lanes:
    """Threads that run batches, and one that prepares groups; made by ``open_lanes``."""

    def __init__(self, running: ThreadPoolExecutor, preparing: ThreadPoolExecutor) -> None:
        self._running, self._preparing = running, preparing

    def over(
        self,
        pieces: Iterable[Piece],
        prepare: Callable[[Piece], Group],
        batches_of: Callable[[Group], Sequence[Batch]],
        run: Callable[[Batch], Result],
    ) -> Iterator[tuple[Group, list[Result]]]:
        """For every piece its group and the results of its batches, in order.

        A piece is asked for when the batches of the one before it have begun and those of the one before that are done.
        """
        source = iter(pieces)
        ahead = self._prepared(source, prepare)
        running: tuple[Group, list[Future[Result]]] | None = None
        while ahead is not None:
            group = ahead.result()
            begun = group, [self._running.submit(run, batch) for batch in batches_of(group)]
            done = _finished(running) if running else None
            ahead = self._prepared(source, prepare)
            if done:
                yield done
            running = begun
        if running:
            yield _finished(running)

    def _prepared(self, source: Iterator[Piece], prepare: Callable[[Piece], Group]) -> Future[Group] | None:
        for piece in source:
            return self._preparing.submit(prepare, piece)
        return None


def _finished(running: tuple[Group, list[Future[Result]]]) -> tuple[Group, list[Result]]:
    group, futures = running
    return group, [future.result() for future in futures]


@contextmanager
def open_lanes(lanes: int) -> Iterator[Lanes]:
    """So many threads for the length of the block, and one that prepares. What is queued when it ends early is dropped."""
    with lane_pool(lanes, "lane") as running, lane_pool(lanes, "lane-prepares") as preparing:
        yield Lanes(running, preparing)
