"""Sizes three large jobs on paper and writes the tables of docs/scale.md, from formulas, measured rates and stated assumptions.

    python benchmarks/scale.py --write | --check

FLOP for a token come from ``curator plan``'s own formulas on the published shapes of the models. What this machine could measure
(selection, prefilter, layers used, growth of memory) is read from ``benchmarks/results``. Rates of accelerators could not be
measured here: they are a peak times an efficiency, both in ``GPU`` below. Jobs then run through ``simulation``: queue, start of
workers, spread of their speeds, stalls and deaths. It loads no weights and times nothing, so it says the same everywhere.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.simulation import Fleet, Piece, simulate
from curator.atlas.forecast import Machine, ModelPlan, Text, plan_model
from curator.lm.shape import meta_model, shape_of
from curator.settings import AtlasSettings

ROOT = Path(__file__).resolve().parents[1]
PAGE, RESULTS = ROOT / "docs/scale.md", ROOT / "benchmarks/results"
BEGIN, END = "<!-- scale: begin, written by benchmarks/scale.py -->", "<!-- scale: end -->"
SHAPES: dict[str, dict[str, Any]] = {
    "Pythia-160M": {
        "model_type": "gpt_neox", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "vocab_size": 50304, "max_position_embeddings": 2048, "rotary_pct": 0.25,
    },
    "OPT-30B": {
        "model_type": "opt", "hidden_size": 7168, "word_embed_proj_dim": 7168, "num_hidden_layers": 48,
        "num_attention_heads": 56, "ffn_dim": 28672, "vocab_size": 50272, "max_position_embeddings": 2048,
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Gpu:
    """Assumed, not measured here."""

    name: str = "80 GB, 312 TFLOP/s dense bfloat16 (A100)"
    peak: float = 312e12
    small: float = 0.25
    """Efficiency of a model 768 wide: kernels are short, so launches and memory count."""
    large: float = 0.45
    """Efficiency of a model 7168 wide."""
    dollars_per_hour: float = 2.0
    memory: int = 80_000_000_000


GPU = Gpu()
BYTES_PER_TOKEN, BYTES_PER_DOCUMENT = 4.3, 4_000
SCORE_BYTES_PER_ROW, RANK_BYTES_PER_ROW, MEMORY_BYTES_PER_ROW, PREFILTER_BYTES_PER_S = 60, 24, 130, 40e6
START_S, SPREAD, STALLS, STALL_FACTOR, DEATHS_PER_HOUR = 120.0, 0.08, 0.005, 4.0, 0.01


@dataclass(frozen=True, slots=True)
class FilterJob:
    """A corpus and what is to score it."""

    name: str
    text_bytes: float
    gpus: int
    piece_bytes: float
    passing: float = 1.0
    """Share of the text that a prefilter lets through to the model; 1 without one."""
    cores_per_gpu: int = 8


JOBS = (
    FilterJob("1 TB of text, 8 GPUs", 1e12, 8, 256e6),
    FilterJob("15T tokens, 512 GPUs", 15e12 * BYTES_PER_TOKEN, 512, 1e9),
    FilterJob("15T tokens, 64 GPUs, prefilter", 15e12 * BYTES_PER_TOKEN, 64, 1e9, passing=0.21),
)


def planned(name: str, tokens: int, window: int = 1024) -> ModelPlan:
    """The plan of an atlas on the assumed device, as ``curator plan`` makes it from a configuration."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(SHAPES[name]))
        shape = shape_of(meta_model(folder))
    return plan_model(name, shape, Text(tokens, window), Machine(2, GPU.memory, None), AtlasSettings())


def measured(name: str) -> float:
    """The value of a row of the committed results, to two digits, so that a new measurement seldom changes a table."""
    rows = [row for file in sorted(RESULTS.glob("*.json")) for row in json.loads(file.read_text())["rows"]]
    return float(f"{next(row['value'] for row in rows if row['name'] == name):.2g}")


def tokens_per_second() -> float:
    """Of one GPU that scores with a set in a 160M model, two thirds of whose layers it reads."""
    one = planned("Pythia-160M", 1_000_000)
    flop = one.forward_flop / one.tokens * measured("layers_used_fraction")
    return GPU.peak * GPU.small * measured("filter_over_truncated_forward") / flop


@dataclass(frozen=True, slots=True)
class Sized:
    """What a job takes."""

    ideal_h: float
    scoring_h: float
    efficiency: float
    deaths: int
    selection_h: float
    read_gb_s: float
    documents: float
    dollars: float


def sized(job: FilterJob) -> Sized:
    """Run a job through the simulation. A prefilter works on the processors, beside the GPU that scores what passes."""
    on_gpu = BYTES_PER_TOKEN * tokens_per_second() / job.passing
    rate = min(on_gpu, PREFILTER_BYTES_PER_S * job.cores_per_gpu) if job.passing < 1 else on_gpu
    pieces = [Piece(job.piece_bytes / rate, job.piece_bytes)] * round(job.text_bytes / job.piece_bytes)
    fleet = Fleet(
        workers=job.gpus, start_s=START_S, spread=SPREAD, stall_share=STALLS, stall_factor=STALL_FACTOR,
        deaths_per_hour=DEATHS_PER_HOUR,
    )  # fmt: skip
    outcome = simulate(pieces, fleet)
    documents = job.text_bytes / BYTES_PER_DOCUMENT
    hours = outcome.seconds / 3600
    return Sized(
        ideal_h=job.text_bytes / rate / job.gpus / 3600,
        scoring_h=hours,
        efficiency=outcome.efficiency(job.gpus),
        deaths=outcome.deaths,
        selection_h=documents / measured("select_from_scores_docs_per_s") / 3600,
        read_gb_s=rate * job.gpus / 1e9,
        documents=documents,
        dollars=hours * job.gpus * GPU.dollars_per_hour,
    )


def filter_lines() -> Iterator[str]:
    """The table of the filtering jobs."""
    found = [sized(job) for job in JOBS]
    yield "| | " + " | ".join(job.name for job in JOBS) + " |"
    yield "|---|" + "---:|" * len(JOBS)
    rows: list[tuple[str, list[str]]] = [
        ("documents of 4 kB", [f"{one.documents / 1e6:,.0f} million" for one in found]),
        ("pieces", [f"{round(job.text_bytes / job.piece_bytes):,}" for job in JOBS]),
        ("scoring, without any loss", [_hours(one.ideal_h) for one in found]),
        ("scoring, simulated", [_hours(one.scoring_h) for one in found]),
        ("time of the GPUs that counts", [f"{one.efficiency:.1%}" for one in found]),
        ("workers that die on the way", [f"{one.deaths:,}" for one in found]),
        ("selecting and writing 1 %, one process", [_hours(one.selection_h) for one in found]),
        ("read from the source", [f"{one.read_gb_s:.2f} GB/s, {8 * one.read_gb_s:.1f} Gb/s" for one in found]),
        ("score files", [_size(one.documents * SCORE_BYTES_PER_ROW) for one in found]),
        ("file of the ranking, for a budget or a share", [_size(one.documents * RANK_BYTES_PER_ROW) for one in found]),
        ("memory of one process, for several targets", [_size(one.documents * MEMORY_BYTES_PER_ROW) for one in found]),
        ("plan and ledger", [f"{round(job.text_bytes / job.piece_bytes):,} files, "
                             f"{_size(250 * job.text_bytes / job.piece_bytes)} plan" for job in JOBS]),
        ("GPU hours", [f"{one.scoring_h * job.gpus:,.0f}" for one, job in zip(found, JOBS, strict=True)]),
        ("cost", [f"${one.dollars:,.0f}" for one in found]),
        ("cost of a million documents", [f"${one.dollars / one.documents * 1e6:.2f}" for one in found]),
    ]  # fmt: skip
    yield from (f"| {name} | " + " | ".join(values) + " |" for name, values in rows)


def atlas_lines(tokens: int = 10_000_000) -> Iterator[str]:
    """The table of the atlas."""
    one = planned("OPT-30B", tokens)
    rate = GPU.peak * GPU.large
    hours = one.forward_flop * measured("atlas_over_forward_true_size") / rate / 3600
    yield "| OPT-30B, 10M tokens | |"
    yield "|---|---:|"
    rows = [
        ("neurons", f"{one.shape.neurons:,}"),
        ("weights in bfloat16", _size(one.weights_bytes)),
        ("memory of the pass beside them", _size(one.cost.memory_bytes)),
        (
            "fits one GPU of 80 GB with the pass",
            "yes" if one.weights_bytes + one.cost.memory_bytes < GPU.memory else "no",
        ),
        ("largest sketch in that memory", f"{one.sketch_in_memory or 0:,} dimensions"),
        ("work files, finished atlas", f"{_size(one.cost.work_bytes)}, {_size(one.cost.artifact_bytes)}"),
        ("forward", f"{one.forward_flop:.1e} FLOP"),
        ("the pass beside it", f"{one.pass_flop:.1e} FLOP"),
        ("time of one GPU", _hours(hours)),
        ("cost", f"${hours * GPU.dollars_per_hour:,.2f}"),
    ]
    yield from (f"| {name} | {value} |" for name, value in rows)


def rendered() -> str:
    """The section between the marks."""
    note = f"One GPU scores {tokens_per_second() / 1e6:.2f} million tokens a second under the assumptions above."
    return "\n".join([note, "", *filter_lines(), "", *atlas_lines()])


def main(argv: list[str] | None = None) -> int:
    """0 when the page is or was made current, 1 when ``--check`` finds it old."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="put the tables into docs/scale.md")
    action.add_argument("--check", action="store_true", help="fail when docs/scale.md holds others")
    options = parser.parse_args(argv)
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    wanted = f"{before}{BEGIN}\n{rendered()}\n{END}{rest.split(END)[1]}"
    if options.write:
        PAGE.write_text(wanted, encoding="utf-8")
    elif wanted != page:
        print("docs/scale.md is old; run: python benchmarks/scale.py --write", file=sys.stderr)
        return 1
    return 0


def _hours(hours: float) -> str:
    return f"{hours / 24:,.1f} days" if hours >= 48 else f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"


def _size(count: float) -> str:
    size, unit = next(pair for pair in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if count >= pair[0])
    return f"{count / size:,.1f} {unit}"


if __name__ == "__main__":
    sys.exit(main())
