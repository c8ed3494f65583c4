"""The released models: files in the wheel, listed in ``models/released.json``.

The list is written by ``python -m train.release``, and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from edge_runtime.errors import ModelError

MODELS = Path(__file__).parent.parent / "models"
LIST = "released.json"
SCHEMA = "fer-edge/released/1"


class ReleasedModel(NamedTuple):
    """A released model.

    Attributes:
        name: As typed in ``run NAME`` and ``Classifier.load(NAME)``.
        path: Its file.
        labels: Class names in the order of the logits.
        labels_of: Where its labels come from, one sentence.
        licence: Of code and weights, and what is known about the data's.
        sha256: Of the file, hexadecimal.
    """

    name: str
    path: Path
    labels: tuple[str, ...]
    labels_of: str
    licence: str
    sha256: str


def released_models(folder: Path = MODELS) -> dict[str, ReleasedModel]:
    """Returns the released models by name, the default one first.

    Args:
        folder: Where the list and the files are.

    Raises:
        ModelError: The list cannot be read.
    """
    path = folder / LIST
    if not path.exists():
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        models = {
            name: ReleasedModel(
                name,
                folder / entry["file"],
                tuple(entry["labels"]),
                entry["labels_of"],
                entry["licence"],
                entry["sha256"],
            )
            for name, entry in document["models"].items()
        }
        return {document["default"]: models[document["default"]], **models}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} is damaged: {error!r}; install again") from error


def are_released_labels(labels: Iterable[str]) -> bool:
    """Returns whether a released model has these labels, in any order: it takes faces.

    Of another model nobody knows whether it takes faces or whole pictures.
    """
    faces = {frozenset(model.labels) for model in released_models().values()}
    return frozenset(labels) in faces


def find_released(name: str | Path | None = None) -> ReleasedModel:
    """Returns a released model.

    Args:
        name: Its name; None for the default one.

    Raises:
        ModelError: There is none of this name, or its file is missing.
    """
    models = released_models()
    if not models:
        raise ModelError(
            "this version contains no released model: name a model file"
            " (make one with  python -m export --int8)"
        )
    model = models.get(str(name)) if name is not None else next(iter(models.values()))
    if model is None:
        raise ModelError(
            f"expected a released model ({', '.join(models)}) or a .tflite or .onnx"
            f" model file, got {str(name)!r}"
        )
    if not model.path.is_file():
        raise ModelError(f"{model.path} is missing: install fer-edge again")
    return model
