"""The record of a calibration: all that quantization needs, without the images.

Measured once with images and kept as JSON beside the model, a few kB to a megabyte, so
that the same int8 files can be made again, byte for byte, where there are no images.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edge_runtime.errors import RunError
from edge_runtime.untrusted import open_regular, read_json
from edge_runtime.utils.files import write_text
from train.quantization.ranges import MeasuredRanges, Ranges
from train.quantization.record import MAX_RECORD_BYTES, SCHEMA

# In the first one, the names of ONNX tensors did not always mean the same tensors; the
# second one knew no clipped ranges.
UNUSABLE_SCHEMAS = ("fer-edge/ranges/1", "fer-edge/ranges/2")


@dataclass(frozen=True)
class CalibrationRecord:
    """The record of one calibration.

    Attributes:
        model_sha256: Hash of the ``.keras`` file that was measured.
        images: Where the images came from, how many, their seed and a hash of their
            pixels: JSON-ready.
        tflite: Ranges of the TFLite graph.
        onnx: Ranges of the ONNX graph.
        accuracy: Figures of the exported files by their model bytes' sha256, and the
            histograms for drift under "reference": JSON-ready; filled in once they
            were measured.
        trained: Ranges that the network was trained with, by the names of its layers;
            see ``train.quantization``.
    """

    model_sha256: str
    images: dict[str, Any]
    tflite: MeasuredRanges
    onnx: MeasuredRanges
    accuracy: dict[str, Any]
    trained: Ranges = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Writes the record as JSON."""
        document = {"schema": SCHEMA, **asdict(self)}
        if not self.trained:
            del document["trained"]
        for graph in ("tflite", "onnx"):
            if not document[graph]["means"]:
                del document[graph]["means"]
        write_text(path, json.dumps(document, indent=1, sort_keys=True) + "\n")

    @classmethod
    def load(
        cls, path: Path, model: Path, *, is_only_copy: bool = False
    ) -> CalibrationRecord | None:
        """Returns the record beside a model, or None where none for it can be used.

        Args:
            path: The record.
            model: The ``.keras`` file.
            is_only_copy: Of the ranges that the network was trained with: it cannot be
                measured again.

        Raises:
            RunError: The file is damaged.
        """
        if not path.exists():
            return None
        try:
            document = read_json(path, MAX_RECORD_BYTES)
            schema = document.pop("schema")
            if schema in UNUSABLE_SCHEMAS:
                return None  # of an earlier state of this program
            if schema != SCHEMA:
                raise ValueError(f"expected schema {SCHEMA}")
            if document.keys() == {"trained"}:
                return None  # of the training: nothing was exported yet
            for graph in ("tflite", "onnx"):
                document[graph] = _measured(document[graph])
            document["trained"] = _ranges(document.get("trained", {}))
            record = cls(**document)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            way = "delete it"
            if is_only_copy:
                way = "restore it, or train again: --qat has trained with its ranges"
            raise RunError(f"{path} is damaged: {error}; {way}") from error
        return record if record.model_sha256 == sha256_of(model) else None


def _measured(document: dict[str, Any]) -> MeasuredRanges:
    means = document.pop("means", {})
    ranges = {key: _ranges(table) for key, table in document.items()}
    return MeasuredRanges(
        **ranges, means={name: [*map(float, each)] for name, each in means.items()}
    )


def _ranges(table: dict[str, Any]) -> Ranges:
    return {name: (float(low), float(high)) for name, (low, high) in table.items()}


def sha256_of(path: Path) -> str:
    """Returns the sha256 of a file's contents, in hexadecimal."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
