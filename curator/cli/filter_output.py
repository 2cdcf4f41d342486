"""What ``curator filter`` says of an output: counts, cutoffs, what a prefilter promised and whether it held, the files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curator.cli.console import say, show_table

if TYPE_CHECKING:
    from curator.filtering.output import Manifest
    from curator.filtering.tally import FilterReport

SHOWN_FILES = 12


def show_filtered(report: FilterReport, out: Path) -> None:
    """Print what became of the documents, and where they are."""
    from curator.filtering.output import load_manifest
    from curator.filtering.select import NEAR_CUTOFF

    manifest = load_manifest(out)
    rows: list[tuple[str, int, int | None]] = [
        ("read", report.documents_in + report.documents_unreadable, None),
        ("kept", report.documents_kept, report.tokens_kept),
        *((f"rejected: {reason}", count, None) for reason, count in report.rejected.items()),
        *((f"unreadable: {reason}", count, None) for reason, count in report.unreadable.items()),
        ("scored in all", report.documents_in, report.tokens_in),
    ]
    show_table(f"Filtered by {manifest.context['neuron_set']}", ("documents", "count", "tokens"), rows)
    for name, target in report.targets.items():
        if target.cutoff is not None:
            near = f", {target.near_cutoff:,} within {NEAR_CUTOFF:g} of it" if target.near_cutoff else ""
            say(f"cutoff   {target.cutoff:.6g} ({manifest.policy.field}, {name}, {target.rows_kept:,} kept{near})")
    for line in _prefilter_lines(manifest.prefilter):
        say(line)
    _show_files(manifest, out)


def _prefilter_lines(prefilter: Mapping[str, Any]) -> Iterator[str]:
    """What a prefilter promised and whether it held."""
    for one in prefilter.get("targets", ()):
        yield (
            f"cascade  for {one['target']} the prefilter passes {one['recall']:.2%} of what the model would keep, at least "
            f"{one['recall_bound']:.2%} with {one['confidence']:.0%} confidence ({one['kept']:,} held-out documents)"
        )
    if prefilter and not prefilter["held"]:
        yield (
            "cascade  the policy kept documents of lower probability than the sample foretold, so this recall is not promised; "
            "run again with a larger --cascade-sample"
        )


def _show_files(manifest: Manifest, out: Path) -> None:
    for entry in manifest.files[:SHOWN_FILES]:
        say(f"wrote    {out / entry.name}  {entry.documents:,} documents, {entry.bytes:,} bytes")
    if len(manifest.files) > SHOWN_FILES:
        say(f"wrote    {len(manifest.files) - SHOWN_FILES} more files")
    say(f"manifest {out / 'manifest.json'}")
