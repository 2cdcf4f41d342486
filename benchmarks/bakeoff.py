"""The bake-off as benchmark rows: how good each way to choose data is on one pool, and what a model learns from its choice.

    python benchmarks/bakeoff.py [--quick] [--json FILE] [--only SECTION]

Every value is a precision at the oracle's budget, which is also the recall, or a recovered share of the oracle's gain; nothing
is timed. Text: the labelled corpora beside the checkout where they are, and the embedded domains. Sections and their rows:
  retrieval    default_precision_k3, _k10, _k40, ngram_precision_k3, _k10, _k40, single_neuron_precision_0, random_precision,
               best_text_precision_k3, _k10, _k40
  pretraining  recovered_oracle_gain_default, recovered_oracle_gain_single; not with --quick

The full run takes hours on two cores. It is kept in ``$CURATOR_HOME/bakeoff`` and goes on from there; a finished ``curator
bakeoff --pretrain --out`` of the same settings in that place is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.harness import Row, Section, note, run_benchmark
from benchmarks.worlds import scratch
from curator.bakeoff.book import book
from curator.bakeoff.cost import reading_costs
from curator.bakeoff.entrants import DEFAULT, SINGLE
from curator.bakeoff.pretraining import PretrainingSettings
from curator.bakeoff.run import Prepared, prepare, retrieve
from curator.bakeoff.schedule import pretrain
from curator.bakeoff.settings import BakeoffSettings, quick_settings
from curator.bakeoff.world import QUICK_DOMAINS, domains_of, unseen_by_the_zoo
from curator.files import curator_home

CORPORA = Path(__file__).resolve().parents[2] / "shared" / "corpora"
GOALS = {3: (0.92, 0.10), 10: (0.95, 0.05), 40: (0.96, 0.02)}
NGRAM = "n-gram logistic"


class Note:
    """Progress as lines on stderr; the ``Reporter`` of the bake-off."""

    def stage(self, title: str, total: int | None = None) -> None:
        """A step begins."""
        note(f"{title} ({total:,})" if total else title)

    def advance(self, done: int) -> None:
        """Nothing: the lines of the stages are enough."""


def retrieval_rows(quick: bool) -> Iterator[Row]:
    """Precision of the default, of the baselines and of the bounds."""
    found = _quick_book() if quick else _full_book(with_models=False)
    regimes = found["regimes"]
    about = {
        "targets": len(found["text"]["documents"]),
        "seeds": len(found["settings"]["seeds"]),
        "anchor": found["anchor"]["name"],
    }
    for count, (goal, ahead) in GOALS.items():
        if f"k{count}" not in regimes:
            continue
        entries, compared = regimes[f"k{count}"], found["comparisons"][f"k{count}"]
        goals = f"at least {goal}, {ahead} above the best without a model"
        yield _row(
            f"default_precision_k{count}",
            entries[DEFAULT],
            f"neurons and wording, {count} examples",
            goals,
            about,
        )
        yield _row(
            f"ngram_precision_k{count}",
            entries[NGRAM],
            f"logistic on hashed words and pairs, {count} examples",
            "",
            about,
        )
        name = compared["best_without_a_model"]
        yield _row(
            f"best_text_precision_k{count}",
            entries[name],
            f"{name}, the best without a model, {count} examples",
            "",
            about,
        )
    yield _row(
        "single_neuron_precision_0", regimes["k0"][SINGLE], "one Rosetta neuron, chosen on the probe corpus", "", about
    )
    yield _row("random_precision", regimes["k0"]["random"], "a random choice", "the target's share", about)


def pretraining_rows(quick: bool) -> Iterator[Row]:
    """Recovered oracle gains; nothing in a quick run."""
    if quick:
        return
    found = _full_book(with_models=True)["pretraining"]
    for name, selector, goal in (("default", DEFAULT, "at least 0.97"), ("single", SINGLE, "at least 0.85")):
        entry = found[selector]
        about = f"share of the oracle's gain in held-out loss that its choice recovers; {len(entry['domains'])} targets"
        detail = {
            "goal": goal,
            "about": about,
            "by_target": entry["domains"],
            "interval": entry["recovered_gain_interval"],
        }
        yield Row(
            f"recovered_oracle_gain_{name}", entry["recovered_gain"], "share", {**detail, "models": entry["runs"]}
        )


def _row(name: str, entry: dict[str, Any], about: str, goal: str, detail: dict[str, Any]) -> Row:
    interval = entry["precision_interval"]
    return Row(name, entry["precision"], "precision", {"goal": goal, "about": about, "interval": interval, **detail})


def _full_book(*, with_models: bool) -> dict[str, Any]:
    folder, prepared = curator_home() / "bakeoff", _full_world()
    results = retrieve(prepared, folder, Note())
    trained = pretrain(prepared, PretrainingSettings(), folder, Note()) if with_models else []
    costs = reading_costs(prepared, folder, Note())
    return book(prepared, list(results.found.values()), trained, [], costs)


@cache
def _full_world() -> Prepared:
    domains = domains_of((), CORPORA if CORPORA.is_dir() else None)
    settings = BakeoffSettings(unseen=unseen_by_the_zoo(domains))
    return prepare(domains, settings, curator_home() / "bakeoff", Note())


def _quick_book() -> dict[str, Any]:
    with scratch() as folder:
        prepared = prepare(domains_of((), None, QUICK_DOMAINS), quick_settings(), folder, Note())
        results = retrieve(prepared, folder, Note()).found.values()
        return book(prepared, list(results), [], [], reading_costs(prepared, folder, Note()))


SECTIONS: dict[str, Section] = {"retrieval": retrieval_rows, "pretraining": pretraining_rows}

if __name__ == "__main__":
    run_benchmark("bakeoff", __doc__ or "", SECTIONS)
