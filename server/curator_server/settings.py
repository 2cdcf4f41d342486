"""What an operator may set: where to listen, who may call, and how much is accepted.

Frozen, checked when made, nothing read from the environment here. A server that would listen beyond this machine without TLS
is refused unless ``insecure`` says so: text on the way to a scorer is often private.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from curator.api.payload import PayloadCaps
from curator.api.v1 import common_pb2
from curator.errors import ConfigError


class ServerSettings(BaseModel):
    """Settings of one server process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=50051, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    insecure: bool = False
    """Allow an address beyond this machine without TLS."""
    tls_certificate: Path | None = None
    """PEM certificate chain; needs ``tls_key``."""
    tls_key: Path | None = None
    """PEM private key."""
    token_file: Path | None = None
    """File with one bearer token a line; without it every caller is let in."""

    max_batch_documents: int = Field(default=1024, ge=1)
    """Documents in one batch."""
    max_batch_bytes: int = Field(default=4 << 20, ge=1024)
    """Bytes of one batch after decompression."""
    max_inflight_batches: int = Field(default=8, ge=1)
    """Unanswered batches of one stream."""
    max_document_bytes: int = Field(default=1 << 20, ge=1)
    """UTF-8 bytes of one text."""
    max_message_bytes: int = Field(default=32 << 20, ge=64 << 10)
    """Bytes of one gRPC message; a larger one ends its call."""
    max_queued_documents: int = Field(default=32 * 1024, ge=1)
    """Documents of all callers that may wait for the worker; above this new work is refused as OVERLOADED."""
    micro_batch_documents: int = Field(default=64, ge=1)
    """Documents handed to the scorer at a time; small enough that callers take turns often."""
    micro_batch_bytes: int = Field(default=256 << 10, ge=1024)
    """Text bytes handed to the scorer at a time."""
    grace_s: float = Field(default=20.0, ge=0)
    """Time that running calls get after SIGTERM."""
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

    def check_exposure(self) -> None:
        """Raise ConfigError when the address is reachable from elsewhere without TLS and nobody said so."""
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigError("TLS needs both a certificate and a key; give tls_certificate and tls_key.")
        if not (self.tls_certificate or self.insecure or _is_loopback(self.host)):
            raise ConfigError(
                f"Listening on {self.host} without TLS exposes every text; give a certificate, or insecure=True."
            )

    def read_tokens(self) -> frozenset[bytes]:
        """The accepted bearer tokens. Raises ConfigError when the file is absent or holds none."""
        if self.token_file is None:
            return frozenset()
        try:
            tokens = frozenset(line.strip() for line in self.token_file.read_bytes().splitlines() if line.strip())
        except OSError as error:
            raise ConfigError(f"The token file {self.token_file} cannot be read; check the path.") from error
        if not tokens:
            raise ConfigError(f"The token file {self.token_file} is empty; write one token a line.")
        return tokens


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
