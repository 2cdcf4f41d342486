"""``curator select``: a neuron set for other target domains, from atlases that exist.

This is the last third of ``identify``: no atlas is built, no peer is loaded; the anchor alone reads the probe documents again,
to the deepest neuron chosen. What is missing is an error that names the verb which makes it.
"""

from __future__ import annotations

from typing import Annotated

import typer

from curator.cli import options
from curator.cli.atlas_sources import existing_atlas, model_behind
from curator.cli.console import ConsoleReporter
from curator.cli.neuron_sets import folder_of_new_set, requested, require_same_request, show_doubts, show_saved


def select(
    anchor: Annotated[str, typer.Argument(help="Anchor: a model, or the folder of its atlas.", metavar="ANCHOR")],
    peer: Annotated[list[str], typer.Option(help="A peer model, or the folder of its atlas; repeat.", metavar="PEER")],
    target: options.Targets,
    model: Annotated[str | None, typer.Option(help="The anchor, where its atlas names a place that moved.")] = None,
    probe: options.ProbeFile = None,
    domain: options.Domains = None,
    tokens_per_domain: options.TokensPerDomain = None,
    name: options.SetName = None,
    out: options.SetFolder = None,
    replace: options.Replace = False,
    max_neurons: options.MaxNeurons = None,
    max_depth: options.MaxDepth = None,
    rule: options.ChosenRule = None,
    sketch_dimensions: options.SketchDimensions = None,
    seed: options.Seed = None,
    settings: options.SettingsFile = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
) -> None:
    """Choose neurons for other targets, from atlases that exist."""
    set_name = name or "-".join(target)
    folder = folder_of_new_set(set_name, out)
    from curator.neuronset.artifact import save_neuron_set
    from curator.neuronset.build import build_neuron_set, documents_read
    from curator.neuronset.identify import Identified
    from curator.neuronset.request import require_depth, require_targets
    from curator.reporting import set_doubts
    from curator.rosetta.neurons import find_rosetta_neurons

    chosen = options.known(max_neurons=max_neurons, max_depth=max_depth, rosetta_rule=rule)
    dials = options.dials(settings, seed=seed, sketch_dimensions=sketch_dimensions, neuron_set=chosen)
    with ConsoleReporter() as reporter:
        corpus = options.ProbeChoice(probe, domain, tokens_per_domain, seed).build(reporter)
        require_targets(corpus, target, dials.neuron_set)
        first, *others = (existing_atlas(place, corpus, dials.atlas) for place in (anchor, *peer))
        require_depth(anchor, len(first.manifest.layer_widths), dials.neuron_set.max_depth)
        peers = [other.manifest.model_fingerprint for other in others]
        require_same_request(
            folder, replace, lambda: requested(set_name, target, corpus, first.fingerprint, peers, dials)
        )
        reporter.stage("matching neurons", len(others))
        rosetta = find_rosetta_neurons(first, others, dials.match)
        loaded = options.model_choice(model or model_behind(anchor, first), device=device, dtype=dtype).load()
        reporter.stage(f"choosing neurons for {', '.join(target)}", documents_read(corpus, dials.neuron_set))
        made = build_neuron_set(
            loaded,
            rosetta,
            corpus,
            target,
            name=set_name,
            settings=dials.neuron_set,
            match_settings=dials.match,
            progress=reporter.advance,
        )
        saved = save_neuron_set(made, folder)
    show_saved(saved, folder)
    show_doubts(set_doubts(Identified(loaded, rosetta, saved), corpus))
