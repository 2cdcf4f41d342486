"""What all benchmarks share: rows, the machine they ran on, paired timing, the memory of a child process, the table.

A benchmark is a set of named sections; a section yields rows. The table goes to stdout, progress to stderr, and after every
row the JSON file is written anew, so that a run which dies leaves what it has measured. Two things are compared by running
them in turn, A B A B, and taking the median of the ratios of neighbours: what slows the machine for a minute slows both.
Memory is the peak of a process that did nothing else, forked from a server that has imported the libraries and no data.
It does not know whether anything else runs on the machine: absolute rates are those of this machine at this hour.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.table import Table

Result = TypeVar("Result")
PACKAGES = ("rosetta-curator", "torch", "transformers", "numpy", "faiss-cpu")


@dataclass(frozen=True, slots=True)
class Row:
    """One measured value. ``detail`` holds what it was made of, and ``goal`` and ``about`` in words."""

    name: str
    value: float
    unit: str
    detail: Mapping[str, Any]


Section = Callable[[bool], Iterable[Row]]


@dataclass(frozen=True, slots=True)
class Paired:
    """Two things timed in turn: seconds of each round, and the median of first over second within a round."""

    first_s: tuple[float, ...]
    second_s: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Median over the rounds of first over second."""
        return statistics.median(a / b for a, b in zip(self.first_s, self.second_s, strict=True))


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one call, with what it left running on a GPU."""
    started = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def paired(first: Callable[[], object], second: Callable[[], object], rounds: int) -> Paired:
    """Run two things in turn, A B A B; whoever calls has run both once before, so that caches are as warm for either."""
    pairs = [(seconds(first), seconds(second)) for _ in range(rounds)]
    return Paired(tuple(a for a, _ in pairs), tuple(b for _, b in pairs))


def peak_bytes() -> int:
    """Highest resident memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kilobytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def in_child(work: Callable[..., Result], /, **arguments: Any) -> tuple[Result, int]:
    """What ``work`` returns when it runs alone in a new process, and that process's peak memory in bytes."""
    return in_children(work, [arguments])[0]


def in_children(work: Callable[..., Result], calls: Sequence[Mapping[str, Any]]) -> list[tuple[Result, int]]:
    """The same for several processes at once, one for each call.

    They are forked from a server that imported ``work``'s module: one started by exec would inherit this process's peak, for
    Linux carries the high-water mark over.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([work.__module__])
    with ProcessPoolExecutor(max_workers=len(calls), mp_context=context) as pool:
        running = [pool.submit(_with_peak, work, arguments) for arguments in calls]
        return [future.result() for future in running]


def _with_peak(work: Callable[..., Result], arguments: Mapping[str, Any]) -> tuple[Result, int]:
    return work(**arguments), peak_bytes()


def note(message: str) -> None:
    """A line of progress on stderr."""
    print(f"{datetime.now(UTC):%H:%M:%S} {message}", file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    """The hardware as far as it bears on speed; no names of hosts, users or folders."""
    flags = _cpu_field("flags").split()
    return {
        "cpu": _cpu_field("model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instructions": [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags],
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "accelerator": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "system": platform.system(),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that the time depends on."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def run_benchmark(name: str, summary: str, sections: Mapping[str, Section], argv: Sequence[str] | None = None) -> None:
    """Parse the options, run the sections, write the JSON file and print the table."""
    options = _options(summary, sections, argv)
    rows: list[Row] = []
    for section in options.only or sections:
        note(f"{section} ...")
        for row in sections[section](options.quick):
            rows.append(row)
            note(f"{row.name} = {row.value:.3f} {row.unit}")
            if options.json:
                write_report(options.json, rows, quick=options.quick)
    Console().print(as_table(name, rows, quick=options.quick))


def write_report(path: Path, rows: Sequence[Row], *, quick: bool) -> None:
    """The JSON object ``{machine, versions, date, quick, rows}``."""
    report = {
        "machine": machine(),
        "versions": versions(),
        "date": datetime.now(UTC).date().isoformat(),
        "quick": quick,
        "rows": [asdict(row) for row in rows],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def as_table(title: str, rows: Sequence[Row], *, quick: bool) -> Table:
    """The rows for a terminal: name, value, goal, and what was measured."""
    table = Table(title=f"{title} (quick: small inputs, few rounds)" if quick else title)
    table.add_column("row", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("unit")
    table.add_column("goal")
    table.add_column("what")
    for row in rows:
        table.add_row(row.name, f"{row.value:,.3f}", row.unit, row.detail.get("goal", ""), row.detail.get("about", ""))
    return table


def rounded(values: Iterable[float], digits: int = 4) -> list[float]:
    """Numbers as a report shows them."""
    return [round(value, digits) for value in values]


def _options(summary: str, sections: Mapping[str, Section], argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=summary, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small inputs, under 50 seconds on two cores")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write machine, versions, date and rows here")
    parser.add_argument("--only", action="append", choices=list(sections), help="only this section; may be repeated")
    return parser.parse_args(argv)


def _cpu_field(name: str) -> str:
    """A field of the first processor in Linux's list; empty elsewhere."""
    place = Path("/proc/cpuinfo")
    lines = place.read_text(encoding="utf-8").splitlines() if place.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
