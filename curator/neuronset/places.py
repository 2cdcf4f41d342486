"""Where a neuron set is, by its path or its name, and which model it was made for.

Names are those of folders under ``$CURATOR_HOME/neuron-sets``. Cost: a look at the disk. It reads no set and loads no model.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from curator.errors import ArtifactNotFoundError, ConfigError
from curator.files import curator_home, is_partial
from curator.mistakes import suggestion

if TYPE_CHECKING:
    from curator.neuronset.artifact import NeuronSetManifest
    from curator.neuronset.identify import ModelChoice

_SHOWN = 10
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def neuron_set_folder(name: str) -> Path:
    """Where a set of this name is kept. Raises ConfigError for a name that is not plain."""
    if not _PLAIN_NAME.fullmatch(name):
        raise ConfigError(f"{name!r} cannot name a neuron set; use letters, digits, dots, dashes and underscores.")
    return neuron_set_home() / name


def find_neuron_set(place: str) -> Path:
    """The folder of a set that is named by its path or by its name. Raises ArtifactNotFoundError when there is none."""
    path = Path(place).expanduser()
    if path.is_dir():
        return path
    kept = neuron_set_folder(place) if _PLAIN_NAME.fullmatch(place) else path
    if not kept.is_dir():
        raise ArtifactNotFoundError(f"There is no neuron set {place!r}{_what_there_is(place)}")
    return kept


def kept_neuron_sets() -> list[str]:
    """Names of the sets that are kept, sorted; finished ones only."""
    folders = (manifest.parent for manifest in neuron_set_home().glob("*/manifest.json"))
    return sorted(folder.name for folder in folders if not is_partial(folder))


def neuron_set_home() -> Path:
    """The folder of all sets that are kept by name."""
    return curator_home() / "neuron-sets"


def _what_there_is(place: str) -> str:
    """The end of the sentence that a set is missing: the nearest name, or how to make one."""
    names = kept_neuron_sets()
    if not names:
        return f"; {neuron_set_home()} holds none, make one with `curator identify`."
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return f"{suggestion(Path(place).name, names) or ';'} `curator list` shows those that are kept: {shown}."


def model_of(manifest: NeuronSetManifest, *, device: str, dtype: str) -> ModelChoice:
    """The model that a set was made for, at its revision where it came from the hub."""
    from curator.neuronset.identify import ModelChoice
    from curator.zoo.catalog import PREFIX

    local = manifest.model.startswith(PREFIX) or Path(manifest.model).expanduser().is_dir()
    return ModelChoice(manifest.model, None if local else manifest.revision, dtype, device)
