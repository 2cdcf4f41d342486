"""``curator-client jobs`` and ``curator-client models``: the server's jobs from the command line.

    curator-client jobs --address host:50051 identify --model models/neox --peer models/gpt2 --examples law=law.jsonl --wait

Where the server is, and who asks, stands behind ``jobs`` or ``models`` and before the verb. Results are JSON on standard output,
one object a line; progress goes to standard error. Documents named by ``--examples`` are read here and travel with the request;
what ``--source`` names is read by the server.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curator.errors import ConfigError, CuratorError
from curator.records import Document, Rejection

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from curator.api.v1 import jobs_pb2
    from curator_client.client import Client
    from curator_client.specs import Spec, Text

jobs_app = typer.Typer(no_args_is_help=True, help="Long work on the server: identify neurons, build studies, filter.")
models_app = typer.Typer(no_args_is_help=True, help="Models of the server.")

_Name = Annotated[str, typer.Argument(help="Name of the job; jobs/ may be left out.", metavar="JOB")]
_Wait = Annotated[bool, typer.Option("--wait", help="Watch it until it has ended.")]
_RequestId = Annotated[str, typer.Option(help="A UUID: the same command twice starts one job.")]
_JobId = Annotated[str, typer.Option(help="Wanted name of the job.")]
_Check = Annotated[bool, typer.Option("--check", help="Check the request and start nothing.")]
_Examples = Annotated[
    list[str] | None,
    typer.Option(help="A domain and a local file with documents to send along.", metavar="DOMAIN=FILE"),
]
_Sources = Annotated[
    list[str] | None, typer.Option("--source", help="A domain and a URI that the server reads.", metavar="DOMAIN=URI")
]
_Tokens = Annotated[
    int, typer.Option(help="Text of each domain, in universal spans; 0 for the server's default.", min=0)
]
_Seed = Annotated[int, typer.Option(help="Seed of everything that draws.", min=0)]
_Sketch = Annotated[int, typer.Option(help="Numbers per neuron signature; 0 for the default.", min=0)]


@jobs_app.callback()
@models_app.callback()
def connection(
    context: typer.Context,
    address: Annotated[
        str, typer.Option(help="host:port of the server.", envvar="CURATOR_ADDRESS")
    ] = "127.0.0.1:50051",
    token: Annotated[str, typer.Option(help="Bearer token.", envvar="CURATOR_TOKEN", show_default=False)] = "",
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
        "token": token, "tls": tls, "tls_roots": tls_roots, "tls_certificate": tls_cert, "tls_key": tls_key, "insecure": insecure,
    })  # fmt: skip


@jobs_app.command("list")
def list_(
    context: typer.Context,
    filter: Annotated[str, typer.Option(help="Such as: state = RUNNING.")] = "",  # noqa: A002
) -> None:
    """Print the jobs, newest first."""
    with _client(context) as client:
        for job in client.jobs.list(filter):
            _say(job)


@jobs_app.command()
def get(context: typer.Context, name: _Name) -> None:
    """Print one job."""
    with _client(context) as client:
        _say(client.jobs.get(_full(name)))


@jobs_app.command()
def watch(context: typer.Context, name: _Name) -> None:
    """Follow a job until it has ended, then print it; exit status 1 unless it has succeeded."""
    with _client(context) as client:
        _follow(client, _full(name))


@jobs_app.command()
def cancel(context: typer.Context, name: _Name) -> None:
    """Ask a job to stop, and print it."""
    with _client(context) as client:
        _say(client.jobs.cancel(_full(name)))


@jobs_app.command()
def delete(context: typer.Context, name: _Name) -> None:
    """Forget a job that has ended, and its artifacts."""
    with _client(context) as client:
        client.jobs.delete(_full(name))


@jobs_app.command()
def download(
    context: typer.Context,
    name: _Name,
    output: Annotated[Path, typer.Option(help="Folder for the files.")],
    artifact: Annotated[list[str] | None, typer.Option(help="Only this file; repeat.")] = None,
) -> None:
    """Fetch what a job has written, whole files only; the same command goes on where it was interrupted."""
    with _client(context) as client:
        job = client.jobs.get(_full(name))
        for one in artifact or [listed.name for listed in job.artifacts]:
            typer.echo(client.jobs.download(job, one, output))


@jobs_app.command()
def identify(
    context: typer.Context,
    model: Annotated[str, typer.Option(help="The model that will score, such as models/neox.")],
    peer: Annotated[list[str], typer.Option(help="A model to share neurons with; repeat.")],
    examples: _Examples = None,
    source: _Sources = None,
    target: Annotated[list[str] | None, typer.Option(help="A domain to filter for; the first unless named.")] = None,
    max_neurons: Annotated[int, typer.Option(help="Most neurons; 0 for the default.", min=0)] = 0,
    rule: Annotated[str, typer.Option(help="paper, strict or universal.")] = "",
    neuron_set_id: Annotated[str, typer.Option(help="Wanted name of the neuron set.")] = "",
    study: Annotated[str, typer.Option(help="A finished job with a study, for the report.")] = "",
    tokens_per_domain: _Tokens = 0,
    seed: _Seed = 0,
    sketch_dimensions: _Sketch = 0,
    job_id: _JobId = "",
    request_id: _RequestId = "",
    check: _Check = False,
    wait: _Wait = False,
) -> None:
    """Find the neurons of a domain, and make a filter of them."""
    from curator_client.specs import identify_spec

    with _client(context) as client:
        probe = _probe(examples, source, tokens_per_domain, seed, sketch_dimensions)
        spec = identify_spec(
            model,
            peer,
            probe,
            targets=target or (),
            max_neurons=max_neurons,
            rosetta_rule=rule,
            neuron_set_id=neuron_set_id,
            study=study and _full(study),
        )
        _create(client, spec, job_id, request_id, check=check, wait=wait)


@jobs_app.command()
def study(
    context: typer.Context,
    group: Annotated[list[str], typer.Option(help="One size of models; repeat.", metavar="LABEL=ANCHOR,PEER,...")],
    examples: _Examples = None,
    source: _Sources = None,
    tokens_per_domain: _Tokens = 0,
    seed: _Seed = 0,
    sketch_dimensions: _Sketch = 0,
    job_id: _JobId = "",
    request_id: _RequestId = "",
    check: _Check = False,
    wait: _Wait = False,
) -> None:
    """Count Rosetta neurons over several sizes of models."""
    from curator_client.specs import study_spec

    with _client(context) as client:
        probe = _probe(examples, source, tokens_per_domain, seed, sketch_dimensions)
        groups = {label: models.split(",") for label, models in map(_pair, group)}
        _create(client, study_spec(groups, probe), job_id, request_id, check=check, wait=wait)


@jobs_app.command("filter")
def filter_(
    context: typer.Context,
    source: Annotated[list[str], typer.Argument(help="URIs that the server reads.", metavar="URI...")],
    neuron_set: Annotated[str, typer.Option(help="Neuron set; may be omitted when the server has one.")] = "",
    min_score: Annotated[float | None, typer.Option(help="Keep documents with at least this score.")] = None,
    min_probability: Annotated[float | None, typer.Option(help="Keep documents at least this probable.")] = None,
    keep_fraction: Annotated[float | None, typer.Option(help="Keep this share of the documents.")] = None,
    token_budget: Annotated[int | None, typer.Option(help="Keep the best documents within so many tokens.")] = None,
    output_uri: Annotated[str, typer.Option(help="Folder on the server; kept with the job unless given.")] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what is in that folder.")] = False,
    job_id: _JobId = "",
    request_id: _RequestId = "",
    check: _Check = False,
    wait: _Wait = False,
) -> None:
    """Filter text that the server reads."""
    from curator_client.specs import filter_spec

    with _client(context) as client:
        spec = filter_spec(
            source,
            neuron_set=neuron_set,
            min_score=min_score,
            min_probability=min_probability,
            keep_fraction=keep_fraction,
            token_budget=token_budget,
            output_uri=output_uri,
            resume=resume,
        )
        _create(client, spec, job_id, request_id, check=check, wait=wait)


@models_app.command("list")
def list_models(context: typer.Context) -> None:
    """Print the models."""
    with _client(context) as client:
        for model in client.jobs.models():
            _say(model)


@models_app.command()
def load(
    context: typer.Context,
    repo: Annotated[str, typer.Argument(help="Hub name, folder on the server or zoo:NAME.")],
    model_id: Annotated[str, typer.Option(help="Wanted name; made of the repo unless given.")] = "",
    revision: Annotated[str, typer.Option(help="Revision on the hub.")] = "",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16; automatic unless given.")] = "",
    request_id: _RequestId = "",
    wait: _Wait = False,
) -> None:
    """Load a model; needs a token of the scope admin."""
    with _client(context) as client:
        job = client.jobs.load_model(repo, model_id=model_id, revision=revision, dtype=dtype, request_id=request_id)
        _follow(client, job.name) if wait else _say(job)


@models_app.command()
def unload(context: typer.Context, name: Annotated[str, typer.Argument(help="Such as models/neox.")]) -> None:
    """Forget a model; needs a token of the scope admin."""
    with _client(context) as client:
        client.jobs.unload_model(name)


@contextmanager
def _client(context: typer.Context) -> Iterator[Client]:
    from curator_client.client import Client
    from curator_client.connection import ConnectionOptions

    address, options = context.obj
    try:
        with Client(address, ConnectionOptions(**options)) as client:
            yield client
    except CuratorError as error:
        typer.echo(f"{error} [{error.code}]", err=True)
        raise typer.Exit(1) from error


def _create(client: Client, spec: Spec, job_id: str, request_id: str, *, check: bool, wait: bool) -> None:
    job = client.jobs.create(spec, job_id=job_id, request_id=request_id, validate_only=check)
    _follow(client, job.name) if wait and not check else _say(job)


def _follow(client: Client, name: str) -> None:
    """Progress on standard error, the job on standard output. Raises the error that ended it."""
    from curator_client.job_flows import require_success

    job: jobs_pb2.Job | None = None
    for job in client.jobs.watch(name):
        state, progress = type(job).State.Name(job.state).removeprefix("STATE_").lower(), job.progress
        counted = f" {progress.done} of {progress.total} {progress.unit}" if progress.total else ""
        typer.echo(f"{state}: {progress.stage}{counted}".rstrip(": "), err=True)
    if job is not None:
        _say(job)
        require_success(job)


def _probe(
    examples: Sequence[str] | None, sources: Sequence[str] | None, tokens: int, seed: int, sketch: int
) -> jobs_pb2.ProbeSpec:
    from curator_client.specs import probe_spec

    texts = _texts(examples, sources)
    return probe_spec(texts, tokens_per_domain=tokens, seed=seed, sketch_dimensions=sketch)


def _texts(examples: Sequence[str] | None, sources: Sequence[str] | None) -> dict[str, Text]:
    found: dict[str, Any] = {}
    for domain, uri in map(_pair, sources or ()):
        found.setdefault(domain, []).append(uri)
    for domain, path in map(_pair, examples or ()):
        if domain in found:
            raise ConfigError(f"The domain {domain!r} is named twice; give it --source or --examples, once.")
        found[domain] = _documents(path)
    return found


def _documents(path: str) -> list[Document]:
    from curator.text.sources import open_source

    return [record for record in open_source(path) if not isinstance(record, Rejection)]


def _pair(text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not (name and mark and value):
        raise ConfigError(f"{text!r} is not of the form NAME=VALUE.")
    return name, value


def _full(name: str) -> str:
    return name if name.startswith("jobs/") else f"jobs/{name}"


def _say(message: Message) -> None:
    from google.protobuf.json_format import MessageToDict

    typer.echo(json.dumps(MessageToDict(message, preserving_proto_field_name=True), ensure_ascii=False))
