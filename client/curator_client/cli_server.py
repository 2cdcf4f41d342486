"""What the commands about a server's jobs and models share: where the server is, how its answers are shown.

Results are JSON on standard output, one object a line, but lists are tables on a terminal; progress goes to standard error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from curator.errors import CuratorError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from curator.api.v1 import catalog_pb2, jobs_pb2
    from curator_client.client import Client

_Message = TypeVar("_Message", bound="Message")
Wait = Annotated[bool, typer.Option("--wait", help="Watch it until it has ended.")]
Check = Annotated[bool, typer.Option("--check", help="Check the request and start nothing.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on a terminal, too.")]
RequestId = Annotated[str, typer.Option(help="A UUID: the same command twice starts one job.")]


def connection(
    context: typer.Context,
    address: Annotated[
        str, typer.Option(help="host:port of the server.", envvar="CURATOR_ADDRESS")
    ] = "127.0.0.1:50051",
    token: Annotated[str, typer.Option(help="Bearer token.", envvar="CURATOR_TOKEN", show_default=False)] = "",
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the bearer token, which a command line shows to all.", envvar="CURATOR_TOKEN_FILE"
        ),
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Encrypt the connection.")] = False,
    tls_roots: Annotated[Path | None, typer.Option(help="PEM authorities to trust in place of the system's.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM client certificate, for servers that ask.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM key of the client certificate.")] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let the token travel unencrypted to another machine.")
    ] = False,
) -> None:
    """Where the server is."""
    context.obj = (address, {
        "token": token, "token_file": token_file, "insecure": insecure,
        "tls": tls, "tls_roots": tls_roots, "tls_certificate": tls_cert, "tls_key": tls_key,
    })  # fmt: skip


@contextmanager
def client_of(context: typer.Context) -> Iterator[Client]:
    """The client of a command; an error of ours ends the command with its one sentence."""
    from curator_client.client import Client
    from curator_client.connection import ConnectionOptions

    address, options = context.obj
    try:
        with Client(address, ConnectionOptions(**options)) as client:
            yield client
    except CuratorError as error:
        typer.echo(f"{error} [{error.code}]", err=True)
        raise typer.Exit(1) from error


def follow(client: Client, name: str) -> None:
    """Progress on standard error, the job on standard output. Raises the error that ended it."""
    from curator_client.job_flows import require_success

    job: jobs_pb2.Job | None = None
    for job in client.jobs.watch(name):
        state, progress = state_of(job), job.progress
        counted = f" {progress.done} of {progress.total} {progress.unit}" if progress.total else ""
        typer.echo(f"{state}: {progress.stage}{counted}".rstrip(": "), err=True)
    if job is not None:
        say(job)
        require_success(job)


def say_all(
    messages: Iterable[_Message], columns: Sequence[str], row: Callable[[_Message], Sequence[str]], *, json: bool
) -> None:
    """Messages one by one as JSON, or as a table for somebody at a terminal."""
    if json or not sys.stdout.isatty():
        for message in messages:
            say(message)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns)
    for message in messages:
        table.add_row(*(Text(cell, overflow="fold") for cell in row(message)))
    Console().print(table)


def job_row(job: jobs_pb2.Job) -> tuple[str, ...]:
    """A job in a table: name, kind, state, how far it is or why it ended, when it was made."""
    counted = f" {job.progress.done} of {job.progress.total} {job.progress.unit}" if job.progress.total else ""
    far = job.error.message if job.HasField("error") else f"{job.progress.stage}{counted}"
    made = job.create_time.ToDatetime().isoformat(" ", "seconds")
    return job.name.removeprefix("jobs/"), job.WhichOneof("spec") or "", state_of(job), far, made


def state_of(resource: jobs_pb2.Job | catalog_pb2.Model) -> str:
    """A state as people read it."""
    return type(resource).State.Name(resource.state).removeprefix("STATE_").lower()


def say(message: Message) -> None:
    """One message as one line of JSON on standard output."""
    from google.protobuf.json_format import MessageToDict

    typer.echo(json.dumps(MessageToDict(message, preserving_proto_field_name=True), ensure_ascii=False))
