"""The bake-off as one JSON value, and as a page: the same numbers, in the order in which a sceptic would ask for them.

``book`` gathers what was measured; ``write_book`` writes ``bakeoff.json``, ``bakeoff.md`` and ``bakeoff.html``, each whole or
not at all. The page needs no network and no script. Equal measurements give equal bytes. It measures nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from curator.bakeoff.ablation import Ablated
from curator.bakeoff.contest import Result
from curator.bakeoff.cost import ReadingCost
from curator.bakeoff.entrants import DEFAULT, LINEAR, RANDOM_NEURONS
from curator.bakeoff.run import Prepared
from curator.bakeoff.schedule import Trained
from curator.bakeoff.summary import best, overlaps, paired_difference, pretraining_table, table
from curator.files import atomic_file, write_json

SCHEMA = "curator.bakeoff/1"
OVERLAP_REGIME = "k10"
UNSEEN = "k10-unseen"


def book(
    prepared: Prepared,
    results: Sequence[Result],
    trained: Sequence[Trained],
    ablated: Sequence[Ablated],
    costs: Mapping[str, ReadingCost],
) -> dict[str, Any]:
    """Everything that was measured, as a JSON value; ``k10-unseen`` is k10 on the domains that no model was trained on."""
    unseen = prepared.settings.unseen
    apart = [one for one in results if one.regime == OVERLAP_REGIME and one.target in unseen]
    results = [*results, *(one.model_copy(update={"regime": UNSEEN}) for one in apart)]
    regimes = table(results, costs)
    return {
        "schema": SCHEMA,
        "identity": prepared.identity,
        "settings": prepared.settings.model_dump(mode="json"),
        "text": {"fingerprint": prepared.world.fingerprint, "documents": prepared.world.counts()},
        "anchor": {"name": prepared.backbone.name, "fingerprint": prepared.backbone.fingerprint},
        "populations": prepared.populations.sizes(),
        "regimes": regimes,
        "default": DEFAULT,
        "comparisons": {
            name: _compared(results, name, entries) for name, entries in regimes.items() if DEFAULT in entries
        },
        "overlap": {"regime": OVERLAP_REGIME, "jaccard": overlaps(results, OVERLAP_REGIME)},
        "reading": {name: one.model_dump() for name, one in costs.items()},
        "pretraining": pretraining_table(trained),
        "ablation": [one.model_dump() for one in ablated],
    }


def _compared(results: Sequence[Result], regime: str, entries: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The default against the best selector without a model, and ``linear`` on Rosetta neurons against as many random ones."""
    name, precision = best(entries, "text")
    return {
        "best_without_a_model": name,
        "precision_without_a_model": precision,
        "over_it": paired_difference(results, regime, DEFAULT, name),
        "over_random_neurons": paired_difference(results, regime, LINEAR, RANDOM_NEURONS),
    }


def write_book(value: dict[str, Any], folder: Path) -> dict[str, Path]:
    """Write the three files; the JSON last."""
    environment = Environment(
        loader=PackageLoader("curator.bakeoff"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    paths = {kind: folder / f"bakeoff.{kind}" for kind in ("html", "md", "json")}
    with atomic_file(paths["html"]) as handle:
        handle.write(
            environment.get_template("bakeoff.html.j2")
            .render(book=value, summary=summary_rows(value), shown=shown_regime(value))
            .encode()
        )
    with atomic_file(paths["md"]) as handle:
        handle.write(markdown(value).encode())
    write_json(paths["json"], value)
    return paths


def summary_rows(value: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a selector: its precision by regime, best first at the last regime that has most selectors."""
    regimes = value["regimes"]
    names = dict.fromkeys(name for entries in regimes.values() for name in entries)
    rows = [
        {
            "name": name,
            "kind": next(entries[name]["kind"] for entries in regimes.values() if name in entries),
            "precision": {regime: entries.get(name, {}).get("precision") for regime, entries in regimes.items()},
            "interval": {
                regime: entries.get(name, {}).get("precision_interval") for regime, entries in regimes.items()
            },
        }
        for name in names
    ]
    key = shown_regime(value)
    return sorted(rows, key=lambda row: -(row["precision"].get(key) or 0.0))


def shown_regime(value: dict[str, Any]) -> str:
    """The regime that is shown in detail: ten examples, or else the last one."""
    return OVERLAP_REGIME if OVERLAP_REGIME in value["regimes"] else list(value["regimes"])[-1]


def markdown(value: dict[str, Any]) -> str:
    """The precision table, and the losses after continued pretraining, as Markdown."""
    regimes = list(value["regimes"])
    lines = [f"| selector | {' | '.join(regimes)} |", f"|---|{'---:|' * len(regimes)}"]
    for row in summary_rows(value):
        cells = [_number(row["precision"][regime]) for regime in regimes]
        lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    if value["pretraining"]:
        lines += [
            "",
            "| trained on | target loss | general loss | share on target | recovered gain | 95 % over domains |",
        ]
        lines.append("|---|---:|---:|---:|---:|---|")
        for name, entry in value["pretraining"].items():
            span = entry["recovered_gain_interval"]
            cells = [_number(entry[key]) for key in ("target_loss", "general_loss", "precision", "recovered_gain")]
            between = f"{span[0]:.2f} to {span[1]:.2f}" if span else "–"
            lines.append(f"| {name} | {' | '.join(cells)} | {between} |")
    return "\n".join(lines) + "\n"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
