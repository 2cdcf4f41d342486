"""Writes the README's performance table from the full measurements under ``benchmarks/results``, or checks that it is current.

    python benchmarks/readme_table.py --write | --check

The table stands between two marks in README.md; nobody edits it by hand. A quick run is refused: its values are of small inputs
and few rounds. It does not run a benchmark.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS, README = ROOT / "benchmarks" / "results", ROOT / "README.md"
BEGIN, END = "<!-- performance: begin, written by benchmarks/readme_table.py -->", "<!-- performance: end -->"
_NONE = "The full measurement is not committed yet; `make bench` prints the quick one."


class QuickRunError(ValueError):
    """A quick run among the results."""


def rendered(results: Path) -> str:
    """The section's lines for every result file, in order of their names. Raises QuickRunError for a quick run."""
    reports = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))}
    quick = [name for name, report in reports.items() if report["quick"]]
    if quick:
        raise QuickRunError(f"{', '.join(quick)}: a quick run; measure again without --quick.")
    if not reports:
        return _NONE
    rows = [_line(row) for report in reports.values() for row in report["rows"]]
    machines = list(dict.fromkeys(_machine(report) for report in reports.values()))
    return "\n".join(["| row | value | goal | what |", "|---|---:|---|---|", *rows, "", *machines])


def replaced(readme: str, section: str) -> str:
    """The README with the text between the marks replaced. Raises ValueError where a mark is missing."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md lacks the marks {BEGIN!r} and {END!r}; put them where the table belongs.")
    return f"{before}{BEGIN}\n{section}\n{END}{after}"


def main(argv: list[str] | None = None) -> int:
    """0 when the README is or was made current, 1 when ``--check`` finds it old."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="put the table into README.md")
    action.add_argument("--check", action="store_true", help="fail when README.md holds another table")
    options = parser.parse_args(argv)
    current = README.read_text(encoding="utf-8")
    wanted = replaced(current, rendered(RESULTS))
    if options.write:
        README.write_text(wanted, encoding="utf-8")
    elif wanted != current:
        print("README.md's performance table is old; run: python benchmarks/readme_table.py --write", file=sys.stderr)
        return 1
    return 0


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
