"""Cameras: which there are, and why one is not usable."""

from __future__ import annotations

import errno
import fcntl
import importlib.util
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

from edge_runtime.doctor.finding import Finding
from edge_runtime.hardware.board import read_text

FRAME_TIMEOUT_S = 15.0
# Nodes of a board's own codecs and image processors (names in the kernel's drivers).
_NO_CAMERA = ("bcm2835-codec", "bcm2835-isp", "rpi-hevc-dec", "rpivid", "pispbe")
_CSI = ("unicam", "bcm2835-unicam", "rp1-cfe")
# Names of image sensors on the camera port, such as "imx708 10-001a".
_SENSOR = re.compile(r"^((?:imx|ov|gc|ar|mira)\d+\w*|arducam\S*)\b")
# linux/videodev2.h: VIDIOC_QUERYCAP, where its device_caps are, and what they mean.
_QUERYCAP, _CAPABILITY_BYTES, _DEVICE_CAPS_AT = 0x80685600, 104, 88
_VIDEO_CAPTURE, _VIDEO_CAPTURE_MPLANE = 0x1, 0x1000
FRAME_PROGRAM = """
import sys, time
import cv2
capture = cv2.VideoCapture(sys.argv[1], cv2.CAP_V4L2)
end = time.monotonic() + 5
while capture.isOpened() and time.monotonic() < end:
    grabbed, frame = capture.read()
    if grabbed and frame is not None:
        print(f"{frame.shape[1]}x{frame.shape[0]}")
        break
"""


def camera_findings(root: Path) -> list[Finding]:
    """Returns a finding for each camera, or one that says there is none."""
    findings = [*_csi_cameras(root), *_usb_cameras(root)]
    if findings:
        return findings
    return [
        Finding(
            "camera",
            "warn",
            "none was found",
            "plug one in; one on the ribbon: check both ends with the power off, then"
            " rpicam-hello --list-cameras. Streams and files need none",
        )
    ]


def _names(root: Path, pattern: str) -> dict[str, str]:
    """Returns names by node, such as ``{"video0": "HD Webcam"}``."""
    folders = root.glob(f"sys/class/video4linux/{pattern}")
    by_number = sorted(folders, key=lambda folder: (len(folder.name), folder.name))
    return {folder.name: read_text(folder / "name") for folder in by_number}


def _csi_cameras(root: Path) -> list[Finding]:
    sensors = [
        match.group(1)
        for name in _names(root, "v4l-subdev*").values()
        if (match := _SENSOR.match(name))
    ]
    if not sensors:
        return []
    error = picamera2_error()
    return [_csi(sensor, error) for sensor in sensors]


def picamera2_error() -> str:
    """Returns why ``import picamera2`` fails here; empty where it does not.

    Tried in a process of its own: it loads libcamera and starts threads.
    """
    if importlib.util.find_spec("picamera2") is None:
        return "Python has no picamera2 here"
    completed = _run_python("import picamera2")
    if completed is None:
        return "picamera2 does not load in time"
    lines = completed.stderr.strip().splitlines() or [
        f"it ended with {completed.returncode}"
    ]
    return f"picamera2 does not load: {lines[-1]}" if completed.returncode else ""


def _csi(sensor: str, error: str) -> Finding:
    name = f"camera {sensor}"
    if not error:
        return Finding(name, "ok", "on the ribbon, picamera2 works: --source picamera2")
    remedy = (
        "sudo apt install python3-picamera2, and create the environment again with"
        "  python3 -m venv --system-site-packages"
    )
    # apt's simplejpeg is built for apt's NumPy: raspberrypi/picamera2 issue 1211.
    if "numpy" in error:
        remedy = "pip install 'numpy<2': the system's picamera2 is built for NumPy 1"
    return Finding(name, "warn", f"on the ribbon, but {error}", remedy)


def _usb_cameras(root: Path) -> list[Finding]:
    findings = []
    for node, name in _names(root, "video*").items():
        if not name.startswith((*_NO_CAMERA, *_CSI)):
            finding = _usb(root, root / "dev" / node, name or node)
            findings += [finding] if finding else []
    return findings


def _usb(root: Path, device: Path, name: str) -> Finding | None:
    """Returns the finding on a camera; None for a node that is not a camera."""
    title = f"camera {device.name}"
    try:
        captures = _captures(device)
    except OSError as error:
        return Finding(title, "warn", *unusable(error.errno, device, name))
    if not captures:
        return None  # a camera's second node has only metadata
    user = _user_of(root, device)
    if user:
        value = f"{name}, in use by {user}"
        return Finding(
            title, "warn", value, "stop that first, if it is not the service"
        )
    size = first_frame(device)
    if size is None:
        return Finding(
            title,
            "warn",
            f"{name} opens, but gives no frame",
            "plug it into another port (not a hub), or try --size 640x480"
            " --pixel-format mjpg",
        )
    return Finding(title, "ok", f"{name}, {size}: --source {device}")


def unusable(number: int | None, device: Path, name: str) -> tuple[str, str]:
    """Returns why a camera cannot be opened, from ``errno``, and the remedy."""
    if number in (errno.EACCES, errno.EPERM):
        return (
            f"{name}: no permission for {device}",
            "sudo usermod -aG video $USER, then log in again (a service:"
            " SupplementaryGroups=video)",
        )
    if number == errno.EBUSY:
        return f"{name} is in use", f"sudo fuser -v {device}  says by what"
    if number in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return f"{name} has no usable {device}", "plug it in again"
    return f"{name}: {os.strerror(number or 0)}", "plug it in again, or restart"


def _captures(device: Path) -> bool:
    """Returns whether a node captures video.

    Raises:
        OSError: It cannot be opened.
    """
    handle = os.open(device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        reply = fcntl.ioctl(handle, _QUERYCAP, bytes(_CAPABILITY_BYTES))
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EINVAL):
            return False  # no video device at all
        raise
    finally:
        os.close(handle)
    capabilities = struct.unpack_from("=I", reply, _DEVICE_CAPS_AT)[0]
    return bool(capabilities & (_VIDEO_CAPTURE | _VIDEO_CAPTURE_MPLANE))


def _user_of(root: Path, device: Path) -> str:
    """Returns the process that has a node open, where permissions show it."""
    for process in root.glob("proc/[0-9]*"):
        try:
            links = [link.readlink() for link in (process / "fd").iterdir()]
        except OSError:
            continue  # another user's, or it has ended
        if device in links:
            return f"{read_text(process / 'comm')} (pid {process.name})"
    return ""


def first_frame(device: Path) -> str | None:
    """Returns the size of a frame as text; None if none comes (or a driver hangs)."""
    completed = _run_python(FRAME_PROGRAM, str(device))
    return None if completed is None else completed.stdout.strip() or None


def _run_python(*arguments: str) -> subprocess.CompletedProcess[str] | None:
    """Runs a program in a process of its own; returns None if it hangs."""
    try:
        return subprocess.run(
            [sys.executable, "-c", *arguments],
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=FRAME_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return None
