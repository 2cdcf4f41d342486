"""What an atlas costs beyond a forward pass: ``atlas_over_forward_zoo`` and ``atlas_over_forward_true_size``.

The atlas pass is everything from texts to a finished atlas on disk: tokenising, the truncated forward pass, pooling, sums,
sketches, decoys, top contexts, certificate, files. The bare forward is the base model without LM head and cache on exactly the
micro-batches that the atlas pass gave it, recorded during a first pass that is not timed, one after the other with all of
torch's threads, and nothing is read from it. The value is the worst model's median ratio. The pass runs models that are not
wide in lanes, which a plain loop does not; the detail ``ratio_in_lanes`` is against a bare forward in as many lanes. Where
the text is short, what an atlas costs once (its arrays, its files, the first and densest batches of top contexts) weighs more
than it does in use: 36,864 neurons of default settings are 1.8 GB whatever the text. True sizes, and the zoo with ``--quick``,
therefore get the smallest sketch and held-back sample; what a span costs does not depend on either.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from benchmarks.harness import Paired, Row, note, paired, rounded, seconds
from benchmarks.worlds import ARCHITECTURES, TRUE_SHAPES, build, emptied, probe, random_model, scratch, zoo
from curator.lm.backbone import Backbone
from curator.lm.lanes import lane_pool, lanes_for
from curator.settings import AtlasSettings
from curator.text.probe import ProbeCorpus

_QUICK_LAYERS = 2
Call = tuple[tuple[Any, ...], dict[str, Any]]


@contextmanager
def recorded(backbone: Backbone) -> Iterator[list[Call]]:
    """The arguments of every forward pass of the model while the block lasts."""
    calls: list[Call] = []

    def hook(_: torch.nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        calls.append((positional, named))

    handle = backbone.model.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()


@dataclass(frozen=True, slots=True)
class Compared:
    """An atlas pass and the bare forward of its batches, timed in turn; ``lanes_s`` is the forward in the pass' own lanes."""

    times: Paired
    lanes: int
    lanes_s: float
    tokens: int

    @property
    def detail(self) -> dict[str, Any]:
        """The numbers as a report shows them."""
        return {
            "ratio": round(self.times.ratio, 4),
            "lanes": self.lanes,
            "ratio_in_lanes": round(statistics.median(self.times.first_s) / self.lanes_s, 4),
            "atlas_s": rounded(self.times.first_s),
            "forward_s": rounded(self.times.second_s),
            "padded_tokens": self.tokens,
        }


def atlas_against_forward(backbone: Backbone, corpus: ProbeCorpus, settings: AtlasSettings, rounds: int) -> Compared:
    """The pass and both forwards, timed in turn."""
    lanes = lanes_for(backbone)
    with scratch() as folder:
        with recorded(backbone) as calls:
            build(backbone, corpus, settings, folder / "warm")

        def atlas() -> None:
            build(backbone, corpus, settings, folder / "atlas")

        def forward(mine: Sequence[Call] = calls) -> None:
            with torch.inference_mode():
                for positional, named in mine:
                    backbone.model(*positional, **named)

        found: list[Paired] = []
        for _ in range(rounds):
            found.append(paired(atlas, forward, 1))
            emptied(folder / "atlas")
        times = Paired(tuple(p.first_s[0] for p in found), tuple(p.second_s[0] for p in found))
        lanes_s = seconds(lambda: _in_lanes(forward, calls, lanes)) if lanes > 1 else statistics.median(times.second_s)
    return Compared(times, lanes, lanes_s, sum(_positions(call) for call in calls))


def _in_lanes(forward: Callable[[Sequence[Call]], None], calls: Sequence[Call], lanes: int) -> None:
    with lane_pool(lanes, "bare-forward") as pool:
        list(pool.map(lambda lane: forward(calls[lane::lanes]), range(lanes)))


def zoo_rows(quick: bool) -> Iterator[Row]:
    """``atlas_over_forward_zoo`` over three architectures."""
    spans, rounds = (10_000, 1) if quick else (240_000, 3)
    settings = AtlasSettings(sketch_dimensions=256, held_back_spans=256) if quick else AtlasSettings()
    corpus = probe(spans)
    found = {}
    for architecture in ARCHITECTURES:
        backbone = zoo(f"{architecture}-128x4")
        found[backbone.name] = atlas_against_forward(backbone, corpus, settings, rounds)
        note(f"{backbone.name}: {found[backbone.name].detail}")
    yield _row("atlas_over_forward_zoo", "at most 1.3", found, corpus, settings)


def true_size_rows(quick: bool) -> Iterator[Row]:
    """``atlas_over_forward_true_size`` over random weights in the shapes of Pythia-160M, GPT-2 and OPT-125M."""
    spans, rounds = (1_200, 1) if quick else (32_000, 2)
    settings = AtlasSettings(sketch_dimensions=256, held_back_spans=256)
    corpus = probe(spans, max_document_spans=256)
    found = {}
    for name, shape in TRUE_SHAPES.items():
        made = replace(shape, layers=_QUICK_LAYERS, vocabulary=4_096) if quick else shape
        with scratch() as folder:
            backbone = random_model(made, folder / name)
            found[name] = atlas_against_forward(backbone, corpus, settings, rounds)
        note(f"{name}: {found[name].detail}")
    row = _row("atlas_over_forward_true_size", "at most 1.15", found, corpus, settings)
    yield replace(row, detail={**row.detail, "layers": _QUICK_LAYERS if quick else 12})


def _row(
    name: str,
    goal: str,
    found: dict[str, Compared],
    corpus: ProbeCorpus,
    settings: AtlasSettings,
) -> Row:
    detail = {
        "goal": goal,
        "about": "whole atlas pass over the bare forward of its batches; the worst of the models",
        "models": {model: compared.detail for model, compared in found.items()},
        "spans": corpus.spans,
        "sketch_dimensions": settings.sketch_dimensions,
        "held_back_spans": settings.held_back_spans,
    }
    return Row(name, max(compared.times.ratio for compared in found.values()), "time ratio, lower is better", detail)


def _positions(call: Call) -> int:
    ids = call[1].get("input_ids", call[0][0] if call[0] else None)
    return int(ids.numel()) if isinstance(ids, torch.Tensor) else 0
