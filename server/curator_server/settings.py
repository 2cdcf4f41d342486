"""What an operator may set: where to listen, who may call, and how much is accepted.

Frozen, checked when made, nothing read from the environment here. A server that would listen beyond this machine without TLS,
or without knowing its callers, is refused unless ``insecure`` says so: text on the way to a scorer is often private.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from curator.api.address import is_loopback
from curator.api.payload import PayloadCaps
from curator.api.v1 import common_pb2
from curator.errors import ConfigError
from curator_server.jobs.settings import JobSettings
from curator_server.tls import server_credentials
from curator_server.tokens import TokenFile


class ServerSettings(BaseModel):
    """Settings of one server process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=50051, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    insecure: bool = False
    """Allow an address beyond this machine without TLS, or for callers that prove nothing."""
    tls_certificate: Path | None = None
    """PEM certificate chain; needs ``tls_key``."""
    tls_key: Path | None = None
    """PEM private key."""
    tls_client_ca: Path | None = None
    """PEM authorities; only clients with a certificate of theirs may connect. Needs ``tls_certificate``."""
    token_file: Path | None = None
    """File with bearer tokens and their scopes (see ``curator_server.tokens``); without it every caller may do everything."""
    reflection: bool | None = None
    """Describe the services to tools such as grpcurl; None: only on an address of this machine."""
    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """Port of the Prometheus metrics over plain HTTP; 0 takes a free one, None offers none."""
    metrics_host: str = "127.0.0.1"
    """Address of the metrics; they hold counts and names of methods, never text."""

    jobs: JobSettings | None = None
    """What jobs may do and where they are kept; None: this server runs none."""

    max_batch_documents: int = Field(default=1024, ge=1)
    """Documents in one batch."""
    max_batch_bytes: int = Field(default=4 << 20, ge=1024)
    """Bytes of one batch after decompression."""
    max_inflight_batches: int = Field(default=8, ge=1)
    """Unanswered batches of one stream."""
    max_document_bytes: int = Field(default=1 << 20, ge=1)
    """UTF-8 bytes of one text."""
    max_message_bytes: int = Field(default=8 << 20, ge=64 << 10)
    """Bytes of one gRPC message; a larger one ends its call. Measured: a message of nothing but empty documents takes 52 times
    its size in memory before anyone can count them, 1.7 GB for 32 MiB; twice ``max_batch_bytes`` loses no batch."""
    max_queued_documents: int = Field(default=32 * 1024, ge=1)
    """Documents of all callers that may wait for the worker; above this new work is refused as OVERLOADED."""
    max_queued_bytes: int = Field(default=128 << 20, ge=1)
    """Bytes of all batches that are read and not scored, for 32768 documents may be 32 GiB. Measured, memory grows by three to
    five times as much, since a batch is opened beside its message; each stream may hold one batch more, which waits for room."""
    max_open_streams: int = Field(default=128, ge=1)
    """Streams of all callers; one more is refused as OVERLOADED. One that waits with batches of 4 MiB takes 20 to 30 MiB
    (measured), most of it what gRPC reads ahead."""
    max_connection_calls: int = Field(default=256, ge=1)
    """Calls of one connection at a time; clients keep further ones to themselves until there is a place."""
    max_health_watches: int = Field(default=256, ge=1)
    """Watches of the health service, which asks for no token; one more is refused as OVERLOADED."""
    opening_timeout_s: float = Field(default=30.0, gt=0)
    """Time that a stream may take to send its configuration."""
    unary_timeout_s: float = Field(default=300.0, gt=0)
    """Time that a ScoreBatch call may last whose caller set no deadline."""
    micro_batch_documents: int = Field(default=64, ge=1)
    """Documents handed to the scorer at a time; small enough that callers take turns often. One micro-batch is prepared while
    another runs, so a small call waits for two, and larger ones score no faster."""
    micro_batch_bytes: int = Field(default=256 << 10, ge=1024)
    """Text bytes handed to the scorer at a time."""
    grace_s: float = Field(default=20.0, ge=0)
    """Time that running calls get after SIGTERM."""
    keepalive_s: float = Field(default=300.0, gt=0)
    """A client from which nothing came for so long is asked for a sign of life, and cut off without one after 20 s more: of a
    machine that is gone gRPC alone would keep the streams for two hours."""
    max_connection_age_s: float | None = Field(default=None, gt=0)
    """Connections of this age, give or take a tenth, take no new calls, so that clients look up the addresses again and find
    replicas that were added; None: never. Open streams stay until they end, or for ``max_connection_grace_s``."""
    max_connection_grace_s: float | None = Field(default=None, ge=0)
    """Time that streams get on a connection that is of age; None: all that they want. One that is cut goes on at another replica,
    and what it had not committed (filtering: 256 MiB of payloads at most) or had no answer for (scoring) is scored again."""
    drain_delay_s: float = Field(default=1.0, ge=0)
    """Time between health turning NOT_SERVING and streams being told to leave, for load balancers to notice."""

    @property
    def caps(self) -> PayloadCaps:
        """The limits that opening a payload needs."""
        return PayloadCaps(self.max_batch_documents, self.max_batch_bytes, self.max_document_bytes)

    @property
    def limits(self) -> common_pb2.Limits:
        """The limits as published to clients."""
        return common_pb2.Limits(
            max_batch_documents=self.max_batch_documents,
            max_batch_bytes=self.max_batch_bytes,
            max_inflight_batches=self.max_inflight_batches,
            max_document_bytes=self.max_document_bytes,
            max_message_bytes=self.max_message_bytes,
        )

    @property
    def offers_reflection(self) -> bool:
        """Whether reflection is on."""
        return is_loopback(self.host) if self.reflection is None else self.reflection

    def check_exposure(self) -> None:
        """Raise ConfigError when the address is reachable from elsewhere without TLS and known callers, and nobody said so."""
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigError("TLS needs both a certificate and a key; give tls_certificate and tls_key.")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ConfigError("Client certificates need TLS; give tls_certificate and tls_key beside tls_client_ca.")
        if self.insecure or is_loopback(self.host):
            return
        if self.tls_certificate is None:
            raise ConfigError(
                f"Listening on {self.host} without TLS exposes every text; give a certificate, or insecure=True."
            )
        if self.token_file is None and self.tls_client_ca is None:
            raise ConfigError(
                f"Listening on {self.host} without tokens serves everyone; give token_file, tls_client_ca, or insecure=True."
            )

    def check_files(self) -> None:
        """Read the files of TLS and tokens once, to fail early. Raises ConfigError when one is absent or wrong."""
        if self.tls_certificate is not None and self.tls_key is not None:
            server_credentials(self.tls_certificate, self.tls_key, self.tls_client_ca)
        if self.token_file is not None:
            TokenFile(self.token_file)
