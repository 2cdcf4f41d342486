"""What a user sees when something fails: one sentence with a stable code on standard error, and an exit status.

    error [FINGERPRINT_MISMATCH]: The neuron set 'law' was made for ...

Exit status 2 for a wrong setting or option, 1 for everything else that we foresee, 130 for Ctrl-C, 141 when whoever read our
output has left (``| head``), as after SIGPIPE. Foreseen are our own errors, settings that pydantic refuses, an engine library
that is not installed, and what the operating system refuses (no space, no permission). Anything else is a bug and keeps its
traceback, which is what a report of it needs. ``--verbose`` twice shows the traceback of foreseen errors too.
"""

from __future__ import annotations

import logging
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from curator.cli.typed import FIELD_OPTIONS, as_typed
from curator.errors import ConfigError, CuratorError, MissingExtraError
from curator.mistakes import plain

INTERRUPTED, CLOSED_PIPE = 130, 141
_STDOUT = 1
_ENGINE = ("datasets", "faiss", "jinja2", "matplotlib", "numpy", "pyarrow", "safetensors", "scipy", "sklearn", "torch")
_EXTRA_OF = {
    **dict.fromkeys((*_ENGINE, "huggingface_hub", "tokenizers", "transformers"), "engine"),
    **dict.fromkeys(("grpc_health", "grpc_reflection", "grpc_status", "prometheus_client"), "server"),
}
log = logging.getLogger(__name__)


class ReportingGroup(TyperGroup):
    """A group of verbs that turns their exceptions into a sentence and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb. Raises typer.Exit in place of what is foreseen; a closed pipe stays what it is (``| head``)."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            typer.echo("interrupted; what was finished is kept, and the same command goes on from it", err=True)
            raise typer.Exit(INTERRUPTED) from error
        except (CuratorError, ValidationError, ModuleNotFoundError, OSError) as error:
            problem = foreseen(error)
            if problem is None:
                raise
            log.debug("the command failed", exc_info=error)
            sentence = as_typed(" ".join(str(problem).split()), self.commands.get(ctx.invoked_subcommand or ""))
            typer.echo(f"error [{problem.code}]: {sentence}", err=True)
            raise typer.Exit(2 if isinstance(problem, ConfigError) else 1) from error


@contextmanager
def quiet_when_nobody_reads() -> Iterator[None]:
    """End with status 141 and no word when standard output is a pipe that was closed, whichever library wrote to it."""
    output = os.dup(_STDOUT)
    try:
        yield
    except (BrokenPipeError, SystemExit) as error:
        broken = any(isinstance(one, BrokenPipeError) for one in (error, error.__context__)) or not _flushed()
        if not (broken and _is_closed(output)):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)  # the interpreter flushes once more
        raise SystemExit(CLOSED_PIPE) from None
    finally:
        os.close(output)


def _flushed() -> bool:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return False
    return True


def _is_closed(pipe: int) -> bool:
    """Whether nobody holds the other end; a pipe to a worker of ours that broke is another matter."""
    watch = select.poll()
    watch.register(pipe, 0)
    return any(event & select.POLLERR for _, event in watch.poll(0))


def foreseen(error: Exception) -> CuratorError | None:
    """The error as one of ours, or None when it is not one that users should meet as a sentence."""
    if isinstance(error, CuratorError):
        return error
    if isinstance(error, ValidationError):
        return _wrong_setting(error)
    if isinstance(error, ModuleNotFoundError):
        return _missing_library(error)
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        where = f" ({error.filename})" if error.filename else ""
        return CuratorError(f"The operating system refused: {error.strerror or error}{where}; free or allow it.")
    return None


def _wrong_setting(error: ValidationError) -> ConfigError:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]] or [error.title]
    name = FIELD_OPTIONS.get(f"{error.title}.{path[0]}") or FIELD_OPTIONS.get(path[0]) or ".".join(path)
    return ConfigError(f"{name} is wrong: {plain(first['msg'])}; correct that value.")


def _missing_library(error: ModuleNotFoundError) -> MissingExtraError | None:
    library = (error.name or "").partition(".")[0]
    extra = _EXTRA_OF.get(library)
    if extra is None:
        return None
    return MissingExtraError(
        f"This needs {library}, which is not installed; run: pip install 'rosetta-curator[{extra}]'."
    )
