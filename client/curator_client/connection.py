"""What both clients share of a connection: channel options, credentials, call metadata, and the requests of the flows."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import grpc

from curator.api.address import stays_on_this_machine
from curator.api.v1 import scoring_pb2
from curator.errors import ConfigError
from curator_client.batches import MAX_MESSAGE_BYTES, BatchOptions
from curator_client.calls import Metadata, MetadataSource, call_metadata
from curator_client.retry import RetryPolicy

_BALANCED = '{"loadBalancingConfig": [{"round_robin": {}}]}'
CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.http2.ping_timeout_ms", 20_000),  # gRPC 1.76 heeds it in place of keepalive_timeout_ms
    ("grpc.http2.max_pings_without_data", 0),  # else a silent server is asked twice, and never again
    ("grpc.service_config", _BALANCED),  # calls in turn to all addresses of the target; gRPC alone keeps to one
    (
        "grpc.initial_reconnect_backoff_ms",
        100,
    ),  # of gRPC 1 s and 2 minutes, in which every call to one that is back fails
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.enable_retries", 0),  # retries are ours: C-core's ignore RetryInfo and end at the first response of a stream
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """How to reach a server and how patient to be."""

    token: str = ""
    """Bearer token; empty for servers without."""
    token_file: Path | None = None
    """File that holds the token and nothing else, in place of ``token``; read at every call, so that it may be renewed."""
    tls: bool = False
    """Encrypt the connection; implied by the files below."""
    tls_roots: Path | None = None
    """PEM file with the accepted certificate authorities, when they are not the system's."""
    tls_certificate: Path | None = None
    """PEM certificate chain that proves who the client is, for servers that ask; needs ``tls_key``."""
    tls_key: Path | None = None
    """PEM private key of the certificate."""
    insecure: bool = False
    """Allow the token to travel unencrypted to another machine, where everyone on the way can read it."""
    metadata: MetadataSource = ()
    """Pairs to send with every call, or a function that is asked for them each time; ``x-request-id`` and ``traceparent`` are
    sent in any case (see ``curator_client.calls``)."""
    timeout_s: float = 120.0
    """Deadline of one unary call, over all its attempts."""
    idle_timeout_s: float = 300.0
    """A stream that sends nothing for this long, while an answer is due, is taken for broken and opened again."""
    batches: BatchOptions = field(default_factory=BatchOptions)
    """How documents are grouped and sent."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    """When broken calls are tried again."""

    def call_metadata(self) -> Metadata:
        """The metadata of one call, with a request id of its own. Raises ConfigError when the token file holds no token."""
        token = self.token if self.token_file is None else _token_of(self.token_file)
        return call_metadata(token, self.metadata)

    def credentials(self, address: str) -> grpc.ChannelCredentials | None:
        """TLS credentials for a connection to ``address``, or None for a plain one.

        Raises ConfigError when a file cannot be read, or when the token would leave this machine unencrypted.
        """
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigError(
                "A client certificate needs its key, and a key its certificate; give both (--tls-cert, --tls-key)."
            )
        if not (self.tls or self.tls_roots or self.tls_certificate):
            self._check_plain(address)
            return None
        return grpc.ssl_channel_credentials(_read(self.tls_roots), _read(self.tls_key), _read(self.tls_certificate))

    def _check_plain(self, address: str) -> None:
        if (self.token or self.token_file) and not (self.insecure or stays_on_this_machine(address)):
            raise ConfigError(
                f"The token would travel to {address} for everyone to read; use TLS (--tls, tls=True), or allow it "
                "(--insecure, insecure=True)."
            )


def _token_of(path: Path) -> str:
    try:
        words = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The token file {path} cannot be read; check the path.") from error
    if len(words) != 1:
        raise ConfigError(f"The token file {path} must hold one token and nothing else; write it there.")
    return words[0]


def _read(path: Path | None) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError as error:
        raise ConfigError(f"The TLS file {path} cannot be read; check the path.") from error


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
        raise ConfigError(
            "Filtering needs one threshold; give a least score or a least probability (--min-score, --min-probability)."
        )
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
