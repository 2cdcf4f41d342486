"""``curator zoo``: the bundled tiny models; what they are, and how they are trained again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curator.cli import options
from curator.cli.console import ConsoleReporter, remark, say, show_table
from curator.errors import ConfigError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The bundled tiny models.")


@app.command("list")
def list_() -> None:
    """Name the bundled models with their sizes and held-out losses."""
    from curator.zoo.catalog import PREFIX, WEIGHTS, bundled_models, training_log

    logs = [training_log(name) for name in bundled_models()]
    if not logs:
        remark(f"no model is bundled at {WEIGHTS}; train them with `curator zoo train`")
        return
    show_table(
        "The zoo",
        ("name", "neurons", "parameters", "vocabulary", "training tokens", "nats per token", "bits per byte"),
        (
            (
                f"{PREFIX}{entry['name']}",
                entry["neurons"],
                entry["parameters"],
                entry["vocabulary"],
                entry["training_tokens"],
                entry["held_out"]["nats_per_token"],
                entry["held_out"]["bits_per_byte"],
            )
            for entry in logs
        ),
    )


@app.command()
def train(
    corpora: Annotated[Path, typer.Option(help="Folder with the labelled .jsonl.zst corpora.")],
    out: Annotated[Path, typer.Option(help="Folder for the finished models; those that are there are skipped.")],
    work: Annotated[Path, typer.Option(help="Folder for checkpoints.")],
    only: Annotated[list[str] | None, typer.Option(help="Train this model; repeat. All by default.")] = None,
    device: options.Device = "cpu",
) -> None:
    """Train the models again; hours on a CPU, and it can be stopped and started."""
    from curator.zoo.recipe import zoo_models

    models = {model.name: model for model in zoo_models()}
    unknown = [name for name in only or [] if name not in models]
    if unknown:
        raise ConfigError(f"The zoo's recipe has no model {unknown[0]!r}; it has {', '.join(models)}.")
    from curator.zoo.build import train_zoo

    with ConsoleReporter() as reporter:
        current = ""

        def on_step(name: str, step: int, steps: int, _: float) -> None:
            nonlocal current
            if name != current:
                current = name
                reporter.stage(f"training {name}", steps)
            reporter.advance(step)

        reporter.stage("reading the corpora")
        chosen = [models[name] for name in only or models]
        train_zoo(chosen, corpora, out, work, device=_place(device), on_step=on_step)
    say(f"models {out}")


def _place(device: str) -> str:
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
