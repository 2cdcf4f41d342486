import json

import pytest
import zstandard

from curator.api.convert import document_to_wire
from curator.api.payload import PayloadCaps, compress_documents, decompress, open_batch, opened_bytes
from curator.api.v1 import common_pb2
from curator.errors import DocumentError, LimitError
from curator.records import Document, Rejection, RejectReason

CAPS = PayloadCaps(max_documents=8, max_batch_bytes=4096, max_document_bytes=100)
DOCUMENTS = [Document("a", "first", metadata={"n": 1}), Document("b", "zweiter \u2028 Täxt")]
WIRES = [document_to_wire(document) for document in DOCUMENTS]


def frame(data, **options):
    return zstandard.ZstdCompressor(**options).compress(data)


def jsonl(*lines):
    return common_pb2.DocumentBatch(seq=1, zstd_jsonl=frame(b"\n".join(lines)), document_count=len(lines))


def test_all_three_payloads_open_to_the_same_documents():
    lines = [
        json.dumps({"id": d.id, "text": d.text, "metadata": dict(d.metadata)}, ensure_ascii=False).encode()
        for d in DOCUMENTS
    ]
    plain = common_pb2.DocumentBatch(documents=common_pb2.Documents(documents=WIRES))
    packed = common_pb2.DocumentBatch(zstd_documents=compress_documents(WIRES), document_count=2)
    for batch in (plain, packed, jsonl(*lines)):
        assert open_batch(batch, CAPS) == DOCUMENTS


def test_a_zstd_bomb_that_declares_its_size_is_refused_unread():
    with pytest.raises(LimitError, match="opens to 1000000"):
        decompress(frame(b"\0" * 1_000_000), 4096)


def test_a_zstd_bomb_that_hides_its_size_is_stopped_at_the_cap():
    with pytest.raises(DocumentError):
        decompress(frame(b"\0" * 1_000_000, write_content_size=False), 4096)


def test_a_frame_that_wants_a_huge_window_is_refused():
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=27)
    compressor = zstandard.ZstdCompressor(
        compression_params=parameters
    ).compressobj()  # streaming: the window is not shrunk
    with pytest.raises(DocumentError):
        decompress(compressor.compress(b"x") + compressor.flush(), 4096)


@pytest.mark.parametrize("damage", [lambda d: d[:-3], lambda d: b"junk" + d, lambda d: d + d, lambda d: b""])
def test_a_damaged_frame_spoils_its_batch(damage):
    batch = common_pb2.DocumentBatch(zstd_documents=damage(compress_documents(WIRES)), document_count=2)
    with pytest.raises(DocumentError):
        open_batch(batch, CAPS)


def test_a_frame_of_something_else_is_refused():
    with pytest.raises(DocumentError, match="Documents message"):
        open_batch(common_pb2.DocumentBatch(zstd_documents=frame(b"\xff\xff\xff"), document_count=1), CAPS)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"id":"x","text":"\xff"}', RejectReason.INVALID_UTF8),
        (b'{"id":"x","text"', RejectReason.INVALID_JSON),
        (b"[" * 100_000, RejectReason.INVALID_JSON),
        (b"[1]", RejectReason.NOT_A_RECORD),
        (b'{"id":"x"}', RejectReason.MISSING_FIELD),
        (b'{"id":"x","text":5}', RejectReason.FIELD_NOT_TEXT),
        (b'{"id":"x","text":"\\ud800"}', RejectReason.FIELD_NOT_TEXT),
        (b'{"id":"x","text":"t","metadata":{"n":NaN}}', RejectReason.NOT_A_RECORD),
        (b'{"id":"x","text":"t","metadata":["\\ud800"]}', RejectReason.NOT_A_RECORD),
        (b'{"id":"x","text":"t","metadata":{"m":' + b"[" * 30 + b"]" * 30 + b"}}", RejectReason.NOT_A_RECORD),
        (b'{"id":"x","text":"t","metadata":' + b'{"m":' * 700 + b"1" + b"}" * 701, RejectReason.NOT_A_RECORD),
        (b'{"id":"x","text":"  "}', RejectReason.EMPTY_TEXT),
        (b'{"id":"x","text":"' + b"y" * 101 + b'"}', RejectReason.RECORD_TOO_LARGE),
    ],
)
def test_a_bad_line_is_rejected_alone(line, reason):
    caps = PayloadCaps(max_documents=8, max_batch_bytes=1 << 20, max_document_bytes=100)
    good = b'{"id":"good","text":"fine"}'
    before, bad, after = open_batch(jsonl(good, line, good), caps)
    assert isinstance(bad, Rejection)
    assert bad.reason is reason
    assert before == after == Document("good", "fine")


def test_a_batch_that_holds_another_number_than_it_says_is_refused():
    batch = jsonl(b'{"id":"a","text":"t"}')
    batch.document_count = 2
    with pytest.raises(DocumentError, match="says 2 documents and holds 1"):
        open_batch(batch, CAPS)


def test_too_many_documents_are_refused_even_when_nothing_is_declared():
    documents = common_pb2.Documents(documents=[common_pb2.Document(id="a", text="t")] * 9)
    with pytest.raises(LimitError, match="8 documents"):
        open_batch(common_pb2.DocumentBatch(documents=documents), CAPS)
    with pytest.raises(LimitError, match="says 9"):
        open_batch(common_pb2.DocumentBatch(zstd_jsonl=b"", document_count=9), CAPS)


def test_an_empty_batch_is_an_empty_batch():
    assert open_batch(common_pb2.DocumentBatch(seq=1), CAPS) == []


def test_the_deepest_metadata_are_the_same_in_every_payload():
    metadata = json.loads('{"m":' * 30 + "1" + "}" * 30)
    document = Document("x", "t", metadata=metadata)
    line = json.dumps({"id": "x", "text": "t", "metadata": metadata}).encode()
    packed = common_pb2.DocumentBatch(zstd_documents=compress_documents([document_to_wire(document)]), document_count=1)
    assert open_batch(jsonl(line), CAPS) == open_batch(packed, CAPS) == [document]


def test_the_size_of_a_payload_is_known_before_it_is_opened():
    plain = common_pb2.DocumentBatch(documents=common_pb2.Documents(documents=WIRES))
    packed = common_pb2.DocumentBatch(zstd_documents=compress_documents(WIRES), document_count=2)
    size = opened_bytes(plain, CAPS)
    assert size == plain.documents.ByteSize() == opened_bytes(packed, CAPS)
    silent = common_pb2.DocumentBatch(zstd_jsonl=frame(b"x" * 50, write_content_size=False))
    assert opened_bytes(silent, CAPS) == CAPS.max_batch_bytes
    for never_opened in (b"no frame", frame(b"\0" * 1_000_000)):
        assert opened_bytes(common_pb2.DocumentBatch(zstd_documents=never_opened), CAPS) == len(never_opened)
    assert opened_bytes(common_pb2.DocumentBatch(), CAPS) == 0
