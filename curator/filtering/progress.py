"""How far a job is: a value that the screen shows while it runs, and the times that are kept afterwards.

``timing.json`` says for each phase how many seconds it took, what it did, and how fast; a job that was interrupted adds its
runs up. It is the only file of an output that differs between equal runs, so it stands in no manifest. It does not know a
screen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from curator.errors import ArtifactError, ArtifactNotFoundError
from curator.files import read_json, write_json
from curator.filtering.output import TIMING


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of the phase that a job is in.

    ``done`` of ``total`` steps are finished, ``before`` of them in earlier runs. ``records`` and ``tokens`` were gone
    through in this run, within unfinished steps too.
    """

    phase: str
    total: int = 0
    done: int = 0
    before: int = 0
    records: int = 0
    tokens: int = 0
    seconds: float = 0.0
    detail: str = ""
    """What the phase is at, in words."""

    @property
    def tokens_per_second(self) -> float:
        """Speed of this run in this phase."""
        return self.tokens / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """What is left by the speed of the steps done in this run; None before the first."""
        made = self.done - self.before
        return self.seconds / made * (self.total - self.done) if made and self.seconds else None


Watch = Callable[[Progress], None]


def unwatched(_: Progress) -> None:
    """A watch that shows nothing."""


class Meter:
    """Follows one phase: fits ``engines.Follow``, tells a watch, and adds its times to ``timing.json``."""

    def __init__(self, phase: str, watch: Watch, *, total: int = 0, before: int = 0) -> None:
        self._watch, self._started = watch, time.monotonic()
        self.state = Progress(phase, total=total, done=before, before=before)
        watch(self.state)

    def __call__(self, number: int | None, records: int, tokens: int) -> None:
        """Some records were gone through, or step ``number`` is done."""
        self.state = replace(
            self.state,
            done=self.state.done + (number is not None),
            records=self.state.records + records,
            tokens=self.state.tokens + tokens,
            seconds=time.monotonic() - self._started,
        )
        self._watch(self.state)

    def reading(self, name: str, read: int, size: int) -> None:
        """A file is being read through before it can be cut."""
        self.state = replace(
            self.state,
            detail=f"counting the lines of {name}, {read / 1e9:.1f} of {size / 1e9:.1f} GB",
            seconds=time.monotonic() - self._started,
        )
        self._watch(self.state)

    def save(self, work: Path) -> None:
        """Add what was done to the times of the job."""
        state = replace(self.state, seconds=time.monotonic() - self._started)
        times = _read(work / TIMING)
        before = times.get(state.phase, {})
        seconds = before.get("seconds", 0.0) + state.seconds
        tokens, records = before.get("tokens", 0) + state.tokens, before.get("records", 0) + state.records
        times[state.phase] = {
            "seconds": round(seconds, 3),
            "records": records,
            "tokens": tokens,
            "tokens_per_second": round(tokens / seconds, 1) if seconds else 0.0,
        }
        write_json(work / TIMING, times)


def _read(path: Path) -> dict[str, dict[str, float]]:
    try:
        return read_json(path)
    except (ArtifactNotFoundError, ArtifactError):
        return {}
