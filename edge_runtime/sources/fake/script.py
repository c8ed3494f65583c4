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
from dataclasses import dataclass
from typing import Literal, get_args

from edge_runtime.errors import SourceError
from edge_runtime.sources.base import CameraSettings

FaultKind = Literal[
    "freeze", "drop", "black", "garbage", "disconnect", "hang", "resize", "slow"
]
KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
MAX_PIXELS = 8192 * 8192

_KEYS = ("size", "fps", "seed", "faces", "frames", "clock", "repeat", "script")
_SECONDS = r"(\d+(?:\.\d+)?)s?"
_FAULT = re.compile(rf"([a-z]+)@{_SECONDS}(?:\+{_SECONDS})?(?:=(.+))?")


@dataclass(frozen=True)
class Fault:
    """A fault of the camera that lasts for a while.

    Attributes:
        kind: What goes wrong.
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
    """Configuration of a fake camera; the module describes the keys.

    Attributes:
        scene: ``"scene"``, or the path of a video or image.
        size_wh: Width and height in pixels; None for those of the file.
        fps: Frames per second.
        seed: Decides faces, paths, noise and damaged frames.
        faces: Drawn faces side by side.
        frames: Ends after the time of this many frames; None for never.
        virtual: Whether its clock is virtual.
        repeat_s: Seconds after which the script starts again; infinity for never.
        faults: The script.
    """

    scene: str = "scene"
    size_wh: tuple[int, int] | None = None
    fps: float = 30.0
    seed: int = 0
    faces: int = 1
    frames: int | None = None
    virtual: bool = False
    repeat_s: float = math.inf
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
    values = dict[str, str]()
    for part in filter(None, options.split("&")):
        key, equals, value = part.partition("=")
        if not equals or key not in _KEYS:
            raise _error(f"one of {', '.join(_KEYS)}, as KEY=VALUE", part)
        values[key] = value
    faults = filter(None, values.get("script", "").split(","))
    return FakeCameraConfig(
        scene=scene or "scene",
        size_wh=_parse_size(values["size"]) if "size" in values else settings.size_wh,
        fps=_parse_float("fps", values.get("fps", str(settings.fps or 30)), 0.1, 1000),
        seed=_parse_int("seed", values.get("seed", "0"), 0, 2**32 - 1),
        faces=_parse_int("faces", values.get("faces", "1"), 0, 20),
        frames=_parse_int("frames", values["frames"], 1)
        if "frames" in values
        else None,
        virtual=_parse_clock(values.get("clock", "real")),
        repeat_s=_parse_float("repeat", values.get("repeat", "inf"), 0.1, math.inf),
        faults=tuple(map(_parse_fault, faults)),
    )


def _parse_fault(text: str) -> Fault:
    match = _FAULT.fullmatch(text)
    kind = next((kind for kind in KINDS if match and kind == match[1]), None)
    if match is None or kind is None:
        raise _error(f"a fault such as freeze@2s+3s ({', '.join(KINDS)})", text)
    start_s, length_s = float(match[2]), float(match[3] or "inf")
    value = match[4]
    if kind == "resize" and value:
        return Fault(kind, start_s, length_s, size_wh=_parse_size(value))
    if kind == "slow" and value:
        fps = _parse_float("slow", value, 0.1, 1000)
        return Fault(kind, start_s, length_s, fps=fps)
    if value:
        raise _error(f"no value for {kind}", text)
    return Fault(kind, start_s, length_s)


def _parse_size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    width, height = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 0 < width * height <= MAX_PIXELS:
        raise _error("a size such as 640x480", text)
    return width, height


def _parse_float(name: str, text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise _error(f"{name} from {low:g} to {high:g}", text)
    return value


def _parse_int(name: str, text: str, low: int, high: int = 2**31) -> int:
    if not text.isdecimal() or not low <= int(text[:12]) <= high:
        raise _error(f"{name} as a whole number from {low} to {high}", text)
    return int(text)


def _parse_clock(text: str) -> bool:
    if text not in ("real", "virtual"):
        raise _error("clock=real or clock=virtual", text)
    return text == "virtual"


def _error(expected: str, got: str) -> SourceError:
    return SourceError(
        f"fake camera: expected {expected}, got {got[:60]!r}; as in"
        "  'fake:scene?fps=30&script=freeze@2s+3s,black@8s+1s'"
    )
