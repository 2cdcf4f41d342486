"""The input of a job: cut into pieces, spooled where it cannot be read twice, and watched for changes while the job runs.

Standard input is copied to ``input/stdin.jsonl`` in the work folder first, so that it can be cut, read by several processes
and read again after a crash; in plan and messages it stays ``-``, and giving the same text again finds the job where it was.
A piece's file is compared with its fingerprint after it was read and before the score file is committed, and all files once
more before anything is written. What escapes a fingerprint is said in ``curator.text.content``; when shards are written, every
document is compared with the hash under which it was scored besides. It does not know formats.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import IO

from curator import fingerprint
from curator.errors import ConfigError, FingerprintError, SourceNotFoundError
from curator.files import atomic_file
from curator.records import Document, Rejection
from curator.text.head import first_records, require_text_field
from curator.text.pieces import Piece, current_fingerprint, cut_pieces, read_piece
from curator.text.rows import SourceOptions
from curator.text.uris import Scheme, parse_uri

STDIN = "-"
SPOOL = Path("input", "stdin.jsonl")
_CHECKS_AT_A_TIME = 8
_LOOKED_AT = 100


def spool(stream: IO[bytes], work: Path) -> None:
    """Copy standard input into the work folder, whole or not at all.

    Raises FingerprintError when another text was spooled there before.
    """
    target = work / SPOOL
    if not target.is_file():
        with atomic_file(target) as handle:
            shutil.copyfileobj(stream, handle)
        return
    before = fingerprint.of_file(target)
    again = target.with_name("again.jsonl")
    try:
        with atomic_file(again) as handle:
            shutil.copyfileobj(stream, handle)
        if fingerprint.of_file(again) != before:
            raise FingerprintError(
                f"Standard input changed since {work} was begun; give the same text, or a new folder."
            )
    finally:
        again.unlink(missing_ok=True)


def cut_input(
    sources: Sequence[str],
    options: SourceOptions,
    work: Path,
    *,
    piece_bytes: int,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Piece, ...]:
    """The pieces of all sources; standard input must be spooled by then. Raises what ``cut_pieces`` raises."""
    if sources.count(STDIN) > 1:
        raise ConfigError("Standard input can be read once; name - once among the sources.")
    if not sources:
        raise ConfigError("There is nothing to filter; name at least one source.")
    spooled = str(work / SPOOL)
    uris = [spooled if source == STDIN else source for source in sources]
    pieces = cut_pieces(uris, options, piece_bytes=piece_bytes, progress=progress)
    return tuple(piece.model_copy(update={"uri": STDIN}) if piece.uri == spooled else piece for piece in pieces)


def read_records(piece: Piece, options: SourceOptions, work: Path) -> Iterator[Document | Rejection]:
    """The records of a piece, as ``read_piece`` gives them."""
    if piece.uri != STDIN:
        yield from read_piece(piece, options)
        return
    spooled = str(work / SPOOL)
    for record in read_piece(_on_disk(piece, work), options):
        if isinstance(record, Rejection):
            yield replace(record, place=record.place.replace(spooled, STDIN, 1))
        else:
            yield record


def require_documents(pieces: Sequence[Piece], options: SourceOptions, work: Path) -> None:
    """Look at the first records of every file, up to the first document of all. Raises as ``require_text_field`` does."""
    files = (list(group) for _, group in groupby(pieces, key=attrgetter("uri")))
    heads = (
        islice((record for piece in file for record in read_records(piece, options, work)), _LOOKED_AT)
        for file in files
    )
    require_text_field(first_records(chain.from_iterable(heads)))


def require_current(piece: Piece, work: Path) -> None:
    """Raise FingerprintError unless the piece's file still is the one that was cut, SourceNotFoundError when it is gone."""
    try:
        now = current_fingerprint(_on_disk(piece, work).uri)
    except SourceNotFoundError as error:
        raise _missing(piece) from error
    if now != piece.fingerprint:
        raise changed(piece)


def require_all_current(pieces: Sequence[Piece], work: Path) -> None:
    """Raise as ``require_current`` does for any piece; each file is looked at once."""
    firsts = {piece.uri: piece for piece in reversed(pieces)}
    with ThreadPoolExecutor(_CHECKS_AT_A_TIME) as pool:
        for _ in pool.map(lambda piece: require_current(piece, work), firsts.values()):
            pass


def changed(piece: Piece) -> FingerprintError:
    """The error that says which input is no longer what it was."""
    return FingerprintError(
        f"The input {piece.uri} changed while the job ran; put it back as it was and run again, or filter into a new folder."
    )


def _missing(piece: Piece) -> SourceNotFoundError:
    parsed = parse_uri(piece.uri)
    relative = parsed.scheme is Scheme.FILE and not Path(parsed.location).is_absolute()
    where = ", or run from the folder that the job was begun in" if relative else ""
    return SourceNotFoundError(f"The input {piece.uri} is missing; put it back where it was{where}.")


def _on_disk(piece: Piece, work: Path) -> Piece:
    return piece.model_copy(update={"uri": str(work / SPOOL)}) if piece.uri == STDIN else piece
