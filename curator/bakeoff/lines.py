"""Finished steps of a bake-off in a file of JSON lines, each filed under what it was made of, so that a stopped run goes on.

A line is written whole or, when the process is killed, in part; the part is taken away when the file is read again. Lines of
another identity are left where they are and not read. Cost: reading the file once. It does not know what a step is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from curator.errors import ArtifactError

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
