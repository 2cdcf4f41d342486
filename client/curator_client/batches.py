"""Documents on their way to the wire: prepared one by one, grouped under byte limits, packed under a seq. Pure, no I/O.

A group holds at most 256 documents or 256 KiB of messages, text and metadata alike: per message gRPC costs 140-350 us of CPU, per
document inside a message 2 us, so that 64 and more documents a message make the transport invisible. What can never be sent is
rejected alone, before it is grouped: what UTF-8 or a Struct cannot hold, a text over the server's limit, a document that with its
metadata is larger than a batch or a message may be. A batch that a server, or a proxy before it, refuses for its size is halved.

Cost of a size: one serialisation, about 1 us for 1 KB. What a document takes when a server opens it is not known here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import zstandard

from curator.api.convert import document_to_wire, result_from_wire
from curator.api.payload import compress_documents
from curator.api.v1 import common_pb2, scoring_pb2
from curator.errors import ConfigError, DocumentError
from curator.records import Document, Rejection, RejectReason, Score

Result = Score | Rejection
Item = Document | Rejection
"""What a client takes: a document, or what a source could not read, which is passed on in its place."""

MAX_MESSAGE_BYTES = 32 << 20
"""What our channels send and take in one message."""
_FRAME_BYTES = 6
"""Tag and length of a document inside its batch, at most."""
_MESSAGE_SHARE = 64
"""One part in so many of a message stays free for what is around the documents, and for what zstd may add."""


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How documents are grouped and sent."""

    max_documents: int = 256
    """Documents in one batch; above 256 nothing is gained."""
    max_bytes: int = 256 << 10
    """Bytes of one batch as messages, metadata included; a single larger document still travels alone."""
    compress: bool = False
    """Send zstd frames: 3x smaller, more CPU; worth it below about 1 Gb/s."""
    linger_s: float = 0.5
    """Scoring sends a batch that is not full when its first document has waited so long, so that a slow source gets its results.
    Filtering never does: its shards depend on the input alone."""


@dataclass(frozen=True, slots=True)
class Caps:
    """What one batch, and one document, may take."""

    max_documents: int
    batch_bytes: float
    """Where a batch is cut."""
    document_bytes: float
    """What a document alone may take, as a message."""
    text_bytes: float

    @classmethod
    def of(cls, options: BatchOptions, limits: common_pb2.Limits) -> Caps:
        """The narrower of the options and the server's limits; a limit of 0 is none."""
        message = min(limits.max_message_bytes or MAX_MESSAGE_BYTES, MAX_MESSAGE_BYTES)
        room = message - message // _MESSAGE_SHARE - 1024
        most = min(limits.max_batch_bytes or math.inf, room)
        return cls(
            max_documents=min(options.max_documents, limits.max_batch_documents or options.max_documents),
            batch_bytes=min(options.max_bytes, most),
            document_bytes=most,
            text_bytes=limits.max_document_bytes or math.inf,
        )

    def within(self, other: Caps) -> Caps:
        """The narrower of both in every number."""
        return Caps(
            min(self.max_documents, other.max_documents),
            min(self.batch_bytes, other.batch_bytes),
            min(self.document_bytes, other.document_bytes),
            min(self.text_bytes, other.text_bytes),
        )

    def halved(self) -> Caps:
        """Half the documents and bytes a batch; a document alone may be what it was."""
        return replace(self, max_documents=max(1, self.max_documents // 2), batch_bytes=self.batch_bytes / 2)


class Prepared(NamedTuple):
    """One item as it will travel; with a rejection it does not, and only its place is taken."""

    place: str
    wire: common_pb2.Document | None
    size: int
    rejection: Rejection | None = None
    unread: bool = False
    """The source could not read it."""


def prepare(item: Item, caps: Caps, *, with_metadata: bool) -> Prepared:
    """An item as a message with its size, or with why it cannot be sent. Raises ConfigError for what is no item."""
    if isinstance(item, Rejection):
        return Prepared(item.place, None, 0, item, unread=True)
    if not isinstance(item, Document):  # pyright: ignore[reportUnnecessaryIsInstance]  callers need not check types
        raise ConfigError(f"Documents are wanted, and a {type(item).__name__} came; make each a Document(id, text).")
    try:
        wire = document_to_wire(item, with_metadata=with_metadata)
    except DocumentError as error:
        return _refused(item, RejectReason.NOT_A_RECORD, str(error))
    size = wire.ByteSize() + _FRAME_BYTES
    if size > caps.text_bytes and (length := len(item.text.encode())) > caps.text_bytes:
        return _refused(
            item, RejectReason.RECORD_TOO_LARGE, f"The text has {length} bytes, the limit is {caps.text_bytes}."
        )
    if size > caps.document_bytes:
        detail = f"The document with its metadata takes {size} bytes, the limit is {caps.document_bytes:.0f}."
        return _refused(item, RejectReason.RECORD_TOO_LARGE, detail)
    return Prepared(item.id, wire, size)


def _refused(document: Document, reason: RejectReason, detail: str) -> Prepared:
    return Prepared(document.id, None, 0, Rejection(document.id, reason, detail))


class Grouper:
    """Cuts prepared items into groups under the caps; where it cuts depends on the items alone."""

    def __init__(self, caps: Caps) -> None:
        self.caps = caps
        self._waiting: list[Prepared] = []
        self._bytes = 0

    def add(self, item: Prepared) -> Iterator[list[Prepared]]:
        """Take one item; yields the groups that are full by it."""
        if self._waiting and self._bytes + item.size > self.caps.batch_bytes:
            yield self.rest()
        self._waiting.append(item)
        self._bytes += item.size
        if len(self._waiting) >= self.caps.max_documents:
            yield self.rest()

    @property
    def empty(self) -> bool:
        """Whether no group is under way."""
        return not self._waiting

    def rest(self) -> list[Prepared]:
        """The group that is under way, which is over then."""
        group, self._waiting, self._bytes = self._waiting, [], 0
        return group


def group(items: Iterable[Item], caps: Caps, *, with_metadata: bool) -> Iterator[list[Prepared]]:
    """The groups of an input, in order."""
    grouper = Grouper(caps)
    for item in items:
        yield from grouper.add(prepare(item, caps, with_metadata=with_metadata))
    if not grouper.empty:
        yield grouper.rest()


@dataclass(frozen=True, slots=True)
class Batch:
    """Items under one seq: their places in order, the message, and the rejections of those that are not in it, by position."""

    seq: int
    places: tuple[str, ...]
    wire: common_pb2.DocumentBatch
    refused: dict[int, Rejection] = field(default_factory=dict)
    unread: frozenset[int] = frozenset()
    """Those of the refused that the source could not read."""
    size: int = 0
    """Bytes of its documents as messages, before compression."""

    def results(self, answer: scoring_pb2.ScoreResult) -> list[Result]:
        """One result for each item, in order: the server's, or the local rejection."""
        sent = [place for index, place in enumerate(self.places) if index not in self.refused]
        answers = iter(result_from_wire(answer, sent))
        return [self.refused[index] if index in self.refused else next(answers) for index in range(len(self.places))]

    def fits(self, caps: Caps) -> bool:
        """Whether it may be sent under the caps; what holds one document always may, for it cannot be cut."""
        cut_well = len(self.places) <= caps.max_documents and self.size <= caps.batch_bytes
        return cut_well or self.wire.document_count <= 1

    def halves(self, seqs: Iterator[int]) -> list[Batch]:
        """The same items as two batches under new seqs."""
        items = self._prepared()
        middle = len(items) // 2
        compress = self.wire.WhichOneof("payload") == "zstd_documents"
        return [pack(next(seqs), part, compress=compress) for part in (items[:middle], items[middle:])]

    def pieces(self, caps: Caps, seqs: Iterator[int]) -> list[Batch]:
        """The same items as batches that the caps allow, under new seqs."""
        if self.fits(caps):
            self.wire.seq = next(seqs)
            return [replace(self, seq=self.wire.seq)]
        grouper = Grouper(caps)
        groups = [one for item in self._prepared() for one in grouper.add(item)]
        groups += [] if grouper.empty else [grouper.rest()]
        compress = self.wire.WhichOneof("payload") == "zstd_documents"
        return [pack(next(seqs), part, compress=compress) for part in groups]

    def _prepared(self) -> list[Prepared]:
        if self.wire.WhichOneof("payload") == "zstd_documents":
            opened = zstandard.ZstdDecompressor().decompress(self.wire.zstd_documents)
            sent = iter(common_pb2.Documents.FromString(opened).documents)
        else:
            sent = iter(self.wire.documents.documents)
        items: list[Prepared] = []
        for index, place in enumerate(self.places):
            if index in self.refused:
                items.append(Prepared(place, None, 0, self.refused[index], index in self.unread))
            else:
                wire = next(sent)
                items.append(Prepared(place, wire, wire.ByteSize() + _FRAME_BYTES))
        return items


def pack(seq: int, items: Iterable[Prepared], *, compress: bool = False) -> Batch:
    """One batch of prepared items."""
    items = tuple(items)
    wires = [item.wire for item in items if item.wire is not None]
    batch = common_pb2.DocumentBatch(seq=seq, document_count=len(wires))
    if compress:
        batch.zstd_documents = compress_documents(wires)
    else:
        batch.documents.documents.extend(wires)
        batch.documents.SetInParent()
    refused = {index: item.rejection for index, item in enumerate(items) if item.rejection is not None}
    unread = frozenset(index for index, item in enumerate(items) if item.unread)
    size = sum(item.size for item in items)
    return Batch(seq, tuple(item.place for item in items), batch, refused, unread, size)


def make_batch(
    seq: int,
    items: Iterable[Item],
    limits: common_pb2.Limits,
    *,
    compress: bool = False,
    with_metadata: bool = False,
) -> Batch:
    """One batch of all items; what is over a limit, or cannot be carried by the wire, is refused here and not sent."""
    caps = Caps.of(BatchOptions(), limits)
    return pack(seq, (prepare(item, caps, with_metadata=with_metadata) for item in items), compress=compress)
