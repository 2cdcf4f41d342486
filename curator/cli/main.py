"""The ``curator`` command: one file a verb, all of them registered here.

Importing this loads none of the engine's libraries; a verb imports what it needs when it runs, so that ``curator --help`` is
quick and the base install has a command. Errors become one sentence and an exit status: see ``failures``.
"""

from __future__ import annotations

from typing import Annotated

import typer

from curator.cli import atlas_cmd, zoo_cmd
from curator.cli.bakeoff_cmd import bakeoff
from curator.cli.demo_cmd import demo
from curator.cli.failures import ReportingGroup, quiet_when_nobody_reads
from curator.cli.filter_cmd import filter_
from curator.cli.health_cmd import health
from curator.cli.identify_cmd import identify
from curator.cli.list_cmd import list_
from curator.cli.logs import quiet_libraries, set_up_logging
from curator.cli.match_cmd import match
from curator.cli.plan_cmd import plan
from curator.cli.report_cmd import report
from curator.cli.score_cmd import score
from curator.cli.select_cmd import select
from curator.cli.serve_cmd import serve
from curator.cli.study_cmd import study
from curator.version import __version__

app = typer.Typer(
    cls=ReportingGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its table cuts option names to fit 80 columns
    help="Choose continued-pretraining data by the neurons that independently trained language models share.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def main(
    verbose: Annotated[int, typer.Option("--verbose", "-v", count=True, help="Say more; twice for everything.")] = 0,
    log_json: Annotated[bool, typer.Option("--log-json", help="Log one JSON object a line.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Set up what all verbs share."""
    quiet_libraries()
    set_up_logging(verbose, as_json=log_json)


app.command()(demo)
app.command()(identify)
app.command("filter")(filter_)
app.command()(score)
app.command()(serve)
app.command()(health)
app.command()(match)
app.command()(select)
app.command()(study)
app.command()(report)
app.command("list")(list_)
app.command()(bakeoff)
app.command()(plan)
app.add_typer(atlas_cmd.app, name="atlas")
app.add_typer(zoo_cmd.app, name="zoo")


def run() -> None:
    """Entry point of the ``curator`` command."""
    with quiet_when_nobody_reads():
        app(prog_name="curator")
