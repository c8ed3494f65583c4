"""``python -m edge_runtime fetch-detector``: downloads the YuNet face detector."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Any

from edge_runtime.detection.factory import (
    MAX_YUNET_BYTES,
    YUNET_FILE,
    YUNET_SHA256,
    data_folder,
)
from edge_runtime.errors import OutputError, SourceError
from edge_runtime.utils import flags
from edge_runtime.utils.argparser import add_command, invocation
from edge_runtime.utils.files import write_bytes

# OpenCV Zoo keeps its models in Git LFS; this address gives the file itself.
YUNET_URL = (
    "https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/"
    f"face_detection_yunet/{YUNET_FILE}"
)
EXAMPLES = """\
examples:
  python -m edge_runtime fetch-detector
  python -m edge_runtime fetch-detector --output yunet.onnx     for another board
  python -m edge_runtime fetch-detector --url https://example.org/yunet.onnx --force

For boards without fer-edge[yunet], which has the same file. From OpenCV Zoo (MIT
licence, 230 kB); its sha256 is verified. run finds it by itself.
"""
TIMEOUT_S = 30.0


def add_fetch_detector(commands: Any) -> None:
    """Adds ``fetch-detector`` to the commands."""
    text = "download the YuNet face detector: faster and better than Haar"
    parser = add_command(commands, "fetch-detector", fetch_detector, text, EXAMPLES)
    add = parser.add_argument
    add(
        "--url",
        default=YUNET_URL,
        help="another address of the same file (default: OpenCV Zoo's)",
    )
    add(
        "--output",
        type=flags.path,
        default=None,
        metavar="FILE",
        help=f"where to put it (default: {data_folder() / YUNET_FILE})",
    )
    add("--force", action="store_true", help="replace an existing file")


def fetch_detector(args: argparse.Namespace) -> int:
    """Downloads the detector to where ``run`` finds it."""
    path = args.output or data_folder() / YUNET_FILE
    fetch(args.url, path, sha256=YUNET_SHA256, force=args.force)
    print(f"{path}: as OpenCV Zoo publishes it (sha256 {YUNET_SHA256[:12]}...)")
    flag = f" --detector-model {path}" if args.output else ""
    print(f"\nnext:\n  {invocation()} run{flag} --source 0")
    return 0


def fetch(url: str, path: Path, *, sha256: str, force: bool) -> None:
    """Downloads a file and writes it, completely or not at all, if its sha256 is right.

    Raises:
        OutputError: The file exists and ``force`` is off, or cannot be written.
        SourceError: It cannot be downloaded, or is another file.
    """
    if path.exists() and not force:
        raise OutputError(f"{str(path)!r} exists: give --force to replace it")
    content = _download(url, path)
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise SourceError(
            f"expected a file with sha256 {sha256} at {url}, got {digest}"
            f" ({len(content)} bytes): nothing was written; find the file elsewhere"
            " and give  --url"
        )
    write_bytes(path, content)


def _download(url: str, path: Path) -> bytes:
    """Returns the content at an address, at most ``MAX_YUNET_BYTES`` and one byte."""
    import urllib.request  # here: slow to import

    if not url.startswith(("https://", "http://")):
        raise SourceError(f"expected a --url with https:// or http://, got {url!r}")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
            content: bytes = response.read(MAX_YUNET_BYTES + 1)
    except (OSError, ValueError) as error:  # HTTPError and URLError are OSErrors
        raise SourceError(
            f"cannot download {url}: {error}; download {YUNET_FILE} elsewhere and copy"
            f" it to {path}"
        ) from error
    return content
