"""What a run looks at, in words."""

from __future__ import annotations

from functools import cache
from typing import Any

from edge_runtime.detection.base import WholeImage
from edge_runtime.results import Words, words_of

WHOLE_FRAME = Words("image", "label")


def words_in_run(spec: Any, detector: str) -> Words:
    """Returns the words of a model in a run.

    Where whole frames are classified, and neither what the model says nor its labels
    mean faces, nothing speaks of faces.

    Args:
        spec: A ``ModelSpec``, or an object without its ``subject``.
        detector: The detector's name.
    """
    said = getattr(spec, "subject", None)
    if said or detector != WholeImage.name or _are_expressions(tuple(spec.labels)):
        return words_of(spec)
    return WHOLE_FRAME


@cache
def _are_expressions(labels: tuple[str, ...]) -> bool:
    from edge_runtime.model_file.released import are_released_labels  # rarely needed

    return are_released_labels(labels)
