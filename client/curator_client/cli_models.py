"""``curator-client models``: the models of a server.

    curator-client models --address host:50051 load EleutherAI/pythia-410m --wait

Loading and unloading need a token of the scope admin.
"""

from __future__ import annotations

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
    say,
    say_all,
    state_of,
)
from curator_client.cli_texts import full_model

if TYPE_CHECKING:
    from curator.api.v1 import catalog_pb2

models_app = typer.Typer(callback=connection, no_args_is_help=True, rich_markup_mode=None, help="Models of the server.")


@models_app.command("list")
def list_models(context: typer.Context, json: Json = False) -> None:
    """Print the models: a table on a terminal, else JSON."""
    with client_of(context) as client:
        say_all(client.jobs.models(), ("model", "repository", "revision", "type", "state"), _row, json=json)


@models_app.command()
def load(
    context: typer.Context,
    repo: Annotated[str, typer.Argument(help="Hub name, folder on the server or zoo:NAME.")],
    model_id: Annotated[str, typer.Option(help="Wanted name; made of the repo unless given.")] = "",
    revision: Annotated[str, typer.Option(help="Revision on the hub.")] = "",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16; automatic unless given.")] = "",
    request_id: RequestId = "",
    check: Check = False,
    wait: Wait = False,
) -> None:
    """Load a model; needs a token of the scope admin."""
    with client_of(context) as client:
        job = client.jobs.load_model(
            repo, model_id=model_id, revision=revision, dtype=dtype, request_id=request_id, validate_only=check
        )
        follow(client, job.name) if wait and not check else say(job)


@models_app.command()
def unload(
    context: typer.Context, name: Annotated[str, typer.Argument(help="Its name; models/ may be left out.")]
) -> None:
    """Forget a model; needs a token of the scope admin."""
    with client_of(context) as client:
        client.jobs.unload_model(full_model(name))


def _row(model: catalog_pb2.Model) -> tuple[str, ...]:
    return model.name.removeprefix("models/"), model.repo, model.revision, model.dtype, state_of(model)
