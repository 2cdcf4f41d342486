"""Optional dependencies of the text room, imported when a source first needs them.

The base install reads JSONL alone; everything else names the command that installs what is missing.
"""

from __future__ import annotations

import importlib
from typing import Any

from curator.errors import MissingExtraError


def require(module: str) -> Any:
    """Import an optional dependency. Raises MissingExtraError with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".", maxsplit=1)[0]
        message = f"This source needs {package}; install it with: pip install 'rosetta-curator[engine]'."
        raise MissingExtraError(message) from error
