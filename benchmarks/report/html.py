"""Pages from the templates beside this module, with all pictures inside the file."""

from __future__ import annotations

import base64
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.accuracy.gate import up_to
from benchmarks.common.documents import describe, letter, p_value, percent, points
from edge_runtime.errors import missing_in_checkout

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"
FILTERS = (describe, letter, p_value, percent, points, up_to)


@dataclass(frozen=True)
class Picture:
    """A picture on a page.

    Attributes:
        caption: Plain text, may have lines.
        alt: What it shows, for people who cannot see it.
        address: A ``data:`` address.
        kind: ``chart``, ``broad`` (two in a row), ``full`` or ``photo``.
    """

    caption: str
    alt: str
    address: str
    kind: str = "chart"


def render_page(template: str, **values: object) -> str:
    """Returns a self-contained HTML page; all text is escaped.

    Args:
        template: File name under ``templates``.
        values: What the template names.

    Raises:
        MissingDependencyError: jinja2 is not installed.
        KeyError: A document among the values lacks a key.
    """
    try:
        import jinja2
    except ImportError as error:
        raise missing_in_checkout("jinja2", "bench", error) from error
    try:
        return _environment().get_template(template).render(values)
    except jinja2.UndefinedError as error:
        raise KeyError(str(error)) from error


@functools.cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {function.__name__: function for function in FILTERS}
    return environment


def svg_address(svg: str) -> str:
    """Returns an SVG as a ``data:`` address."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def png_address(image: npt.NDArray[np.uint8]) -> str:
    """Returns an image as the ``data:`` address of a PNG.

    Args:
        image: uint8 (S, S, 1) grey or (S, S, 3) RGB, 0..255.
    """
    # cv2 writes BGR; reversing the one channel of a grey image changes nothing.
    done, encoded = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))
    if not done:
        raise ValueError(f"expected an image, got an array of shape {image.shape}")
    return "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode()
