"""``curator serve``: neuron sets behind gRPC, each model loaded once however many sets read it.

A set with several target domains is offered once for each, as ``<set>.<domain>``, because a scorer scores for one domain.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curator.cli import options
from curator.cli.console import ConsoleReporter, remark
from curator.neuronset.places import find_neuron_set, model_of
from curator.records import Document, DocumentScorer, Rejection, Score

if TYPE_CHECKING:
    from curator.lm.backbone import Backbone
    from curator.neuronset.artifact import NeuronSet
    from curator.neuronset.identify import Reporter

DEFAULT_PORT = 50051  # where curator-client looks


def serve(
    neuron_set: Annotated[
        list[str], typer.Option("--neuron-set", help="Folder or name of a neuron set; repeat.", metavar="SET")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = DEFAULT_PORT,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM certificate chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM private key.")] = None,
    tls_client_ca: Annotated[
        Path | None, typer.Option(help="PEM authorities; clients must show a certificate of theirs.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="Bearer tokens, one a line: TOKEN or sha256:HASH, then score,jobs,admin.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen beyond this machine without TLS or without tokens.")
    ] = False,
    reflection: Annotated[
        bool | None,
        typer.Option("--reflection/--no-reflection", help="Describe the services to tools; on for loopback only."),
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="Port of Prometheus metrics; 0 takes a free one.", min=0, max=65535)
    ] = None,
    metrics_host: Annotated[str, typer.Option(help="Address of the metrics.")] = "127.0.0.1",
    max_queued: Annotated[int, typer.Option(help="Documents that may wait before callers are refused.", min=1)] = 32768,
    grace: Annotated[float, typer.Option(help="Seconds that running calls get after SIGTERM.", min=0)] = 20.0,
    drain_delay: Annotated[
        float, typer.Option(help="Seconds between NOT_SERVING and asking streams to leave.", min=0)
    ] = 1.0,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
) -> None:
    """Score and filter for clients, until SIGTERM or Ctrl-C."""
    from curator_server.app import serve as serve_scorers
    from curator_server.settings import ServerSettings

    from curator.neuronset.artifact import load_neuron_set

    settings = ServerSettings(
        host=host,
        port=port,
        tls_certificate=tls_cert,
        tls_key=tls_key,
        tls_client_ca=tls_client_ca,
        token_file=token_file,
        insecure=insecure,
        reflection=reflection,
        metrics_port=metrics_port,
        metrics_host=metrics_host,
        max_queued_documents=max_queued,
        grace_s=grace,
        drain_delay_s=drain_delay,
    )
    settings.check_exposure()  # before the models are loaded, which may take minutes
    settings.check_files()
    sets = [load_neuron_set(find_neuron_set(place)) for place in neuron_set]
    with ConsoleReporter() as reporter:
        offered = list(offered_scorers(sets, reporter, device=device, dtype=dtype))
    for scorer in offered:
        remark(f"offering {scorer.name}  {scorer.etag}")
    logger = logging.getLogger("curator_server")
    logger.setLevel(min(logger.getEffectiveLevel(), logging.INFO))  # an operator wants to see the address
    serve_scorers(settings, offered, device=device)


def offered_scorers(
    sets: Sequence[NeuronSet], reporter: Reporter, *, device: str, dtype: str
) -> Iterator[DocumentScorer]:
    """One scorer for each target of each set. Raises FingerprintError when a model is no longer the one a set was made for."""
    from curator.scoring.scorer import NeuronSetScorer

    loaded: dict[tuple[str, str], Backbone] = {}
    for found in sets:
        manifest = found.manifest
        key = (manifest.model_fingerprint, manifest.tokenizer_fingerprint)
        if key not in loaded:
            reporter.stage(f"loading {manifest.model}")
            loaded[key] = model_of(manifest, device=device, dtype=dtype).load()
        for target in manifest.targets:
            scorer = NeuronSetScorer(loaded[key], found, target)
            yield scorer if len(manifest.targets) == 1 else ForOneTarget(scorer, f"{manifest.name}.{target}")


@dataclass(frozen=True, slots=True)
class ForOneTarget:
    """A scorer under a name of its own."""

    scorer: DocumentScorer
    name: str

    @property
    def etag(self) -> str:
        """The scorer's."""
        return self.scorer.etag

    @property
    def model_fingerprint(self) -> str:
        """The scorer's."""
        return self.scorer.model_fingerprint

    def score(self, documents: Sequence[Document]) -> list[Score | Rejection]:
        """The scorer's."""
        return self.scorer.score(documents)
