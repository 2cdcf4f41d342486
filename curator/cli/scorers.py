"""Which scorer a verb uses: a neuron set on this machine with its model, or one on a server, behind one interface.

A choice knows the identity of its scores before any model is loaded, so that a job that is already finished costs nothing; the
identity is the same on both sides of the wire. The remote side needs none of the engine's libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from curator.cli.options import find_neuron_set, model_choice
from curator.errors import ConfigError

if TYPE_CHECKING:
    from curator.neuronset.artifact import NeuronSetManifest
    from curator.neuronset.identify import ModelChoice, Reporter
    from curator.records import DocumentScorer

MethodOption = Literal["single", "linear", "signature"]
REMOTE_BATCH, LOCAL_BATCH = 1024, 256

NeuronSetPlace = Annotated[
    str | None,
    typer.Option("--neuron-set", help="Folder or name of a neuron set; with --remote its name there.", metavar="SET"),
]
Model = Annotated[str | None, typer.Option(help="Model to read, if not the one that the set names.", metavar="NAME")]
Domain = Annotated[str | None, typer.Option(help="Target domain, where the set has several.")]
Method = Annotated[MethodOption | None, typer.Option(help="Scorer; the set's default is the best on validation.")]
Remote = Annotated[
    str | None, typer.Option(help="Score on the server at this address; no text leaves otherwise.", metavar="HOST:PORT")
]
Token = Annotated[str, typer.Option(help="Bearer token.", envvar="CURATOR_TOKEN", show_default=False)]
Tls = Annotated[bool, typer.Option("--tls", help="Encrypt the connection to --remote.")]


@dataclass(frozen=True, slots=True)
class ScorerChoice:
    """A scorer that is not loaded yet. ``identity`` is what makes its scores what they are."""

    identity: dict[str, str]
    load: Callable[[Reporter], DocumentScorer]
    batch_documents: int


@contextmanager
def chosen_scorer(
    neuron_set: str | None,
    *,
    model: str | None = None,
    domain: str | None = None,
    method: MethodOption | None = None,
    device: str = "auto",
    dtype: str = "auto",
    remote: str | None = None,
    token: str = "",
    tls: bool = False,
) -> Iterator[ScorerChoice]:
    """The scorer that the options name, for the length of the block.

    Raises ConfigError when the options contradict each other, and what reading the set or asking the server raises.
    """
    if remote is None:
        if neuron_set is None:
            raise ConfigError("Name what to score with: --neuron-set FOLDER, or --remote HOST:PORT.")
        yield _local(find_neuron_set(neuron_set), model, domain, method, device=device, dtype=dtype)
        return
    if model or domain or method:
        raise ConfigError("Model, domain and method are the server's with --remote; leave them out.")
    from curator_client import Client, ConnectionOptions, RemoteScorer

    with Client(remote, ConnectionOptions(token=token, tls=tls)) as client:
        scorer = RemoteScorer(client, neuron_set or "")
        yield ScorerChoice(
            _identity(scorer.name, scorer.etag, scorer.model_fingerprint), lambda _: scorer, REMOTE_BATCH
        )


def model_of(manifest: NeuronSetManifest, *, device: str, dtype: str) -> ModelChoice:
    """The model that a set was made for, at its revision where it came from the hub."""
    from curator.neuronset.identify import ModelChoice
    from curator.zoo.catalog import PREFIX

    local = manifest.model.startswith(PREFIX) or Path(manifest.model).expanduser().is_dir()
    return ModelChoice(manifest.model, None if local else manifest.revision, dtype, device)


def _local(
    folder: Path, model: str | None, domain: str | None, method: MethodOption | None, *, device: str, dtype: str
) -> ScorerChoice:
    from curator.neuronset.artifact import load_neuron_set
    from curator.scoring.scorer import NeuronSetScorer

    found = load_neuron_set(folder)
    manifest = found.manifest
    target = found.target(domain)
    chosen = method or manifest.targets[target].default
    named = model_choice(model, device=device, dtype=dtype) if model else model_of(manifest, device=device, dtype=dtype)

    def load(reporter: Reporter) -> DocumentScorer:
        reporter.stage(f"loading {named.name}")
        return NeuronSetScorer(named.load(), found, target, chosen)

    etag = f"{found.etag}.{target}.{chosen}"  # as NeuronSetScorer.etag, which needs the model
    return ScorerChoice(_identity(manifest.name, etag, manifest.model_fingerprint), load, LOCAL_BATCH)


def _identity(name: str, etag: str, model_fingerprint: str) -> dict[str, str]:
    return {"neuron_set": name, "scorer_etag": etag, "model_fingerprint": model_fingerprint}
