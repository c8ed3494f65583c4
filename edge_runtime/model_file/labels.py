"""Class names as people have them: typed, or in a file such as ``labels.txt``."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from edge_runtime.errors import MetadataError
from edge_runtime.model_file.metadata import LONGEST_LABEL, check_labels
from edge_runtime.untrusted import read_bounded
from edge_runtime.utils.argparser import InvalidValue

logger = logging.getLogger(__name__)

LARGEST_FILE = 2**20
# "0 cat", "0: cat" or "0,cat" on each line: Teachable Machine, Coral.
_HEADER = re.compile(r"(id|index|class|label)[ _a-z]*[,;\t]", re.IGNORECASE)
_NUMBERED = re.compile(r"(\d+)\s*[\s:;,]\s*(\S.*)")


def labels(text: str) -> tuple[str, ...]:
    """Returns class names in order, for argparse.

    Args:
        text: Names with commas between them (``cat,dog``; one that contains a comma
            stands in double quotes), or the path of a text file with one name on each
            line, or with a number before each name.

    Raises:
        InvalidValue: It is neither, or the names cannot be class names.
    """
    try:
        return usable_labels(_read_file(text) or _split(text))
    except MetadataError as error:
        raise InvalidValue(str(error)) from error


def usable_labels(names: Sequence[str]) -> tuple[str, ...]:
    """Returns class names that a model file can hold, and says what it changed.

    White space is joined and taken off at the ends, a slash becomes a hyphen, a name
    that is too long is cut, and one that was there before gets a number.

    Raises:
        MetadataError: They are fewer than two, or one is empty or does not print.
    """
    usable: list[str] = []
    for name in names:
        composed = unicodedata.normalize("NFC", name)  # as names of folders are
        label = _shortened(re.sub(r"[/\\]", "-", " ".join(composed.split())))
        if label in usable:
            numbered = (f"{label[: LONGEST_LABEL - 6]} {n}" for n in count(2))
            label = next(one for one in numbered if one not in (*usable, *names))
        if label != composed.strip():
            logger.warning("label %r is called %r", name.strip(), label)
        usable.append(label)
    return check_labels(usable)


def _shortened(name: str) -> str:
    """Returns a name of at most the largest length, cut at a comma where it has one."""
    if len(name) <= LONGEST_LABEL:
        return name
    first, comma, _ = name[:LONGEST_LABEL].rpartition(",")
    return first if comma else name[: LONGEST_LABEL - 3] + "..."


def _split(text: str) -> list[str]:
    if "," not in text:
        raise MetadataError(
            "expected names such as cat,dog or a file with one on each line, got"
            f" {text[:200]!r}, which is not a file"
        )
    import csv  # here: a start-up need not wait for it

    try:
        return next(csv.reader([text], skipinitialspace=True))
    except csv.Error as error:
        raise MetadataError(f"expected names such as cat,dog: {error}") from error


def _read_file(text: str) -> list[str] | None:
    """Returns the names in the file at a path; None where there is no file."""
    path = Path(text)
    try:
        if not path.exists() or path.is_dir():
            return None
    except (OSError, ValueError):  # far too long for a path
        return None
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise MetadataError(f"expected a list of names, got {text}, over 1 MiB")
        lines = read_bounded(path, LARGEST_FILE).decode("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise MetadataError(
            f"expected a UTF-8 text file with one name on each line, got {text!r}:"
            f" {error}"
        ) from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise MetadataError(f"expected one name on each line, got nothing in {text}")
    if names[0][0] in "{[":
        raise MetadataError(f"expected one name on each line, got JSON in {text}")
    if names[0].startswith("item {") or re.match(r"(names|nc)\s*:", names[0]):
        kind = "YAML" if ":" in names[0] else "a label map of TensorFlow"
        raise MetadataError(f"expected one name on each line, got {kind} in {text}")
    if len(names) == 1:
        return _split(names[0])
    return _without_numbers(names, text)


def _without_numbers(names: list[str], path: str) -> list[str]:
    """Returns names in the order of the numbers before them, where all have one."""
    matches = [_NUMBERED.fullmatch(name) for name in names]
    numbered = {int(match[1]): match[2].strip() for match in matches if match}
    if _HEADER.match(names[0]) and all(matches[1:]):
        raise MetadataError(
            f"expected a number and a name on each line of {path}, got the header"
            f" {names[0]!r}: remove it"
        )
    # "1 euro" and "2 euro" are names.
    if len(numbered) < len(names) or len(set(numbered.values())) < len(names):
        return names
    numbers = sorted(numbered)
    if numbers[0] > 1 or numbers[-1] - numbers[0] != len(numbers) - 1:
        raise MetadataError(
            f"expected the numbers 0 to {len(numbers) - 1} before the names in {path},"
            f" got {numbers[0]} to {numbers[-1]}"
        )
    return [numbered[number] for number in numbers]
