"""Which flags of ``run`` a command suggests for a model."""

from __future__ import annotations

from edge_runtime.model_file.container import ModelFile
from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.model_file.released import are_released_labels

EITHER = "   # each face; with --faces none the whole image"


def faces_flag(file: ModelFile) -> str:
    """Returns the end of a ``run`` command: what the model is to look at.

    Empty for faces with a released model's labels; a file without metadata does not
    say what it is for.
    """
    if not file.document:
        return EITHER
    spec = ModelSpec.from_document(file.document)
    if spec.subject not in (None, "face"):
        return " --faces none"
    return "" if are_released_labels(spec.labels) else EITHER
