"""What both clients share of a connection: channel options, credentials, call metadata, and the requests of the flows."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import grpc

from curator.api.v1 import scoring_pb2
from curator.errors import ConfigError
from curator_client.core import BatchOptions, RetryPolicy

CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", 32 << 20),
    ("grpc.max_send_message_length", 32 << 20),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.enable_retries", 0),  # retries are ours: C-core's ignore RetryInfo and end at the first response of a stream
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """How to reach a server and how patient to be."""

    token: str = ""
    """Bearer token; empty for servers without."""
    tls: bool = False
    """Encrypt the connection; implied by ``tls_roots``."""
    tls_roots: Path | None = None
    """PEM file with the accepted certificate authorities, when they are not the system's."""
    timeout_s: float = 60.0
    """Deadline of one unary call."""
    idle_timeout_s: float = 300.0
    """A stream that sends nothing for this long is taken for broken and opened again."""
    batches: BatchOptions = field(default_factory=BatchOptions)
    """How documents are grouped and sent."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    """When broken calls are tried again."""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Metadata of every call."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    def credentials(self) -> grpc.ChannelCredentials | None:
        """TLS credentials, or None for a plain connection. Raises ConfigError when the roots cannot be read."""
        if self.tls_roots is None:
            return grpc.ssl_channel_credentials() if self.tls else None
        try:
            return grpc.ssl_channel_credentials(self.tls_roots.read_bytes())
        except OSError as error:
            raise ConfigError(f"The TLS roots {self.tls_roots} cannot be read; check the path.") from error


def filter_config(
    neuron_set: str,
    etag: str,
    min_score: float | None,
    min_probability: float | None,
    target_shard_bytes: int,
    commit_every_bytes: int,
) -> scoring_pb2.FilterConfig:
    """The opening of a filtering stream. Raises ConfigError unless exactly one threshold is given."""
    if (min_score is None) == (min_probability is None):
        raise ConfigError("Filtering needs one threshold; give min_score or min_probability.")
    config = scoring_pb2.FilterConfig(
        score=scoring_pb2.ScoreConfig(neuron_set=neuron_set, etag=etag),
        target_shard_bytes=target_shard_bytes,
        commit_every_bytes=commit_every_bytes,
    )
    if min_score is not None:
        config.min_score = min_score
    elif min_probability is not None:
        config.min_probability = min_probability
    return config


def threshold_of(config: scoring_pb2.FilterConfig) -> dict[str, float]:
    """The threshold as the manifest states it."""
    name = config.WhichOneof("threshold") or "min_score"
    return {name: getattr(config, name)}
