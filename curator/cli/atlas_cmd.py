"""``curator atlas``: everything that one pass over the probe corpus says of one model, built once and kept.

``build`` makes it, with one process or several, or makes one part of it for a cluster; ``merge`` joins parts that were made
elsewhere; ``show`` says what an atlas is of. A build that was killed goes on when the same command is given again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curator.cli import options
from curator.cli.console import ConsoleReporter, say, show_table
from curator.errors import ConfigError

if TYPE_CHECKING:
    from curator.atlas.store import Atlas

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Build, merge and show atlases.")


@app.command()
def build(
    model: Annotated[str, typer.Argument(help="Hub name, folder or zoo:NAME.", metavar="MODEL[@REV]")],
    probe: options.ProbeFile = None,
    domain: options.Domains = None,
    tokens_per_domain: options.TokensPerDomain = None,
    workers: options.Workers = 1,
    part: Annotated[
        str | None,
        typer.Option(help="Make only this part, the second of eight for example; then merge.", metavar="2/8"),
    ] = None,
    sketch_dimensions: options.SketchDimensions = None,
    seed: options.Seed = None,
    settings: options.SettingsFile = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
) -> None:
    """Build a model's atlas, or find the one from before; it goes on where a killed build stopped."""
    if part and workers > 1:
        raise ConfigError("A part is made by one worker; leave out --workers or --part.")
    from curator.atlas.build import build_part, work_folder
    from curator.neuronset.identify import atlas_name, atlas_of
    from curator.shares import Share

    share = Share.parse(part) if part else None
    dials = options.dials(settings, seed=seed, sketch_dimensions=sketch_dimensions).atlas
    choice = options.model_choice(model, device=device, dtype=dtype)
    with ConsoleReporter() as reporter:
        corpus = options.ProbeChoice(probe, domain, tokens_per_domain, seed).build(reporter)
        if share is None:
            found, backbone = atlas_of(choice, corpus, dials, options.atlas_folder(), reporter, workers=workers)
            place = options.atlas_folder() / atlas_name(backbone, corpus, dials)
        else:
            backbone = choice.load()
            place = work_folder(options.atlas_folder() / atlas_name(backbone, corpus, dials)) / str(share)
            reporter.stage(f"{share} of the atlas of {choice.shown}", len(corpus.documents) // share.count)
            build_part(backbone, corpus, dials, place.parent, share, progress=lambda done, _: reporter.advance(done))
            found = None
    if found:
        _show(found)
    say(f"{'part ' if part else 'atlas'}       {place}")


@app.command()
def merge(
    parts: Annotated[list[Path], typer.Argument(help="Folders of all parts of one build.", metavar="PART...")],
    out: Annotated[Path, typer.Option(help="Folder of the atlas.")],
) -> None:
    """Join parts that `atlas build --part` made, on this machine or others."""
    from curator.atlas.merge import merge_parts, read_part

    if out.exists():
        raise ConfigError(f"{out} exists; name a new folder with --out.")
    with ConsoleReporter() as reporter:
        reporter.stage(f"merging {len(parts)} parts")
        found = merge_parts([read_part(part) for part in parts], out)
    _show(found)
    say(f"atlas       {out}")


@app.command()
def show(atlas: Annotated[Path, typer.Argument(help="Folder of an atlas.")]) -> None:
    """Say what an atlas is of and how sure its numbers are; checks every hash."""
    from curator.atlas.store import load_atlas

    _show(load_atlas(atlas))


def _show(found: Atlas) -> None:
    manifest = found.manifest
    show_table(
        f"Atlas of {manifest.model}",
        ("what", "value"),
        (
            ("layers", len(manifest.layer_widths)),
            ("neurons", found.neurons),
            ("dead neurons", manifest.dead_neurons),
            ("gated MLPs", manifest.gated),
            ("computed in", manifest.dtype),
            ("documents", len(manifest.documents)),
            ("domains", ", ".join(manifest.domains)),
            ("tokens", manifest.tokens),
            ("spans in the signatures", manifest.spans),
            ("spans held back", manifest.held_back),
            ("spans uncovered", manifest.uncovered_spans),
            ("signature dimensions", manifest.settings.sketch_dimensions),
            ("worst difference to float64", f"{manifest.certificate:.1e}"),
        ),
    )
    say(f"fingerprint {found.fingerprint}")
