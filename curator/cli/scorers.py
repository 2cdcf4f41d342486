"""Which scorer a verb uses: a neuron set on this machine with its model, or one on a server, behind one interface.

What is chosen is a factory, which knows the identity of its scores before any model is loaded: see ``curator.factories``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from curator.cli.partners import refuse_beside, require_partners
from curator.errors import ConfigError
from curator.neuronset.manifest import MethodName

if TYPE_CHECKING:
    from curator.filtering.tasks import ScorerFactory
    from curator.neuronset.thresholds import Chosen

NeuronSetPlace = Annotated[
    str | None,
    typer.Option("--neuron-set", help="Folder or name of a neuron set; with --remote its name there.", metavar="SET"),
]
Model = Annotated[str | None, typer.Option(help="Model to read, if not the one that the set names.", metavar="NAME")]
Domain = Annotated[str | None, typer.Option(help="Target domain, where the set has several.")]
MaxDepth = Annotated[
    int | None, typer.Option(help="Read at most so many layers, where the set was fitted for it too.", min=1)
]
Method = Annotated[MethodName | None, typer.Option(help="Scorer; by default the one that validation chose.")]
Remote = Annotated[
    str | None, typer.Option(help="Score on the server at this address; no text leaves otherwise.", metavar="HOST:PORT")
]
Token = Annotated[str, typer.Option(help="Bearer token.", envvar="CURATOR_TOKEN", show_default=False)]
Tls = Annotated[bool, typer.Option("--tls", help="Encrypt the connection to --remote.")]


def require_sense(context: typer.Context) -> None:
    """Raise ConfigError for options of a connection without a server, and for those of a model here beside one."""
    require_partners(context, {"token": ("remote",), "tls": ("remote",)})
    refuse_beside(context, "remote", ("device", "dtype"), "whose server holds the model")


def chosen_scorer(
    neuron_set: str | None,
    *,
    model: str | None = None,
    targets: Sequence[str] = (),
    method: MethodName | None = None,
    max_depth: int | None = None,
    device: str = "auto",
    dtype: str = "auto",
    remote: str | None = None,
    token: str = "",
    tls: bool = False,
) -> ScorerFactory:
    """The factory of the scorer that the options name.

    Raises ConfigError when the options contradict each other, and what reading the set or asking the server raises.
    """
    if remote is None:
        if neuron_set is None:
            raise ConfigError("Name what to score with: --neuron-set FOLDER, or --remote HOST:PORT.")
        from curator.factories import NeuronSetFactory

        return NeuronSetFactory.of(
            neuron_set, targets=targets, method=method, model=model, max_depth=max_depth, device=device, dtype=dtype
        )
    if model or targets or method or max_depth:
        raise ConfigError(
            "Model, domain, method and depth are the server's with --remote; leave out --model, --domain, --method, --max-depth."
        )
    from curator_client import ConnectionOptions

    from curator.factories import RemoteFactory

    return RemoteFactory.of(remote, ConnectionOptions(token=token, tls=tls), neuron_set or "")


def threshold_for(
    neuron_set: str,
    domain: str | None,
    method: MethodName | None,
    max_depth: int | None,
    precision: float | None,
    recall: float | None,
    prevalence: float | None,
) -> Chosen:
    """The threshold of a set that is certified for a wish, as ``NeuronSet.threshold_for`` finds it."""
    from curator.neuronset.artifact import load_neuron_set
    from curator.neuronset.places import find_neuron_set

    found = load_neuron_set(find_neuron_set(neuron_set)).shallower(max_depth)
    return found.threshold_for(domain, method, precision=precision, recall=recall, prevalence=prevalence)
