"""A whole bake-off: text, neurons, readings, contests, continued pretraining; every finished step is on disk.

``prepare`` makes what all contests share, ``retrieve`` runs the contests, ``pretrain`` the continued pretraining. Killed at any
moment, the same call goes on. The world is written down first, for embedded text follows the installation: a package that is
installed between two calls would otherwise change the pool. Cost: see the parts. It prints nothing and draws no page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curator import fingerprint
from curator.atlas.store import Atlas
from curator.bakeoff.ablation import Ablated, ablate
from curator.bakeoff.contest import Results, run_contests
from curator.bakeoff.entrants import Populations, all_selectors, perplexity_difference, singles
from curator.bakeoff.language import CausalModel, load_causal
from curator.bakeoff.lines import kept
from curator.bakeoff.neurons import NeuronViews
from curator.bakeoff.reading import Reading, read_documents
from curator.bakeoff.selectors import Selector
from curator.bakeoff.settings import BakeoffSettings
from curator.bakeoff.tasks import SHORT_CHARS, Regime, Task, draw_task, regimes, targets_of
from curator.bakeoff.texts import TextViews
from curator.bakeoff.world import Use, World, build_bakeoff_probe, cut, kept_world
from curator.errors import ConfigError
from curator.lm.backbone import Backbone
from curator.neuronset.identify import ModelChoice, Reporter, atlas_of
from curator.rosetta.neurons import find_rosetta_neurons
from curator.settings import AtlasSettings, MatchSettings, NeuronSetSettings

BROAD_NEIGHBOURS = 5
GENERAL_DOCUMENTS = 3


@dataclass(frozen=True, eq=False)
class Field:
    """What one kind of documents (whole, or their beginnings) is contested on."""

    texts: TextViews
    neurons: NeuronViews
    selectors: tuple[Selector, ...]
    dear: tuple[Selector, ...]
    """Selectors that run for one seed and few regimes."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """All that contests share; rows are of the examples, then of the pool."""

    settings: BakeoffSettings
    world: World
    backbone: Backbone
    causal: CausalModel
    atlas: Atlas
    populations: Populations
    domain_D: np.ndarray
    in_pool_D: np.ndarray
    sources: tuple[str, ...]
    fields: Mapping[bool, Field]
    """By whether documents are cut short."""

    @property
    def identity(self) -> str:
        """Fingerprint of settings, the product's own among them, of texts and model."""
        dials = [self.settings.model_dump_json(), NeuronSetSettings().model_dump_json()]
        return fingerprint.of_parts([*dials, self.world.fingerprint, self.backbone.fingerprint])[:24]

    def tasks(self) -> list[Task]:
        """All contests, regime by regime."""
        return [task for regime in regimes(self.settings) for task in self.tasks_of(regime)]

    def tasks_of(self, regime: Regime) -> list[Task]:
        """The contests of one regime; targets with too few examples have none."""
        drawn = (
            draw_task(regime, target, seed, self.domain_D, self.in_pool_D, self.settings)
            for target in targets_of(regime, self.world.domains, self.settings)
            for seed in self.settings.seeds
        )
        return [task for task in drawn if task is not None]

    def selectors(self, task: Task) -> Sequence[Selector]:
        """Who takes part in a contest."""
        field = self.fields[task.regime.short]
        dear = task.seed == self.settings.seeds[0] and task.regime.name in {"k10", "k40"}
        return (*field.selectors, *field.dear) if dear else field.selectors


def prepare(
    domains: Mapping[str, Sequence[str]], settings: BakeoffSettings, folder: Path, reporter: Reporter
) -> Prepared:
    """Read the text, match the anchor with its peers, read the documents; what is in ``folder`` is not made again.

    Raises ConfigError for a target that is no domain, and what building worlds, atlases and neuron sets raises.
    """
    for name in (*settings.targets, *settings.unseen):
        if name not in domains:
            raise ConfigError(f"The bake-off has no domain {name!r}; its domains are {', '.join(domains)}.")
    reporter.stage("reading the text")
    world = kept_world(domains, settings.pool, folder)
    corpus = build_bakeoff_probe(world, settings.probe, folder / "probe")
    dials = AtlasSettings(
        sketch_dimensions=settings.probe.sketch_dimensions, held_back_spans=settings.probe.held_back_spans
    )
    peers = [
        atlas_of(ModelChoice.parse(name), corpus, dials, folder / "atlases", reporter)[0] for name in settings.peers
    ]
    atlas, backbone = atlas_of(ModelChoice.parse(settings.anchor), corpus, dials, folder / "atlases", reporter)
    reporter.stage("matching neurons")
    paper, broad = (
        find_rosetta_neurons(atlas, peers, MatchSettings(neighbours=count)) for count in (1, BROAD_NEIGHBOURS)
    )
    populations = Populations.of(paper, broad.index, settings.pool.seed)
    chosen = singles(populations, atlas, world.domains)
    causal = load_causal(backbone, settings.anchor)
    documents = [*world.of(Use.EXAMPLES), *world.of(Use.POOL)]
    domain_D = np.asarray([document.domain for document in documents])
    in_pool_D = np.arange(len(documents)) >= len(world.parts[Use.EXAMPLES])
    fields = {}
    for short in sorted({regime.short for regime in regimes(settings)}):
        reporter.stage("reading documents" + (" cut short" if short else ""), len(documents))
        shown = [cut(document, SHORT_CHARS) for document in documents] if short else documents
        reading = read_documents(
            backbone, causal, shown, folder / "readings", skip_tokens=dials.skip_tokens, progress=reporter.advance
        )
        fields[short] = _field(settings, reading, in_pool_D, domain_D, populations, chosen, causal, atlas)
    return Prepared(
        settings,
        world,
        backbone,
        causal,
        atlas,
        populations,
        domain_D,
        in_pool_D,
        tuple(document.source for document in documents),
        fields,
    )


def _field(
    settings: BakeoffSettings,
    reading: Reading,
    in_pool_D: np.ndarray,
    domain_D: np.ndarray,
    populations: Populations,
    chosen: dict[str, dict[str, tuple[int, int]]],
    causal: CausalModel,
    atlas: Atlas,
) -> Field:
    skip_tokens = atlas.manifest.settings.skip_tokens
    unlabelled = np.flatnonzero(in_pool_D)
    texts = TextViews([document.text for document in reading.documents], unlabelled)
    neurons = NeuronViews(reading, unlabelled)
    selectors = all_selectors(
        texts, neurons, domain_D, populations, chosen, NeuronSetSettings(), gated=atlas.manifest.gated
    )
    dear = (perplexity_difference(causal, texts, skip_tokens),) if settings.dear else ()
    return Field(texts, neurons, tuple(selectors), dear)


def retrieve(prepared: Prepared, folder: Path, reporter: Reporter) -> Results:
    """Run all contests that have not been run."""
    results = Results(folder / "results.jsonl", prepared.identity)
    tasks = prepared.tasks()
    reporter.stage("contests", len(tasks))
    run_contests(
        tasks,
        prepared.selectors,
        lambda task: prepared.fields[task.regime.short].texts,
        prepared.sources,
        results,
        reporter.advance,
    )
    return results


def ablations(prepared: Prepared, folder: Path, reporter: Reporter) -> list[Ablated]:
    """What zeroing neurons does to the loss, for every target; kept in ``folder`` when all are done."""
    world, targets = prepared.world, prepared.settings.targets or prepared.world.domains

    def measured() -> list[dict[str, Any]]:
        reporter.stage("zeroing neurons", len(targets))
        found: list[Ablated] = []
        for done, target in enumerate(targets):
            texts = world.test_texts(target, GENERAL_DOCUMENTS)
            found += ablate(prepared.causal, prepared.atlas, prepared.populations.broad_N, target, *texts)
            reporter.advance(done + 1)
        return [one.model_dump() for one in found]

    return [Ablated.model_validate(one) for one in kept(folder / "ablation.json", prepared.identity, measured)]
