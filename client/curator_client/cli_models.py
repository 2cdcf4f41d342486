"""``curator-client models``: the models of a server.

    curator-client models --address host:50051 load EleutherAI/pythia-410m --wait

Loading and unloading need a token of the scope admin.
"""

from __future__ import annotations

from typing import Annotated

import typer

from curator_client.cli_server import Check, RequestId, Wait, client_of, connection, follow, say

models_app = typer.Typer(callback=connection, no_args_is_help=True, help="Models of the server.")


@models_app.command("list")
def list_models(context: typer.Context) -> None:
    """Print the models."""
    with client_of(context) as client:
        for model in client.jobs.models():
            say(model)


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
def unload(context: typer.Context, name: Annotated[str, typer.Argument(help="Such as models/neox.")]) -> None:
    """Forget a model; needs a token of the scope admin."""
    with client_of(context) as client:
        client.jobs.unload_model(name)
