"""The fake camera: gives a scene's pictures at a rate, and fails by script."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

from edge_runtime.errors import SourceError
from edge_runtime.preprocessing import Image
from edge_runtime.sources.base import EndOfSource
from edge_runtime.sources.clock import Clock
from edge_runtime.sources.fake.scenes import DrawnScene, Scene, open_file_scene
from edge_runtime.sources.fake.script import FakePlan

DEFAULT_SIZE_WH = (640, 480)


class FakeCamera:
    """A camera on the desk: its time goes on while nobody has it open."""

    def __init__(self, plan: FakePlan) -> None:
        """Draws or opens its scene; its time begins with the first opening.

        Raises:
            SourceError: The file cannot be read.
        """
        self.plan = plan
        self._scene = _scene(plan)
        self._started_s: float | None = None
        self._next = 0.0  # when the next picture is due, in seconds of its time

    def open(self, clock: Clock) -> FakeReader:
        """Returns it open.

        Raises:
            SourceError: It is disconnected.
        """
        if self._started_s is None:
            self._started_s = clock.now()
        at_s = self._at(clock)
        if "disconnect" in self.plan.active(at_s):
            raise SourceError("the fake camera is disconnected")
        self._next = max(self._next, at_s)
        return FakeReader(self, clock)

    def read(self, clock: Clock) -> Any:
        """Waits until the next picture is due and returns what then comes."""
        at_s = self._await_next(clock)
        plan = self.plan
        if plan.frames is not None and round(at_s * plan.fps) >= plan.frames:
            raise EndOfSource
        faults = plan.active(at_s)
        if "disconnect" in faults:
            raise SourceError("the fake camera was disconnected")
        if "hang" in faults:
            fault, began_s = faults["hang"]
            clock.sleep(began_s + fault.length_s - at_s)
        if "drop" in faults:
            return None
        shown_s = faults["freeze"][1] if "freeze" in faults else at_s
        number = round(shown_s * plan.fps)
        if "garbage" in faults:
            return garbage(plan.seed, number)
        image = self._scene.render(number)
        if "resize" in faults:
            image = _resized(image, faults["resize"][0].size_wh)
        return np.zeros_like(image) if "black" in faults else image

    def _await_next(self, clock: Clock) -> float:
        due_s = self._next
        clock.sleep(due_s - self._at(clock))
        slow = self.plan.active(due_s).get("slow")
        period_s = 1 / (slow[0].fps if slow else self.plan.fps)
        # Whoever comes late has missed what was due in between.
        late = max(0, math.floor((self._at(clock) - due_s) / period_s))
        self._next = round(due_s + (1 + late) * period_s, 9)
        return due_s + late * period_s

    def _at(self, clock: Clock) -> float:
        return clock.now() - (self._started_s or 0.0)


class FakeReader:
    """The open fake camera."""

    def __init__(self, camera: FakeCamera, clock: Clock) -> None:
        """Takes the camera and the time by which it waits."""
        self.fps = camera.plan.fps
        self._camera, self._clock = camera, clock

    def read(self) -> Any:
        """Returns the next picture, or what a fault makes of it."""
        return self._camera.read(self._clock)

    def close(self) -> None:
        """Does nothing: the camera stays on the desk."""


def garbage(seed: int, number: int) -> Any:
    """Returns something that a broken driver might give instead of picture ``number``.

    Args:
        seed: Of the camera.
        number: Of the picture.
    """
    rng = np.random.default_rng([seed, number, 2])
    noise = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    kinds = (
        None,
        noise[:0],
        noise[..., :2],
        noise.astype(np.float32),
        noise.tobytes(),
        noise,
        noise[:1, :1],
    )
    return kinds[int(rng.integers(len(kinds)))]


def _scene(plan: FakePlan) -> Scene:
    if plan.picture != "scene":
        return open_file_scene(plan.picture, plan.size_wh, seed=plan.seed)
    size_wh = plan.size_wh or DEFAULT_SIZE_WH
    return DrawnScene(size_wh, plan.fps, faces=plan.faces, seed=plan.seed)


def _resized(image: Image, size_wh: tuple[int, int]) -> Image:
    resized = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA)
    return np.asarray(resized, dtype=np.uint8)
