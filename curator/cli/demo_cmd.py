"""``curator demo``: runs the demonstration and prints what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curator.cli.console import ConsoleReporter, say, show_table

if TYPE_CHECKING:
    from curator.cli.demo import DemoResult
    from curator.filtering.evaluation import Evaluation

DEFAULT_OUT = Path("out/demo")
SHOWN_FILES = 12


def demo(
    out: Annotated[
        Path, typer.Option(help="Folder for everything; an earlier demonstration is replaced.")
    ] = DEFAULT_OUT,
    target: Annotated[str | None, typer.Option(help="Embedded domain to filter for.")] = None,
    seed: Annotated[int, typer.Option(help="Chooses the texts, and seeds what draws.")] = 0,
) -> None:
    """Do the whole job, small: identify, serve, filter, report, on text and models that are already here."""
    from curator.cli.demo import DemoSettings, run_demo

    settings = DemoSettings(target=target, seed=seed) if target else DemoSettings(seed=seed)
    with ConsoleReporter() as reporter:
        result = run_demo(out, settings, reporter)
    _show(result, settings.target)


def _show(result: DemoResult, target: str) -> None:
    show_table(
        "Rosetta neurons",
        ("rule", "neurons", "deranged text", "rotated layers"),
        (
            (rule, count, result.null_counts.get(f"deranged_{rule}"), result.null_counts.get(f"rotated_{rule}"))
            for rule, count in result.rosetta_counts.items()
        ),
    )
    verdicts = (
        (f"on the server: probability at least {result.threshold:g}", result.filtered),
        ("by score: as many as there are of the target", result.at_oracle_size),
    )
    show_table(
        f"Filtered over gRPC for {target}: {result.oracle:,} of {result.pool:,} documents (scorer: {result.scorer})",
        ("kept", "in", "kept", "rejected", "precision", "recall", "F1"),
        ((name, *_counts(found), found.precision, found.recall, found.f1) for name, found in verdicts),
    )
    say(f"speed   {result.tokens_per_second:,.0f} tokens/s over {result.tokens:,} tokens")
    for path in result.files[:SHOWN_FILES]:
        say(f"wrote   {path}")
    if len(result.files) > SHOWN_FILES:
        say(f"wrote   {len(result.files) - SHOWN_FILES} more files")
    say(f"report  {result.report}")
    say(f"seconds {result.seconds:.0f}")


def _counts(found: Evaluation) -> tuple[int, int, int]:
    """Documents in, kept and rejected."""
    kept = found.true_positives + found.false_positives
    rejected = found.false_negatives + found.true_negatives
    return kept + rejected, kept, rejected
