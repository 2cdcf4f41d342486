"""Keeps all cores busy while a model reads batches: the next group is prepared beside it, small models run on several threads.

Where one lane is worth having (``lm.lanes``), batches run one after the other in one thread with all of torch's threads, and a
second thread prepares the next group. With several lanes each has its share of torch's threads, and whichever thread is free
prepares a group. Both give the same numbers where the products of one thread and of several agree, as they do to the last bit
on the machines tried; the batches are the same in any case. Cost: two groups in memory beside the one being prepared. It does not
know what is computed. While lanes run, threads that other code creates inherit one torch thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from curator.lm.lanes import lane_pool

Piece = TypeVar("Piece")
Group = TypeVar("Group")
Batch = TypeVar("Batch")
Result = TypeVar("Result")


class Lanes:
    """Threads that run batches, and one that prepares; made by ``open_lanes``."""

    def __init__(self, running: ThreadPoolExecutor, preparing: ThreadPoolExecutor) -> None:
        self._running, self._preparing = running, preparing

    def over(
        self,
        pieces: Sequence[Piece],
        prepare: Callable[[Piece], Group],
        batches_of: Callable[[Group], Sequence[Batch]],
        run: Callable[[Batch], Result],
    ) -> Iterator[tuple[Group, list[Result]]]:
        """For every piece its group and the results of its batches, in order; up to two groups ahead are in work."""
        ahead = self._preparing.submit(prepare, pieces[0]) if pieces else None
        waiting: tuple[Group, list[Future[Result]]] | None = None
        for following in [*pieces[1:], None]:
            if ahead is None:
                return
            group = ahead.result()
            ahead = None if following is None else self._preparing.submit(prepare, following)
            begun = group, [self._running.submit(run, batch) for batch in batches_of(group)]
            if waiting:
                yield _finished(waiting)
            waiting = begun
        if waiting:
            yield _finished(waiting)


def _finished(waiting: tuple[Group, list[Future[Result]]]) -> tuple[Group, list[Result]]:
    group, futures = waiting
    return group, [future.result() for future in futures]


@contextmanager
def open_lanes(lanes: int) -> Iterator[Lanes]:
    """So many threads for the length of the block. What is queued when the block ends early is dropped."""
    with lane_pool(lanes, "lane") as running:
        if lanes > 1:
            yield Lanes(running, running)
            return
        with lane_pool(1, "lane-prepares") as preparing:
            yield Lanes(running, preparing)
