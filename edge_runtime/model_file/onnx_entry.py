"""The metadata entry of an ONNX file: found and written, without an ONNX library."""

from __future__ import annotations

from edge_runtime.graph.protobuf import content_of, read_varint, to_varint
from edge_runtime.model_file.container import ENTRY_BEGIN

_METADATA_TAG = (14 << 3) | 2  # ModelProto.metadata_props, length-delimited


def find_entry(data: bytes) -> tuple[bytes | None, int]:
    """Returns the value of our entry and where the entry begins; None where none is.

    Walks the top-level fields of the message only: the graph is one of them.

    Args:
        data: An ONNX ModelProto.

    Raises:
        IndexError, ValueError: It is cut off or damaged.
    """
    position = 0
    while position < len(data):
        start = position
        tag, position = read_varint(data, position)
        content, position = content_of(data, position, tag & 7)
        if tag == _METADATA_TAG:
            text = _our_value(data[content:position])
            if text is not None:
                return text, start
    return None, len(data)


def entry_of(text: bytes) -> bytes:
    """Returns an entry with a value, to stand behind a ModelProto."""
    entry = ENTRY_BEGIN + to_varint(len(text)) + text
    return to_varint(_METADATA_TAG) + to_varint(len(entry)) + entry


def _our_value(entry: bytes) -> bytes | None:
    """Returns the value of a key-value entry if the key is ours."""
    if not entry.startswith(ENTRY_BEGIN):
        return None
    length, begin = read_varint(entry, len(ENTRY_BEGIN))
    return entry[begin : begin + length]
