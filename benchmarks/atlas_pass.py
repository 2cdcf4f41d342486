"""What an atlas costs beyond a forward pass: ``atlas_over_forward_zoo`` and ``atlas_over_forward_true_size``.

The atlas pass is everything from texts to a finished atlas on disk: tokenising, the truncated forward pass, pooling, sums,
sketches, decoys, top contexts, certificate, files. The bare forward is the base model without LM head and cache on exactly the
micro-batches that the atlas pass gave it, recorded during a first pass that is not timed, and nothing is read from it. The
value is the worst model's median ratio. Where the text is short, what an atlas costs once (its arrays, its files) weighs more
than it does in use: 36,864 neurons of default settings are 1.8 GB whatever the text. True sizes, and the zoo with ``--quick``,
therefore get the smallest sketch and held-back sample; what a span costs does not depend on either.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from benchmarks.harness import Paired, Row, note, paired, rounded
from benchmarks.worlds import ARCHITECTURES, TRUE_SHAPES, build, emptied, probe, random_model, scratch, zoo
from curator.lm.backbone import Backbone
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


def atlas_against_forward(
    backbone: Backbone, corpus: ProbeCorpus, settings: AtlasSettings, rounds: int
) -> tuple[Paired, int]:
    """Both timed in turn, and the tokens with padding that both read."""
    with scratch() as folder:
        with recorded(backbone) as calls:
            build(backbone, corpus, settings, folder / "warm")

        def atlas() -> None:
            build(backbone, corpus, settings, folder / "atlas")

        def forward() -> None:
            with torch.inference_mode():
                for positional, named in calls:
                    backbone.model(*positional, **named)

        forward()
        found = []
        for _ in range(rounds):
            found.append(paired(atlas, forward, 1))
            emptied(folder / "atlas")
    tokens = sum(_positions(call) for call in calls)
    return Paired(tuple(p.first_s[0] for p in found), tuple(p.second_s[0] for p in found)), tokens


def zoo_rows(quick: bool) -> Iterator[Row]:
    """``atlas_over_forward_zoo`` over three architectures."""
    spans, rounds = (10_000, 1) if quick else (120_000, 3)
    settings = AtlasSettings(sketch_dimensions=256, held_back_spans=256) if quick else AtlasSettings()
    corpus = probe(spans)
    found = {}
    for architecture in ARCHITECTURES:
        backbone = zoo(f"{architecture}-128x4")
        found[backbone.name] = atlas_against_forward(backbone, corpus, settings, rounds)
        note(f"{backbone.name}: {found[backbone.name][0].ratio:.3f}")
    yield _row("atlas_over_forward_zoo", "at most 1.3", found, corpus, settings)


def true_size_rows(quick: bool) -> Iterator[Row]:
    """``atlas_over_forward_true_size`` over random weights in the shapes of Pythia-160M, GPT-2 and OPT-125M."""
    spans, rounds = (1_200, 1) if quick else (8_000, 2)
    settings = AtlasSettings(sketch_dimensions=256, held_back_spans=256)
    corpus = probe(spans, max_document_spans=256)
    found = {}
    for name, shape in TRUE_SHAPES.items():
        made = replace(shape, layers=_QUICK_LAYERS, vocabulary=4_096) if quick else shape
        with scratch() as folder:
            backbone = random_model(made, folder / name)
            found[name] = atlas_against_forward(backbone, corpus, settings, rounds)
        note(f"{name}: {found[name][0].ratio:.3f}")
    row = _row("atlas_over_forward_true_size", "at most 1.15", found, corpus, settings)
    yield replace(row, detail={**row.detail, "layers": _QUICK_LAYERS if quick else 12})


def _row(
    name: str,
    goal: str,
    found: dict[str, tuple[Paired, int]],
    corpus: ProbeCorpus,
    settings: AtlasSettings,
) -> Row:
    detail = {
        "goal": goal,
        "about": "whole atlas pass over the bare forward of its batches; the worst of the models",
        "models": {
            model: {
                "ratio": round(times.ratio, 4),
                "atlas_s": rounded(times.first_s),
                "forward_s": rounded(times.second_s),
                "padded_tokens": tokens,
            }
            for model, (times, tokens) in found.items()
        },
        "spans": corpus.spans,
        "sketch_dimensions": settings.sketch_dimensions,
        "held_back_spans": settings.held_back_spans,
    }
    return Row(name, max(times.ratio for times, _ in found.values()), "time ratio, lower is better", detail)


def _positions(call: Call) -> int:
    ids = call[1].get("input_ids", call[0][0] if call[0] else None)
    return int(ids.numel()) if isinstance(ids, torch.Tensor) else 0
