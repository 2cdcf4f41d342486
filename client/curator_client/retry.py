"""When a broken call is tried again, and for how long: full jitter under a cap, two minutes of patience, one deadline. Pure.

Patience counts from the last progress, so that a stream may break any number of times as long as it moves between two
breaks. A server that restarts, and loads its models before it is ready, takes tens of seconds; a wrong address is known
after the same two minutes, and a warning says after some seconds what is being waited for.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from google.rpc import status_pb2

from curator.api.status import error_from_status, retry_delay_s

_log = logging.getLogger(__name__)
_SAID_AFTER = 6
"""Breaks in a row after which the log hears of them: 3 s on average."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When what broke is tried again. Only breaks without progress in between count."""

    attempts: int = 1000
    """Breaks in a row before giving up, however short they were."""
    base_s: float = 0.1
    """Upper bound of the first wait; doubles with each attempt."""
    cap_s: float = 10.0
    """Upper bound of every wait."""
    patience_s: float = 120.0
    """Seconds of breaks in a row after which no further attempt begins; enough for a server that loads its models anew."""

    def delay(
        self, attempt: int, status: status_pb2.Status, uniform: Callable[[], float] = random.random
    ) -> float | None:
        """Seconds to wait before attempt number ``attempt`` (from 1), with full jitter; None when it must not be tried.

        Only UNAVAILABLE, and RESOURCE_EXHAUSTED with the server's RetryInfo, may be tried again.
        """
        advised = retry_delay_s(status)
        if advised is None or attempt >= self.attempts:
            return None
        return advised + uniform() * min(self.cap_s, self.base_s * 2 ** min(attempt - 1, 64))


class Deadline:
    """The end of one piece of work, over all its attempts; of None there is none."""

    def __init__(self, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end = None if seconds is None else clock() + seconds

    @property
    def left(self) -> float | None:
        """Seconds that are left, 0 at least; None without an end."""
        return None if self._end is None else max(0.0, self._end - self._clock())

    @property
    def passed(self) -> bool:
        """Whether nothing is left."""
        return self.left == 0.0

    def within(self, seconds: float) -> float:
        """So many seconds, or what is left if that is less."""
        return seconds if self.left is None else min(seconds, self.left)


class Attempts:
    """Counts the breaks of one piece of work since its last progress."""

    def __init__(self, policy: RetryPolicy, clock: Callable[[], float] = time.monotonic) -> None:
        self._policy, self._clock = policy, clock
        self._breaks, self._since = 0, 0.0

    def wait_s(self, status: status_pb2.Status, *, progressed: bool) -> float:
        """Seconds to wait after a break. Raises the status as an error when it must not be tried again."""
        if progressed or not self._breaks:
            self._breaks, self._since = 0, self._clock()
        self._breaks += 1
        delay = self._policy.delay(self._breaks, status)
        if delay is None or self._clock() + delay - self._since > self._policy.patience_s:
            raise error_from_status(status)
        if self._breaks == _SAID_AFTER:
            left = self._policy.patience_s - (self._clock() - self._since)
            _log.warning("%s Trying again for %.0f s.", error_from_status(status), left)
        return delay
