"""Configuration of the fake camera: ``fake:scene?fps=30&script=freeze@2s+3s``.

The part before ``?`` is ``scene`` (drawn faces), or a video or image file. After it,
joined by ``&``:

    size=640x480     size of the frames
    fps=30           frames per second
    seed=0           decides faces, paths, noise and damaged frames
    faces=1          drawn faces side by side
    frames=N         ends after the time of N frames
    clock=real       or virtual: no waiting, no dropping, the same every time
    repeat=SECONDS   starts the script again after this time
    script=FAULTS    faults, joined by commas: KIND@START+LENGTH, in seconds; without
                     a length a fault stays

Kinds: freeze (the same frame), drop (no frames), black, garbage (damaged frames),
disconnect (fails, and cannot be opened), hang (a read does not return), resize (as
``resize@5s+2s=320x240``) and slow (as ``slow@5s+2s=2``, frames per second).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

from edge_runtime.errors import SourceError
from edge_runtime.sources.base import CameraSettings
from edge_runtime.utils.argparser import InvalidValue
from edge_runtime.utils.flags import number, positive, seed, size_wh, whole_number

FaultKind = Literal[
    "freeze", "drop", "black", "garbage", "disconnect", "hang", "resize", "slow"
]
KINDS: tuple[FaultKind, ...] = get_args(FaultKind)

_SECONDS = r"(\d+(?:\.\d+)?)s?"
_FAULT = re.compile(rf"([a-z]+)@{_SECONDS}(?:\+{_SECONDS})?(?:=(.+))?")


@dataclass(frozen=True)
class Fault:
    """A fault of the camera that lasts for a while.

    Attributes:
        start_s: When it begins, in seconds of the script.
        length_s: How long it lasts; infinity for ever.
        size_wh: Size of the frames, for ``resize``.
        fps: Frames per second, for ``slow``.
    """

    kind: FaultKind
    start_s: float
    length_s: float = math.inf
    size_wh: tuple[int, int] = (320, 240)
    fps: float = 2.0


@dataclass(frozen=True)
class FakeCameraConfig:
    """Configuration of a fake camera; the module describes the keys."""

    scene: str = "scene"
    size_wh: tuple[int, int] | None = None  # None for the file's
    fps: float = 30.0
    seed: int = 0
    faces: int = 1
    frames: int | None = None  # None for no end
    virtual: bool = False
    repeat_s: float = math.inf  # infinity for never
    faults: tuple[Fault, ...] = ()

    def active_faults(self, at_s: float) -> dict[FaultKind, tuple[Fault, float]]:
        """Returns the faults at a time by kind, each with the time of its start."""
        script_s = at_s
        if math.isfinite(self.repeat_s):
            script_s = math.fmod(at_s, self.repeat_s)
        return {
            fault.kind: (fault, at_s - script_s + fault.start_s)
            for fault in self.faults
            if fault.start_s <= script_s < fault.start_s + fault.length_s
        }


def parse_config(text: str, settings: CameraSettings) -> FakeCameraConfig:
    """Returns the configuration that a ``fake:`` source describes.

    Args:
        text: The source, as in the module's description.
        settings: Give size and rate where the text does not.

    Raises:
        SourceError: It cannot be parsed; the message quotes the wrong part.
    """
    scene, _, options = text.removeprefix("fake:").partition("?")
    values: dict[str, Any] = {"size_wh": settings.size_wh, "fps": settings.fps or 30.0}
    for option in filter(None, options.split("&")):
        key, equals, value = option.partition("=")
        try:
            if not equals or key not in _OPTIONS:
                expected = f"one of {', '.join(_OPTIONS)}, as KEY=VALUE"
                raise InvalidValue(f"expected {expected}")
            name, parse = _OPTIONS[key]
            values[name] = parse(value)
        except InvalidValue as error:
            raise SourceError(
                f"fake camera: {option[:60]!r}: {error}; as in"
                "  'fake:scene?fps=30&script=freeze@2s+3s,black@8s+1s'"
            ) from error
    return FakeCameraConfig(scene or "scene", **values)


def _parse_fault(text: str) -> Fault:
    match = _FAULT.fullmatch(text)
    kind = next((kind for kind in KINDS if match and kind == match[1]), None)
    if match is None or kind is None:
        raise InvalidValue(
            f"expected a fault such as freeze@2s+3s ({', '.join(KINDS)}), got {text!r}"
        )
    fault = Fault(kind, float(match[2]), float(match[3] or "inf"))
    value = match[4]
    if not value:
        return fault
    if kind == "resize":
        return replace(fault, size_wh=size_wh(value))
    if kind == "slow":
        return replace(fault, fps=_fps(value))
    raise InvalidValue(f"expected no value for {kind}, got {text!r}")


def _parse_clock(text: str) -> bool:
    if text not in ("real", "virtual"):
        raise InvalidValue(f"expected real or virtual, got {text!r}")
    return text == "virtual"


_fps = partial(number, low=0.1, high=1000)
# The field of each key, and the function that parses its value.
_OPTIONS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "size": ("size_wh", size_wh),
    "fps": ("fps", _fps),
    "seed": ("seed", seed),
    "faces": ("faces", partial(whole_number, low=0, high=20)),
    "frames": ("frames", positive),
    "clock": ("virtual", _parse_clock),
    "repeat": ("repeat_s", partial(number, low=0.1, high=math.inf)),
    "script": (
        "faults",
        lambda text: tuple(map(_parse_fault, filter(None, text.split(",")))),
    ),
}
