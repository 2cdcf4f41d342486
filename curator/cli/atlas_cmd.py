"""``curator atlas``: everything that one pass over the probe corpus says of one model, built once and kept."""

from __future__ import annotations

from typing import Annotated

import typer

from curator.cli import options
from curator.cli.console import ConsoleReporter, say, show_table


def atlas(
    model: Annotated[str, typer.Argument(help="Hub name, folder or zoo:NAME.", metavar="MODEL[@REV]")],
    probe: options.ProbeFile = None,
    domain: options.Domains = None,
    tokens_per_domain: options.TokensPerDomain = None,
    sketch_dimensions: options.SketchDimensions = None,
    seed: options.Seed = None,
    settings: options.SettingsFile = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
) -> None:
    """Build a model's atlas, or find the one from before; identify and study use it."""
    from curator.neuronset.identify import atlas_name, atlas_of

    given = options.known(sketch_dimensions=sketch_dimensions, seed=seed)
    dials = options.identify_settings(settings, atlas=given).atlas
    choice = options.model_choice(model, device=device, dtype=dtype)
    with ConsoleReporter() as reporter:
        corpus = options.ProbeChoice(probe, domain or [], tokens_per_domain, seed).build(reporter)
        found, backbone = atlas_of(choice, corpus, dials, options.atlas_folder(), reporter)
    manifest = found.manifest
    show_table(
        f"Atlas of {choice.name}",
        ("what", "value"),
        (
            ("layers", len(manifest.layer_widths)),
            ("neurons", found.neurons),
            ("dead neurons", manifest.dead_neurons),
            ("gated MLPs", manifest.gated),
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
    say(f"atlas       {options.atlas_folder() / atlas_name(backbone, corpus, dials)}")
    say(f"fingerprint {found.fingerprint}")
