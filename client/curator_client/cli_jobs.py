"""``curator-client jobs``: the server's jobs from the command line.

    curator-client jobs --address host:50051 identify --model models/neox --peer models/gpt2 --examples law=law.jsonl --wait

Where the server is, and who asks, stands behind ``jobs`` and before the verb. Results are JSON on standard output,
one object a line (lists are tables on a terminal); progress goes to standard error.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curator_client.cli_server import (
    Check,
    Json,
    RequestId,
    Wait,
    client_of,
    connection,
    follow,
    job_row,
    say,
    say_all,
)
from curator_client.cli_texts import Examples, IdField, Sources, TextField, full_model, groups, texts

if TYPE_CHECKING:
    from curator.api.v1 import jobs_pb2
    from curator_client.client import Client
    from curator_client.specs import Spec, Text

jobs_app = typer.Typer(
    callback=connection,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Long work on the server: identify neurons, build studies, filter.",
)

_Name = Annotated[str, typer.Argument(help="Name of the job; jobs/ may be left out.", metavar="JOB")]
_JobId = Annotated[str, typer.Option(help="Wanted name of the job.")]
_Tokens = Annotated[
    int, typer.Option(help="Text of each domain, in universal spans; 0 for the server's default.", min=0)
]
_Seed = Annotated[int, typer.Option(help="Seed of everything that draws.", min=0)]
_Sketch = Annotated[int, typer.Option(help="Numbers per neuron signature; 0 for the default.", min=0)]


@jobs_app.command("list")
def list_(
    context: typer.Context,
    filter: Annotated[str, typer.Option(help="Such as: state = RUNNING.")] = "",  # noqa: A002
    json: Json = False,
) -> None:
    """Print the jobs, newest first: a table on a terminal, else JSON."""
    with client_of(context) as client:
        say_all(client.jobs.list(filter), ("job", "kind", "state", "progress", "created"), job_row, json=json)


@jobs_app.command()
def get(context: typer.Context, name: _Name) -> None:
    """Print one job."""
    with client_of(context) as client:
        say(client.jobs.get(_full(name)))


@jobs_app.command()
def watch(context: typer.Context, name: _Name) -> None:
    """Follow a job until it has ended, then print it; exit status 1 unless it has succeeded."""
    with client_of(context) as client:
        follow(client, _full(name))


@jobs_app.command()
def cancel(context: typer.Context, name: _Name) -> None:
    """Ask a job to stop, and print it."""
    with client_of(context) as client:
        say(client.jobs.cancel(_full(name)))


@jobs_app.command()
def delete(context: typer.Context, name: _Name) -> None:
    """Forget a job that has ended, and its artifacts."""
    with client_of(context) as client:
        client.jobs.delete(_full(name))


@jobs_app.command()
def download(
    context: typer.Context,
    name: _Name,
    output: Annotated[Path, typer.Option(help="Folder for the files.")],
    artifact: Annotated[list[str] | None, typer.Option(help="Only this file; repeat.")] = None,
) -> None:
    """Fetch what a job has written, whole files only; the same command goes on where it was interrupted."""
    with client_of(context) as client:
        job = client.jobs.get(_full(name))
        if artifact:
            paths = (client.jobs.download(job, one, output) for one in artifact)
        else:
            paths = iter(client.jobs.download_all(job, output))
        for path in paths:
            typer.echo(path)


@jobs_app.command()
def identify(
    context: typer.Context,
    model: Annotated[str, typer.Option(help="The model that will score; models/ may be left out.")],
    peer: Annotated[list[str], typer.Option(help="A model to share neurons with; repeat.")],
    examples: Examples = None,
    source: Sources = None,
    text_field: TextField = "text",
    id_field: IdField = "id",
    target: Annotated[list[str] | None, typer.Option(help="A domain to filter for; the first unless named.")] = None,
    max_neurons: Annotated[int, typer.Option(help="Most neurons; 0 for the default.", min=0)] = 0,
    rule: Annotated[str, typer.Option(help="paper, strict or universal.")] = "",
    neuron_set_id: Annotated[str, typer.Option(help="Wanted name of the neuron set.")] = "",
    study: Annotated[str, typer.Option(help="A finished job with a study, for the report.")] = "",
    tokens_per_domain: _Tokens = 0,
    seed: _Seed = 0,
    sketch_dimensions: _Sketch = 0,
    job_id: _JobId = "",
    request_id: RequestId = "",
    check: Check = False,
    wait: Wait = False,
) -> None:
    """Find the neurons of a domain, and make a filter of them."""
    from curator_client.specs import identify_spec

    with client_of(context) as client:
        text = texts(examples, source, text_field=text_field, id_field=id_field)
        probe = _probe(text, tokens_per_domain, seed, sketch_dimensions)
        spec = identify_spec(
            full_model(model),
            [full_model(one) for one in peer],
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
    group: Annotated[
        list[str],
        typer.Option(
            help="One size of models; repeat. Models after a + are matched in pairs, and in no intersection.",
            metavar="LABEL=ANCHOR,PEER,...[+MODEL,...]",
        ),
    ],
    examples: Examples = None,
    source: Sources = None,
    text_field: TextField = "text",
    id_field: IdField = "id",
    quick: Annotated[bool, typer.Option("--quick", help="The counts and their nulls alone.")] = False,
    replicates: Annotated[int, typer.Option(help="Replicates of the fold bootstrap; 0 for the default.", min=0)] = 0,
    append: Annotated[
        str, typer.Option(help="A finished job with a study of the same text to add to.", metavar="JOB")
    ] = "",
    tokens_per_domain: _Tokens = 0,
    seed: _Seed = 0,
    sketch_dimensions: _Sketch = 0,
    job_id: _JobId = "",
    request_id: RequestId = "",
    check: Check = False,
    wait: Wait = False,
) -> None:
    """Measure Rosetta neurons over several sizes of models, and fit the scaling law."""
    from curator_client.specs import study_spec

    with client_of(context) as client:
        text = texts(examples, source, text_field=text_field, id_field=id_field)
        probe = _probe(text, tokens_per_domain, seed, sketch_dimensions)
        sizes, beside = groups(group)
        spec = study_spec(
            sizes, probe, beside=beside, quick=quick, replicates=replicates, append_to=append and _full(append)
        )
        _create(client, spec, job_id, request_id, check=check, wait=wait)


@jobs_app.command("filter")
def filter_(
    context: typer.Context,
    source: Annotated[list[str], typer.Argument(help="URIs that the server reads.", metavar="URI...")],
    neuron_set: Annotated[str, typer.Option(help="Neuron set; may be omitted when the server has one.")] = "",
    text_field: TextField = "text",
    id_field: IdField = "id",
    min_score: Annotated[float | None, typer.Option(help="Keep documents with at least this score.")] = None,
    min_probability: Annotated[float | None, typer.Option(help="Keep documents at least this probable.")] = None,
    keep_fraction: Annotated[float | None, typer.Option(help="Keep this share of the documents.")] = None,
    token_budget: Annotated[int | None, typer.Option(help="Keep the best documents within so many tokens.")] = None,
    output_uri: Annotated[str, typer.Option(help="Folder on the server; kept with the job unless given.")] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what is in that folder.")] = False,
    job_id: _JobId = "",
    request_id: RequestId = "",
    check: Check = False,
    wait: Wait = False,
) -> None:
    """Filter text that the server reads."""
    from curator_client.specs import data_source, filter_spec

    with client_of(context) as client:
        spec = filter_spec(
            data_source(source, text_field=text_field, id_field=id_field),
            neuron_set=neuron_set,
            min_score=min_score,
            min_probability=min_probability,
            keep_fraction=keep_fraction,
            token_budget=token_budget,
            output_uri=output_uri,
            resume=resume,
        )
        _create(client, spec, job_id, request_id, check=check, wait=wait)


def _create(client: Client, spec: Spec, job_id: str, request_id: str, *, check: bool, wait: bool) -> None:
    job = client.jobs.create(spec, job_id=job_id, request_id=request_id, validate_only=check)
    follow(client, job.name) if wait and not check else say(job)


def _probe(text: Mapping[str, Text], tokens: int, seed: int, sketch: int) -> jobs_pb2.ProbeSpec:
    from curator_client.specs import probe_spec

    return probe_spec(text, tokens_per_domain=tokens, seed=seed, sketch_dimensions=sketch)


def _full(name: str) -> str:
    return name if name.startswith("jobs/") else f"jobs/{name}"
