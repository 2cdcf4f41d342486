"""Labelled text and names on the command line of jobs: ``--examples``, ``--source``, ``--group``.

What ``--examples`` names is read here and travels with the request, so it is held in memory; what ``--source`` names is read by
the server. Both are read by the same field names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curator.errors import ConfigError
from curator.records import Document, Rejection

if TYPE_CHECKING:
    from curator.api.v1 import jobs_pb2

Examples = Annotated[
    list[str] | None,
    typer.Option(help="A domain and a local file with documents to send along.", metavar="DOMAIN=FILE"),
]
Sources = Annotated[
    list[str] | None, typer.Option("--source", help="A domain and a URI that the server reads.", metavar="DOMAIN=URI")
]
TextField = Annotated[str, typer.Option(help="Field that holds the text.")]
IdField = Annotated[str, typer.Option(help="Field that identifies a document.")]


def texts(
    examples: Sequence[str] | None, sources: Sequence[str] | None, *, text_field: str, id_field: str
) -> Mapping[str, jobs_pb2.DataSource]:
    """Labelled text by domain. Raises ConfigError for a domain that is named by both, and as ``with_documents`` does."""
    from curator_client.specs import data_source

    uris: dict[str, list[str]] = {}
    for domain, uri in map(pair, sources or ()):
        uris.setdefault(domain, []).append(uri)
    fields = {"text_field": text_field, "id_field": id_field}
    found = {domain: data_source(places, **fields) for domain, places in uris.items()}
    for domain, path in map(pair, examples or ()):
        if domain in found:
            raise ConfigError(f"The domain {domain!r} is named twice; give it --source or --examples, once.")
        found[domain] = data_source(_documents(path, fields))
    return found


def groups(given: Sequence[str]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Models and models beside them by label."""
    named = {label: models.partition("+") for label, models in map(pair, given)}
    models, beside = (
        {label: [full_model(model) for model in parts[place].split(",") if model] for label, parts in named.items()}
        for place in (0, 2)
    )
    return models, beside


def pair(text: str) -> tuple[str, str]:
    """The two sides of ``NAME=VALUE``. Raises ConfigError for anything else."""
    name, mark, value = text.partition("=")
    if not (name and mark and value):
        raise ConfigError(f"{text!r} is not of the form NAME=VALUE.")
    return name, value


def full_model(name: str) -> str:
    """The resource name of a model; ``models/`` may be left out."""
    return name if "/" in name else f"models/{name}"


def _documents(path: str, fields: Mapping[str, Any]) -> list[Document]:
    from curator.text.head import with_documents
    from curator.text.rows import SourceOptions
    from curator.text.sources import open_source

    records = list(with_documents(open_source(path, SourceOptions.model_validate(fields))))
    rejected = [record for record in records if isinstance(record, Rejection)]
    if rejected:
        typer.echo(f"{path}: {len(rejected)} records could not be read, such as {rejected[0].place}", err=True)
    return [record for record in records if isinstance(record, Document)]
