"""``curator identify``: from a model, its peers and labelled text to a neuron set for one target domain or several."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from curator.cli import options
from curator.cli.console import ConsoleReporter, say, show_table
from curator.errors import ConfigError
from curator.files import read_json

if TYPE_CHECKING:
    from curator.neuronset.artifact import NeuronSet
    from curator.neuronset.identify import Identified
    from curator.text.probe import ProbeCorpus

SHOWN_NEURONS = 10


def identify(
    model: Annotated[str, typer.Option(help="Anchor: hub name, folder or zoo:NAME.", metavar="NAME[@REV]")],
    peer: Annotated[list[str], typer.Option(help="An independently trained model; repeat.", metavar="NAME[@REV]")],
    target: Annotated[list[str], typer.Option(help="A domain to filter for; repeat.", metavar="DOMAIN")],
    probe: options.ProbeFile = None,
    domain: options.Domains = None,
    tokens_per_domain: options.TokensPerDomain = None,
    name: Annotated[str | None, typer.Option(help="Name of the neuron set; the targets' names by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the set; $CURATOR_HOME/neuron-sets/NAME.")] = None,
    report: Annotated[Path | None, typer.Option(help="Folder for an HTML and JSON report.", metavar="DIR")] = None,
    max_neurons: Annotated[int | None, typer.Option(help="Most neurons in the set.", min=1)] = None,
    max_depth: Annotated[int | None, typer.Option(help="Use the first so many layers only, for speed.", min=1)] = None,
    rule: Annotated[
        Literal["paper", "strict", "universal"] | None, typer.Option(help="Which Rosetta neurons to choose from.")
    ] = None,
    sketch_dimensions: options.SketchDimensions = None,
    seed: options.Seed = None,
    settings: options.SettingsFile = None,
    workers: options.Workers = 1,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
) -> None:
    """Find the neurons that models share, and make a filter for a domain of them."""
    set_name = name or "-".join(target)
    folder = out or options.neuron_set_folder(set_name)
    options.neuron_set_folder(set_name)  # a name that no server could offer is refused now, not after the work
    require_replaceable(folder)
    from curator.neuronset.artifact import save_neuron_set
    from curator.neuronset.identify import identify as find_neurons

    dials = options.identify_settings(
        settings,
        atlas=options.known(sketch_dimensions=sketch_dimensions, seed=seed),
        match=options.known(seed=seed),
        neuron_set=options.known(max_neurons=max_neurons, max_depth=max_depth, rosetta_rule=rule, seed=seed),
    )
    with ConsoleReporter() as reporter:
        anchor, *peers = (options.model_choice(text, device=device, dtype=dtype) for text in (model, *peer))
        corpus = options.ProbeChoice(probe, domain or [], tokens_per_domain, seed).build(reporter)
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
        page = _write_report(identified, corpus, report, reporter) if report else None
    show_neuron_set(saved)
    say(f"neuron set {folder}")
    say(f"etag       {saved.etag}")
    if page:
        say(f"report     {page}")


def require_replaceable(folder: Path) -> None:
    """Raise ConfigError when saving a neuron set would replace something that is not one."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    manifest = folder / "manifest.json"
    stored = read_json(manifest) if manifest.is_file() else {}
    if folder.exists() and not (
        isinstance(stored, dict) and str(stored.get("format")).startswith("curator-neuron-set")
    ):
        raise ConfigError(f"{folder} exists and holds no neuron set; name a new folder with --out.")


def _write_report(identified: Identified, corpus: ProbeCorpus, out: Path, reporter: ConsoleReporter) -> Path:
    from curator.cli.reporting import write_neuron_set_report

    reporter.stage("writing the report")
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return write_neuron_set_report(identified, corpus, out, created=created).html


def show_neuron_set(neuron_set: NeuronSet) -> None:
    """Print the counts beside their nulls, the scorers of each target and the first neurons."""
    manifest = neuron_set.manifest
    nulls = manifest.null_counts
    show_table(
        f"Rosetta neurons of {manifest.model} shared with {', '.join(manifest.peers)}",
        ("rule", "neurons", "deranged text", "rotated layers"),
        (
            (rule, count, nulls.get(f"deranged_{rule}"), nulls.get(f"rotated_{rule}"))
            for rule, count in manifest.rosetta_counts.items()
        ),
    )
    for target, found in manifest.targets.items():
        show_table(
            f"Scorers for {target}, on documents that chose nothing",
            ("scorer", "default", "average precision", "AUROC", "documents", "of the target"),
            (
                (
                    method,
                    "default" if method == found.default else "",
                    quality.report_average_precision,
                    quality.report_auroc,
                    quality.report_documents,
                    quality.report_positives,
                )
                for method, quality in found.methods.items()
            ),
            left=2,
        )
        _show_neurons(neuron_set, target)


def _show_neurons(neuron_set: NeuronSet, target: str) -> None:
    mine = [neuron for neuron in neuron_set.manifest.neurons if target in neuron.targets]
    title = f"{min(SHOWN_NEURONS, len(mine))} of {len(mine)} neurons for {target} (rule: {neuron_set.manifest.rosetta_rule})"
    show_table(
        title,
        ("neuron", "partners", "AUROC chosen on", "AUROC reported", "AP reported", "mean rho", "worst q"),
        (
            (
                neuron.id,
                ", ".join(match.neuron for match in neuron.matches),
                neuron.targets[target].auroc_fit,
                neuron.targets[target].auroc_report,
                neuron.targets[target].average_precision_report,
                sum(abs(match.rho) for match in neuron.matches) / len(neuron.matches),
                max(match.q for match in neuron.matches),
            )
            for neuron in mine[:SHOWN_NEURONS]
        ),
        left=2,
    )
