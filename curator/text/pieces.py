"""Sources cut into pieces that can be read apart, in any process, in any order, again and again.

A ``Piece`` names a range of one file, one shard of a hub dataset, or a whole source that cannot be cut, with the fingerprint
of what it was cut from; it is plain JSON. All pieces of some URIs, read one after the other, give exactly the documents that
``open_sources`` gives, in order, with the same ids, labels and metadata; the k-th record of a piece is always the same. Only
the places of rejections may be written differently, and they are exact:

    pool.jsonl:3            third line; pieces of compressed files, Parquet and Arrow keep this form too, counting from the start
    pool.jsonl@1048576:3    third of the lines that start at or after byte 1,048,576 of a plain file
    hf:org/name@7:3         third row of shard 7, shards counting from 0

Where files are cut is in ``cutting``, what a fingerprint covers and what escapes it in ``content``. Cost of cutting: the
fingerprints (at most 64 MiB read of each file), the Parquet footers, and a counting pass over large compressed files, eight
files at a time. A relative path stays relative, so a job and its sources can move together; workers then need the same working
folder. It does not know standard input, which can be read only once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from pydantic import BaseModel, ConfigDict, Field

from curator import fingerprint
from curator.errors import ConfigError, SourceNotFoundError
from curator.records import Document, Rejection
from curator.text.content import content_of
from curator.text.cutting import Cut, Kind, Progress, cuts_of, parts_of
from curator.text.formats import read_byte_range, read_file
from curator.text.hub import read_hub_shard, stream_of
from curator.text.located import locate
from curator.text.places import Place, place_at
from curator.text.rows import SourceOptions
from curator.text.sources import only_records_of, open_source
from curator.text.uris import Scheme, SourceUri, parse_uri

DEFAULT_PIECE_BYTES = 64 << 20
_AT_A_TIME = 8


class Piece(BaseModel):
    """A part of a source that is read by itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str = Field(description="The one file, Arrow folder, hub dataset or embedded domain it is cut from.")
    kind: Kind = Field(
        description="bytes: of a plain JSONL file; a line belongs to the piece that holds its first byte. rows: of Parquet or "
        "an Arrow folder, or lines of compressed JSONL, from 0. shard: of a hub dataset. whole: all of it."
    )
    start: int = Field(ge=0, description="First byte or row, or index of the shard.")
    end: int = Field(
        ge=0,
        description="Byte or row after the last, or number of shards; of a whole file its size in bytes, where known.",
    )
    fingerprint: str = Field(description="Of the content that it is cut from: one for all pieces of a file.")


def cut_pieces(
    uris: Iterable[str],
    options: SourceOptions,
    *,
    piece_bytes: int = DEFAULT_PIECE_BYTES,
    progress: Progress | None = None,
) -> list[Piece]:
    """Pieces of all sources, in order; of about ``piece_bytes`` each as decoded where the format lets itself be cut.

    ``progress(file, bytes read, bytes in all)`` hears of the counting passes over compressed files, one call at a time. What
    ``options`` say of the fields changes no border. Raises what ``open_source`` raises, SourceError for a file that cannot be
    read, and ConfigError for standard input and for ``piece_bytes`` below 1; all at once, before anything is scored.
    """
    if piece_bytes < 1:
        raise ConfigError(f"A piece of {piece_bytes} bytes holds nothing; choose at least 1.")
    parsed = [parse_uri(uri) for uri in uris]
    found = [part for uri in parsed for part in _parts(uri)]
    told = _one_at_a_time(progress) if progress else None
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        cut = pool.map(lambda part: _cut(part, piece_bytes, told), found)
        return [piece for pieces in cut for piece in pieces]


def read_piece(piece: Piece, options: SourceOptions) -> Iterator[Document | Rejection]:
    """Records of one piece, in order. Raises at once and while streaming as ``open_source`` does."""
    uri = parse_uri(piece.uri)
    if piece.kind == "whole":
        return open_source(piece.uri, options)
    if piece.kind == "shard":
        shard = read_hub_shard(uri, piece.start, piece.end, piece.fingerprint, options)
        return only_records_of(shard, uri.hash_split)
    place = place_at(uri)
    if piece.kind == "bytes":
        records = read_byte_range(place, piece.start, piece.end, options)
    else:
        records = read_file(place, options, range(piece.start, piece.end))
    return only_records_of(records, uri.hash_split)


def place_of(uri: str) -> Place | None:
    """The one file or Arrow folder that a piece's URI names; None for what is no file."""
    parsed = parse_uri(uri)
    return place_at(parsed) if parsed.scheme in (Scheme.FILE, Scheme.REMOTE) else None


def current_fingerprint(uri: str) -> str:
    """The fingerprint that pieces of this one file, folder, dataset or domain would get now.

    Raises SourceNotFoundError when it is gone, SourceError when it cannot be read.
    """
    parsed = parse_uri(uri)
    if parsed.scheme is Scheme.HUB:
        return stream_of(parsed).fingerprint
    if parsed.scheme is Scheme.EMBEDDED:
        return _fingerprint_of_records(uri)
    return content_of(place_at(parsed))


def piece_is_current(piece: Piece, known: MutableMapping[str, str] | None = None) -> bool:
    """Whether the source still has the content that the piece was cut from; False when it is gone.

    ``known`` holds fingerprints by URI that were computed earlier in the same run, and gets the new ones: one reading of each
    file in place of one of each piece.
    """
    known = {} if known is None else known
    if piece.uri not in known:
        try:
            known[piece.uri] = current_fingerprint(piece.uri)
        except SourceNotFoundError:
            return False
    return known[piece.uri] == piece.fingerprint


def _parts(uri: SourceUri) -> list[tuple[SourceUri, str, Place | None]]:
    """What is cut apart, with the name that its pieces get; the place is None where the source is no file."""
    if uri.scheme is Scheme.STDIN:
        raise ConfigError("Standard input cannot be read twice; copy it to a file first and name that file.")
    if uri.scheme in (Scheme.HUB, Scheme.EMBEDDED):
        return [(uri, str(uri), None)]
    return [(uri, parse_uri(one.uri).at(part.location), part) for one in locate(uri) for part in parts_of(one.place)]


def _cut(part: tuple[SourceUri, str, Place | None], piece_bytes: int, progress: Progress | None) -> list[Piece]:
    uri, name, place = part
    if place is not None:
        content = content_of(place)
        cuts = cuts_of(place, piece_bytes, progress)
    elif uri.scheme is Scheme.HUB:
        stream = stream_of(uri)
        content = stream.fingerprint
        cuts = [Cut("shard", index, stream.shards) for index in range(stream.shards)]
    else:
        content, cuts = _fingerprint_of_records(name), [Cut("whole", 0, 1)]
    return [Piece(uri=name, kind=cut.kind, start=cut.start, end=cut.end, fingerprint=content) for cut in cuts]


def _fingerprint_of_records(uri: str) -> str:
    """Of the records themselves, where nothing smaller tells a change: the embedded corpus is what is installed here."""
    return fingerprint.of_parts(repr(record) for record in open_source(uri))


def _one_at_a_time(progress: Progress) -> Progress:
    lock = Lock()

    def told(name: str, done: int, of: int) -> None:
        with lock:
            progress(name, done, of)

    return told
