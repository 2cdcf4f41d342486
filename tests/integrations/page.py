"""The examples of docs/integrations.md, to be run as they stand there, but for the target of the small set."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "integrations.md"


def examples(section: str) -> list[str]:
    """The Python blocks of a section, in order."""
    text = PAGE.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [block.replace('"biomedical"', '"digits"') for block in re.findall(r"```python\n(.*?)```", text, re.S)]


def run(example: str) -> dict[str, object]:
    """Run an example; returns the names that it leaves."""
    names: dict[str, object] = {"__name__": "example"}
    exec(compile(example, str(PAGE), "exec"), names)
    return names
