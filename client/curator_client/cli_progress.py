"""How far a stream is, on standard error: a moving line on a terminal, a line every ten seconds elsewhere.

How many documents are still to come is not known, for sources are streams, so there is no bar and no time left.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.status import Status

_LINE_EVERY_S = 10.0
_MOVE_EVERY_S = 0.2


class StreamMeter:
    """Says how many documents are done, how many a second, and how many of them are kept. Use as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._status = Status("opening the stream", console=self._console) if self._console.is_terminal else None
        self._every_s = _MOVE_EVERY_S if self._status else _LINE_EVERY_S
        self._began = self._told = time.monotonic()

    def __enter__(self) -> Self:
        if self._status:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status:
            self._status.stop()

    def __call__(self, documents: int, kept: int | None = None) -> None:
        """So many documents are done; ``kept`` lags behind them by the shard that is under way."""
        now = time.monotonic()
        if now - self._told < self._every_s:
            return
        self._told = now
        share = "" if kept is None else f", {kept:,} kept"
        line = f"{documents:,} documents{share}, {documents / (now - self._began):,.0f}/s"
        if self._status:
            self._status.update(line)
        else:
            self._console.print(line, soft_wrap=True, markup=False, highlight=False)
