"""Model files: a model with its metadata document appended, read back and checked.

A ``.tflite`` file contains the document as a zip archive behind the flatbuffer: any zip
tool reads it, every interpreter ignores it. An ``.onnx`` file contains it as a
``metadata_props`` entry at the end of the protobuf message. Either way the file is

    model bytes | metadata

and nothing else: the metadata is rebuilt from the document that was read and must be
the same bytes, so no change to it goes unnoticed. No TFLite or ONNX library is needed.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any, Literal, NamedTuple

from edge_runtime.errors import MetadataError, ModelError
from edge_runtime.model_file import signature
from edge_runtime.untrusted import parse_json, read_bounded

Kind = Literal["tflite", "onnx"]

Document = dict[str, Any]

MEMBER = "fer_edge.json"

# Pictures and videos, given where a model is expected.
_SOURCE_SUFFIXES = (
    *(".mp4", ".avi", ".mkv", ".mov", ".webm", ".mjpeg"),
    *(".jpg", ".jpeg", ".png", ".bmp", ".webp"),
)

LARGEST_MODEL_BYTES = 512 * 2**20

LARGEST_METADATA_BYTES = 2 * 2**20
LARGEST_ZIP_BYTES = 2 * LARGEST_METADATA_BYTES  # with a directory and other members

_TFLITE_MAGIC = slice(4, 8)


class ModelFile(NamedTuple):
    """A model file, split into model and metadata.

    Attributes:
        name: File name, for messages.
        kind: ``"tflite"`` or ``"onnx"``.
        model: The model's own bytes, without the metadata.
        document: The metadata, checked; None where there is none.
        size: Size of the whole file in bytes.
        sha256: Of the whole file, hexadecimal, as ``sha256sum`` prints it.
    """

    name: str
    kind: Kind
    model: bytes
    document: Document | None
    size: int
    sha256: str


def read_model_file(
    path: Path,
    *,
    public_key: Path | None = None,
    largest_bytes: int = LARGEST_MODEL_BYTES,
) -> ModelFile:
    """Returns a model file, split into model and metadata, its hashes checked.

    Examples:
        >>> from pathlib import Path
        >>> from edge_runtime import read_model_file
        >>> file = read_model_file(Path("fer2013.int8.tflite"))
        >>> file.kind, file.document["format"], file.document["labels"][:3]
        ('tflite', 'tflite-int8', ['angry', 'disgust', 'fear'])

    Args:
        path: A ``.tflite`` or ``.onnx`` file.
        public_key: PEM file; the model must be signed with its private key. This is
            checked first, on the same bytes that are used afterwards.
        largest_bytes: A larger file is refused before it is read.

    Raises:
        ModelError: The file is missing, not a ``.tflite`` or ``.onnx`` file, too large,
            cut off, or altered since it was exported.
        MetadataError: The metadata is damaged or hostile.
        SignatureError: The file is not signed by that key.
        MissingDependencyError: A key is given and ``cryptography`` is not installed.
    """
    data = read_model_bytes(path, largest_bytes)
    if public_key is not None:
        signature.verify(data, signature.read_signature(path), public_key)
    return parse_model_file(path, data)


def parse_model_file(path: Path, data: bytes) -> ModelFile:
    """Returns a model file, split into model and metadata, its hashes checked.

    Args:
        path: The path it was read from: only its name and suffix are used.
        data: All of its bytes.

    Raises:
        ModelError: Not a ``.tflite`` or ``.onnx`` file, cut off, or altered since it
            was exported.
        MetadataError: The metadata is damaged or hostile.
    """
    kind = _kind(path, data)
    split = _split_zip if kind == "tflite" else _split_protobuf
    text, length = split(data, path.name)
    model = data[: len(data) - length]
    # Hashed once: hashing takes most of the time of reading a large file.
    hasher = hashlib.sha256(model)
    model_sha256 = hasher.hexdigest()
    hasher.update(data[len(model) :])
    sha256 = hasher.hexdigest()
    if text is None:
        return ModelFile(path.name, kind, model, None, len(data), sha256)
    document = parse_document(text)
    if document.get("sha256") not in (None, model_sha256):
        raise ModelError(
            f"{path.name}: the model was altered after the export (its sha256 does not"
            " match): export or copy it again"
        )
    tail = _metadata({**document, "sha256": model_sha256}, kind, len(model))
    if tail != data[len(model) :]:
        raise MetadataError(f"{path.name}: its metadata was altered after the export")
    return ModelFile(path.name, kind, model, document, len(data), sha256)


def unparsed_model_file(path: Path, data: bytes) -> ModelFile:
    """Returns a model file whose metadata are not read: its document is None.

    Args:
        path: As for ``parse_model_file``.
        data: All of its bytes, which are ``model`` as a whole.

    Raises:
        ModelError: Not a ``.tflite`` or ``.onnx`` file.
    """
    kind, digest = _kind(path, data), hashlib.sha256(data).hexdigest()
    return ModelFile(path.name, kind, data, None, len(data), digest)


def model_file_bytes(file: ModelFile) -> bytes:
    """Returns the bytes that a model file was read from."""
    if file.document is None:
        return file.model
    return attach(file.model, file.document, file.kind)


def attach(model: bytes, document: Document, kind: Kind) -> bytes:
    """Returns the bytes of a model file: the model with its metadata behind it.

    Args:
        model: A TFLite flatbuffer or an ONNX ModelProto, without our metadata.
        document: JSON-ready; ``sha256`` and ``digest`` in it are set here.
        kind: ``"tflite"`` or ``"onnx"``.
    """
    sha256 = hashlib.sha256(model).hexdigest()
    return model + _metadata({**document, "sha256": sha256}, kind, len(model))


def _metadata(document: Document, kind: Kind, offset: int) -> bytes:
    """Returns the metadata that follows a model of ``offset`` bytes."""
    text = format_document(document)
    return _zip_tail(offset, text) if kind == "tflite" else _protobuf_entry(text)


def format_document(document: Document) -> bytes:
    """Returns a document as canonical JSON (ASCII) with its own ``digest`` inside."""
    content = {key: value for key, value in document.items() if key != "digest"}
    digest = hashlib.sha256(_canonical(content)).hexdigest()
    return _canonical({**content, "digest": digest})


def parse_document(text: bytes) -> Document:
    """Returns the document that ``format_document`` wrote.

    Raises:
        MetadataError: It is too large, not a JSON object, or its digest does not match.
    """
    if len(text) > LARGEST_METADATA_BYTES:
        raise MetadataError(
            f"expected at most {LARGEST_METADATA_BYTES} bytes of metadata,"
            f" got {len(text)}"
        )
    try:
        document = parse_json(text.decode("ascii"))
        unchanged = isinstance(document, dict) and format_document(document) == text
    except (ValueError, RecursionError) as error:
        raise MetadataError(f"the metadata is not valid JSON: {error}") from error
    if not unchanged:
        raise MetadataError("the metadata was altered after the export")
    result: Document = document
    return result


def _canonical(document: Document) -> bytes:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def read_model_bytes(path: Path, largest_bytes: int = LARGEST_MODEL_BYTES) -> bytes:
    """Returns all bytes of a model file, unchecked.

    Raises:
        ModelError: It is missing, no regular file, or too large.
    """
    try:
        return read_bounded(path, largest_bytes)
    except OSError as error:
        raise ModelError(
            f"expected a .tflite or .onnx model file, got {str(path)!r}:"
            f" {error.strerror}{_advice(path)}"
        ) from error


def _kind(path: Path, data: bytes) -> Kind:
    suffix = path.suffix.lower()
    if suffix == ".tflite":
        if data[_TFLITE_MAGIC] == b"TFL3":
            return "tflite"
        raise ModelError(f"{path.name} is not a TFLite model{_instead(data)}")
    if suffix == ".onnx":
        # ModelProto begins with ir_version (field 1, varint) in every known writer.
        if data[:1] == b"\x08":
            return "onnx"
        raise ModelError(f"{path.name} is not an ONNX model{_instead(data)}")
    raise ModelError(
        f"expected a .tflite or .onnx model file, got {path.name!r}{_advice(path)}"
    )


def _instead(data: bytes) -> str:
    """Returns what a file is instead of a model, as a download may end in a page."""
    from edge_runtime.utils.picture_kinds import what_it_is

    what = what_it_is(data)
    return f": {what}" if what else ", or it is damaged"


def _advice(path: Path) -> str:
    """Returns what to do with a file that is not a model; empty where unknown."""
    suffix = path.suffix.lower()
    if suffix in (".keras", ".h5"):
        return "; export it first: python -m export"
    if suffix == ".zip":
        return "; unpack it first"
    if suffix in _SOURCE_SUFFIXES:
        return f"; to look at it: run --source {path}"
    return ""


def _split_zip(data: bytes, name: str) -> tuple[bytes | None, int]:
    """Returns the document's text and the archive's length, or (None, 0)."""
    try:
        with open_zip_tail(data, LARGEST_ZIP_BYTES) as archive:
            info = archive.NameToInfo.get(MEMBER)
            if info is None:
                return _no_document(data, name, MEMBER.encode())
            stored = info.compress_type == zipfile.ZIP_STORED
            if not stored or info.file_size > LARGEST_METADATA_BYTES:
                raise MetadataError(f"{name}: its metadata is not as we write it")
            text = archive.read(info)
    except MetadataError:
        raise
    except zipfile.BadZipFile:
        return _no_document(data, name, MEMBER.encode())
    except Exception as error:  # zipfile raises many kinds on hostile archives
        raise MetadataError(f"{name}: its metadata is damaged: {error}") from error
    return text, len(_zip_tail(0, text))


def _no_document(data: bytes, name: str, marker: bytes) -> tuple[None, int]:
    # A file with a cut or bit-flipped document must not pass as one without: after one
    # flipped byte either the marker or the hashes are still there.
    if marker in data or all(key in data for key in (b'"digest":"', b'"sha256":"')):
        raise MetadataError(
            f"{name}: its metadata is cut off or damaged: copy the file again"
        )
    return None, 0


def _zip_tail(offset: int, text: bytes) -> bytes:
    """Returns a zip archive with the one member, for a position in a file."""
    buffer = io.BytesIO()
    info = zipfile.ZipInfo(MEMBER, date_time=(1980, 1, 1, 0, 0, 0))
    info.create_system = 3  # the same bytes wherever they are written
    info.external_attr = 0o644 << 16
    with zipfile.ZipFile(_ShiftedFile(buffer, offset), "w") as archive:  # type: ignore[call-overload]
        archive.writestr(info, text)
    return buffer.getvalue()


class _ShiftedFile:
    """A file whose positions start at an offset, so that those in a zip are right."""

    def __init__(self, file: io.BytesIO, offset: int) -> None:
        self._file, self._offset = file, offset

    def write(self, data: bytes) -> int:
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell() + self._offset

    def seek(self, position: int, whence: int = 0) -> int:
        shifted = position - self._offset if whence == 0 else position
        return self._file.seek(shifted, whence) + self._offset

    def flush(self) -> None:
        self._file.flush()


def _split_protobuf(data: bytes, name: str) -> tuple[bytes | None, int]:
    """Returns the document's text and its entry's length, or (None, 0)."""
    from edge_runtime.model_file.onnx_entry import ENTRY_START, find_entry

    try:
        text, start = find_entry(data)
    except (IndexError, ValueError) as error:
        raise ModelError(
            f"{name} is cut off or damaged: copy the file again ({error})"
        ) from error
    if text is None:
        return _no_document(data, name, ENTRY_START)
    return text, len(data) - start


def _protobuf_entry(text: bytes) -> bytes:
    from edge_runtime.model_file.onnx_entry import format_entry

    return format_entry(text)


MOST_ENTRIES = 64
_ENTRY = b"PK\x01\x02"  # begins each entry of the directory (APPNOTE.TXT, 4.3.12)


def open_zip_tail(data: bytes, largest_bytes: int) -> zipfile.ZipFile:
    """Returns the archive at the end of some bytes.

    Args:
        data: A whole file, or what it ends with.
        largest_bytes: Of the archive that is looked for; what is before is not read.

    Raises:
        zipfile.BadZipFile: There is none.
        ValueError: It has more than ``MOST_ENTRIES`` entries.
    """
    tail = data[-largest_bytes:]
    if tail.count(_ENTRY) > MOST_ENTRIES:
        raise ValueError(f"expected at most {MOST_ENTRIES} entries in its zip archive")
    return zipfile.ZipFile(io.BytesIO(tail))
