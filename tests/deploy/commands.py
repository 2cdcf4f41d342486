"""The commands of ``deploy/`` as a container would run them, taken from its files and run here."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from curator_server import app as server_app
from curator_server.settings import ServerSettings
from typer.testing import CliRunner

from curator.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "deploy/Dockerfile"
USER = 10001
_RUN = {
    "curator": "from curator.cli.main import run; run()",
    "curator-client": "from curator_client.cli import run; run()",
}


@cache
def instructions() -> tuple[tuple[str, str], ...]:
    """The Dockerfile's last stage: pairs of instruction and argument, in order."""
    text = re.sub(r"\\\n", " ", "\n".join(line for line in DOCKERFILE.read_text().splitlines() if line[:1] != "#"))
    found = [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]
    last = max(place for place, (name, _) in enumerate(found) if name == "FROM")
    return tuple((name, argument) for name, argument in found[last:])


def environment_of_image() -> dict[str, str]:
    """What ENV sets."""
    values = [argument for name, argument in instructions() if name == "ENV"]
    return dict(word.split("=", 1) for value in values for word in shlex.split(value))


def exec_form(name: str) -> list[str]:
    """The words of an instruction in exec form. Raises ValueError for the shell's form."""
    import json

    (argument,) = [value for found, value in instructions() if found == name]
    return json.loads(argument[argument.index("[") :])


def as_image(words: Sequence[str], root: Path, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Arguments of ``subprocess`` that run a command of the image here: its environment, its user, its folders below ``root``."""
    name, *rest = words
    inside = {key: below(value, root) for key, value in (environment_of_image() | dict(environment or {})).items()}
    here = {key: os.environ[key] for key in ("PYTHONPATH", "PATH", "LANG") if key in os.environ}
    command = [sys.executable, "-c", _RUN[name], *(below(word, root) for word in rest)]
    for folder in ("var/lib/curator", "models", "tmp"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    return {
        "args": [*_other_user(), *command],
        "env": inside | here | {"TMPDIR": str(root / "tmp"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        "cwd": root / "var/lib/curator",
        "text": True,
    }


def below(text: str, root: Path) -> str:
    """A word with the container's folders in it moved below ``root``."""
    folders = r"(?<![\w.])/(var/lib/curator|models|samples|shards|neuron-sets|etc/curator)(?=/|$)"
    return re.sub(folders, lambda match: str(root / match[1]), text)


@cache
def _other_user() -> tuple[str, ...]:
    """What runs a command as the image's user without privileges, where this process may arrange that.

    As root: in a user namespace in which we are that user; the kernel still sees the owner of the files, without its powers.
    """
    if os.getuid() != 0:
        return ()
    prefix = ("unshare", "--user", f"--map-user={USER}", f"--map-group={USER}")
    try:
        done = subprocess.run([*prefix, "id", "-u"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ()
    return prefix if done.stdout.strip() == str(USER) else ()


def other_user() -> bool:
    """Whether ``as_image`` runs commands as the image's user."""
    return bool(_other_user())


def parsed_serve(words: Sequence[str], root: Path) -> ServerSettings:
    """The settings that ``curator serve`` would run with, after its own parser; nothing is loaded or opened."""
    seen: list[ServerSettings] = []
    with (
        mock.patch.object(server_app, "serve", lambda settings, *_, **__: seen.append(settings)),
        mock.patch.object(ServerSettings, "check_files"),
        mock.patch("curator.cli.serve_cmd.find_neuron_set", Path),
        mock.patch("curator.serving.SetShelf.open", lambda *_: []),
    ):
        result = CliRunner().invoke(app, [below(word, root) for word in words])
    assert result.exit_code == 0, result.output
    return seen[0]


def free_port() -> int:
    """A port that nobody listens on now, below those that the system gives to outgoing connections, so that it stays free."""
    for port in Random().sample(range(20_000, 30_000), 100):
        with socket.socket() as found:
            try:
                found.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port among a hundred")


@contextmanager
def running(arguments: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """A process for the length of the block; killed at its end if it still runs."""
    process = subprocess.Popen(**arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
