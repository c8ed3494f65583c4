"""Silence for converters, which fill a terminal with progress of their own."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

from edge_runtime.utils.stderr import suppress_stderr


@contextlib.contextmanager
def suppress_output() -> Iterator[None]:
    """Keeps converters from filling the terminal with progress of their own."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            suppress_stderr(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)
