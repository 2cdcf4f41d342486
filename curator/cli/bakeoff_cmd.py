"""``curator bakeoff``: every way to choose data on one pool, and what a model learns from each choice.

Without ``--domain`` the text is the embedded corpus, with ``--corpora`` also the labelled corpora of that folder. Everything is
kept in ``--out``; the same command goes on where it was stopped. ``--quick`` runs few domains, few examples and retrieval only.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curator.cli import options
from curator.cli.console import ConsoleReporter, say, show_table
from curator.cli.partners import refuse_beside

if TYPE_CHECKING:
    from curator.bakeoff.settings import BakeoffSettings


def bakeoff(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder for everything that is made.", metavar="DIR")] = Path("bakeoff"),
    domain: options.Domains = None,
    corpora: Annotated[
        Path | None, typer.Option(help="Folder with labelled .jsonl.zst corpora.", metavar="DIR")
    ] = None,
    target: Annotated[list[str] | None, typer.Option(help="A domain to select for; repeat. All by default.")] = None,
    model: Annotated[str | None, typer.Option(help="Anchor that reads the pool.", metavar="NAME[@REV]")] = None,
    peer: Annotated[list[str] | None, typer.Option(help="A model it shares neurons with; repeat.")] = None,
    seeds: Annotated[int, typer.Option(help="Draws of examples and pool.", min=1)] = 3,
    pretrain: Annotated[
        bool, typer.Option("--pretrain", help="Also continue a base model on what is kept: an hour or more.")
    ] = False,
    unseen: Annotated[
        list[str] | None, typer.Option(help="A domain that no model was trained on, to be shown apart; repeat.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few domains, retrieval only; under three minutes.")] = False,
) -> None:
    """Compare selectors on a pool with known labels."""
    refuse_beside(context, "quick", ("seeds",), "which has its own")
    from curator.bakeoff.book import book, summary_rows, write_book
    from curator.bakeoff.cost import reading_costs
    from curator.bakeoff.run import ablations, prepare, retrieve
    from curator.bakeoff.schedule import pretrain as train
    from curator.bakeoff.world import QUICK_DOMAINS, domains_of, unseen_by_the_zoo

    domains = domains_of(domain or (), corpora, QUICK_DOMAINS if quick and not (domain or corpora) else ())
    built_in = () if domain or model or peer else unseen_by_the_zoo(domains)
    given = options.known(anchor=model, peers=peer, targets=target, unseen=unseen or built_in or None)
    settings = _settings(quick, seeds, given)
    with ConsoleReporter() as reporter:
        prepared = prepare(domains, settings, out, reporter)
        results = retrieve(prepared, out, reporter)
        trained = train(prepared, _pretraining(), out, reporter) if pretrain else []
        ablated = ablations(prepared, out, reporter)
        costs = reading_costs(prepared, out, reporter)
    value = book(prepared, list(results.found.values()), trained, ablated, costs)
    paths = write_book(value, out)
    regimes = list(value["regimes"])
    show_table(
        "Precision at the oracle's budget",
        ("selector", *regimes),
        ((row["name"], *(row["precision"][regime] for regime in regimes)) for row in summary_rows(value)),
    )
    say(f"page       {paths['html']}")
    say(f"numbers    {paths['json']}")


def _settings(quick: bool, seeds: int, given: dict[str, Any]) -> BakeoffSettings:
    from curator.bakeoff.settings import BakeoffSettings, quick_settings

    chosen = quick_settings() if quick else BakeoffSettings(seeds=tuple(range(seeds)))
    return BakeoffSettings.model_validate({**chosen.model_dump(), **given})


def _pretraining() -> Any:
    from curator.bakeoff.pretraining import PretrainingSettings

    return PretrainingSettings()
