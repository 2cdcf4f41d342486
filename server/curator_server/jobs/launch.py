"""Workers as the runner sees them, and the real one: a process of its own session.

A process, not a thread, because only a process can be stopped in the middle of a forward pass, gives all its memory back, and
takes nothing with it when it is killed for too much of it. Its standard input stays open as long as this server lives (see
``curator.jobs.worker``); its standard error is ``worker.log`` in the job's folder. Stopping asks the whole session, then kills.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from curator.orders import LOG, Event

_LONGEST_LINE = 1 << 20
_QUIET = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error"}
logger = logging.getLogger(__name__)


class Worker(Protocol):
    """Somebody who carries out the order in a folder."""

    def events(self) -> AsyncIterator[Event]:
        """What it says, until it has nothing more to say."""
        ...

    async def ended(self) -> int:
        """Its exit status: 0 for success, negative for the signal that ended it."""
        ...

    async def stop(self, grace_s: float) -> None:
        """Ask it to end, make it end after ``grace_s``; returns when it has. Safe to call twice."""
        ...


Launcher = Callable[[Path], Awaitable[Worker]]


async def launch_process(folder: Path) -> Worker:
    """A worker process for the order in a folder."""
    environment = {**_QUIET, **os.environ}
    with (folder / LOG).open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "curator.jobs",
            str(folder),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            cwd=folder,
            env=environment,
            start_new_session=True,
            limit=_LONGEST_LINE,
        )
    logger.info("worker started", extra={"job": folder.name, "pid": process.pid})
    return _Process(process)


class _Process:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def events(self) -> AsyncIterator[Event]:
        stdout = self._process.stdout
        while stdout is not None and (line := await stdout.readline()):
            try:
                yield Event.model_validate_json(line)
            except ValidationError:
                logger.warning("a worker said something else than an event", extra={"pid": self._process.pid})

    async def ended(self) -> int:
        return await self._process.wait()

    async def stop(self, grace_s: float) -> None:
        if self._process.returncode is not None:
            return
        self._signal(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._process.wait()
        self._signal(signal.SIGKILL)  # and whatever it has started
        await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)
