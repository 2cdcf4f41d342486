"""Where the atlases of a verb come from: a folder that holds one, one that is kept from before, or a pass over the probe text.

A word on the command line that is the folder of an atlas stands for that atlas, whatever machine built it; any other word is
a model. Atlases that are all given as folders need no model and no probe corpus. Finding a kept atlas by its model's name
reads manifests only. It does not know what atlases are used for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from curator.cli import options
from curator.errors import ArtifactError, ArtifactNotFoundError, ConfigError
from curator.files import read_json

if TYPE_CHECKING:
    from curator.atlas.store import Atlas
    from curator.neuronset.identify import ModelChoice, Reporter
    from curator.settings import AtlasSettings
    from curator.text.probe import ProbeCorpus


@dataclass(frozen=True, slots=True)
class AtlasSource:
    """How atlases are found or built: from ``probe`` under ``settings``, models loaded on ``device`` as ``dtype``."""

    probe: options.ProbeChoice
    settings: AtlasSettings
    device: str = "auto"
    dtype: str = "auto"

    def corpus(self, places: Sequence[str], reporter: Reporter) -> ProbeCorpus | None:
        """The probe corpus that the models among the places read; None when all places are atlases.

        Raises ConfigError when a probe corpus is named beside atlases alone, or when it is missing for a model.
        """
        if any(atlas_in(place) is None for place in places):
            return self.probe.build(reporter)
        if self.probe.file or self.probe.domains:
            raise ConfigError("The atlases say what probe corpus they are of; leave --probe and --domain out.")
        return None

    def atlases(self, places: Sequence[str], corpus: ProbeCorpus | None, reporter: Reporter) -> list[Atlas]:
        """The atlas of every place, in order; models without one are read over the probe corpus, one at a time.

        ``corpus`` is that of ``corpus(places)``. Raises what loading and building raise.
        """
        from curator.atlas.store import load_atlas
        from curator.neuronset.identify import atlas_of

        found = {}
        for place in dict.fromkeys(places):
            folder = atlas_in(place)
            if folder is None and corpus is not None:
                found[place], _ = atlas_of(self.model(place), corpus, self.settings, options.atlas_folder(), reporter)
            else:
                reporter.stage(f"reading {place}")
                found[place] = load_atlas(folder or Path(place))
        return [found[place] for place in places]

    def model(self, place: str) -> ModelChoice:
        """A model as the user names it, to be loaded where the options say."""
        return options.model_choice(place, device=self.device, dtype=self.dtype)


def atlas_in(place: str) -> Path | None:
    """The folder that ``place`` names when it holds an atlas, finished or damaged; None for everything else."""
    folder = Path(place).expanduser()
    return folder if options.holds(folder, "curator-atlas") else None


def model_behind(place: str, atlas: Atlas) -> str:
    """The name that loads the model of an atlas: ``place`` itself where it names a model, else what the manifest says."""
    from curator.zoo.catalog import PREFIX

    if atlas_in(place) is None:
        return place
    model, revision = atlas.manifest.model, atlas.manifest.revision
    local = model.startswith(PREFIX) or Path(model).expanduser().is_dir()
    return model if local else f"{model}@{revision}"


def existing_atlas(place: str, corpus: ProbeCorpus, settings: AtlasSettings) -> Atlas:
    """The atlas at a folder, or the one kept from before for a model of this name on this corpus under these settings.

    Raises ArtifactNotFoundError when there is none; nothing is built.
    """
    from curator.atlas.store import load_atlas

    folder = atlas_in(place)
    if folder is not None:
        return load_atlas(folder)
    name, _, revision = place.partition("@") if not Path(place).is_dir() else (place, "", "")
    wanted = {
        "model": name,
        "probe_fingerprint": corpus.fingerprint,
        "settings": settings.model_dump(mode="json"),
        **({"revision": revision} if revision else {}),
    }
    if found := _kept(wanted):
        return load_atlas(found)
    raise ArtifactNotFoundError(
        f"There is no atlas of {place} on this probe corpus under these settings; build it with `curator atlas build {place}`."
    )


def kept_atlas_fingerprint(model: ModelChoice, corpus: ProbeCorpus, settings: AtlasSettings) -> str:
    """Fingerprint of the atlas of a model that identification would find kept; empty without one. No weights are loaded."""
    from curator.atlas.store import load_atlas
    from curator.lm.backbone import computing_device, computing_dtype

    wanted = {
        "model_fingerprint": model.fingerprint(),
        "dtype": str(computing_dtype(model.dtype, computing_device(model.device))).removeprefix("torch."),
        "probe_fingerprint": corpus.fingerprint,
        "settings": settings.model_dump(mode="json"),
    }
    found = _kept(wanted)
    try:
        return load_atlas(found).fingerprint if found else ""
    except ArtifactError:  # damaged: it will be built again
        return ""


def _kept(wanted: dict[str, object]) -> Path | None:
    """The folder of the first kept atlas whose manifest says all of this."""
    manifests = sorted(options.atlas_folder().glob("*/manifest.json"))
    return next((manifest.parent for manifest in manifests if _agrees(manifest, wanted)), None)


def _agrees(manifest: Path, wanted: dict[str, object]) -> bool:
    try:
        stored = read_json(manifest)
    except ArtifactError:
        return False
    return isinstance(stored, dict) and all(stored.get(name) == value for name, value in wanted.items())
