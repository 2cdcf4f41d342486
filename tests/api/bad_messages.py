"""Messages that protobuf refuses, put together by hand."""

from __future__ import annotations

from curator.api.v1 import common_pb2

_NUMBERS = {name: one.number for name, one in common_pb2.Document.DESCRIPTOR.fields_by_name.items()}


def field(number: int, data: bytes) -> bytes:
    """A length-delimited field: tag, length, bytes."""
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def not_utf8(name: str) -> bytes:
    """A document whose field of this name holds a byte that no UTF-8 has."""
    texts = {"id": b"bad", "text": b"text", name: b"b\xffd"}
    return b"".join(field(_NUMBERS[key], text) for key, text in texts.items())


def deep_metadata(levels: int) -> bytes:
    """A document called "bad" with objects this deep inside one another."""
    struct = b""
    for _ in range(levels - 1):
        struct = field(1, field(1, b"k") + field(2, field(5, struct)))
    return field(1, b"bad") + field(2, b"text") + field(3, struct)


def _varint(number: int) -> bytes:
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*data, number])


DEEP = deep_metadata(60)
