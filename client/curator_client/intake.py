"""Between whoever reads the input and whoever sends it: groups of documents, a few ahead, and the word that one is there.

A source may take its time, so it is not read where results are handed out: a thread reads it (``ThreadIntake``), or a task for an
asynchronous one (``curator_client.streams_aio``). Lists and tuples cannot keep anyone waiting and are read where they are sent
(``Pulled``). The reader is two groups ahead, no more. What the source raises reaches the caller after the groups before it.

A thread inside a source that waits, as on a terminal, cannot be ended from outside: leaving the call waits for it for a second,
and then lets it end with the next document. A process that ends while one still reads standard input is aborted by Python, unless
it leaves by ``os._exit`` as our command line does.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from curator_client.batches import Caps, Grouper, Item, Prepared, group, prepare

AHEAD = 2
"""Groups that wait at most."""
LEAVE_S = 1.0
"""How long leaving waits for a source that does not answer."""


_READER = "curator-client-input"


def readers() -> int:
    """Threads of this process that read input, those that were left inside a source among them."""
    return sum(thread.name == _READER for thread in threading.enumerate())


class Intake(Protocol):
    """Where a feed gets its groups from."""

    wake: Callable[[], None]
    """Called, from any thread, when ``take`` may have something, or ``due_s`` has changed."""

    @property
    def finished(self) -> bool: ...  # noqa: D102

    @property
    def due_s(self) -> float | None: ...  # noqa: D102

    def open(self, caps: Caps) -> None: ...  # noqa: D102

    def take(self) -> list[Prepared] | None: ...  # noqa: D102


def _nobody() -> None:
    """Nobody waits."""


class Pulled:
    """Reads where it is asked: for what is in memory."""

    due_s = None

    def __init__(self, items: Iterable[Item], *, with_metadata: bool) -> None:
        self.wake: Callable[[], None] = _nobody
        self.finished = False
        self._items, self._with_metadata = items, with_metadata
        self._groups: Iterator[list[Prepared]] = iter(())

    def open(self, caps: Caps) -> None:
        """Begin, under these caps."""
        self._groups = group(self._items, caps, with_metadata=self._with_metadata)

    def take(self) -> list[Prepared] | None:
        """The next group; None when there is no more."""
        found = next(self._groups, None)
        self.finished = found is None
        return found

    def close(self) -> None:
        """There is nothing to end."""


class PushedIntake:
    """Groups that another thread or task fills; safe between the two."""

    def __init__(self, *, with_metadata: bool, linger_s: float | None) -> None:
        """Of ``linger_s`` None a group that is not full waits for the end of the input."""
        self.wake: Callable[[], None] = _nobody
        self.stopped = False
        self._with_metadata, self._linger_s = with_metadata, linger_s
        self._grouper = Grouper(Caps(0, 0, 0, 0))
        self._groups: deque[list[Prepared]] = deque()
        self._began = 0.0
        self._ended = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    @property
    def finished(self) -> bool:
        """Whether nothing more will come."""
        return self._ended and self._error is None and not self._groups and self._grouper.empty

    @property
    def due_s(self) -> float | None:
        """Seconds until the group that is under way is given as it is."""
        if self._linger_s is None or self._grouper.empty:
            return None
        return max(0.0, self._began + self._linger_s - time.monotonic())

    @property
    def has_room(self) -> bool:
        """Whether the reader may go on."""
        return len(self._groups) < AHEAD

    def open(self, caps: Caps) -> None:
        """Begin, under these caps."""
        self._grouper = Grouper(caps)

    def put(self, item: Item) -> None:
        """One item of the input."""
        prepared = prepare(item, self._grouper.caps, with_metadata=self._with_metadata)
        with self._changed:
            fresh, full = self._grouper.empty, list(self._grouper.add(prepared))
            self._groups.extend(full)
            if fresh or full:
                self._began = time.monotonic()
        if full or (fresh and self._linger_s is not None):
            self.wake()

    def end(self, error: BaseException | None = None) -> None:
        """The input is over."""
        with self._changed:
            if error is None and not self._grouper.empty:
                self._groups.append(self._grouper.rest())
            self._ended, self._error = True, error
        self.wake()

    def take(self) -> list[Prepared] | None:
        """The next group; None when there is none now. Raises what the input raised, after the groups before it."""
        with self._changed:
            if self._groups:
                self._changed.notify_all()
                return self._groups.popleft()
            if self._error is not None:
                raise self._error
            return self._grouper.rest() if self.due_s == 0.0 else None

    def wait_for_room(self) -> bool:
        """Block until the reader may go on; False when it must not."""
        with self._changed:
            self._changed.wait_for(lambda: self.stopped or self.has_room)
        return not self.stopped

    def stop(self) -> None:
        """Let the reader end."""
        with self._changed:
            self.stopped = True
            self._changed.notify_all()


class ThreadIntake(PushedIntake):
    """Reads an iterable in a thread of its own, which has the context variables of whoever began."""

    def __init__(self, items: Iterable[Item], *, with_metadata: bool, linger_s: float | None) -> None:
        super().__init__(with_metadata=with_metadata, linger_s=linger_s)
        self._items = items
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether the thread is there."""
        return self._thread is not None and self._thread.is_alive()

    def open(self, caps: Caps) -> None:
        """Begin to read, under these caps."""
        super().open(caps)
        self._thread = threading.Thread(
            target=contextvars.copy_context().run, args=(self._read,), name=_READER, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """End the thread; of a source that waits it is left to end with the next document."""
        self.stop()
        if self._thread is not None:
            self._thread.join(LEAVE_S)

    def _read(self) -> None:
        try:
            for item in self._items:
                if self.stopped:
                    return
                self.put(item)
                if not self.wait_for_room():
                    return
            self.end()
        except BaseException as error:  # noqa: BLE001 - the caller gets it, whatever it is
            self.end(error)


def intake_of(items: Iterable[Item], *, with_metadata: bool, linger_s: float | None) -> Pulled | ThreadIntake:
    """The intake of an iterable."""
    if isinstance(items, list | tuple):
        return Pulled(items, with_metadata=with_metadata)
    return ThreadIntake(items, with_metadata=with_metadata, linger_s=linger_s)
