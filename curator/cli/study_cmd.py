"""``curator study``: how the number of Rosetta neurons grows with the models' size.

Each group is one size: an anchor and its peers, and models beside them that are matched in pairs only. The study file is written
after every group, so that an interruption loses one group at most; with ``--append`` groups that the study has are kept as they
are, and atlases that exist are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from curator.cli import options
from curator.cli.console import ConsoleReporter, say, show_table
from curator.cli.partners import refuse_beside
from curator.errors import ConfigError, ModelNotFoundError

if TYPE_CHECKING:
    from curator.scaling.full import Group
    from curator.scaling.points import Study

ZOO_ANCHOR, ZOO_PEERS, ZOO_BESIDE = "neox", ("gpt2", "opt"), "llama"


@dataclass(frozen=True, slots=True)
class Named:
    """One size of a study, by the names of its models."""

    label: str
    models: tuple[str, ...]
    beside: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Named:
        """Read ``LABEL=ANCHOR,PEER,PEER`` or ``LABEL=ANCHOR,PEER+BESIDE``. Raises ConfigError for anything else."""
        label, mark, names = text.partition("=")
        models, beside = (_names(part) for part in (*names.split("+", 1), "")[:2])
        if not (label and mark and len(models) > 1):
            raise ConfigError(f"{text!r} names no group; write LABEL=ANCHOR,PEER with one peer or several.")
        return cls(label, models, beside)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def study(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="The study's JSON file.", metavar="FILE")],
    group: Annotated[
        list[str] | None,
        typer.Option(
            help="One size of models; repeat. Models after a + are matched in pairs, and in no intersection.",
            metavar="LABEL=ANCHOR,PEER,...[+MODEL,...]",
        ),
    ] = None,
    zoo: Annotated[bool, typer.Option("--zoo", help="Measure the bundled models' sizes.")] = False,
    append: Annotated[
        Path | None, typer.Option(help="Add to this study, made on the same probe.", metavar="FILE")
    ] = None,
    depth: Annotated[
        Literal["quick", "full"],
        typer.Option(help="The counts and their nulls alone, or every part of the report."),
    ] = "full",
    replicates: Annotated[int, typer.Option(help="Replicates of the fold bootstrap in a full study.", min=0)] = 200,
    probe: options.ProbeFile = None,
    domain: options.Domains = None,
    tokens_per_domain: options.TokensPerDomain = None,
    sketch_dimensions: options.SketchDimensions = None,
    seed: options.Seed = None,
    settings: options.SettingsFile = None,
    workers: options.Workers = 1,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
) -> None:
    """Count Rosetta neurons over several model sizes, and fit the scaling law."""
    refuse_beside(context, "depth", ("replicates",), "which counts alone")
    groups = [*(Named.parse(text) for text in group or []), *(zoo_groups() if zoo else [])]
    _require_sound(groups, out, append)
    from curator.scaling.points import Study
    from curator.scaling.study import Depth, measure_groups

    found: Study | None = None
    with ConsoleReporter() as reporter:
        for found in measure_groups(
            {one.label: _choices(one, device, dtype) for one in groups},
            options.ProbeChoice(probe, domain, tokens_per_domain, seed).build(reporter),
            atlases=options.atlas_folder(),
            settings=options.dials(settings, seed=seed, sketch_dimensions=sketch_dimensions),
            depth=Depth(full=depth == "full", replicates=replicates),
            study=Study.load(append) if append else None,
            reporter=reporter,
            workers=workers,
        ):
            found.save(out)
    if found:
        _show(found)
        say(f"study       {out}")
        say(f"fingerprint {found.fingerprint}")


def _choices(named: Named, device: str, dtype: str) -> Group:
    from curator.scaling.full import Group

    models, beside = (
        tuple(options.model_choice(name, device=device, dtype=dtype) for name in names)
        for names in (named.models, named.beside)
    )
    return Group(models, beside)


def zoo_groups() -> list[Named]:
    """The sizes of the bundled models that are all there. Raises ModelNotFoundError when no size is complete."""
    from curator.zoo.catalog import PREFIX, bundled_models
    from curator.zoo.recipe import SIZES

    bundled = set(bundled_models())
    groups = []
    for size in SIZES:
        names = [f"{family}-{size}" for family in (ZOO_ANCHOR, *ZOO_PEERS)]
        if bundled.issuperset(names):
            beside = [f"{PREFIX}{name}" for name in (f"{ZOO_BESIDE}-{size}",) if name in bundled]
            groups.append(Named(str(size), tuple(f"{PREFIX}{name}" for name in names), tuple(beside)))
    if not groups:
        raise ModelNotFoundError(
            "This installation bundles no size of the zoo with all its models; name models with --group."
        )
    return groups


def _require_sound(groups: Sequence[Named], out: Path, append: Path | None) -> None:
    if not groups:
        raise ConfigError("A study needs sizes; name each with --group LABEL=ANCHOR,PEER, or take --zoo.")
    labels = [group.label for group in groups]
    if len(set(labels)) != len(labels):
        raise ConfigError("Two groups have the same label; give each size its own.")
    if out.exists() and (append is None or out.resolve() != append.resolve()):
        raise ConfigError(f"{out} exists; go on with it by --append {out}, or name a new file.")


def _show(study: Study) -> None:
    from curator.scaling.analysis import analyse
    from curator.scaling.verdict import fit_scaling

    show_table(
        "Rosetta neurons by size",
        ("size", "anchor", "mean neurons", "paper", "strict", "universal", "deranged", "rotated", "mean rho"),
        (
            (
                point.label,
                point.anchor,
                round(point.neurons_mean),
                point.paper,
                point.strict,
                point.universal,
                point.decoy_derangement.paper,
                point.decoy_rotation.paper,
                point.mean_correlation,
            )
            for point in study.points
        ),
        left=2,
    )
    fit = fit_scaling(study.points)
    if fit.power_law:
        law, interval = fit.power_law, fit.power_law.interval
        between = f", 95% interval {interval[0]:.2f} to {interval[1]:.2f}" if interval else ""
        say(f"fit         R = {law.c:.3g} x^{law.alpha:.2f} over {fit.sizes} sizes{between}")
    say(f"verdict     {fit.verdict}")
    for name, words in analyse(study).sentences.items():
        say(f"{name}: {words}")
