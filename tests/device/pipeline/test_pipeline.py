"""A frame becomes crops, the crops one call, the call a result per face."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edge_runtime.cli.console import event_line
from edge_runtime.cli.summary import summary_table
from edge_runtime.detection.base import Face, WholeImage
from edge_runtime.detection.boxes import iou
from edge_runtime.errors import OutputError
from edge_runtime.inference.classifier import Classifier
from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.outputs.documents import frame_document
from edge_runtime.outputs.video import check_output, fit_into, open_output
from edge_runtime.pipeline.classification import _warn_not_finite, crop
from edge_runtime.pipeline.decisions import DecisionConfig
from edge_runtime.pipeline.pipeline import Pipeline
from edge_runtime.pipeline.prefetch import prefetch_tracked
from edge_runtime.pipeline.stats import Status
from edge_runtime.pipeline.still import classify_still
from edge_runtime.preprocessing import Image, to_model_input
from edge_runtime.results import Event, FrameResult
from edge_runtime.sources import Frame, ImageSource


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
    result = classify_still(
        frame(), Fixed((0, 0, 20, 20), (30, 10, 10, 10)), classifier
    )
    assert classifier.batches == [2]
    assert [face.label for face in result.faces] == ["light", "dark"]
    assert result.faces[0].confidence == pytest.approx(1.0)
    assert result.faces[0].box_xywh == (0, 0, 20, 20)
    assert result.faces[0].probabilities == pytest.approx({"dark": 0.0, "light": 1.0})
    assert (result.index, result.timestamp_s, result.name) == (3, 0.12, "clip.mp4")
    assert result.detect_ms >= 0
    assert result.classify_ms > 0


def test_frame_without_a_face_is_not_classified() -> None:
    classifier = Brightness()
    assert classify_still(frame(), Fixed(), classifier).faces == ()
    assert classifier.batches == []


def test_crop_has_the_models_margin_and_a_whole_image_none() -> None:
    image = frame().image
    assert crop(image, Face((10, 10, 10, 10)), 0.5).shape == (20, 20, 3)
    assert crop(image, Face((0, 0, 60, 40), whole=True), 0.5).shape == (40, 60, 3)


def test_real_model_answers_as_predict_does(tiny_model_path: Path) -> None:
    classifier = Classifier.load(tiny_model_path)
    noise = np.random.default_rng(0).integers(0, 256, (90, 70, 3)).astype(np.uint8)
    whole = classify_still(
        Frame(noise, 0, 0.0, "noise"), WholeImage(), classifier
    ).faces[0]
    expected = classifier.predict(noise)
    assert whole.label == expected.label
    assert list(whole.probabilities) == list(classifier.spec.labels)
    assert np.allclose(list(whole.probabilities.values()), expected.probabilities)


def test_output_that_is_no_number_changes_no_face(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Brightness):
        def probabilities(
            self, batch: npt.NDArray[np.uint8]
        ) -> npt.NDArray[np.float32]:
            rows = super().probabilities(batch)
            if len(self.batches) == 2:
                rows[0] = np.nan
            return rows

    _warn_not_finite.cache_clear()
    broken = Broken()
    pipeline = Pipeline(Fixed((0, 0, 20, 20), (30, 10, 10, 10)), broken, detect_every=1)
    for index in range(9):
        answer = pipeline.process(replace(frame(), timestamp_s=index / 10))
        json.dumps(frame_document(answer), allow_nan=False)
        bright, dark = answer.faces
        assert dark.confidence == pytest.approx(1.0)
        assert bright.confidence == pytest.approx(0.5 if index == 1 else 1.0)
    assert bright.decision is not None
    assert bright.decision.label == "light"
    assert len(caplog.messages) == 1


def new_status(**counts: int) -> Status:
    source = pictures(1)
    for name, count in counts.items():
        setattr(source, name, count)
    return Status(source=source, classifier=Brightness(), detector="light")


def test_summary_counts_and_takes_medians() -> None:
    status = new_status(skipped=2)
    for value in (0, 255, 255):
        status.update(classify_still(frame(value), WholeImage(), Brightness()))
    lines = [line.split() for line in summary_table(status, 1.5).splitlines()]
    assert lines[0] == ["frames", "3", "(2", "unreadable)"]
    assert ["light", "2", "(67", "%)"] in lines
    assert lines[-1] == ["rate", "2.0", "frames/s"]


@pytest.mark.parametrize(("fps", "seconds"), [(25.0, 10.0), (1 / 60, 150.0)])
def test_slow_source_is_not_stale_between_its_frames(
    fps: float, seconds: float
) -> None:
    status = new_status()
    status.source.fps = fps  # type: ignore[misc]
    assert status.stale_s == pytest.approx(seconds)


def test_summary_of_whole_frames_names_no_face() -> None:
    status = Status(source=pictures(1), classifier=Brightness(), detector="none")
    status.update(classify_still(frame(255), WholeImage(), Brightness()))
    text = summary_table(status, 1.0)
    assert "classified  1" in text
    assert "face" not in text


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Event("face_appeared", 1, 0.5, "glass", None, 0.6), "0.50 s  glass (60 %)"),
        (
            Event("expression_changed", 1, 2.0, "metal", "glass", 0.72, "belt"),
            "2.00 s  belt: glass to metal (72 %)",
        ),
    ],
    ids=["first", "change"],
)
def test_event_of_whole_frames_names_no_face(event: Event, line: str) -> None:
    assert event_line(event, whole=True).strip() == line


def test_summary_counts_results_that_were_kept() -> None:
    status = new_status()
    whole = classify_still(
        frame(), Fixed((0, 0, 20, 20), (30, 10, 10, 10)), Brightness()
    )
    for times in ((0.12, 0.12), (0.12, 0.05)):
        faces = tuple(
            face._replace(classified_s=at_s)
            for face, at_s in zip(whole.faces, times, strict=True)
        )
        status.update(replace(whole, faces=faces))
    kept = "faces     4  (1 with an earlier answer: they take turns)"
    assert kept in summary_table(status, 1).splitlines()


def test_summary_of_nothing_is_a_table() -> None:
    assert summary_table(new_status(), 0.0).startswith("frames")


def pictures(count: int) -> ImageSource:
    return ImageSource([Path("a.png")] * count, "folder")


def images(*shapes: tuple[int, int]) -> Sequence[npt.NDArray[Any]]:
    return [np.full((*shape, 3), 90, np.uint8) for shape in shapes]


@pytest.mark.parametrize("name", ["out.mp4", "out.avi", "new/out.mp4"])
def test_video_has_every_frame_in_the_first_ones_size(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    with open_output(path, pictures(3)) as write:
        for image in images((48, 64), (100, 20), (31, 77)):
            write(image, None)
        assert not path.exists()
    capture = cv2.VideoCapture(str(path))
    read = [capture.read() for _ in range(4)]
    assert [ok for ok, _ in read] == [True, True, True, False]
    assert read[1][1].shape == (48, 64, 3)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def seconds_of(path: Path, times_s: Sequence[float], fps: float = 30.0) -> float:
    """Writes a live source's frames; returns how long the video lasts."""
    camera = SimpleNamespace(fps=fps, kind="camera", frame_count=None, live=True)
    with open_output(path, camera) as write:
        for at_s in times_s:
            write(images((48, 64))[0], at_s)
    count = 0
    capture = cv2.VideoCapture(str(path))
    while capture.read()[0]:
        count += 1
    return count / capture.get(cv2.CAP_PROP_FPS)


@pytest.mark.parametrize(
    "times_s",
    [
        [n / 30 for n in range(90)],
        [n / 5 for n in range(16)],
        [n / 60 for n in range(180)],
        [7 + n / 11 for n in range(33)],
        [2 * (n // 2) / 30 + 0.0005 * (n % 2) for n in range(90)],
        [n / 30 + 0.014 * (-1) ** n for n in range(90)],
        [*[n / 30 for n in range(30)], *[2 + n / 30 for n in range(30)]],
    ],
    ids=["nominal", "slow", "fast", "odd-rate", "pairs", "jitter", "pause"],
)
def test_live_video_lasts_as_long_as_what_it_shows(
    tmp_path: Path, times_s: Sequence[float]
) -> None:
    lasted = seconds_of(tmp_path / "out.avi", times_s)
    assert lasted == pytest.approx(times_s[-1] - times_s[0] + 1 / 30, abs=2 / 30)


def test_fast_cameras_live_video_has_no_more_frames_than_a_screen_shows(
    tmp_path: Path,
) -> None:
    times = [n / 120 for n in range(240)]
    lasted = seconds_of(tmp_path / "out.avi", times, fps=120.0)
    assert lasted == pytest.approx(times[-1] + 1 / 30, abs=2 / 30)
    assert cv2.VideoCapture(str(tmp_path / "out.avi")).get(cv2.CAP_PROP_FPS) == 30


def test_jitter_leaves_no_frame_out_of_a_live_video(tmp_path: Path) -> None:
    path, shades = tmp_path / "out.avi", [n % 7 for n in range(100)]
    jitter_s = np.random.default_rng(0).uniform(-0.014, 0.014, len(shades))
    camera = SimpleNamespace(fps=30.0, kind="camera", frame_count=None, live=True)
    with open_output(path, camera) as write:
        for number, shade in enumerate(shades):
            image = np.full((48, 64, 3), 30 * shade, np.uint8)
            write(image, number / 30 + jitter_s[number])
    capture, shown = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        shown.append(round(read[1].mean() / 30))
    assert [shade for shade, _ in itertools.groupby(shown)] == shades
    assert len(shown) <= len(shades) + 2


def test_outage_of_an_hour_is_two_seconds_of_a_live_video(tmp_path: Path) -> None:
    times = [*[n / 30 for n in range(30)], *[3600 + n / 30 for n in range(30)]]
    assert seconds_of(tmp_path / "out.avi", times) == pytest.approx(4, abs=2 / 30)


def test_one_picture_is_written_as_a_picture(tmp_path: Path) -> None:
    with open_output(tmp_path / "out.png", pictures(1)) as write:
        write(images((9, 7))[0], None)
    assert cv2.imread(str(tmp_path / "out.png")).shape == (9, 7, 3)


def test_picture_output_for_many_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="more than one"):
        open_output(tmp_path / "out.png", pictures(2)).__enter__()


def test_failed_run_leaves_no_file(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError),
        open_output(tmp_path / "out.mp4", pictures(2)) as write,
    ):
        write(images((48, 64))[0], None)
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


def test_fit_into_keeps_the_shape_of_a_face() -> None:
    wide = fit_into(images((10, 40))[0], (20, 20))
    assert wide.shape == (20, 20, 3)
    assert (wide[:7] == 0).all()
    assert (wide[8:12] == 90).all()


# Videos: faces that are tracked.


def painted(x: int, y: int, *, size: int = 60) -> Image:
    """Returns a frame with a light, textured square on a dark, textured ground."""
    rng = np.random.default_rng(2)
    ground = rng.integers(20, 60, (60, 80)).repeat(4, 0).repeat(4, 1)
    face = rng.integers(120, 256, (5, 5)).repeat(size // 5, 0).repeat(size // 5, 1)
    ground[y : y + size, x : x + size] = face
    return np.repeat(ground[..., np.newaxis], 3, axis=2).astype(np.uint8)


class Light:
    """Finds the light square; counts its calls."""

    name = "light"

    def __init__(self) -> None:
        self.calls = 0

    def detect(self, frame: Image) -> list[Face]:
        self.calls += 1
        rows, columns = np.nonzero(frame[..., 0] >= 120)
        if not len(rows):
            return []
        x, y = int(columns.min()), int(rows.min())
        return [Face((x, y, int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1), 0.9)]


def video(*images: Image, fps: float = 10.0) -> list[Frame]:
    return [Frame(image, n, n / fps, "clip") for n, image in enumerate(images)]


def moving(count: int) -> list[Image]:
    return [painted(20 + 6 * n, 50 + 2 * n) for n in range(count)]


def test_detector_runs_twice_on_a_new_face_and_then_on_every_nth_frame() -> None:
    detector = Light()
    pipeline = Pipeline(detector, Brightness(), detect_every=4)
    results = [pipeline.process(one) for one in video(*moving(14))]
    assert [n for n, one in enumerate(results) if one.detected] == [0, 1, 5, 9, 13]
    assert detector.calls == 5
    assert all(one.detect_ms == 0 for one in results if not one.detected)


def test_boxes_in_between_lie_on_the_moving_face() -> None:
    pipeline = Pipeline(Light(), Brightness(), detect_every=10)
    for number, one in enumerate(video(*moving(20))):
        (face,) = pipeline.process(one).faces
        truth = (20 + 6 * number, 50 + 2 * number, 60, 60)
        assert iou(face.box_xywh, truth) > 0.75
        assert face.track_id == 1


def test_lost_face_is_detected_again_at_once() -> None:
    detector = Light()
    pipeline = Pipeline(detector, Brightness(), detect_every=50)
    images = [*moving(5), painted(220, 140)]
    results = [pipeline.process(one) for one in video(*images)]
    assert results[-1].detected
    assert results[-1].faces[0].box_xywh[:2] == pytest.approx((220, 140), abs=30)


def test_face_appears_and_leaves_once_and_single_frames_are_ignored() -> None:
    empty = np.zeros((240, 320, 3), np.uint8)
    images = [painted(20, 20), *[empty] * 5, *moving(12), *[empty] * 25]
    pipeline = Pipeline(Light(), Brightness(), detect_every=3)
    results = [pipeline.process(one) for one in video(*images)]
    events = [event for result in results for event in result.events]
    assert [(event.kind, event.track_id) for event in events] == [
        ("face_appeared", 2),
        ("face_left", 2),
    ]
    assert events[1].timestamp_s == pytest.approx(2.9, abs=0.5)


def test_face_leaves_with_a_pause_and_the_detector_runs_at_once() -> None:
    pipeline = Pipeline(Light(), Brightness(), detect_every=5)
    frames = video(*[painted(100, 80)] * 14)
    later = [
        Frame(one.image, 14 + one.index, 3600 + one.timestamp_s, "clip")
        for one in frames
    ]
    results = [pipeline.process(one) for one in [*frames, *later]]
    assert results[14].detected
    assert [face.track_id for face in results[14].faces] == [2]
    events = [event for result in results for event in result.events]
    assert [(event.kind, event.track_id, event.timestamp_s) for event in events] == [
        ("face_appeared", 1, pytest.approx(0.1)),
        ("face_left", 1, 3600.0),
        ("face_appeared", 2, pytest.approx(3600.1)),
    ]


def test_same_frames_give_the_same_answers() -> None:
    runs = []
    for _ in range(2):
        pipeline = Pipeline(Light(), Brightness(), detect_every=3)
        answers = [pipeline.process(one) for one in video(*moving(15))]
        runs.append([(one.faces, one.events, one.detected) for one in answers])
    assert runs[0] == runs[1]


def test_results_are_the_same_where_faces_are_tracked_ahead() -> None:
    empty = np.zeros((240, 320, 3), np.uint8)
    images = [*moving(12), *[empty] * 25, *moving(12), painted(30, 30)[:200, :200]]
    alone, ahead = (Pipeline(Light(), Brightness(), detect_every=3) for _ in range(2))
    expected = [alone.process(one) for one in video(*images)]
    with prefetch_tracked(video(*images), ahead) as tracked:
        answers = []
        for one in tracked:
            time.sleep(0.002)  # for the other thread to get ahead
            answers.append(ahead.classify(one))
    assert any(one.events for one in expected)
    for one, other in zip(expected, answers, strict=True):
        assert untimed(one) == untimed(other)


def untimed(result: FrameResult) -> FrameResult:
    return replace(result, detect_ms=0, classify_ms=0, track_ms=0)


def test_picture_of_another_size_begins_anew() -> None:
    pipeline = Pipeline(Light(), Brightness(), detect_every=5)
    images = [*moving(4), painted(30, 30)[:200, :200]]
    results = [pipeline.process(one) for one in video(*images)]
    assert results[-1].detected
    assert [face.track_id for face in results[-1].faces] == [2]
    assert [event.kind for event in results[-1].events] == ["face_left"]


def test_whole_frames_are_one_lasting_object_without_a_detector() -> None:
    pipeline = Pipeline(WholeImage(), Brightness())
    results = [pipeline.process(one) for one in video(*moving(6))]
    assert {face.track_id for one in results for face in one.faces} == {1}
    assert results[0].events[0].kind == "object_appeared"
    assert results[0].faces[0].box_xywh == (0, 0, 320, 240)


def test_decision_is_that_of_the_frames_so_far() -> None:
    dark, light = np.zeros((40, 40, 3), np.uint8), np.full((40, 40, 3), 255, np.uint8)
    pipeline = Pipeline(
        WholeImage(), Brightness(), decisions=DecisionConfig(dwell_s=0.0)
    )
    results = [pipeline.process(one) for one in video(dark, dark, dark, light)]
    (face,) = results[-1].faces
    assert face.label == "light"
    assert face.decision is not None
    assert face.decision.label == "dark"
    assert face.decision.confidence == pytest.approx(0.696, abs=0.001)


def test_single_pictures_have_no_track_and_no_decision() -> None:
    result = classify_still(frame(), Fixed((0, 0, 20, 20)), Brightness())
    assert (result.faces[0].track_id, result.faces[0].decision) == (None, None)
    assert result.events == ()


def test_live_frames_have_an_age_and_files_have_none() -> None:
    now = time.monotonic()
    live = Frame(frame().image, 0, 0.0, "camera", captured_s=now - 0.5)
    assert classify_still(live, Fixed(), Brightness()).age_ms == pytest.approx(
        500, abs=200
    )
    assert classify_still(frame(), Fixed(), Brightness()).age_ms is None


def test_part_of_the_status_may_be_included_while_a_page_reads_it() -> None:
    status = new_status()

    def read() -> str:
        status.include("outputs", dict)  # another thread does, just now
        return "watching"

    status.include("model_update", read)
    assert status.snapshot()["model_update"] == "watching"
    assert status.snapshot()["outputs"] == {}


def test_status_counts_from_another_thread_while_the_loop_runs() -> None:
    status = new_status(dropped=3, reopened=1)
    snapshots: list[dict[str, Any]] = []
    reader = threading.Thread(
        target=lambda: snapshots.extend(status.snapshot() for _ in range(50))
    )
    reader.start()
    pipeline = Pipeline(Light(), Brightness(), detect_every=5)
    for one in video(*moving(12)):
        status.update(pipeline.process(one))
    reader.join()
    last = status.snapshot()
    counts = [one["frames"] for one in snapshots]
    assert counts == sorted(counts)
    assert (last["frames"], last["faces"], last["detections"]) == (12, 12, 4)
    assert last["events"] == {"face_appeared": 1}
    assert (last["source"]["dropped"], last["source"]["reopened"]) == (3, 1)
    assert last["latency_ms"]["classify"]["p50"] > 0
    assert json.dumps(last)
