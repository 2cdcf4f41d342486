"""How time and memory grow: ``rss_growth``, ``time_growth_spans``, ``time_growth_neurons``, ``time_growth_workers``.

Every measurement is one atlas in a process of its own, on a corpus that was made and stored before, so the peak is that of
reading it, loading the model and building the atlas. The libraries alone take some hundred megabytes; the detail therefore
also gives the growth of what comes on top of the process as it stands when model and corpus are loaded. Workers have one
thread each, so that two of them use two cores and one of them one; making the parts and merging them are both counted.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import Row, in_child, in_children, note, peak_bytes, rounded, seconds
from benchmarks.worlds import build, emptied, probe, scratch, zoo
from curator.atlas.build import build_part
from curator.atlas.chunks import Share
from curator.atlas.merge import merge_parts, read_part
from curator.settings import AtlasSettings
from curator.text.probe_store import load_probe, save_probe

_MODEL = "neox-128x4"
_GROWTH = 4
_WORKERS = 2
Measured = dict[str, Any]


def one_atlas(model: str, corpus: Path, folder: Path, settings: dict[str, Any]) -> Measured:
    """Builds an atlas; seconds, the process's peak before, and the sizes of model and corpus."""
    text, backbone = load_probe(corpus), zoo(model)
    before = peak_bytes()
    taken = seconds(lambda: build(backbone, text, AtlasSettings(**settings), folder))
    return {"seconds": taken, "before_bytes": before, "neurons": backbone.neurons, "spans": text.spans}


def one_part(model: str, corpus: Path, work: Path, settings: dict[str, Any], index: int, count: int) -> Measured:
    """Makes one of ``count`` parts of an atlas with one thread."""
    torch.set_num_threads(1)
    text, backbone, share = load_probe(corpus), zoo(model), Share(index, count)
    taken = seconds(lambda: build_part(backbone, text, AtlasSettings(**settings), work, share))
    return {"seconds": taken, "part": str(share), "spans": text.spans}


def growth_rows(quick: bool) -> Iterator[Row]:
    """Rows for spans, neurons and workers."""
    spans, rounds = (2_000, 1) if quick else (25_000, 3)
    dials = {"sketch_dimensions": 512 if quick else 2_048, "held_back_spans": 512 if quick else 4_096}
    with scratch() as folder:
        for factor in (1, _GROWTH):
            save_probe(probe(spans * factor), folder / f"corpus-{factor}")
        small, large = [], []
        for _ in range(rounds):
            small.append(_measured(_MODEL, folder, 1, dials))
            large.append(_measured(_MODEL, folder, _GROWTH, dials))
        yield _memory_row(small, large)
        yield _spans_row(small, large)
        yield _neurons_row(small, folder, dials, ("32x2",) if quick else ("32x2", "64x2", "192x6"))
        yield _workers_row(folder, dials, rounds)


def _measured(model: str, folder: Path, factor: int, dials: dict[str, Any]) -> Measured:
    corpus, atlas = folder / f"corpus-{factor}", emptied(folder / "atlas")
    found, peak = in_child(one_atlas, model=model, corpus=corpus, folder=atlas, settings=dials)
    note(f"{model}, {found['spans']} spans: {found['seconds']:.2f} s, peak {peak / 2**20:.0f} MiB")
    return {**found, "peak_bytes": peak}


def _memory_row(small: list[Measured], large: list[Measured]) -> Row:
    peak_1, peak_4 = _median(small, "peak_bytes"), _median(large, "peak_bytes")
    above_1, above_4 = (_median(runs, "peak_bytes") - _median(runs, "before_bytes") for runs in (small, large))
    detail = {
        "goal": "about 1.0",
        "about": f"peak memory of a process that builds an atlas, {_GROWTH} times the spans over one time",
        **_sizes(small, large),
        "peak_mib": rounded((peak_1 / 2**20, peak_4 / 2**20), 1),
        "above_loaded_mib": rounded((above_1 / 2**20, above_4 / 2**20), 1),
        "growth_above_loaded": round(above_4 / max(1, above_1), 4),
    }
    return Row("rss_growth", peak_4 / peak_1, "memory ratio, lower is better", detail)


def _spans_row(small: list[Measured], large: list[Measured]) -> Row:
    ratio = statistics.median(b["seconds"] / a["seconds"] for a, b in zip(small, large, strict=True))
    detail = {
        "goal": f"at most {_GROWTH} (linear)",
        "about": f"time of an atlas, {_GROWTH} times the spans over one time",
        **_sizes(small, large),
        "seconds": [rounded(run["seconds"] for run in runs) for runs in (small, large)],
    }
    return Row("time_growth_spans", ratio, f"time ratio at {_GROWTH}x the spans", detail)


def _neurons_row(base: list[Measured], folder: Path, dials: dict[str, Any], sizes: tuple[str, ...]) -> Row:
    """Other sizes of the same architecture on the smaller corpus, beside the base model's first run."""
    runs = [base[0], *(_measured(f"neox-{size}", folder, 1, dials) for size in sizes)]
    runs.sort(key=lambda run: run["neurons"])
    per_neuron = [run["seconds"] / run["neurons"] for run in runs]
    above = [(run["peak_bytes"] - run["before_bytes"]) / run["neurons"] for run in runs]
    detail = {
        "goal": "at most 1.0 (linear)",
        "about": "time of an atlas for each neuron, the largest model over the smallest",
        "neurons": [run["neurons"] for run in runs],
        "seconds": rounded(run["seconds"] for run in runs),
        "spans": base[0]["spans"],
        "kib_per_neuron_above_loaded": rounded((value / 1024 for value in above), 1),
    }
    return Row("time_growth_neurons", per_neuron[-1] / per_neuron[0], "time ratio per neuron", detail)


def _workers_row(folder: Path, dials: dict[str, Any], rounds: int) -> Row:
    runs = [(_built_by(1, folder, dials), _built_by(_WORKERS, folder, dials)) for _ in range(rounds)]
    detail = {
        "goal": f"about {1 / _WORKERS:g} (linear), with a core for each",
        "about": f"time of an atlas by {_WORKERS} workers over one worker, each with one thread, merging included",
        "model": _MODEL,
        "one_worker": [one for one, _ in runs],
        "workers": [several for _, several in runs],
    }
    ratio = statistics.median(several["seconds"] / one["seconds"] for one, several in runs)
    return Row("time_growth_workers", ratio, f"time ratio at {_WORKERS} workers", detail)


def _built_by(workers: int, folder: Path, dials: dict[str, Any]) -> Measured:
    work, corpus = emptied(folder / "work"), folder / f"corpus-{_GROWTH}"
    common = {"model": _MODEL, "corpus": corpus, "work": work, "settings": dials, "count": workers}
    found = in_children(one_part, [{**common, "index": index} for index in range(workers)])
    parts_s = [part["seconds"] for part, _ in found]
    parts = [work / part["part"] for part, _ in found]
    merge_s = seconds(lambda: merge_parts([read_part(part) for part in parts], emptied(folder / "atlas")))
    note(f"{workers} workers: {max(parts_s):.2f} s for the parts, {merge_s:.2f} s to merge them")
    peaks = rounded((peak / 2**20 for _, peak in found), 1)
    total = round(max(parts_s) + merge_s, 4)
    return {"seconds": total, "parts_s": rounded(parts_s), "merge_s": round(merge_s, 4), "peak_mib": peaks}


def _sizes(small: list[Measured], large: list[Measured]) -> dict[str, Any]:
    return {"model": _MODEL, "spans": [small[0]["spans"], large[0]["spans"]], "rounds": len(small)}


def _median(runs: list[Measured], name: str) -> float:
    return statistics.median(run[name] for run in runs)
