"""What the fake camera is told: ``fake:scene?fps=30&script=freeze@2s+3s``.

The part before ``?`` is ``scene`` (drawn faces) or a video or picture file. After it,
joined by ``&``:

    size=640x480     pictures of this size
    fps=30           pictures per second
    seed=0           decides faces, paths, noise and garbage
    faces=1          drawn faces side by side
    frames=N         ends after N pictures' time
    clock=real       or virtual: no waiting, no dropping, the same every time
    repeat=SECONDS   begins the script again and again
    script=FAULTS    faults, joined by commas: KIND@START+LENGTH, in seconds; without
                     a length a fault stays

Kinds: freeze (the same picture), drop (no pictures), black, garbage (damaged ones),
disconnect (fails, and cannot be opened), hang (a read does not return), resize (as
``resize@5s+2s=320x240``) and slow (as ``slow@5s+2s=2``, pictures per second).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Literal, get_args

from edge_runtime.errors import SourceError
from edge_runtime.sources.base import CameraSettings

FaultKind = Literal[
    "freeze", "drop", "black", "garbage", "disconnect", "hang", "resize", "slow"
]
KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
MOST_PIXELS = 8192 * 8192

_SECONDS = r"(\d+(?:\.\d+)?)s?"
_FAULT = re.compile(rf"([a-z]+)@{_SECONDS}(?:\+{_SECONDS})?(?:=(.+))?")


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong for a while.

    Attributes:
        kind: What goes wrong.
        start_s: When, in seconds of the script.
        length_s: For how long; infinity for ever.
        size_wh: Of ``resize``.
        fps: Of ``slow``.
    """

    kind: FaultKind
    start_s: float
    length_s: float = math.inf
    size_wh: tuple[int, int] = (320, 240)
    fps: float = 2.0


@dataclass(frozen=True)
class FakePlan:
    """Everything a ``fake:`` source is told; see the module.

    Attributes:
        picture: ``"scene"`` or the path of a video or picture.
        size_wh: Width and height in pixels; None for the file's own.
        fps: Pictures per second.
        seed: Decides faces, paths, noise and garbage.
        faces: Drawn faces side by side.
        frames: Ends after this many pictures' time; None for never.
        virtual: On virtual time.
        repeat_s: Length of one round of the script; infinity for a single round.
        faults: The script.
    """

    picture: str = "scene"
    size_wh: tuple[int, int] | None = None
    fps: float = 30.0
    seed: int = 0
    faces: int = 1
    frames: int | None = None
    virtual: bool = False
    repeat_s: float = math.inf
    faults: tuple[Fault, ...] = field(default=())

    def active(self, at_s: float) -> dict[FaultKind, tuple[Fault, float]]:
        """Returns the faults at a time, each with the time at which it began."""
        turn_s = at_s
        if math.isfinite(self.repeat_s):
            turn_s = math.fmod(at_s, self.repeat_s)
        return {
            one.kind: (one, at_s - turn_s + one.start_s)
            for one in self.faults
            if one.start_s <= turn_s < one.start_s + one.length_s
        }


def parse_fake(text: str, settings: CameraSettings) -> FakePlan:
    """Returns what a ``fake:`` source is told.

    Args:
        text: As in the module.
        settings: Its size and rate are taken where the text says nothing.

    Raises:
        SourceError: It cannot be understood; the message says which part.
    """
    picture, _, options = text.removeprefix("fake:").partition("?")
    values = dict[str, str]()
    for part in filter(None, options.split("&")):
        key, equals, value = part.partition("=")
        if not equals or key not in _KNOWN:
            raise _wrong(f"one of {', '.join(_KNOWN)}, as KEY=VALUE", part)
        values[key] = value
    repeat = _number("repeat", values.get("repeat", "inf"), 0.1, math.inf)
    return FakePlan(
        picture=picture or "scene",
        size_wh=_size(values["size"]) if "size" in values else settings.size_wh,
        fps=_number("fps", values.get("fps", str(settings.fps or 30)), 0.1, 1000),
        seed=_whole("seed", values.get("seed", "0"), 0, 2**32 - 1),
        faces=_whole("faces", values.get("faces", "1"), 0, 20),
        frames=_whole("frames", values["frames"], 1) if "frames" in values else None,
        virtual=_virtual(values.get("clock", "real")),
        repeat_s=repeat,
        faults=tuple(map(_fault, filter(None, values.get("script", "").split(",")))),
    )


_KNOWN = ("size", "fps", "seed", "faces", "frames", "clock", "repeat", "script")


def _fault(text: str) -> Fault:
    match = _FAULT.fullmatch(text)
    kind = next((one for one in KINDS if match and one == match[1]), None)
    if match is None or kind is None:
        raise _wrong(f"a fault such as freeze@2s+3s ({', '.join(KINDS)})", text)
    start_s, length_s = float(match[2]), float(match[3] or "inf")
    value = match[4]
    if kind == "resize" and value:
        return Fault(kind, start_s, length_s, size_wh=_size(value))
    if kind == "slow" and value:
        return Fault(kind, start_s, length_s, fps=_number("slow", value, 0.1, 1000))
    if value:
        raise _wrong(f"no value for {kind}", text)
    return Fault(kind, start_s, length_s)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    width, height = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 0 < width * height <= MOST_PIXELS:
        raise _wrong("a size such as 640x480", text)
    return width, height


def _number(name: str, text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise _wrong(f"{name} from {low:g} to {high:g}", text)
    return value


def _whole(name: str, text: str, low: int, high: int = 2**31) -> int:
    if not text.isdecimal() or not low <= int(text[:12]) <= high:
        raise _wrong(f"{name} as a whole number from {low} to {high}", text)
    return int(text)


def _virtual(text: str) -> bool:
    if text not in ("real", "virtual"):
        raise _wrong("clock=real or clock=virtual", text)
    return text == "virtual"


def _wrong(expected: str, got: str) -> SourceError:
    return SourceError(
        f"fake camera: expected {expected}, got {got[:60]!r}; as in"
        "  'fake:scene?fps=30&script=freeze@2s+3s,black@8s+1s'"
    )
