"""One worker process: it reads its order, reports each step as a line, and ends with its server.

Standard output is the line to the server, so whatever a library prints goes to standard error instead. Standard input is held
open by the server and never written to: when it ends, the server is gone, however it went, and the worker leaves at once. So a
server that was killed and started again finds no second worker on the same files; a lock on the job's folder proves it. Being
stopped at any moment is safe, because everything that a job writes appears whole or not at all, and what is finished (atlases,
scored pieces) is found again. Cost: a fresh interpreter and the engine's libraries, two to four seconds.

Exit status: 0 done, 1 an error of ours that was reported, 3 anything else (the traceback is in the log).
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from curator.errors import ConfigError, CuratorError
from curator.files import exclusive
from curator.orders import Event, Failure, Step, Work

DONE, FAILED, BROKEN = 0, 1, 3
_EVERY_S = 0.5
_LOCK_S = 30.0
log = logging.getLogger(__name__)


class Teller:
    """Sends progress as lines, at most one every ``every_s`` seconds but for new stages; fits ``Reporter``."""

    def __init__(self, line: IO[str], every_s: float = _EVERY_S) -> None:
        self._line, self._every_s = line, every_s
        self._step = Step(stage="starting")
        self._last = 0.0

    def stage(self, title: str, total: int | None = None) -> None:
        """A new step of the work begins."""
        self.tell(Step(stage=title, total=total or 0, unit="documents" if total else ""), now=True)

    def advance(self, done: int) -> None:
        """So many units of the step are done."""
        self.tell(self._step.model_copy(update={"done": done}))

    def tell(self, step: Step, *, now: bool = False) -> None:
        """Send a step, unless one was sent a moment ago."""
        new = now or step.stage != self._step.stage
        self._step = step
        if new or time.monotonic() - self._last >= self._every_s:
            self._last = time.monotonic()
            self.send(Event(step=step))

    def send(self, event: Event) -> None:
        """Send one event at once."""
        self._line.write(json.dumps(event.model_dump(exclude_none=True)) + "\n")
        self._line.flush()


def run(folder: Path) -> int:
    """Carry out the order of a folder; the exit status says how it went. ``result.json`` is there only after success."""
    line = _private_stdout()
    _end_with_the_server()
    _log_for("")
    teller = Teller(line)
    try:
        with _alone(folder):
            from curator.jobs.tasks import carry_out

            work = Work.load(folder)
            _log_for(work.call.get("request_id", ""))
            os.environ.update({"TRACEPARENT": found} if (found := work.call.get("traceparent")) else {})
            work.enter(folder)
            carry_out(work, folder, teller).save(folder)
    except CuratorError as error:
        log.exception("the job failed")
        teller.send(Event(failure=Failure(code=error.code, message=str(error))))
        return FAILED
    except Exception:  # the edge of the process: the operator finds the traceback in the log
        log.exception("the job broke")
        return BROKEN
    return DONE


def _log_for(request_id: str) -> None:
    """Every line of the log names the request that the work is done for."""
    name = f"[{re.sub(r'[^A-Za-z0-9._:-]', '-', request_id)}] " if request_id else ""
    form = f"%(asctime)s %(levelname)s %(name)s {name}%(message)s"
    logging.basicConfig(level=logging.INFO, format=form, force=True)


def _private_stdout() -> IO[str]:
    """The standard output under a descriptor of its own; prints of libraries go to standard error from now on."""
    private = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return private


def _end_with_the_server() -> None:
    descriptor = sys.stdin.fileno()

    def wait() -> None:
        while os.read(descriptor, 1):  # not through sys.stdin, whose lock would end the interpreter badly
            pass
        if os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)  # processes of ours too
        os._exit(BROKEN)

    threading.Thread(target=wait, name="curator-server-watch", daemon=True).start()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder; a worker of a killed server gets a moment to leave it."""
    deadline = time.monotonic() + _LOCK_S
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(exclusive(folder, "this job"))
                break
            except ConfigError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_EVERY_S)
        yield
