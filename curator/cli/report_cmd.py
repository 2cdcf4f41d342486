"""``curator report``: the page of a study, or a report's page written again, with a study added to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curator.cli.console import say
from curator.errors import ConfigError


def report(
    source: Annotated[Path, typer.Argument(help="A study's JSON file, or a report.json.", metavar="FILE")],
    out: Annotated[Path, typer.Option(help="Folder for page, JSON, Markdown and figures.", metavar="DIR")],
    study: Annotated[
        Path | None, typer.Option(help="Show this study in the report of a neuron set.", metavar="FILE")
    ] = None,
) -> None:
    """Write the page of a study, or write a neuron set's report again; no model is loaded."""
    from curator.files import read_json
    from curator.report.page import SCHEMA, load_report, write_report
    from curator.reporting import write_study_report
    from curator.scaling.points import Study

    found = read_json(source)
    if isinstance(found, dict) and str(found.get("schema")).startswith(SCHEMA.partition("/")[0]):
        inputs = load_report(source)
        shown = inputs.model_copy(update={"study": Study.load(study)}) if study else inputs
        paths = write_report(shown, out)
    elif study:
        raise ConfigError(
            "--study adds a study to the report.json of a neuron set; the page of a study needs its file alone."
        )
    else:
        paths = write_study_report(Study.load(source), out)
    say(f"report     {paths.html}")
