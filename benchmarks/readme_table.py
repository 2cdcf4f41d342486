"""Writes the tables of measurements from the results under ``benchmarks/results``, or checks that they are current.

    python benchmarks/readme_table.py --write | --check

docs/performance.md has every row, README.md those that a reader asks for first; each table stands between two marks and nobody
edits it by hand. A quick run is refused: its values are of small inputs and few rounds. It does not run a benchmark.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS, README, DETAILS = ROOT / "benchmarks/results", ROOT / "README.md", ROOT / "docs/performance.md"
BEGIN, END = "<!-- performance: begin, written by benchmarks/readme_table.py -->", "<!-- performance: end -->"
HEADLINES = {
    "filter": (
        "filter_over_truncated_forward",
        "filter_over_full_forward",
        "workers_2_over_1",
        "rss_growth",
        "cascade_speedup_1pct",
    ),
    "identify": ("atlas_over_forward_zoo", "speedup_over_two_pass", "sketch_recall"),
    "serve": ("serve_over_inprocess_16", "transport_docs_per_s", "score_batch_p99_ms", "health_p99_ms_under_load"),
}
_HEAD = ("| row | value | goal | what |", "|---|---:|---|---|")
_NONE = "The full measurement is not committed yet; `make bench` prints the quick one."


class QuickRunError(ValueError):
    """A quick run among the results."""


def rendered(results: Path) -> str:
    """Every row of every result file, a section for each in order of their names. Raises QuickRunError for a quick run."""
    parts: list[str] = []
    for name, report in _reports(results).items():
        parts += [f"## {name}", "", *_HEAD, *map(_line, report["rows"]), "", _machine(report), ""]
    return "\n".join(parts[:-1]) if parts else _NONE


def headlines(results: Path) -> str:
    """The rows named by ``HEADLINES``, one table. Raises QuickRunError for a quick run, KeyError for a row that is gone."""
    reports = _reports(results)
    rows = [
        {row["name"]: row for row in reports[name]["rows"]}[wanted]
        for name, names in HEADLINES.items()
        if name in reports
        for wanted in names
    ]
    return "\n".join([*_HEAD, *map(_line, rows)]) if rows else _NONE


def _reports(results: Path) -> dict[str, Any]:
    reports = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))}
    if quick := [name for name, report in reports.items() if report["quick"]]:
        raise QuickRunError(f"{', '.join(quick)}: a quick run; measure again without --quick.")
    return reports


def replaced(page: str, section: str) -> str:
    """The page with the text between the marks replaced. Raises ValueError where a mark is missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"The page lacks the marks {BEGIN!r} and {END!r}; put them where the table belongs.")
    return f"{before}{BEGIN}\n{section}\n{END}{after}"


def main(argv: list[str] | None = None) -> int:
    """0 when the pages are or were made current, 1 when ``--check`` finds one old."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="put the tables into the pages")
    action.add_argument("--check", action="store_true", help="fail when a page holds another table")
    options = parser.parse_args(argv)
    tables: dict[Path, Callable[[Path], str]] = {README: headlines, DETAILS: rendered}
    old: list[str] = []
    for page, table in tables.items():
        current = page.read_text(encoding="utf-8")
        wanted = replaced(current, table(RESULTS))
        if options.write:
            page.write_text(wanted, encoding="utf-8")
        elif wanted != current:
            old.append(page.name)
    if old:
        print(f"old tables in {', '.join(old)}; run: python benchmarks/readme_table.py --write", file=sys.stderr)
    return 1 if old else 0


def _line(row: dict[str, Any]) -> str:
    detail = row["detail"]
    return f"| `{row['name']}` | {_value(row['value'])} | {detail.get('goal', '')} | {detail.get('about', '')} |"


def _value(value: float) -> str:
    if value == int(value) or value >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.4g}"


def _machine(report: dict[str, Any]) -> str:
    machine, versions = report["machine"], report["versions"]
    where = f", {machine['accelerator']}" if machine["accelerator"] else ""
    return (
        f"Measured on {report['date']}: {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']:.0f} GiB{where}; "
        f"Python {versions['python']}, torch {versions['torch']}, transformers {versions['transformers']}."
    )


if __name__ == "__main__":
    sys.exit(main())
