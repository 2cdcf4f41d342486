"""``curator match``: the neurons that models share, from atlases; and a neuron set carried to another model.

Two uses. ``match ANCHOR --peer MODEL`` matches atlases that exist, in folders or kept from before, and builds what is missing;
it prints the three sets beside what chance gives, and writes every pair. ``match --carry SET --to MODEL`` moves a set
made with ``identify`` to another model by correlation alone: see ``neuronset.transfer``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from curator.cli import options
from curator.cli.atlas_sources import AtlasSource
from curator.cli.console import ConsoleReporter, say, show_table
from curator.cli.match_modes import Mode, matcher_for, require_models
from curator.cli.match_output import pair_rows, summary, write_pairs
from curator.cli.neuron_sets import folder_of_new_set, require_same_request, show_rosetta_counts, show_saved
from curator.cli.partners import refuse_beside, require_partners
from curator.errors import ConfigError
from curator.neuronset.places import find_neuron_set, model_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curator.cli.match_output import Pair
    from curator.rosetta.neurons import RosettaNeurons
    from curator.settings import MatchSettings

SHOWN_PAIRS = 20
_CARRYING = ("name", "out", "replace", "min_rho", "max_q", "partners", "refine")


def match(
    context: typer.Context,
    anchor: Annotated[
        str | None, typer.Argument(help="Anchor: a model, or the folder of its atlas.", metavar="[ANCHOR]")
    ] = None,
    peer: Annotated[
        list[str] | None, typer.Option(help="A peer model, or the folder of its atlas; repeat.", metavar="PEER")
    ] = None,
    carry: Annotated[str | None, typer.Option(help="A neuron set to carry to another model.", metavar="SET")] = None,
    to: Annotated[str | None, typer.Option(help="The model to carry it to.", metavar="MODEL[@REV]")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the carried set; SET-MODEL by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the carried set.", metavar="DIR")] = None,
    replace: options.Replace = False,
    probe: options.ProbeFile = None,
    domain: options.Domains = None,
    tokens_per_domain: options.TokensPerDomain = None,
    rule: Annotated[options.RuleName, typer.Option(help="Which of the three sets the top pairs are from.")] = "strict",
    intersect: Annotated[
        Literal["star", "clique"] | None, typer.Option(help="Partners in every peer, or matched with each other too.")
    ] = None,
    mode: Annotated[
        Mode,
        typer.Option(help="What decides: held-back spans, every span for candidates or all pairs, or paper spans."),
    ] = "sketch",
    sketch_dimensions: options.SketchDimensions = None,
    seed: options.Seed = None,
    settings: options.SettingsFile = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    min_rho: Annotated[float | None, typer.Option(help="Carrying: drop neurons whose match correlates less.")] = None,
    max_q: Annotated[float | None, typer.Option(help="Carrying: drop neurons whose match is less sure.")] = None,
    partners: Annotated[
        int | None, typer.Option(help="Carrying: most neurons that stand for one of the set.", min=1)
    ] = None,
    refine: Annotated[
        bool, typer.Option("--refine/--as-is", help="Carrying: let the scorers follow the source model's scores.")
    ] = True,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all pairs here.", metavar="FILE")] = None,
    parquet: Annotated[Path | None, typer.Option(help="Write all pairs here.", metavar="FILE")] = None,
) -> None:
    """Match models neuron by neuron, or carry a neuron set to another model."""
    dials = options.dials(
        settings, seed=seed, sketch_dimensions=sketch_dimensions, match=options.known(intersect=intersect)
    )
    source = AtlasSource(options.ProbeChoice(probe, domain, tokens_per_domain, seed), dials.atlas, device, dtype)
    if carry or to:
        if not (carry and to) or anchor or peer:
            raise ConfigError("Carrying takes --carry SET and --to MODEL, and neither an anchor nor peers.")
        given = options.known(partners=partners, min_rho=min_rho, max_q=max_q, refine=refine)
        refuse_beside(context, "carry", ("rule", "intersect", "mode", "json_file", "parquet"), "which makes a set")
        _carry(carry, to, name, out, replace, source, dials.match, given)
        return
    require_partners(context, dict.fromkeys(_CARRYING, ("carry",)))
    if anchor is None or not peer:
        raise ConfigError("Name an anchor and at least one --peer, or carry a set: --carry SET --to MODEL.")
    from curator.rosetta.neurons import find_rosetta_neurons

    places = [anchor, *peer]
    require_models(mode, places)
    with ConsoleReporter() as reporter:
        corpus = source.corpus(places, reporter)
        first, *others = source.atlases(places, corpus, reporter)
        reporter.stage("matching neurons", len(others))
        done = iter(range(len(others) + 1))
        found = find_rosetta_neurons(
            first,
            others,
            dials.match,
            on_stage=lambda _: reporter.advance(next(done)),
            matcher=matcher_for(mode, places, [first, *others], corpus, source, dials.match),
            same_spans=mode != "shared",
        )
        pairs = pair_rows(found)
        write_pairs(found, pairs, dials, json_file=json_file, parquet=parquet)
    _show(found, pairs, rule)
    for path in filter(None, (json_file, parquet)):
        say(f"pairs      {path}")


def _show(found: RosettaNeurons, pairs: Sequence[Pair], rule: options.RuleName) -> None:
    whole = summary(found)
    peers = [peer.peer.manifest.model for peer in found.peers]
    show_rosetta_counts(found.anchor.manifest.model, peers, whole["counts"], whole["null_counts"])
    show_table(
        "The whole matching",
        ("what", "value"),
        (
            ("neurons of the anchor", whole["neurons"]),
            ("pairs, all peers", len(pairs)),
            ("mean rho of the paper set", whole["mean_rho"]),
            ("Jaccard of the corpus' halves", whole["half_jaccard"]),
            ("worst difference of a rho to float64", f"{whole['match_certificate']:.1e}"),
            ("worst difference to float64, atlases", f"{whole['atlas_certificate']:.1e}"),
        ),
    )
    mine = sorted((pair for pair in pairs if getattr(pair, rule)), key=lambda pair: -abs(pair.rho))
    show_table(
        f"{min(SHOWN_PAIRS, len(mine))} of {len(mine)} pairs (rule: {rule})",
        ("neuron", "partner", "of", "rho", "standard error", "q", "margin", "hubness"),
        (
            (p.anchor_neuron, p.peer_neuron, p.peer, p.rho, p.standard_error, p.q, p.margin, p.hubness)
            for p in mine[:SHOWN_PAIRS]
        ),
        left=3,
    )


def _carry(
    place: str,
    to: str,
    name: str | None,
    out: Path | None,
    replace: bool,
    source: AtlasSource,
    match_settings: MatchSettings,
    dials: dict[str, Any],
) -> None:
    """Carry the set at ``place`` to another model, save it and show it."""
    from curator.neuronset.artifact import load_neuron_set, save_neuron_set
    from curator.neuronset.transfer import transfer
    from curator.settings import TransferSettings

    neuron_set = load_neuron_set(find_neuron_set(place))
    model = source.model(to)
    set_name = name or f"{neuron_set.manifest.name}-{plain_name(model.name)}"
    folder = folder_of_new_set(set_name, out)
    carrying = TransferSettings(**dials)
    with ConsoleReporter() as reporter:
        corpus = source.probe.build(reporter)
        require_same_request(
            folder,
            replace,
            lambda: {
                "name": set_name,
                "model": model.fingerprint(),
                "probe corpus": corpus.fingerprint,
                "settings of matching": match_settings.model_dump(mode="json"),
                "carried set": neuron_set.etag,
                "settings of carrying": carrying.model_dump(mode="json"),
            },
        )
        carried = transfer(
            neuron_set,
            model_of(neuron_set.manifest, device=source.device, dtype=source.dtype),
            model,
            corpus,
            name=set_name,
            atlases=options.atlas_folder(),
            atlas_settings=source.settings,
            match_settings=match_settings,
            settings=carrying,
            reporter=reporter,
        )
        saved = save_neuron_set(carried, folder)
    show_saved(saved, folder)


def plain_name(model: str) -> str:
    """The last part of a model's name, fit to be part of a set's name."""
    last = model.rstrip("/").split("/")[-1].split(":")[-1]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last)
