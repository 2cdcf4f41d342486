"""Finished steps of a bake-off on disk, each filed under what it was made of, so that a stopped run goes on.

Many steps are lines of a file, a single one is a file of its own (``kept``). A line is written whole or, when the process is
killed, in part; the part is taken away when the file is read again. What is of another identity is not read. Cost: reading the
file once. It does not know what a step is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from curator.errors import ArtifactError
from curator.files import read_json, write_json

_OF = "of"


def add_line(path: Path, identity: str, value: Mapping[str, Any]) -> None:
    """Write one finished step behind the others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps({_OF: identity, **value}) + "\n")


def read_lines(path: Path, identity: str) -> Iterator[dict[str, Any]]:
    """The steps of one bake-off in their order; none without a file. Raises ArtifactError for a line that is no JSON."""
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    if lines and not lines[-1].endswith(b"\n"):
        with path.open("r+b") as handle:
            handle.truncate(sum(map(len, lines[:-1])))
        lines.pop()
    for number, line in enumerate(lines):
        try:
            value: dict[str, Any] = json.loads(line)
        except json.JSONDecodeError as error:
            raise ArtifactError(f"{path}:{number + 1} is damaged; remove the file and run again.") from error
        if value.pop(_OF, None) == identity:
            yield value


def kept(path: Path, identity: str, make: Callable[[], Any]) -> Any:
    """The JSON value that ``path`` has of this bake-off, else what ``make`` returns, which is then written there."""
    stored = read_json(path) if path.is_file() else {}
    if stored.get(_OF) == identity:
        return stored["found"]
    found = make()
    write_json(path, {_OF: identity, "found": found})
    return found
