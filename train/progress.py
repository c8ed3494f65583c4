"""Progress bars that appear only where a person is watching."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

Item = TypeVar("Item")


def open_bar(description: str, unit: str, **length: Any) -> Any:
    """Returns a tqdm bar on stderr; None without a terminal or, as on a board, tqdm.

    Args:
        description: Shown before the bar.
        unit: What one item is called.
        length: ``total``, the number of items, or ``iterable``.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(desc=description, unit=unit, leave=False, **length)


def progress_bar(
    items: Iterable[Item], description: str, *, unit: str = "it"
) -> Iterable[Item]:
    """Returns the items unchanged, with a bar while they are iterated over.

    Args:
        items: What to iterate over; a length gives the bar its end and time left.
        description: Shown before the bar.
        unit: What one item is called.
    """
    bar = open_bar(description, unit, iterable=items)
    return items if bar is None else bar


@contextmanager
def progress_counter(
    total: int, description: str, *, unit: str = "it"
) -> Iterator[Callable[[int], None]]:
    """Yields a function that advances a bar by a number of steps.

    Args:
        total: Steps to the end.
        description: Shown before the bar.
        unit: What one step is called.
    """
    bar = open_bar(description, unit, total=total)
    with nullcontext() if bar is None else bar:
        yield (lambda _: None) if bar is None else bar.update
