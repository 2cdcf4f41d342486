"""What a user sees when something fails: one sentence with a stable code on standard error, and an exit status.

    error [FINGERPRINT_MISMATCH]: The neuron set 'law' was made for ...

Exit status 2 for a wrong setting or option, 1 for everything else that we foresee, 130 for Ctrl-C. Foreseen are our own errors,
settings that pydantic refuses, an engine library that is not installed, and what the operating system refuses (no space, no
permission). Anything else is a bug and keeps its traceback, which is what a report of it needs. ``--verbose`` twice shows
the traceback of foreseen errors too.
"""

from __future__ import annotations

import logging
from typing import Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from curator.errors import ConfigError, CuratorError, MissingExtraError

INTERRUPTED = 130
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
            typer.echo("interrupted; nothing half-written remains", err=True)
            raise typer.Exit(INTERRUPTED) from error
        except (CuratorError, ValidationError, ModuleNotFoundError, OSError) as error:
            problem = foreseen(error)
            if problem is None:
                raise
            log.debug("the command failed", exc_info=error)
            typer.echo(f"error [{problem.code}]: {' '.join(str(problem).split())}", err=True)
            raise typer.Exit(2 if isinstance(problem, ConfigError) else 1) from error


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
    name = ".".join(str(part) for part in first["loc"]) or error.title
    return ConfigError(f"{name} is wrong: {first['msg'][:1].lower()}{first['msg'][1:]}; correct that value.")


def _missing_library(error: ModuleNotFoundError) -> MissingExtraError | None:
    library = (error.name or "").partition(".")[0]
    extra = _EXTRA_OF.get(library)
    if extra is None:
        return None
    return MissingExtraError(
        f"This needs {library}, which is not installed; run: pip install 'rosetta-curator[{extra}]'."
    )
