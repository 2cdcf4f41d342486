"""Finds the bundled models: ``zoo:neox-128x4`` to a folder of the installed package.

The weights are package data beside this file, one folder a model, as ``train_zoo`` leaves them. ``resolve_model`` turns a
``zoo:`` name into a path and leaves every other name alone, so callers put it in front of whatever loads a model. Cost: a
look at the folder. It reads no weights and needs neither torch nor transformers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curator.errors import ModelNotFoundError
from curator.files import read_json
from curator.zoo.recipe import zoo_models

PREFIX = "zoo:"
WEIGHTS = Path(__file__).parent / "weights"
_LOG = "training.json"


def bundled_models(weights: Path = WEIGHTS) -> list[str]:
    """Names of the models that are really there, without the prefix, the cheapest first."""
    return [model.name for model in zoo_models() if (weights / model.name / _LOG).is_file()]


def zoo_path(name: str, weights: Path = WEIGHTS) -> Path:
    """Folder of a bundled model, named with or without ``zoo:``. Raises ModelNotFoundError for a name that is not there."""
    plain = name.removeprefix(PREFIX)
    bundled = bundled_models(weights)
    if plain not in bundled:
        there = ", ".join(bundled) or "no model at all"
        raise ModelNotFoundError(f"The zoo has no model {plain!r}; it has {there}.")
    return weights / plain


def resolve_model(name: str, weights: Path = WEIGHTS) -> str:
    """A name that ``load_backbone`` takes: the folder for ``zoo:NAME``, anything else as it is."""
    return str(zoo_path(name, weights)) if name.startswith(PREFIX) else name


def training_log(name: str, weights: Path = WEIGHTS) -> dict[str, Any]:
    """What ``train_zoo`` recorded of a bundled model: recipe version, seed, tokens, loss curve, held-out loss.

    Raises:
        ModelNotFoundError: no such model.
        ArtifactError: the log is damaged.
    """
    return read_json(zoo_path(name, weights) / _LOG)
