"""``curator plan``: what identifying Rosetta neurons would cost, before anything is spent.

From configurations alone: no weights and no tokenizer are read, so a folder with a ``config.json`` is enough. The formulas stand
in ``curator.atlas.plan``, their sums in ``curator.atlas.forecast``; times come from a few seconds with one layer of each model.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curator.cli import options
from curator.cli.console import cell, remark, say, show_table
from curator.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from curator.atlas.forecast import Machine, ModelPlan, PairPlan, Products, Text
    from curator.lm.shape import ModelShape
    from curator.lm.speed import Speed
    from curator.settings import AtlasSettings

_CALIBRATION_S = 8.0
_DECIMAL = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_CLOCK = ((365 * 86_400, "years"), (86_400, "days"), (3600, "hours"), (60, "minutes"))
_Line = tuple[str, str, str, Sequence[object]]
"""One quantity: label in the table, name in JSON, unit (``bytes``, ``FLOP``, ``s`` or none), a value for each column."""


def plan(
    model: Annotated[str, typer.Argument(help="Hub name, folder or zoo:NAME.", metavar="MODEL[@REV]")],
    peer: Annotated[
        list[str] | None, typer.Option("--peer", help="A model to match it with; repeat.", metavar="MODEL[@REV]")
    ] = None,
    tokens: Annotated[str, typer.Option(help="Size of the probe corpus, such as 10M.")] = "10M",
    window: Annotated[int, typer.Option(help="Tokens that a model reads at once.", min=8)] = 1024,
    sketch_dimensions: options.SketchDimensions = None,
    settings: options.SettingsFile = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    memory: Annotated[str | None, typer.Option(help="Memory of the device; by default what is free.")] = None,
    disk: Annotated[str | None, typer.Option(help="Disk for atlases; by default what is free.")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write all numbers to this file.", metavar="FILE")] = None,
    calibrate: Annotated[bool, typer.Option(help="Time one layer of each model, some seconds.")] = True,
) -> None:
    """Say what atlases and matching would cost, in memory, disk, FLOP and time, from configurations alone."""
    from curator.atlas.forecast import Text, plan_model, plan_pair
    from curator.files import write_json
    from curator.lm.backbone import computing_device, computing_dtype
    from curator.lm.shape import shape_of

    dials = options.dials(settings, sketch_dimensions=sketch_dimensions)
    text = Text(_count(tokens), window)
    place = computing_device(device)
    computing = computing_dtype(dtype, place)
    machine = _machine(place, computing, memory, disk)
    names = [model, *(peer or [])]
    built = [_on_meta(name) for name in names]
    shapes = [shape_of(made) for made in built]
    speeds, products = _calibrated(names, built, shapes, computing, place) if calibrate else ([None] * len(names), None)
    plans = [plan_model(*known, text, machine, dials.atlas, speed)
             for known, speed in zip(zip(names, shapes, strict=True), speeds, strict=True)]  # fmt: skip
    pairs = [plan_pair(plans[0], other, text, dials.atlas, dials.match, products) for other in plans[1:]]
    precision = str(computing).removeprefix("torch.")
    _show(f"Atlas: {text.tokens:,} tokens, {dials.atlas.sketch_dimensions:,} dimensions, {precision}, {place}",
          names, _model_lines(plans))  # fmt: skip
    if pairs:
        _show(f"Matching with {_short(names[0])}", [pair.peer for pair in pairs], _pair_lines(pairs))
    _explain(plans, text, machine, dials.atlas)
    if json:
        about = _rows(_model_lines(plans), names) + _rows(
            _pair_lines(pairs), [f"{names[0]} + {pair.peer}" for pair in pairs]
        )
        write_json(json, _assumptions(text, machine, dials.atlas, f"{precision} on {place}") + about)


def _count(tokens: str) -> int:
    count = options.parse_count(tokens)
    if count < 1:
        raise ConfigError(f"{tokens!r} tokens leave nothing to read; ask for at least one.")
    return count


def _on_meta(name: str) -> PreTrainedModel:
    from curator.lm.shape import meta_model
    from curator.zoo.catalog import resolve_model

    choice = options.model_choice(name, device="auto", dtype="auto")
    return meta_model(resolve_model(choice.name), revision=choice.revision)


def _machine(place: torch.device, computing: torch.dtype, memory: str | None, disk: str | None) -> Machine:
    from curator.atlas.forecast import Machine
    from curator.lm.memory import free_memory

    return Machine(
        itemsize=computing.itemsize,
        memory=options.parse_size(memory) if memory else free_memory(place),
        disk=options.parse_size(disk) if disk else _free_disk(options.atlas_folder()),
    )


def _free_disk(folder: Path) -> int:
    """Free bytes where a folder is, or will be."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    return shutil.disk_usage(there).free


def _calibrated(
    names: Sequence[str],
    built: Sequence[PreTrainedModel],
    shapes: Sequence[ModelShape],
    computing: torch.dtype,
    place: torch.device,
) -> tuple[list[Speed | None], Products]:
    import torch

    from curator.atlas.forecast import Products
    from curator.lm.speed import forward_speed, product_speed

    remark("timing one layer of each model")
    share = 0.85 * _CALIBRATION_S / len(built)
    speeds: list[Speed | None] = [
        forward_speed(made.config, name, shape, computing, place, budget_s=share)
        for name, made, shape in zip(names, built, shapes, strict=True)
    ]
    search = product_speed(torch.float32, torch.device("cpu"), budget_s=_CALIBRATION_S / 16)
    return speeds, Products(search, product_speed(computing, place, budget_s=_CALIBRATION_S / 16))


def _model_lines(plans: Sequence[ModelPlan]) -> list[_Line]:
    return [
        ("layers", "layers", "", [len(one.shape.widths) for one in plans]),
        ("neurons", "neurons", "", [one.shape.neurons for one in plans]),
        ("gated MLPs", "gated", "", [one.shape.gated for one in plans]),
        ("parameters, without LM head", "parameters", "", [one.shape.parameters for one in plans]),
        ("weights", "weights", "bytes", [one.weights_bytes for one in plans]),
        ("one device holds the weights", "fits", "", [one.fits for one in plans]),
        ("memory of the pass beside the weights", "pass_memory", "bytes", [one.cost.memory_bytes for one in plans]),
        ("disk for work files", "work_files", "bytes", [one.cost.work_bytes for one in plans]),
        ("disk for the finished atlas", "atlas", "bytes", [one.cost.artifact_bytes for one in plans]),
        ("forward a token", "forward_token", "FLOP", [one.forward_flop // one.tokens for one in plans]),
        ("forward", "forward", "FLOP", [one.forward_flop for one in plans]),
        ("the pass's own work", "pass", "FLOP", [one.pass_flop for one in plans]),
        ("time of the forward on this machine", "forward_time", "s", [one.seconds for one in plans]),
        (
            "largest sketch that fits memory",
            "sketch_in_memory",
            "dimensions",
            [one.sketch_in_memory or 0 for one in plans],
        ),
        (
            "largest sketch that fits the disk",
            "sketch_on_disk",
            "dimensions",
            [one.sketch_on_disk or 0 for one in plans],
        ),
    ]


def _pair_lines(pairs: Sequence[PairPlan]) -> list[_Line]:
    return [
        ("candidates, four searches both ways", "search", "FLOP", [pair.match.search_flop for pair in pairs]),
        ("verification", "verify", "FLOP", [pair.match.verify_flop for pair in pairs]),
        ("rotated null", "rotation", "FLOP", [pair.match.rotation_flop for pair in pairs]),
        ("read from the two atlases", "match_read", "bytes", [pair.match.read_bytes for pair in pairs]),
        ("time of the matching", "match_time", "s", [pair.seconds for pair in pairs]),
        ("all in all, two passes and matching", "identify", "FLOP", [pair.our_flop for pair in pairs]),
        ("time of it", "identify_time", "s", [pair.our_seconds for pair in pairs]),
        ("paper's code: passes of both models", "paper_passes", "", [pair.paper.passes for pair in pairs]),
        ("paper's code: forward", "paper_forward", "FLOP", [pair.paper_forward_flop for pair in pairs]),
        ("paper's code: all pairs of neurons", "paper_products", "FLOP", [pair.paper.gemm_flop for pair in pairs]),
        ("paper's code: bf16 accumulators", "paper_memory", "bytes", [pair.paper.accumulator_bytes for pair in pairs]),
        ("paper's code: time", "paper_time", "s", [pair.paper_seconds for pair in pairs]),
        ("paper's FLOP over ours", "flop_ratio", "", [pair.paper_flop / pair.our_flop for pair in pairs]),
    ]


def _show(title: str, columns: Sequence[str], lines: Sequence[_Line]) -> None:
    rows = [(label, *(_written(value, unit) for value in values)) for label, _, unit, values in lines]
    show_table(title, ("what", *map(_short, columns)), rows)


def _written(value: object, unit: str) -> str:
    if value is None or not isinstance(value, int | float) or not unit:
        return cell(value)
    if unit == "dimensions":
        return cell(value) if value else "none"
    if unit == "FLOP":
        return f"{value:.1e} FLOP"
    if unit == "s":
        size, name = next(((size, name) for size, name in _CLOCK if value >= size), (1, "s"))
        return f"{value / size:,.1f} {name}"
    size, name = next(((size, name) for size, name in _DECIMAL if value >= size), (1, "bytes"))
    return f"{value / size:,.1f} {name}"


def _explain(plans: Sequence[ModelPlan], text: Text, machine: Machine, settings: AtlasSettings) -> None:
    """What the tables leave open: what there is to spend, what to do where it is not enough, whence the times are."""
    chosen = settings.sketch_dimensions
    free = "unknown, give --memory" if machine.memory is None else _written(machine.memory, "bytes")
    say(f"memory free {free}; disk free {_written(machine.disk, 'bytes')}")
    say(
        f"a correlation read from {chosen:,} dimensions has standard error {chosen**-0.5:.3f}; "
        f"matches are verified on {settings.held_back_spans:,} held-back spans"
    )
    for one in plans:
        name = _short(one.name)
        if not one.fits:
            say(f"{name} does not fit one device: load with --device sharded, or in a smaller --dtype")
        for place, largest in (("memory", one.sketch_in_memory or 0), ("the disk", one.sketch_on_disk or 0)):
            if chosen > largest:
                advice = f"--sketch-dimensions {largest}" if largest else "fewer tokens, or more room"
                say(f"{name}: {chosen:,} dimensions do not fit {place}; take {advice}")
        if one.window < text.window:
            say(f"{name} reads at most {one.window:,} tokens at once")
        if one.speed:
            how = (
                f"one layer over {one.speed.tokens} tokens"
                if one.speed.how == "layer"
                else "a matrix product, no layer fitted"
            )
            say(f"{name}: {one.speed.flop_per_second:.1e} FLOP/s, timed on {how}")


def _short(name: str) -> str:
    """The last part of a folder's path, any other name as it is."""
    return Path(name).name if Path(name).is_dir() else name


def _assumptions(text: Text, machine: Machine, settings: AtlasSettings, where: str) -> list[dict[str, object]]:
    lines: list[_Line] = [
        ("", "tokens", "", [text.tokens]),
        ("", "documents", "", [text.documents]),
        ("", "window", "", [text.window]),
        ("", "sketch_dimensions", "", [settings.sketch_dimensions]),
        ("", "memory_free", "bytes", [machine.memory]),
        ("", "disk_free", "bytes", [machine.disk]),
    ]
    return _rows(lines, [where])


def _rows(lines: Sequence[_Line], details: Sequence[str]) -> list[dict[str, object]]:
    """A row for each value that is known."""
    return [
        {"name": name, "value": value, "unit": unit, "detail": detail}
        for _, name, unit, values in lines
        for value, detail in zip(values, details, strict=True)
        if value is not None
    ]
