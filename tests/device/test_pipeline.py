"""A frame becomes crops, the crops one call, the call an answer per face."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edge_runtime.classifier import Classifier
from edge_runtime.errors import OutputError
from edge_runtime.faces import Face, WholeImage
from edge_runtime.outputs import (
    Summary,
    check_output,
    fitted,
    frame_document,
    open_output,
)
from edge_runtime.pipeline import crop, process, run
from edge_runtime.preprocess import Image, to_model_input
from edge_runtime.sources import Frame, PictureSource
from edge_runtime.spec import ModelSpec


class Brightness:
    """Calls a bright crop ``light``; counts its calls."""

    def __init__(self, margin: float = 0.0) -> None:
        self.spec = ModelSpec(("dark", "light"), 8, "grey", crop_margin_frac=margin)
        self.batches: list[int] = []

    def prepare(self, image: Image) -> npt.NDArray[np.uint8]:
        return to_model_input(image, 8, "grey")

    def probabilities(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        self.batches.append(len(batch))
        light = batch.mean(axis=(1, 2, 3)) / 255
        return np.stack([1 - light, light], axis=1).astype(np.float32)


class Fixed:
    """Finds the faces it was given."""

    name = "fixed"

    def __init__(self, *boxes: tuple[int, int, int, int]) -> None:
        self.boxes = boxes

    def detect(self, frame: Image) -> list[Face]:
        return [Face(box) for box in self.boxes]


def frame(value: int = 0) -> Frame:
    image = np.full((40, 60, 3), value, np.uint8)
    image[:20, :20] = 255
    return Frame(image, 3, 0.12, "clip.mp4")


def test_faces_of_a_frame_are_classified_in_one_call() -> None:
    classifier = Brightness()
    result = process(frame(), Fixed((0, 0, 20, 20), (30, 10, 10, 10)), classifier)
    assert classifier.batches == [2]
    assert [face.label for face in result.faces] == ["light", "dark"]
    assert result.faces[0].confidence == pytest.approx(1.0)
    assert result.faces[0].box_xywh == (0, 0, 20, 20)
    assert result.faces[0].probabilities == pytest.approx({"dark": 0.0, "light": 1.0})
    assert (result.index, result.timestamp_s, result.name) == (3, 0.12, "clip.mp4")
    assert result.detect_ms >= 0
    assert result.classify_ms > 0


def test_frame_without_a_face_asks_no_model() -> None:
    classifier = Brightness()
    assert process(frame(), Fixed(), classifier).faces == ()
    assert classifier.batches == []


def test_crop_has_the_models_margin_and_a_whole_image_none() -> None:
    image = frame().image
    assert crop(image, Face((10, 10, 10, 10)), 0.5).shape == (20, 20, 3)
    assert crop(image, Face((0, 0, 60, 40), whole=True), 0.5).shape == (40, 60, 3)


def test_run_yields_every_frame_with_its_answer() -> None:
    frames = [frame(), frame(255)]
    pairs = list(run(frames, WholeImage(), Brightness()))
    assert [pair[0] for pair in pairs] == frames
    assert [pair[1].faces[0].label for pair in pairs] == ["dark", "light"]


def test_real_model_answers_as_predict_does(tiny_model_path: Path) -> None:
    classifier = Classifier.load(tiny_model_path)
    noise = np.random.default_rng(0).integers(0, 256, (90, 70, 3)).astype(np.uint8)
    whole = process(Frame(noise, 0, 0.0, "noise"), WholeImage(), classifier).faces[0]
    expected = classifier.predict(noise)
    assert whole.label == expected.label
    assert list(whole.probabilities) == list(classifier.spec.labels)
    assert np.allclose(list(whole.probabilities.values()), expected.probabilities)


def test_frame_document_is_json_with_its_schema() -> None:
    result = process(frame(), Fixed((0, 0, 20, 20)), Brightness())
    document = json.loads(json.dumps(frame_document(result)))
    assert document["schema"] == "fer-edge/frame/1"
    assert (document["frame"], document["time_s"]) == (3, 0.12)
    assert document["source"] == "clip.mp4"
    assert document["faces"] == [
        {
            "box": [0, 0, 20, 20],
            "score": 1.0,
            "label": "light",
            "confidence": 1.0,
            "probabilities": {"dark": 0.0, "light": 1.0},
        }
    ]
    assert set(document["latency_ms"]) == {"detect", "classify"}


def test_summary_counts_and_takes_medians() -> None:
    summary = Summary()
    for value in (0, 255, 255):
        summary.add(process(frame(value), WholeImage(), Brightness()))
    lines = [line.split() for line in summary.table(1.5, skipped=2).splitlines()]
    assert lines[0] == ["frames", "3", "(2", "unreadable)"]
    assert ["light", "2", "(67", "%)"] in lines
    assert lines[-1] == ["rate", "2.0", "frames/s"]


def test_summary_of_nothing_is_a_table() -> None:
    assert Summary().table(0.0).startswith("frames")


def pictures(count: int) -> PictureSource:
    return PictureSource([Path("a.png")] * count, "folder")


def images(*shapes: tuple[int, int]) -> Sequence[npt.NDArray[Any]]:
    return [np.full((*shape, 3), 90, np.uint8) for shape in shapes]


@pytest.mark.parametrize("name", ["out.mp4", "out.avi", "new/out.mp4"])
def test_video_has_every_frame_in_the_first_ones_size(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    with open_output(path, pictures(3)) as writer:
        for image in images((48, 64), (100, 20), (31, 77)):
            writer.write(image)
        assert not path.exists()
    capture = cv2.VideoCapture(str(path))
    read = [capture.read() for _ in range(4)]
    assert [ok for ok, _ in read] == [True, True, True, False]
    assert read[1][1].shape == (48, 64, 3)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_one_picture_is_written_as_a_picture(tmp_path: Path) -> None:
    with open_output(tmp_path / "out.png", pictures(1)) as writer:
        writer.write(images((9, 7))[0])
    assert cv2.imread(str(tmp_path / "out.png")).shape == (9, 7, 3)


def test_picture_output_for_many_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="more than one"):
        open_output(tmp_path / "out.png", pictures(2)).__enter__()


def test_failed_run_leaves_no_file(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError),
        open_output(tmp_path / "out.mp4", pictures(2)) as writer,
    ):
        writer.write(images((48, 64))[0])
        raise RuntimeError
    with (
        pytest.raises(OutputError, match="no frame"),
        open_output(tmp_path / "out.mp4", pictures(2)),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_unwanted_outputs_are_refused(tmp_path: Path) -> None:
    old = tmp_path / "old.mp4"
    old.write_bytes(b"keep")
    with pytest.raises(OutputError, match="--force"):
        check_output(old, "0", force=False)
    check_output(old, "0", force=True)
    with pytest.raises(OutputError, match="same file"):
        check_output(old, str(old), force=True)
    with pytest.raises(OutputError, match=r"\.mp4"):
        check_output(tmp_path / "out.gif", "0", force=False)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(OutputError, match="folder"):
        check_output(tmp_path / "folder.mp4", "0", force=True)


def test_fitted_keeps_the_shape_of_a_face() -> None:
    wide = fitted(images((10, 40))[0], (20, 20))
    assert wide.shape == (20, 20, 3)
    assert (wide[:7] == 0).all()
    assert (wide[8:12] == 90).all()
