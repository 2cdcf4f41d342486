"""Bearer tokens from a file, and what each may do.

    # token, then its scopes; without scopes: score
    9f2c...e1 score
    sha256:5e88...d8 score,jobs
    7b1a...44 admin

One token a line; empty lines and lines that begin with ``#`` are skipped. ``sha256:`` and 64 digits stand for a token that is
not written down itself; SHA-256 without salt is right for tokens drawn at random (``openssl rand -hex 32``), not for
passwords. ``admin`` includes the other scopes. Only hashes are kept in memory. A token is compared with every entry, always,
in constant time, so that an answer's time tells nothing of how near a guess was. The file is read again when it changes; one
that is then absent or wrong is logged, and the tokens in use stay until it is right.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import stat
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from curator.errors import ConfigError
from curator_server.tls import stamp

logger = logging.getLogger(__name__)

_HASHED = re.compile(rb"sha256:[0-9a-fA-F]{64}")
_SHORT = 16
_FORMAT = "write one token a line, then a space and its scopes (score, jobs, admin) with commas between"


class Scope(StrEnum):
    """What a token may be good for."""

    SCORE = "score"
    """Scoring and filtering of text that the caller sends."""
    JOBS = "jobs"
    """Jobs that the server runs on its own sources."""
    ADMIN = "admin"
    """Loading, unloading and deleting; includes the others."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One token: its SHA-256 and its scopes."""

    digest: bytes
    scopes: frozenset[Scope]


def parse_tokens(data: bytes, name: str) -> tuple[Entry, ...]:
    """The entries of a token file. Raises ConfigError, with the line's number and never its text, when one is wrong."""
    entries: dict[bytes, Entry] = {}
    for number, line in enumerate(data.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith(b"#"):
            continue
        entry = _entry(words, f"line {number} of the token file {name}")
        if entry.digest in entries:
            raise ConfigError(f"The token in line {number} of the token file {name} is there twice; keep one line.")
        entries[entry.digest] = entry
    if not entries:
        raise ConfigError(f"The token file {name} is empty; {_FORMAT}.")
    return tuple(entries.values())


def _entry(words: list[bytes], place: str) -> Entry:
    if len(words) > 2:
        raise ConfigError(f"There are more than two words in {place}; {_FORMAT}.")
    try:
        named = {Scope(word) for word in words[1].decode().split(",")} if len(words) == 2 else {Scope.SCORE}
    except ValueError as error:  # not UTF-8 is one too
        raise ConfigError(f"There is an unknown scope in {place}; {_FORMAT}.") from error
    scopes = frozenset(Scope) if Scope.ADMIN in named else frozenset(named)
    if words[0].startswith(b"sha256:"):
        if not _HASHED.fullmatch(words[0]):
            raise ConfigError(f"There is a damaged hash in {place}; write sha256: and 64 hexadecimal digits.")
        return Entry(bytes.fromhex(words[0].removeprefix(b"sha256:").decode()), scopes)
    if len(words[0]) < _SHORT:
        logger.warning("a token is short enough to guess; draw a longer one", extra={"place": place})
    return Entry(hashlib.sha256(words[0]).digest(), scopes)


class TokenFile:
    """The tokens of a file, as it is now. Reading it costs one ``stat`` while it does not change."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError when the file is absent, empty or wrong."""
        self._path = path
        self._stamp = stamp((path,))
        self._entries = self._read()

    def scopes_of(self, token: bytes) -> frozenset[Scope] | None:
        """What a token may do, or None when it is not one of ours."""
        self._refresh()
        digest, found = hashlib.sha256(token).digest(), None
        for entry in self._entries:
            if hmac.compare_digest(digest, entry.digest):
                found = entry.scopes  # and no early exit
        return found

    def _refresh(self) -> None:
        now = stamp((self._path,))
        if now == self._stamp:
            return
        self._stamp = now
        try:
            self._entries = self._read()
        except ConfigError as error:
            logger.error("the token file changed and is not usable; the old tokens stay: %s", error)
        else:
            logger.info("token file read again", extra={"tokens": len(self._entries)})

    def _read(self) -> tuple[Entry, ...]:
        try:
            data, mode = self._path.read_bytes(), self._path.stat().st_mode
        except OSError as error:
            raise ConfigError(f"The token file {self._path} cannot be read; check the path.") from error
        if mode & (stat.S_IROTH | stat.S_IWOTH):
            logger.warning("the token file is open to every user of this machine; chmod 600 %s", self._path)
        return parse_tokens(data, str(self._path))
