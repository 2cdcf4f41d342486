"""TLS of the server: certificate, key and client authorities from PEM files, read again when they change.

gRPC asks before every handshake, so a renewed certificate (certbot, cert-manager) serves the next connection without a
restart; open connections keep theirs. Asking costs one ``stat`` a file. Files that cannot be read leave the pair in use as it
is; so does gRPC with a pair that does not fit together, as when only one of two files has been renewed yet.
It does not check who signed what, or when a certificate ends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import grpc

from curator.errors import ConfigError

logger = logging.getLogger(__name__)

Stamp = tuple[tuple[int, int, int], ...]


def server_credentials(certificate: Path, key: Path, client_ca: Path | None = None) -> grpc.ServerCredentials:
    """Credentials that follow their files; with ``client_ca`` every client must show a certificate.

    Raises ConfigError when a file cannot be read.
    """
    files = tuple(path for path in (certificate, key, client_ca) if path is not None)
    seen = stamp(files)
    try:
        first = _configuration(certificate, key, client_ca)
    except OSError as error:
        raise ConfigError(f"The TLS file {error.filename} cannot be read; check the path.") from error
    fetch = _fetcher(files, seen, lambda: _configuration(certificate, key, client_ca))
    required = client_ca is not None
    return grpc.dynamic_ssl_server_credentials(first, fetch, required)  # type: ignore[arg-type]  None means: no change


def stamp(files: tuple[Path, ...]) -> Stamp:
    """What changes when a file does: inode, time and size of each; empty while one is missing."""
    try:
        found = [path.stat() for path in files]
    except OSError:
        return ()
    return tuple((state.st_ino, state.st_mtime_ns, state.st_size) for state in found)


def _fetcher(
    files: tuple[Path, ...], seen: Stamp, read: Callable[[], grpc.ServerCertificateConfiguration]
) -> Callable[[], grpc.ServerCertificateConfiguration | None]:
    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal seen
        found = stamp(files)
        if not found or found == seen:
            return None
        try:
            changed = read()
        except OSError as error:
            logger.warning("TLS files changed and cannot be read; the old ones stay", extra={"file": error.filename})
            return None
        seen = found
        logger.info("TLS files read again", extra={"certificate": files[0]})
        return changed

    return fetch


def _configuration(certificate: Path, key: Path, client_ca: Path | None) -> grpc.ServerCertificateConfiguration:
    pair = (key.read_bytes(), certificate.read_bytes())
    roots = None if client_ca is None else client_ca.read_bytes()
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=roots)
