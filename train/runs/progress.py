"""Progress bars that appear only where a person is watching."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


def progress_bar(
    items: Iterable[Item], description: str, *, unit: str = "it"
) -> Iterable[Item]:
    """Returns the items unchanged, drawing a bar on stderr if that is a terminal.

    Without tqdm (the board does not need it) there is no bar.

    Args:
        items: What to iterate over; a length gives the bar its end and time left.
        description: Shown before the bar.
        unit: What one item is called.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        return items
    try:
        from tqdm import tqdm
    except ImportError:
        return items
    bar: Iterable[Item] = tqdm(items, desc=description, unit=unit, leave=False)
    return bar


@contextmanager
def progress_counter(
    total: int, description: str, *, unit: str = "it"
) -> Iterator[Callable[[int], None]]:
    """Yields a function that advances a bar by a number of steps; see above.

    Args:
        total: Steps to the end.
        description: Shown before the bar.
        unit: What one step is called.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda _: None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda _: None
        return
    with tqdm(total=total, desc=description, unit=unit, leave=False) as bar:

        def advance(steps: int) -> None:
            bar.update(steps)

        yield advance
