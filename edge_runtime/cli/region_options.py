"""The flag of regions, for ``run``, ``tune`` and ``benchmarks pipeline``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import SourceError
from edge_runtime.utils.argparser import InvalidValue

if TYPE_CHECKING:
    from edge_runtime.sources.region import Region


def add_roi(add: Callable[..., Any]) -> None:
    """Adds ``--roi``; ``add`` is ``add_argument`` of a parser or group."""
    add(
        "--roi",
        action=_EachAction,
        type=_region,
        default=[],
        metavar="[NAME=]X,Y,W,H",
        help="look only at this part of the turned frames, in pixels or percent, such"
        " as door=0,10%%,50%%,90%%; may be repeated, with names",
    )


def regions_of(args: argparse.Namespace) -> Sequence[Region]:
    """Returns the only parts of frames that are to be looked at; empty for all.

    Raises:
        SourceError: Several do not have names of their own.
    """
    if not args.roi:
        return ()
    from edge_runtime.sources.region import parse_regions

    return parse_regions(args.roi)


class _EachAction(argparse.Action):
    """Collects the values of a flag that may be repeated.

    Typed ones replace those of a configuration file, as with every other flag.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Adds a value."""
        before = getattr(namespace, self.dest)
        added = [values] if before is self.default else [*before, values]
        setattr(namespace, self.dest, added)


def _region(text: str) -> str:
    """Returns the text of a region, for argparse.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    from edge_runtime.sources.region import parse_region

    try:
        parse_region(text)
    except SourceError as error:
        raise InvalidValue(str(error)) from error
    return text
