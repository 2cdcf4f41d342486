"""A neuron set of a tiny model, from atlases to artifact, made once a session."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from curator.neuronset.artifact import NeuronSet
from curator.neuronset.build import build_neuron_set
from curator.rosetta.neurons import RosettaNeurons, find_rosetta_neurons
from curator.settings import MatchSettings, NeuronSetSettings
from tests.atlas.core_world import make_atlas, make_backbone, make_corpus

SET_SETTINGS = NeuronSetSettings(max_neurons=12, min_neurons=4)
TARGETS = ("digits", "letters")


@cache
def make_rosetta(anchor: str, root: Path) -> RosettaNeurons:
    """Rosetta neurons of one of the three tiny models over the other two."""
    peers = [make_atlas(kind, root) for kind in ("gpt2", "gpt_neox", "llama") if kind != anchor]
    return find_rosetta_neurons(make_atlas(anchor, root), peers, MatchSettings())


@cache
def make_set(root: Path, anchor: str = "gpt2") -> NeuronSet:
    """A set for two targets, in memory."""
    return build_neuron_set(
        make_backbone(anchor, root), make_rosetta(anchor, root), make_corpus(), TARGETS,
        name="tiny", settings=SET_SETTINGS, match_settings=MatchSettings(),
    )  # fmt: skip
