"""``curator identify``: from a model, its peers and labelled text to a neuron set for one target domain or several."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curator.cli import options
from curator.cli.atlas_sources import kept_atlas_fingerprint
from curator.cli.console import ConsoleReporter, say
from curator.cli.neuron_sets import folder_of_new_set, requested, require_same_request, show_doubts, show_saved
from curator.cli.partners import require_partners

if TYPE_CHECKING:
    from curator.neuronset.identify import Identified, ModelChoice
    from curator.scaling.points import Study
    from curator.text.probe import ProbeCorpus


def identify(
    context: typer.Context,
    model: Annotated[str, typer.Option(help="Anchor: hub name, folder or zoo:NAME.", metavar="NAME[@REV]")],
    peer: Annotated[list[str], typer.Option(help="An independently trained model; repeat.", metavar="NAME[@REV]")],
    target: options.Targets,
    probe: options.ProbeFile = None,
    domain: options.Domains = None,
    tokens_per_domain: options.TokensPerDomain = None,
    name: options.SetName = None,
    out: options.SetFolder = None,
    replace: options.Replace = False,
    report: Annotated[Path | None, typer.Option(help="Folder for an HTML and JSON report.", metavar="DIR")] = None,
    study: Annotated[Path | None, typer.Option(help="A study to show in the report.", metavar="FILE")] = None,
    max_neurons: options.MaxNeurons = None,
    max_depth: options.MaxDepth = None,
    rule: options.ChosenRule = None,
    sketch_dimensions: options.SketchDimensions = None,
    seed: options.Seed = None,
    settings: options.SettingsFile = None,
    workers: options.Workers = 1,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
) -> None:
    """Find the neurons that models share, and make a filter for a domain of them."""
    require_partners(context, {"study": ("report",)})
    set_name = name or "-".join(target)
    folder = folder_of_new_set(set_name, out)
    from curator.neuronset.artifact import save_neuron_set
    from curator.neuronset.identify import identify as find_neurons
    from curator.reporting import set_doubts
    from curator.scaling.points import Study

    shown = Study.load(study) if study else None  # before the long work: a wrong file is said at once

    chosen = options.known(max_neurons=max_neurons, max_depth=max_depth, rosetta_rule=rule)
    dials = options.dials(settings, seed=seed, sketch_dimensions=sketch_dimensions, neuron_set=chosen)
    with ConsoleReporter() as reporter:
        anchor, *peers = (options.model_choice(text, device=device, dtype=dtype) for text in (model, *peer))
        corpus = options.ProbeChoice(probe, domain, tokens_per_domain, seed).build(reporter)
        require_same_request(
            folder,
            replace,
            lambda: requested(
                set_name,
                target,
                corpus,
                kept_atlas_fingerprint(anchor, corpus, dials.atlas),
                [one.fingerprint() for one in peers],
                dials,
            ),
        )
        identified = find_neurons(
            anchor,
            peers,
            corpus,
            target,
            name=set_name,
            atlases=options.atlas_folder(),
            settings=dials,
            reporter=reporter,
            workers=workers,
        )
        saved = save_neuron_set(identified.neuron_set, folder)
        page = _write_report(identified, peers, corpus, report, shown, reporter) if report else None
    show_saved(saved, folder)
    show_doubts(set_doubts(identified, corpus))
    if page:
        say(f"report     {page}")


def _write_report(
    identified: Identified,
    peers: list[ModelChoice],
    corpus: ProbeCorpus,
    out: Path,
    study: Study | None,
    reporter: ConsoleReporter,
) -> Path:
    from curator.reporting import write_neuron_set_report

    reporter.stage("writing the report")
    created = datetime.now(UTC).isoformat(timespec="seconds")
    paths = write_neuron_set_report(
        identified, corpus, out, peers=peers, study=study, created=created, reporter=reporter
    )
    return paths.html
