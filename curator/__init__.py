"""Choose continued-pretraining data by the neurons that independently trained language models share.

``import curator`` loads nothing else; ``curator.filter_dataset`` and its friends are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from curator.version import __version__

if TYPE_CHECKING:
    from curator.filtering.output import OutputOptions
    from curator.filtering.policy import Policy, TargetShare
    from curator.offline import filter_dataset, reselect_dataset
    from curator.text.rows import SourceOptions

_HOMES = {
    "filter_dataset": "curator.offline",
    "reselect_dataset": "curator.offline",
    "OutputOptions": "curator.filtering.output",
    "Policy": "curator.filtering.policy",
    "TargetShare": "curator.filtering.policy",
    "SourceOptions": "curator.text.rows",
}
__all__ = [
    "OutputOptions",
    "Policy",
    "SourceOptions",
    "TargetShare",
    "__version__",
    "filter_dataset",
    "reselect_dataset",
]


def __getattr__(name: str) -> Any:
    """Load a public name from where it lives."""
    if name not in _HOMES:
        raise AttributeError(f"module 'curator' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
