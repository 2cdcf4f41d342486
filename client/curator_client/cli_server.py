"""What the commands about a server's jobs and models share: where the server is, how its answers are shown.

Results are JSON on standard output, one object a line; progress goes to standard error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curator.errors import CuratorError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from curator.api.v1 import jobs_pb2
    from curator_client.client import Client

Wait = Annotated[bool, typer.Option("--wait", help="Watch it until it has ended.")]
Check = Annotated[bool, typer.Option("--check", help="Check the request and start nothing.")]
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
        state, progress = type(job).State.Name(job.state).removeprefix("STATE_").lower(), job.progress
        counted = f" {progress.done} of {progress.total} {progress.unit}" if progress.total else ""
        typer.echo(f"{state}: {progress.stage}{counted}".rstrip(": "), err=True)
    if job is not None:
        say(job)
        require_success(job)


def say(message: Message) -> None:
    """One message as one line of JSON on standard output."""
    from google.protobuf.json_format import MessageToDict

    typer.echo(json.dumps(MessageToDict(message, preserving_proto_field_name=True), ensure_ascii=False))
