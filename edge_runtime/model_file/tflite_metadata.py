"""The official TFLite metadata of other people's files: normalization and labels.

The schema: https://github.com/tensorflow/tflite-support, tensorflow_lite_support/
metadata/metadata_schema.fbs. Fields are given by their number in it. Files that belong
to the metadata, such as a list of labels, are in a zip archive behind the model.
"""

from __future__ import annotations

from typing import NamedTuple

from edge_runtime.errors import ModelError
from edge_runtime.graph.flatbuffer import Flatbuffer, Table
from edge_runtime.graph.ir import printable
from edge_runtime.model_file.container import open_zip_tail
from edge_runtime.model_file.pixels import PixelScaling, normalized

NAME = "TFLITE_METADATA"
IDENTIFIER = b"M001"
NORMALIZATION = 1  # ProcessUnitOptions
AXIS_LABELS, VALUE_LABELS = 2, 3  # AssociatedFileType
LARGEST_LABELS_BYTES = 2**20
LARGEST_ARCHIVE_BYTES = 4 * 2**20


class TfliteMetadata(NamedTuple):
    """What the official metadata say of a model.

    Attributes:
        name: Of the model; empty where not said, as what follows.
        version: Of the model.
        author: Who made it.
        licence: Its licence.
        pixels: The scaling that its input was trained on; None where not said.
        label_file: Name of the file with the labels; empty where there is none.
        labels: One for each class, as they are in it; empty where there is none.
        labels_error: Why that file cannot be read; empty where it can.
    """

    name: str
    version: str
    author: str
    licence: str
    pixels: PixelScaling | None
    label_file: str
    labels: tuple[str, ...]
    labels_error: str


def read_tflite_metadata(model: bytes) -> TfliteMetadata | None:
    """Returns the official metadata of a TFLite model; None where it has none.

    Raises:
        ModelError: They are damaged or hostile.
    """
    file = Flatbuffer(model)
    root = file.root()
    buffers = root.tables(4)
    for entry in root.tables(6):
        index = entry.number(1, "<I")
        if entry.text(0) == NAME and index < len(buffers):
            data = buffers[index].array(0, "u1").tobytes()
            if data[4:8] == IDENTIFIER:
                return _read(Flatbuffer(data).root(), model)
    return None


def _read(metadata: Table, model: bytes) -> TfliteMetadata:
    graph = next(iter(metadata.tables(3)), None)
    inputs, outputs = (graph.tables(2), graph.tables(3)) if graph else ([], [])
    label_file = _label_file(outputs[0]) if len(outputs) == 1 else ""
    labels, labels_error = _labels(model, label_file) if label_file else ((), "")
    return TfliteMetadata(
        name=printable(metadata.text(0)),
        version=printable(metadata.text(2)),
        author=printable(metadata.text(4)),
        licence=printable(metadata.text(5)),
        pixels=_normalization(inputs[0]) if len(inputs) == 1 else None,
        label_file=printable(label_file),
        labels=labels,
        labels_error=labels_error,
    )


def _normalization(tensor: Table) -> PixelScaling | None:
    """Returns the scaling of an input; None where none, or no valid one, is named."""
    for unit in tensor.tables(4):
        options = unit.table(1)
        if unit.number(0, "<B") != NORMALIZATION or options is None:
            continue
        mean, std = (options.array(field, "<f4").tolist() for field in (0, 1))
        sizes = {len(mean), len(std)}
        finite = all(abs(one) < 1e6 for one in (*mean, *std))  # NaN fails, too
        if sizes <= {1, 3} and finite and all(one > 1e-6 for one in std):
            return normalized(mean, std)
    return None


def _label_file(tensor: Table) -> str:
    """Returns the name of the first list of labels: others are translations."""
    kinds = (AXIS_LABELS, VALUE_LABELS)
    lists = (file for file in tensor.tables(6) if file.number(2, "<b") in kinds)
    first = next(lists, None)
    return first.text(0) if first is not None else ""


def _labels(model: bytes, name: str) -> tuple[tuple[str, ...], str]:
    """Returns the labels in a file behind a model, or none and the reason."""
    try:
        lines = _read_member(model, name).splitlines()
    except ModelError as error:
        return (), str(error)
    return tuple(line.strip() for line in lines if line.strip()), ""


def _read_member(model: bytes, name: str) -> str:
    """Returns the text of a file in the archive behind a model.

    Raises:
        ModelError: It is not there, or the archive is damaged or hostile.
    """
    try:
        with open_zip_tail(model, LARGEST_ARCHIVE_BYTES) as archive:
            info = archive.getinfo(name)
            if info.file_size > LARGEST_LABELS_BYTES:
                raise ModelError(
                    f"its list of labels {printable(name)!r} is over 1 MiB"
                )
            with archive.open(info) as member:
                return member.read(LARGEST_LABELS_BYTES).decode("utf-8-sig")
    except ModelError:
        raise
    except Exception as error:  # zipfile raises many kinds on hostile archives
        raise ModelError(
            f"its list of labels {printable(name)!r} cannot be read ({error})"
        ) from error
