"""``curator-client``: score and filter any text source on a server, and its jobs, from the light installation.

Results go to standard output, progress and counts to standard error, so that the output can be piped. Exit status 1 for an
error of ours, with its one sentence. What the source could not read is counted on standard error; ``filter`` also names it in the
output folder and counts it as failed, so that its numbers add up to the records that were read.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from curator.errors import CuratorError
from curator.records import Document, Rejection, Score
from curator_client.cli_jobs import jobs_app
from curator_client.cli_models import models_app
from curator_client.cli_progress import StreamMeter
from curator_client.cli_texts import IdField, TextField

if TYPE_CHECKING:
    from curator_client.connection import ConnectionOptions

app = typer.Typer(
    add_completion=False, no_args_is_help=True, rich_markup_mode=None, help="Score and filter text on a curator server."
)
app.add_typer(jobs_app, name="jobs")
app.add_typer(models_app, name="models")

_Source = Annotated[str, typer.Argument(help="JSONL (.gz, .zst), Parquet, a folder, hf:<name>, or - for stdin.")]
_Address = Annotated[str, typer.Option(help="host:port of the server.", envvar="CURATOR_ADDRESS")]
_NeuronSet = Annotated[str, typer.Option(help="Neuron set; may be omitted when the server has one.")]
_Token = Annotated[str, typer.Option(help="Bearer token.", envvar="CURATOR_TOKEN", show_default=False)]
_TokenFile = Annotated[
    Path | None,
    typer.Option(help="File with the bearer token, which a command line shows to all.", envvar="CURATOR_TOKEN_FILE"),
]
_Tls = Annotated[bool, typer.Option("--tls", help="Encrypt the connection.")]
_TlsRoots = Annotated[Path | None, typer.Option(help="PEM authorities to trust in place of the system's.")]
_TlsCert = Annotated[Path | None, typer.Option(help="PEM client certificate, for servers that ask.")]
_TlsKey = Annotated[Path | None, typer.Option(help="PEM key of the client certificate.")]
_Insecure = Annotated[bool, typer.Option("--insecure", help="Let the token travel unencrypted to another machine.")]
_DomainField = Annotated[str, typer.Option(help="Field with the domain label, which travels along.")]
_SourceField = Annotated[str, typer.Option(help="Field with the work a document was cut from.")]
_Compress = Annotated[bool, typer.Option("--compress", help="Send zstd; worth it on links below about 1 Gb/s.")]
_DEFAULT_ADDRESS = "127.0.0.1:50051"
_HURRIED_S = 10.0
"""Patience of a question that someone waits for at a terminal."""


@app.command()
def score(
    source: _Source,
    address: _Address = _DEFAULT_ADDRESS,
    neuron_set: _NeuronSet = "",
    text_field: TextField = "text",
    id_field: IdField = "id",
    token: _Token = "",
    token_file: _TokenFile = None,
    tls: _Tls = False,
    tls_roots: _TlsRoots = None,
    tls_cert: _TlsCert = None,
    tls_key: _TlsKey = None,
    insecure: _Insecure = False,
    compress: _Compress = False,
) -> None:
    """Print one JSON line for each document: its score, or why it has none."""
    from curator_client.client import Client

    security = _Security(token, token_file, tls, tls_roots, tls_cert, tls_key, insecure)
    with _reported_errors(), Client(address, _options(security, compress=compress)) as client:
        unread: Counter[str] = Counter()
        records = _records(source, unread, text_field=text_field, id_field=id_field)
        readable = (one for one in records if isinstance(one, Document))
        results = client.score(readable, neuron_set=neuron_set)
        with nullcontext(lambda _: None) if sys.stdout.isatty() else StreamMeter() as told:
            for number, result in enumerate(results, start=1):
                typer.echo(json.dumps(_as_record(result), ensure_ascii=False))
                told(number)
        _report_unread(unread)


@app.command("filter")
def filter_(
    source: _Source,
    output: Annotated[Path, typer.Option(help="Folder for the kept shards and the manifest.")],
    address: _Address = _DEFAULT_ADDRESS,
    neuron_set: _NeuronSet = "",
    min_score: Annotated[float | None, typer.Option(help="Keep documents with at least this score.")] = None,
    min_probability: Annotated[float | None, typer.Option(help="Keep documents at least this probable.")] = None,
    text_field: TextField = "text",
    id_field: IdField = "id",
    domain_field: _DomainField = "domain",
    source_field: _SourceField = "source",
    token: _Token = "",
    token_file: _TokenFile = None,
    tls: _Tls = False,
    tls_roots: _TlsRoots = None,
    tls_cert: _TlsCert = None,
    tls_key: _TlsKey = None,
    insecure: _Insecure = False,
    compress: _Compress = False,
) -> None:
    """Write the documents that reach the threshold to a folder, and print the counts.

    unreadable.jsonl there names what the source could not read, refused.jsonl what could not be sent.
    """
    from curator_client.client import Client

    security = _Security(token, token_file, tls, tls_roots, tls_cert, tls_key, insecure)
    with _reported_errors(), Client(address, _options(security, compress=compress)) as client:
        unread: Counter[str] = Counter()
        labels = {"domain_field": domain_field, "source_field": source_field}
        records = _records(source, unread, text_field=text_field, id_field=id_field, **labels)
        with StreamMeter() as told:
            report = client.filter(
                records,
                output,
                neuron_set=neuron_set,
                min_score=min_score,
                min_probability=min_probability,
                watch=told,
            )
        typer.echo(json.dumps(report.to_json() | {"unread": dict(unread)}, indent=2))
        _report_unread(unread)


@app.command()
def info(
    address: _Address = _DEFAULT_ADDRESS,
    token: _Token = "",
    token_file: _TokenFile = None,
    tls: _Tls = False,
    tls_roots: _TlsRoots = None,
    tls_cert: _TlsCert = None,
    tls_key: _TlsKey = None,
    insecure: _Insecure = False,
) -> None:
    """Print the server's version, limits and neuron sets."""
    from google.protobuf.json_format import MessageToDict

    from curator_client.client import Client

    security = _Security(token, token_file, tls, tls_roots, tls_cert, tls_key, insecure)
    with _reported_errors(), Client(address, _options(security, hurried=True)) as client:
        described = MessageToDict(client.server_info(), preserving_proto_field_name=True)
        sets = [MessageToDict(found, preserving_proto_field_name=True) for found in client.neuron_sets()]
        typer.echo(json.dumps(described | {"neuron_sets": sets}, indent=2))


def run() -> None:
    """Entry point of the ``curator-client`` command."""
    app()


@contextmanager
def _reported_errors() -> Iterator[None]:
    try:
        yield
    except CuratorError as error:
        typer.echo(f"{error} [{error.code}]", err=True)
        _leave_waiting_source(1)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        _leave_waiting_source(130)
        raise


def _leave_waiting_source(status: int) -> None:
    """End at once when a thread still waits for standard input: Python cannot close that under it, and would abort."""
    from curator_client.intake import readers

    if readers():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class _Security(NamedTuple):
    """The options that say who both sides are."""

    token: str
    token_file: Path | None
    tls: bool
    tls_roots: Path | None
    tls_certificate: Path | None
    tls_key: Path | None
    insecure: bool


def _options(security: _Security, *, compress: bool = False, hurried: bool = False) -> ConnectionOptions:
    from curator_client.batches import BatchOptions
    from curator_client.connection import ConnectionOptions
    from curator_client.retry import RetryPolicy

    retry = RetryPolicy(patience_s=_HURRIED_S) if hurried else RetryPolicy()
    return ConnectionOptions(**security._asdict(), batches=BatchOptions(compress=compress), retry=retry)


def _records(source: str, unread: Counter[str], **fields: str) -> Iterator[Document | Rejection]:
    from curator.text.head import with_documents
    from curator.text.rows import SourceOptions
    from curator.text.sources import open_source

    for record in with_documents(open_source(source, SourceOptions.model_validate(fields))):
        if isinstance(record, Rejection):
            unread[record.reason] += 1
        yield record


def _as_record(result: Score | Rejection) -> dict[str, object]:
    if isinstance(result, Score):
        return asdict(result)
    return {"document_id": result.place, "rejected": str(result.reason), "detail": result.detail}


def _report_unread(unread: Counter[str]) -> None:
    if unread:
        counts = ", ".join(f"{reason}: {count}" for reason, count in sorted(unread.items()))
        typer.echo(f"{unread.total()} records could not be read ({counts})", err=True)
