"""A window on the screen (``--display``)."""

from __future__ import annotations

import os
import sys

import cv2

from edge_runtime.errors import MissingDependencyError, OutputError
from edge_runtime.outputs.rendering import FrameRenderer, RenderedFrame
from edge_runtime.utils.stderr import suppress_stderr

_QUIT_KEYS = {ord("q"), 27}  # q and Escape


class Window:
    """A window on the screen; q, Escape or its close button end the run."""

    def __init__(self, title: str, renderer: FrameRenderer) -> None:
        """Opens it.

        Raises:
            MissingDependencyError: This OpenCV was built without windows.
            OutputError: There is no screen.
        """
        _check_screen()
        self._title, self._renderer = title, renderer
        try:
            with suppress_stderr():
                cv2.namedWindow(title, cv2.WINDOW_NORMAL)
        except cv2.error as error:
            raise OutputError(
                "no window can be opened: leave out --display, use --output FILE"
            ) from error

    def write(self, rendered: RenderedFrame) -> bool:
        """Shows a frame, in the loop's thread; returns False if the user closed it."""
        cv2.imshow(self._title, self._renderer.draw(rendered))
        key = cv2.waitKey(1) & 0xFF
        visible = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1
        return visible and key not in _QUIT_KEYS

    def close(self) -> None:
        """Closes it."""
        cv2.destroyAllWindows()


def _check_screen() -> None:
    build = cv2.getBuildInformation().splitlines()
    if any(line.split()[:2] == ["GUI:", "NONE"] for line in build):
        raise MissingDependencyError(
            "--display needs an OpenCV with windows, got the headless one: run"
            "  pip uninstall opencv-python-headless; pip install 'opencv-python'"
            "  or use --output FILE"
        )
    # Without a screen the Qt in OpenCV's wheel ends the whole process.
    screens = (os.environ.get("DISPLAY"), os.environ.get("WAYLAND_DISPLAY"))
    if sys.platform == "linux" and not any(screens):
        raise OutputError(
            "--display needs a screen, got neither DISPLAY nor WAYLAND_DISPLAY:"
            " run it in a desktop session, or use --output FILE"
        )
