"""Values of training's flags: text of a command line, read and kept within bounds."""

from __future__ import annotations

from edge_runtime.errors import MetadataError
from edge_runtime.model_file.metadata import check_word
from edge_runtime.utils.argparser import InvalidValue
from edge_runtime.utils.flags import number, whole_number
from edge_runtime.utils.suggestions import nearest
from train.options.config import ARCHITECTURE_NAMES, is_own

UNITS_S = {"s": 1, "m": 60, "h": 3600}
MOST_PROCESSES = 4096  # or devices of a machine: beyond it a number is a slip


def architecture(text: str) -> str:
    """Returns the name of a network, or ``module:function``.

    Raises:
        InvalidValue: It is neither.
    """
    if text in ARCHITECTURE_NAMES or is_own(text):
        return text
    raise InvalidValue(
        f"expected one of {', '.join(ARCHITECTURE_NAMES)}, or module:function, got"
        f" {text[:40]!r}{nearest(text, ARCHITECTURE_NAMES)}"
    )


def word(text: str) -> str:
    """Returns a word of the task.

    Raises:
        InvalidValue: It is none.
    """
    try:
        return check_word(text)
    except MetadataError as error:
        raise InvalidValue(str(error)) from error


def weights(text: str) -> tuple[float, ...]:
    """Returns the numbers of a list such as ``1,5``.

    Raises:
        InvalidValue: One of them is none, or out of range.
    """
    return tuple(number(part, 0.001, 100) for part in text.split(","))


def duration_s(text: str) -> float:
    """Returns the seconds of a duration such as ``90s``, ``10m`` or ``2h``.

    Raises:
        InvalidValue: It is none.
    """
    amount, unit = text[:-1], text[-1:]
    if unit not in UNITS_S:
        raise InvalidValue(f"expected a time such as 90s, 10m or 2h, got {text[:40]!r}")
    return number(amount, 0.01, 1e6) * UNITS_S[unit]


def processes(text: str) -> int:
    """Returns a number of processes that train together."""
    return whole_number(text, 1, MOST_PROCESSES)


def devices(text: str) -> int | str:
    """Returns a number of devices, or ``"all"``."""
    return text if text == "all" else whole_number(text, 1, MOST_PROCESSES)
