"""Where a neuron set is, by its path or its name, and which model it was made for.

Names are those of folders under ``$CURATOR_HOME/neuron-sets``. Cost: a look at the disk. It reads no set and loads no model.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from curator.errors import ArtifactNotFoundError, ConfigError
from curator.files import curator_home

if TYPE_CHECKING:
    from curator.neuronset.artifact import NeuronSetManifest
    from curator.neuronset.identify import ModelChoice

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def neuron_set_folder(name: str) -> Path:
    """Where a set of this name is kept. Raises ConfigError for a name that is not plain."""
    if not _PLAIN_NAME.fullmatch(name):
        raise ConfigError(f"{name!r} cannot name a neuron set; use letters, digits, dots, dashes and underscores.")
    return curator_home() / "neuron-sets" / name


def find_neuron_set(place: str) -> Path:
    """The folder of a set that is named by its path or by its name. Raises ArtifactNotFoundError when there is none."""
    path = Path(place).expanduser()
    if path.is_dir():
        return path
    kept = neuron_set_folder(place) if _PLAIN_NAME.fullmatch(place) else path
    if not kept.is_dir():
        raise ArtifactNotFoundError(f"There is no neuron set at {kept}; make one with `curator identify`.")
    return kept


def model_of(manifest: NeuronSetManifest, *, device: str, dtype: str) -> ModelChoice:
    """The model that a set was made for, at its revision where it came from the hub."""
    from curator.neuronset.identify import ModelChoice
    from curator.zoo.catalog import PREFIX

    local = manifest.model.startswith(PREFIX) or Path(manifest.model).expanduser().is_dir()
    return ModelChoice(manifest.model, None if local else manifest.revision, dtype, device)
