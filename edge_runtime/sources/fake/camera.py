"""The fake camera: gives the frames of a scene at a rate, with faults by script."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

from edge_runtime.errors import SourceError
from edge_runtime.sources.base import Clock, EndOfSource
from edge_runtime.sources.fake.scenes import DrawnScene, RenderFrame, open_file_scene
from edge_runtime.sources.fake.script import FakeCameraConfig

DEFAULT_SIZE_WH = (640, 480)


class FakeCamera:
    """A camera without hardware; its time goes on while it is closed."""

    def __init__(self, config: FakeCameraConfig) -> None:
        """Draws or opens the scene; the camera's time begins with the first `open`.

        Raises:
            SourceError: The file cannot be read.
        """
        self.config = config
        self._render = _open_scene(config)
        self._started_s: float | None = None
        self._next_s = 0.0  # when the next frame is due, in the camera's time

    def open(self, clock: Clock) -> FakeReader:
        """Returns a reader of its frames.

        Raises:
            SourceError: It is disconnected.
        """
        if self._started_s is None:
            self._started_s = clock.now()
        now_s = self._now_s(clock)
        if "disconnect" in self.config.active_faults(now_s):
            raise SourceError("the fake camera is disconnected")
        self._next_s = max(self._next_s, now_s)
        return FakeReader(self, clock)

    def read(self, clock: Clock) -> Any:
        """Returns the next frame when it is due, or what a fault makes of it.

        Raises:
            EndOfSource: It has given all its frames.
            SourceError: It is disconnected.
        """
        due_s = self._wait_for_next(clock)
        config = self.config
        if config.frames is not None and round(due_s * config.fps) >= config.frames:
            raise EndOfSource
        faults = config.active_faults(due_s)
        if "disconnect" in faults:
            raise SourceError("the fake camera was disconnected")
        if "hang" in faults:
            fault, start_s = faults["hang"]
            clock.sleep(start_s + fault.length_s - due_s)
        if "drop" in faults:
            return None
        shown_s = faults["freeze"][1] if "freeze" in faults else due_s
        number = round(shown_s * config.fps)
        if "garbage" in faults:
            return corrupt_frame(config.seed, number)
        image = self._render(number)
        if "resize" in faults:
            size_wh = faults["resize"][0].size_wh
            resized = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA)
            image = np.asarray(resized, dtype=np.uint8)
        return np.zeros_like(image) if "black" in faults else image

    def _wait_for_next(self, clock: Clock) -> float:
        """Returns the time of the frame that is due, after waiting for it."""
        due_s = self._next_s
        clock.sleep(due_s - self._now_s(clock))
        slow = self.config.active_faults(due_s).get("slow")
        period_s = 1 / (slow[0].fps if slow else self.config.fps)
        # A late reader has missed the frames in between, as with a real camera.
        missed = max(0, math.floor((self._now_s(clock) - due_s) / period_s))
        self._next_s = round(due_s + (1 + missed) * period_s, 9)
        return due_s + missed * period_s

    def _now_s(self, clock: Clock) -> float:
        return clock.now() - (self._started_s or 0.0)


class FakeReader:
    """The open fake camera."""

    def __init__(self, camera: FakeCamera, clock: Clock) -> None:
        """Keeps the camera and the clock by which it waits."""
        self.fps = camera.config.fps
        self._camera, self._clock = camera, clock

    def read(self) -> Any:
        """Returns the next frame, or what a fault makes of it."""
        return self._camera.read(self._clock)

    def close(self) -> None:
        """Does nothing: the camera keeps its state."""


def corrupt_frame(seed: int, number: int) -> Any:
    """Returns what a broken driver might give as frame ``number``."""
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


def _open_scene(config: FakeCameraConfig) -> RenderFrame:
    if config.scene != "scene":
        return open_file_scene(config.scene, config.size_wh, seed=config.seed)
    size_wh = config.size_wh or DEFAULT_SIZE_WH
    return DrawnScene(size_wh, config.fps, faces=config.faces, seed=config.seed).render
