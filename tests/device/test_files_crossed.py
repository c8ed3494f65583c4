"""How many files somebody has to open who follows a frame, or a command, by reading."""

from __future__ import annotations

import inspect
import sys
import threading
import time
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.__main__ import main as benchmarks_main
from edge_runtime import Classifier
from edge_runtime.__main__ import main
from edge_runtime.sources import open_source
from tests.detectors import SOME_DETECTOR

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = tuple(
    f"{ROOT / name}/" for name in ("edge_runtime", "train", "export", "benchmarks")
)
MAX_FRAME_FILES = 25
MAX_ACCURACY_FILES = 22


class FileTrace:
    """The project's files in which a function was executed, in any thread.

    Bodies of modules and classes, which are executed by an import, do not count.
    Threads that were started before are not seen.
    """

    def __init__(self, *, recording: bool = True) -> None:
        self.recording = recording
        self._codes: set[CodeType] = set()

    def __enter__(self) -> FileTrace:
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _profile(self, frame: FrameType, event: str, _: Any) -> None:
        if self.recording and event == "call":
            self._codes.add(frame.f_code)

    @property
    def files(self) -> list[str]:
        names = {
            code.co_filename
            for code in self._codes
            if code.co_flags & inspect.CO_NEWLOCALS
            and code.co_filename.startswith(PACKAGES)
        }
        return sorted(str(Path(name).relative_to(ROOT)) for name in names)


class UsbCamera:
    """Stands for a ``VideoCapture``; the trace records from its 20th to its 80th frame.

    All that opens and closes the run lies before and after.
    """

    trace: FileTrace
    image: np.ndarray

    def __init__(self, *_: object) -> None:
        self.count = 0

    def isOpened(self) -> bool:  # noqa: N802  (OpenCV's name)
        return True

    def get(self, _: int) -> float:
        return 60.0

    def read(self) -> tuple[bool, np.ndarray]:
        time.sleep(1 / 60)
        self.count += 1
        self.trace.recording = 20 <= self.count < 80
        noise = np.random.default_rng(self.count).integers(0, 3, self.image.shape)
        return True, self.image + noise.astype(np.uint8)

    def release(self) -> None:
        pass


def test_frame_of_a_camera_crosses_few_files_on_its_way_to_a_line_of_json(
    tiny_model_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with open_source("fake:scene?faces=1&size=320x240&clock=virtual") as source:
        UsbCamera.image = next(iter(source)).image // 2
    monkeypatch.setattr(cv2, "VideoCapture", UsbCamera)
    monkeypatch.setattr("edge_runtime.sources.opencv._check_device", lambda _: None)
    with FileTrace(recording=False) as UsbCamera.trace:
        flags = ("--faces", SOME_DETECTOR, "--json", "--max-frames", "100")
        assert main(["run", str(tiny_model_path), "--source", "0", *flags]) == 0
    files = UsbCamera.trace.files
    assert '"track": 1' in capsys.readouterr().out.splitlines()[50]
    for part in ("sources/live.py", "tracking/face_tracker.py", "outputs/documents.py"):
        assert f"edge_runtime/{part}" in files
    assert len(files) <= MAX_FRAME_FILES, "\n".join(files)


def test_accuracy_of_two_model_files_crosses_few_files(
    tmp_path: Path, tiny_model_path: Path, tiny_float_path: Path
) -> None:
    noise = np.random.default_rng(0)
    for label in Classifier.load(tiny_model_path).spec.labels:
        for number in range(4):
            path = tmp_path / "images" / "test" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), noise.integers(0, 256, (48, 48), dtype=np.uint8))
    models = [str(tiny_float_path), str(tiny_model_path)]
    with FileTrace() as trace:
        data = str(tmp_path / "images")
        assert benchmarks_main(["accuracy", *models, "--data", data]) == 0
    assert "benchmarks/accuracy/comparison.py" in trace.files
    assert len(trace.files) <= MAX_ACCURACY_FILES, "\n".join(trace.files)
