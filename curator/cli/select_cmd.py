"""``curator select``: a neuron set for other target domains, from atlases that exist.

This is the last third of ``identify``: no atlas is built, no peer is loaded; the anchor alone reads the probe documents once
more, to the deepest neuron chosen. What is missing is an error that names the verb which makes it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from curator.cli import options
from curator.cli.atlas_sources import existing_atlas, model_behind
from curator.cli.console import ConsoleReporter, say
from curator.cli.identify_cmd import require_replaceable, show_neuron_set


def select(
    anchor: Annotated[str, typer.Argument(help="Anchor: a model, or the folder of its atlas.", metavar="ANCHOR")],
    peer: Annotated[list[str], typer.Option(help="A peer model, or the folder of its atlas; repeat.", metavar="PEER")],
    target: Annotated[list[str], typer.Option(help="A domain to filter for; repeat.", metavar="DOMAIN")],
    model: Annotated[str | None, typer.Option(help="The anchor, where its atlas names a place that moved.")] = None,
    probe: options.ProbeFile = None,
    domain: options.Domains = None,
    tokens_per_domain: options.TokensPerDomain = None,
    name: Annotated[str | None, typer.Option(help="Name of the neuron set; the targets' names by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the set; $CURATOR_HOME/neuron-sets/NAME.")] = None,
    max_neurons: Annotated[int | None, typer.Option(help="Most neurons in the set.", min=1)] = None,
    max_depth: Annotated[int | None, typer.Option(help="Use the first so many layers only, for speed.", min=1)] = None,
    rule: Annotated[
        Literal["paper", "strict", "universal"] | None, typer.Option(help="Which Rosetta neurons to choose from.")
    ] = None,
    sketch_dimensions: options.SketchDimensions = None,
    seed: options.Seed = None,
    settings: options.SettingsFile = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
) -> None:
    """Choose neurons for other targets, from atlases that exist."""
    set_name = name or "-".join(target)
    folder = out or options.neuron_set_folder(set_name)
    options.neuron_set_folder(set_name)
    require_replaceable(folder)
    from curator.neuronset.artifact import save_neuron_set
    from curator.neuronset.build import build_neuron_set
    from curator.rosetta.neurons import find_rosetta_neurons

    dials = options.identify_settings(
        settings,
        atlas=options.known(sketch_dimensions=sketch_dimensions, seed=seed),
        match=options.known(seed=seed),
        neuron_set=options.known(max_neurons=max_neurons, max_depth=max_depth, rosetta_rule=rule, seed=seed),
    )
    with ConsoleReporter() as reporter:
        corpus = options.ProbeChoice(probe, domain or [], tokens_per_domain, seed).build(reporter)
        first, *others = (existing_atlas(place, corpus, dials.atlas) for place in (anchor, *peer))
        reporter.stage("matching neurons", len(others))
        rosetta = find_rosetta_neurons(first, others, dials.match)
        chosen = options.model_choice(model or model_behind(anchor, first), device=device, dtype=dtype)
        reporter.stage(f"choosing neurons for {', '.join(target)}", len(corpus.documents))
        made = build_neuron_set(
            chosen.load(),
            rosetta,
            corpus,
            target,
            name=set_name,
            settings=dials.neuron_set,
            match_settings=dials.match,
            progress=reporter.advance,
        )
        saved = save_neuron_set(made, folder)
    show_neuron_set(saved)
    say(f"neuron set {folder}")
    say(f"etag       {saved.etag}")
