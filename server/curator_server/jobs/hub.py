"""Tells those who watch a job that it has changed. What changed they read from the store, so a missed bell loses nothing."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Hub:
    """The bells of one server; for one event loop."""

    def __init__(self) -> None:
        self._bells: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self.closed = False

    @property
    def watchers(self) -> int:
        """How many watch."""
        return sum(len(bells) for bells in self._bells.values())

    @contextmanager
    def watching(self, uid: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever the job changes, and when the server is going away."""
        bell = asyncio.Event()
        self._bells[uid].add(bell)
        try:
            yield bell
        finally:
            self._bells[uid].discard(bell)
            if not self._bells[uid]:
                del self._bells[uid]

    def changed(self, uid: str) -> None:
        """The job has a new revision, or is gone."""
        for bell in self._bells.get(uid, ()):
            bell.set()

    def close(self) -> None:
        """The server is going away: every watcher is woken up."""
        self.closed = True
        for bells in self._bells.values():
            for bell in bells:
                bell.set()
