"""The examples in docstrings run as they are written."""

from __future__ import annotations

import doctest
import importlib
import itertools
import shutil
from pathlib import Path

import cv2
import pytest

from edge_runtime.sources import open_source
from edge_runtime.sources.fake.face import LABELS
from tests.detectors import HAS_HAAR
from train.data.drawn_faces import drawn_faces

MODULES = (
    "edge_runtime.inference.classifier",
    "edge_runtime.pipeline.pipeline",
    "edge_runtime.model_file.container",
)


@pytest.fixture(scope="module")
def example_folder(
    tmp_path_factory: pytest.TempPathFactory, tiny_model_path: Path
) -> Path:
    """A folder with the files that the examples name."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copy(tiny_model_path, folder / "fer2013.int8.tflite")
    images, labels = drawn_faces(70, 99)
    happy = images[labels == LABELS.index("happy")][0]
    cv2.imwrite(str(folder / "face.png"), happy)
    size_wh = (320, 240)
    code = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(folder / "clip.avi"), code, 30, size_wh)
    with open_source("fake:scene?faces=1&size=320x240&clock=virtual") as source:
        for frame in itertools.islice(source, 6):
            writer.write(frame.image)
    writer.release()
    return folder


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(
    name: str, example_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "edge_runtime.pipeline.pipeline" and not HAS_HAAR:
        pytest.skip("this OpenCV has no cascades")
    monkeypatch.chdir(example_folder)
    module = importlib.import_module(name)
    failed, tried = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried > 0
    assert failed == 0
