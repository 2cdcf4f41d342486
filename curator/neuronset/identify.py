"""The main job up to the neuron set: atlases of the anchor and its peers, Rosetta neurons, a set for the target domains.

Atlases are kept in a folder under a name made of model, tokenizer, probe corpus and settings, so a second run, another target
or a new peer reads what exists and runs only the models that are new: that is how sets are regenerated for new model sizes.
One model is in memory at a time. Cost: a forward pass per new model, then seconds. It does not know what the set will filter.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import torch

from curator import fingerprint
from curator.atlas.build import build_atlas
from curator.atlas.store import Atlas, load_atlas
from curator.errors import ArtifactError, ConfigError
from curator.lm.backbone import Backbone, load_backbone, model_fingerprint
from curator.lm.shape import model_shape
from curator.neuronset.artifact import NeuronSet
from curator.neuronset.build import build_neuron_set, documents_read
from curator.neuronset.request import require_depth, require_targets
from curator.neuronset.workers import build_with_workers
from curator.rosetta.neurons import RosettaNeurons, find_rosetta_neurons, require_different
from curator.settings import AtlasSettings, MatchSettings, NeuronSetSettings
from curator.text.probe import ProbeCorpus
from curator.zoo.catalog import PREFIX, resolve_model

log = logging.getLogger(__name__)
_UNTRAINED = re.compile(r"untrained(?:-(\d+))?:(.+)")


class Reporter(Protocol):
    """Hears of long work: ``stage`` opens a step of ``total`` units, ``advance`` says how many of them are done."""

    def stage(self, title: str, total: int | None = None) -> None:
        """A new step begins."""
        ...

    def advance(self, done: int) -> None:
        """So many units of the step are done."""
        ...


class Silent:
    """A reporter that says nothing."""

    def stage(self, title: str, total: int | None = None) -> None:
        """Nothing."""

    def advance(self, done: int) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model as the user names it: a hub name, a folder or ``zoo:NAME``, with ``@revision`` after a hub name.

    With ``untrained:`` before it, or ``untrained-3:`` for other random numbers, it is the control: tokenizer and configuration
    of that model, weights as the architecture's own initialisation draws them.
    """

    name: str
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    draw: int | None = None
    """Which untrained control it is; None for the trained model."""

    @classmethod
    def parse(cls, text: str, *, dtype: str = "auto", device: str = "auto") -> ModelChoice:
        """Read ``NAME`` or ``NAME@REVISION``; a folder that exists is never cut at an ``@``."""
        control = _UNTRAINED.fullmatch(text)
        draw = None if control is None else int(control[1] or 0)
        text = text if control is None else control[2]
        name, separator, revision = text.partition("@")
        if not separator or Path(text).is_dir():
            return cls(text, None, dtype, device, draw)
        if not name or not revision:
            raise ConfigError(f"The model {text!r} is not of the form NAME or NAME@REVISION.")
        return cls(name, revision, dtype, device, draw)

    @property
    def shown(self) -> str:
        """The name with what makes it a control."""
        if self.draw is None:
            return self.name
        return f"untrained{f'-{self.draw}' if self.draw else ''}:{self.name}"

    def for_worker(self, worker: int) -> ModelChoice:
        """The same model on the GPU of a worker that counts from 0, where there are GPUs and none is named."""
        if self.device in {"auto", "cuda"} and torch.cuda.is_available():
            return replace(self, device=f"cuda:{worker % torch.cuda.device_count()}")
        return self

    @property
    def _seed(self) -> int | None:
        # The name enters the seed: architectures that draw the same shapes must not share random numbers.
        return None if self.draw is None else int(fingerprint.of_parts([self.name, str(self.draw)])[:8], 16)

    def fingerprint(self) -> str:
        """Fingerprint of configuration and weights, without loading them. Raises as ``load_backbone`` does."""
        return model_fingerprint(resolve_model(self.name), revision=self.revision, untrained=self._seed)

    def layers(self) -> int:
        """How many layers with neurons it has, from its configuration. Raises as ``meta_model`` does."""
        return len(model_shape(resolve_model(self.name), revision=self.revision).widths)

    def load(self) -> Backbone:
        """Load it. Raises as ``load_backbone`` does."""
        loaded = load_backbone(
            resolve_model(self.name), revision=self.revision, dtype=self.dtype, device=self.device, untrained=self._seed
        )
        return replace(loaded, name=self.shown) if self.name.startswith(PREFIX) or self.draw is not None else loaded


@dataclass(frozen=True, slots=True)
class IdentifySettings:
    """The dials of all stages of identification."""

    atlas: AtlasSettings = field(default_factory=AtlasSettings)
    match: MatchSettings = field(default_factory=MatchSettings)
    neuron_set: NeuronSetSettings = field(default_factory=NeuronSetSettings)


@dataclass(frozen=True, slots=True)
class Identified:
    """What identification found; ``neuron_set`` has no etag until it is saved."""

    backbone: Backbone
    rosetta: RosettaNeurons
    neuron_set: NeuronSet


def identify(
    anchor: ModelChoice,
    peers: Sequence[ModelChoice],
    corpus: ProbeCorpus,
    targets: Sequence[str],
    *,
    name: str,
    atlases: Path,
    settings: IdentifySettings,
    reporter: Reporter | None = None,
    workers: int = 1,
) -> Identified:
    """Find the anchor's Rosetta neurons across the peers and make a neuron set for the target domains.

    ``atlases`` is the folder where atlases are kept; ``workers`` processes make each that is missing. Raises ConfigError
    without a peer, for one model named twice, for more layers than there are or for a target that is no domain of the corpus,
    InsufficientDataError for a target with too few documents, all before a model is read; and what loading, building and
    choosing raise.
    """
    reporter = reporter or Silent()
    _check_request(anchor, peers, corpus, targets, settings.neuron_set)
    peer_atlases = [atlas_of(peer, corpus, settings.atlas, atlases, reporter, workers=workers)[0] for peer in peers]
    anchor_atlas, backbone = atlas_of(anchor, corpus, settings.atlas, atlases, reporter, workers=workers)
    reporter.stage("matching neurons", len(peers))
    done = iter(range(len(peers)))
    rosetta = find_rosetta_neurons(
        anchor_atlas, peer_atlases, settings.match, on_stage=lambda _: reporter.advance(next(done))
    )
    reporter.advance(len(peers))
    reporter.stage(f"choosing neurons for {', '.join(targets)}", documents_read(corpus, settings.neuron_set))
    neuron_set = build_neuron_set(
        backbone,
        rosetta,
        corpus,
        targets,
        name=name,
        settings=settings.neuron_set,
        match_settings=settings.match,
        progress=reporter.advance,
    )
    return Identified(backbone, rosetta, neuron_set)


def atlas_of(
    model: ModelChoice,
    corpus: ProbeCorpus,
    settings: AtlasSettings,
    folder: Path,
    reporter: Reporter,
    *,
    workers: int = 1,
) -> tuple[Atlas, Backbone]:
    """The model's atlas, from the folder where it is there and sound, else from a forward pass; and the loaded model.

    A pass that was killed is gone on from. ``workers`` processes make it together.
    """
    backbone = model.load()
    place = folder / atlas_name(backbone, corpus, settings)
    if place.is_dir():
        try:
            found = load_atlas(place)
        except ArtifactError:
            log.warning("damaged atlas is built again", extra={"path": str(place)})
        else:
            reporter.stage(f"atlas of {model.shown} (kept from before)")
            return found, backbone
    reporter.stage(f"atlas of {model.shown}", len(corpus.documents))
    if workers > 1:
        return build_with_workers(model, corpus, settings, place, workers, reporter), backbone
    atlas = build_atlas(backbone, corpus, settings, place, progress=lambda done, _: reporter.advance(done))
    return atlas, backbone


def atlas_name(backbone: Backbone, corpus: ProbeCorpus, settings: AtlasSettings) -> str:
    """Folder name of an atlas: the model's last name and a hash of everything that decides its numbers."""
    identity = fingerprint.of_parts(
        [
            backbone.fingerprint,
            backbone.tokenizer_fingerprint,
            str(backbone.dtype),
            str(backbone.max_tokens),
            corpus.fingerprint,
            settings.model_dump_json(),
        ]
    )
    return f"{backbone.name.rstrip('/').split('/')[-1].replace(':', '-')}-{identity[:16]}"


def _check_request(
    anchor: ModelChoice,
    peers: Sequence[ModelChoice],
    corpus: ProbeCorpus,
    targets: Sequence[str],
    settings: NeuronSetSettings,
) -> None:
    if not peers:
        raise ConfigError("Rosetta neurons need at least one peer model to match; name one with --peer.")
    require_targets(corpus, targets, settings)
    if settings.max_depth is not None:
        require_depth(anchor.shown, anchor.layers(), settings.max_depth)
    require_different([(model.shown, model.fingerprint()) for model in (anchor, *peers)])
