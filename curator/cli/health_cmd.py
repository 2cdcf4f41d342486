"""``curator health``: whether a server is there and serves, for the health checks of containers and load balancers.

One call of the standard protocol (``grpc.health.v1``), which asks for no token. Exit status 0 when the answer is SERVING, 1 for
any other answer and for none, with one sentence. A server that drains answers NOT_SERVING and is no longer healthy. Cost: a
Python process and a connection, half a second of one core; ask every ten seconds rather than every one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curator.cli.console import say
from curator.errors import CuratorError

if TYPE_CHECKING:
    import grpc

_DEFAULT_ADDRESS = "127.0.0.1:50051"


def health(
    address: Annotated[
        str, typer.Option(help="host:port of the server.", envvar="CURATOR_HEALTH_ADDRESS")
    ] = _DEFAULT_ADDRESS,
    service: Annotated[
        str, typer.Option(help="Service to ask for, such as curator.api.v1.ScoringService; the process by default.")
    ] = "",
    timeout: Annotated[float, typer.Option(help="Seconds to wait for an answer.", min=0.1)] = 5.0,
    tls: Annotated[bool, typer.Option("--tls", help="Encrypt the connection.")] = False,
    tls_roots: Annotated[
        Path | None, typer.Option(help="PEM authorities to trust in place of the system's.", envvar="CURATOR_TLS_ROOTS")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM client certificate, for servers that ask.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM key of the client certificate.")] = None,
    tls_name: Annotated[
        str,
        typer.Option(help="Name in the server's certificate, where it is not the address.", envvar="CURATOR_TLS_NAME"),
    ] = "",
) -> None:
    """Ask a server for its health; exit status 0 when it serves."""
    from curator_client.connection import ConnectionOptions

    options = ConnectionOptions(tls=tls, tls_roots=tls_roots, tls_certificate=tls_cert, tls_key=tls_key)
    answer = _asked(address, service, timeout, options.credentials(address), tls_name)
    if answer != "SERVING":
        raise CuratorError(f"The server at {address} says {answer}; it serves nothing now.")
    say(f"{address} {answer}")


def _asked(address: str, service: str, timeout: float, credentials: grpc.ChannelCredentials | None, name: str) -> str:
    """The answer of the server. Raises CuratorError when there is none."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    options = [("grpc.ssl_target_name_override", name)] if name else []
    channel = (
        grpc.secure_channel(address, credentials, options) if credentials else grpc.insecure_channel(address, options)
    )
    with channel:
        try:
            request = health_pb2.HealthCheckRequest(service=service)
            stub: Any = health_pb2_grpc.HealthStub(channel)  # generated without annotations
            found = stub.Check(request, timeout=timeout)
        except grpc.RpcError as error:
            code = error.code().name if isinstance(error, grpc.Call) else "no status"
            raise CuratorError(f"The server at {address} does not answer ({code}); see that it runs.") from error
    return health_pb2.HealthCheckResponse.ServingStatus.Name(found.status)
