"""The metadata entry of an ONNX file: found and written, without an ONNX library."""

from __future__ import annotations

from edge_runtime.graph.protobuf import read_fields, read_varint, write_varint

PROPERTY = "fer_edge"
MOST_FIELDS = 65_536  # of a ModelProto, which has a few: its nodes are further inside
METADATA_FIELD = 14  # ModelProto.metadata_props
METADATA_TAG = METADATA_FIELD << 3 | 2  # length-delimited
# StringStringEntryProto: the key (field 1) as a whole, the tag of the value (field 2).
ENTRY_START = b"\x0a" + bytes([len(PROPERTY)]) + PROPERTY.encode() + b"\x12"


def find_entry(model: bytes) -> tuple[bytes | None, int]:
    """Returns the text in our entry and where the entry begins; None where none is.

    Args:
        model: An ONNX ModelProto.

    Raises:
        IndexError: The message is cut off.
        ValueError: The message is damaged.
    """
    for count, field in enumerate(read_fields(model)):
        if count == MOST_FIELDS:
            raise ValueError(f"it has more than {MOST_FIELDS} fields")
        entry = field.content
        ours = field.number == METADATA_FIELD
        if ours and entry[: len(ENTRY_START)] == ENTRY_START:
            length, start = read_varint(entry, len(ENTRY_START))
            return bytes(entry[start : start + length]), field.start
    return None, len(model)


def format_entry(text: bytes) -> bytes:
    """Returns an entry with this text, to stand behind a ModelProto."""
    entry = ENTRY_START + write_varint(len(text)) + text
    return write_varint(METADATA_TAG) + write_varint(len(entry)) + entry
