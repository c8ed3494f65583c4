"""The ranges of a training, in the file that the exporter reads and adds its own to."""

from __future__ import annotations

import json
from pathlib import Path

from edge_runtime.errors import RunError
from edge_runtime.untrusted import read_json
from edge_runtime.utils.files import write_text
from train.quantization.ranges import Ranges

SCHEMA = "fer-edge/ranges/3"
MAX_RECORD_BYTES = 8 * 2**20
TRAINED = "trained"


def save_trained_ranges(path: Path, ranges: Ranges) -> None:
    """Writes the ranges that a run is trained with, before its first step."""
    document = {"schema": SCHEMA, TRAINED: ranges}
    write_text(path, json.dumps(document, indent=1, sort_keys=True) + "\n")


def load_trained_ranges(path: Path) -> Ranges:
    """Returns the ranges that a run was trained with, by the names of its layers.

    Raises:
        RunError: They are missing or damaged.
    """
    try:
        table = read_json(path, MAX_RECORD_BYTES)[TRAINED]
        return {name: (float(low), float(high)) for name, (low, high) in table.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or repr(error)
        raise RunError(
            f"{path} holds the ranges that its network was trained with (--qat), and is"
            f" missing or damaged ({reason}): restore it, or train again"
        ) from error
