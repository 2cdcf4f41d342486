"""``curator serve``: neuron sets behind gRPC, each model loaded once however many sets read it, and jobs that make more.

A set with several target domains is offered once for each, as ``<set>.<domain>``, because a scorer scores for one domain.
"""

from __future__ import annotations

import errno
import logging
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curator.cli import options
from curator.cli.console import ConsoleReporter, remark
from curator.cli.partners import require_partners
from curator.errors import ConfigError
from curator.neuronset.places import find_neuron_set

if TYPE_CHECKING:
    from curator_server.jobs.settings import JobSettings

DEFAULT_PORT = 50051  # where curator-client looks
_PARTNERS = {
    **dict.fromkeys(
        ("source_root", "output_root", "allow_scheme", "allow_model", "max_jobs", "job_workers"), ("jobs",)
    ),
    "metrics_host": ("metrics_port",),
    "connection_grace": ("connection_age",),
}


def serve(
    context: typer.Context,
    neuron_set: Annotated[
        list[str] | None, typer.Option("--neuron-set", help="Folder or name of a neuron set; repeat.", metavar="SET")
    ] = None,
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
    connection_age: Annotated[
        float | None,
        typer.Option(help="Seconds after which a connection takes no new calls, so that clients look again."),
    ] = None,
    connection_grace: Annotated[
        float | None,
        typer.Option(help="Seconds that streams get on such a connection; all that they want unless given."),
    ] = None,
    jobs: Annotated[
        Path | None, typer.Option(help="Run jobs, and keep them with all they make in this folder.", metavar="DIR")
    ] = None,
    source_root: Annotated[
        list[Path] | None, typer.Option(help="Folder that jobs may read; repeat.", metavar="DIR")
    ] = None,
    output_root: Annotated[
        list[Path] | None, typer.Option(help="Folder that jobs may write shards below; repeat.", metavar="DIR")
    ] = None,
    allow_scheme: Annotated[
        list[str] | None, typer.Option(help="What else jobs may read: env, hf, s3, ...; repeat; env unless given.")
    ] = None,
    allow_model: Annotated[
        list[str] | None,
        typer.Option(help="Models that may be loaded, * for anything; repeat; zoo:* unless given.", metavar="PATTERN"),
    ] = None,
    max_jobs: Annotated[int, typer.Option(help="Jobs at work at the same time.", min=1)] = 1,
    job_workers: Annotated[int, typer.Option(help="Processes of one job.", min=1)] = 1,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
) -> None:
    """Score and filter for clients, and run their jobs, until SIGTERM or Ctrl-C."""
    from curator_server.app import serve as serve_scorers
    from curator_server.settings import ServerSettings

    from curator.serving import SetShelf

    require_partners(context, _PARTNERS)
    if not neuron_set and jobs is None:
        raise ConfigError("There is nothing to serve; name a neuron set with --neuron-set, or a folder for --jobs.")
    allowed = options.known(
        source_roots=source_root, output_roots=output_root, schemes=allow_scheme, models=allow_model
    )
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
        max_connection_age_s=connection_age,
        max_connection_grace_s=connection_grace,
        jobs=jobs
        and _job_settings(jobs, max_running=max_jobs, workers=job_workers, device=device, dtype=dtype, **allowed),
    )
    settings.check_exposure()  # before the models are loaded, which may take minutes
    settings.check_files()
    _require_free(host, port, "--port")
    if metrics_port is not None:
        _require_free(metrics_host, metrics_port, "--metrics-port")
    folders = [find_neuron_set(place) for place in neuron_set or ()]
    with ConsoleReporter() as reporter:
        shelf = SetShelf(device=device, dtype=dtype, on_load=lambda model: reporter.stage(f"loading {model}"))
        offered = [one for folder in folders for one in shelf.open(folder)]
    for one in offered:
        remark(f"offering {one.scorer.name}  {one.scorer.etag}")
    logger = logging.getLogger("curator_server")
    logger.setLevel(min(logger.getEffectiveLevel(), logging.INFO))  # an operator wants to see the address
    shelf.on_load = lambda model: logger.info("loading a model", extra={"model": model})
    serve_scorers(settings, offered, device=device, shelf=shelf)


def _require_free(host: str, port: int, option: str) -> None:
    """Raise ConfigError when another process listens there; what else a name or an address lacks is the server's to say."""
    if port == 0:
        return
    with suppress(socket.gaierror):
        for family, kind, protocol, _, address in socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(address)
                except OSError as error:
                    if error.errno == errno.EADDRINUSE:
                        raise ConfigError(
                            f"Another process listens on {host}:{port}; stop it, or name another port with {option}."
                        ) from error


def _job_settings(state: Path, **given: object) -> JobSettings:
    from curator_server.jobs.settings import JobSettings

    return JobSettings.model_validate({"state": state, **given})
