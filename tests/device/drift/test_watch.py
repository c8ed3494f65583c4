"""Drift of a drawn scene: quiet while it is the same, told once when it changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime import Classifier
from edge_runtime.__main__ import main
from edge_runtime.detection.base import WholeImage
from edge_runtime.detection.factory import open_detector
from edge_runtime.drift.quantities import RANGE_BLOCK, RANGE_LEARNT
from edge_runtime.drift.watch import EVERY, DriftWatch, shrunk_grey
from edge_runtime.model_file.reference import Reference, measure_reference
from edge_runtime.pipeline.pipeline import Pipeline
from edge_runtime.preprocessing import Image
from edge_runtime.results import Drift, FaceResult, FrameResult
from edge_runtime.sources import Frame, open_source
from tests.detectors import SOME_DETECTOR

LEARNT = RANGE_LEARNT * EVERY  # frames
SIZE = "160x120"
Change = Callable[[Image, int], Image]


def blurred(image: Image, number: int) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 2), np.uint8)


def dark(image: Image, number: int) -> Image:
    return np.asarray(image * 0.4, np.uint8)


def covered(image: Image, number: int) -> Image:
    rng = np.random.default_rng(number)
    return rng.integers(0, 6, image.shape, dtype=np.uint8)


CHANGES = {"blurred": blurred, "dark": dark, "covered": covered}


SAME = 10_000  # frames
CHANGED, BACK = 500, 600  # of each change, and of the scene as before after it


def scene(frames: int) -> Iterator[Frame]:
    """The drawn scene."""
    path = f"fake:scene?size={SIZE}&clock=virtual&frames={frames}"
    with open_source(path) as source:
        yield from source


def changing(same: int) -> Iterator[Frame]:
    """The drawn scene, the same for so many frames, then with each of the changes."""
    changes = list(CHANGES.values())
    for frame in scene(same + (CHANGED + BACK) * len(changes)):
        part, at = divmod(frame.index - same, CHANGED + BACK)
        if part >= 0 and at < CHANGED:
            image = changes[part](frame.image, frame.index)
            frame = replace(frame, image=image)
        yield frame


def begin_of(name: str, same: int) -> int:
    return same + (CHANGED + BACK) * list(CHANGES).index(name)


def run(frames: Iterator[Frame], classifier: Any, detector: Any) -> dict[int, Drift]:
    """The changes of the drift by frame, through the whole pipeline."""
    pipeline = Pipeline(detector, classifier, detect_every=10)
    watch = DriftWatch(classifier, detects=detector.name != "none")
    results = ((frame, pipeline.process(frame)) for frame in frames)
    told = {}
    for frame, result in watch.follow(results):
        if result.drift:
            told[frame.index] = result.drift
        if frame.index == SAME - 1:
            compared = {each.name for each in watch.readings if each.psi is not None}
            assert {"frame_sharpness", "input_sharpness", "face_size"} <= compared
    return told


@pytest.fixture(scope="module")
def classifier(tiny_model_path: Path) -> Classifier:
    """The tiny model, with the histograms that its file would have of such faces."""
    loaded = Classifier.load(tiny_model_path)
    inputs = []
    for frame in scene(300):
        height, width = frame.image.shape[:2]
        face = frame.image[height // 8 : -height // 8, width // 5 : -width // 5]
        for gain in np.linspace(0.7, 1.3, 5):
            lit = np.asarray(np.clip(face * gain, 0, 255), np.uint8)
            inputs.append(loaded.prepare(lit))
    images = np.stack(inputs)
    reference = measure_reference(images, loaded.probabilities(images))
    loaded.spec = replace(loaded.spec, reference=reference.to_document())
    return loaded


@pytest.fixture(scope="module")
def told(classifier: Classifier) -> dict[int, Drift]:
    """What was told of faces in the scene: the same, and then changed."""
    return run(changing(SAME), classifier, open_detector(SOME_DETECTOR))


def test_no_alarm_in_10000_frames_of_the_same_scene(told: dict[int, Drift]) -> None:
    assert min(told) >= SAME


@pytest.mark.parametrize("name", CHANGES)
def test_alarm_within_500_frames_of_a_change(name: str, told: dict[int, Drift]) -> None:
    begin = begin_of(name, SAME)
    alarms = [at for at in told if begin <= at < begin + CHANGED]
    assert alarms and told[alarms[0]].quantities
    # Again only where something else drifts, too.
    sets = [set(told[at].quantities) for at in alarms]
    assert all(before < after for before, after in pairwise(sets))


@pytest.mark.parametrize("name", CHANGES)
def test_end_is_told_once_after_the_scene_is_as_before(
    name: str, told: dict[int, Drift]
) -> None:
    end = begin_of(name, SAME) + CHANGED
    after = [told[at].quantities for at in told if end <= at < end + BACK]
    assert after[-1] == ()
    assert after.count(()) == 1


def test_alarm_for_whole_frames_too(classifier: Classifier) -> None:
    told = run(changing(LEARNT), classifier, WholeImage())
    for name in CHANGES:
        begin = begin_of(name, LEARNT)
        assert any(begin <= at < begin + CHANGED for at in told)


def watched(classifier: Any, images: Iterator[Image]) -> list[tuple[str, ...]]:
    """What was told of images that are classified as a whole."""
    watch = DriftWatch(classifier, detects=False)
    told = []
    for number, image in enumerate(images):
        height, width = image.shape[:2]
        label = classifier.spec.labels[0]
        face = FaceResult((0, 0, width, height), 1.0, label, 0.9, {label: 0.9}, 1)
        result = FrameResult(number, number / 30, "camera", (face,), 0.0, 0.0)
        drift = watch.update(Frame(image, number, number / 30, "camera"), result).drift
        if drift:
            told.append(drift.quantities)
    return told


def still(count: int) -> Iterator[Image]:
    """So many frames of one view: cheap, with detail."""
    rng = np.random.default_rng(0)
    view = cv2.GaussianBlur(rng.integers(0, 256, (96, 128, 3), np.uint8), (0, 0), 1)
    for _ in range(count):
        yield np.asarray(view, np.uint8)


class Chain:
    """A model whose file says that inputs are as bright as those of ``still``."""

    def __init__(self, loaded: Classifier, reference: Reference | None) -> None:
        document = reference.to_document() if reference else {}
        self.spec = replace(loaded.spec, reference=document)
        self.prepare = loaded.prepare


def spread(loaded: Classifier) -> Reference:
    """Histograms of images from rather dark to rather bright."""
    view = next(still(1))
    gains = np.linspace(0.6, 1.4, 200)
    lit = [np.asarray(np.clip(view * gain, 0, 255), np.uint8) for gain in gains]
    images = np.stack([loaded.prepare(image) for image in lit])
    return measure_reference(images, loaded.probabilities(images))


def test_drift_and_its_end_are_told_once_each(classifier: Classifier) -> None:
    model = Chain(classifier, spread(classifier))
    images = [*still(LEARNT), *map(dark_view, still(1000)), *still(1000)]
    told = watched(model, iter(images))
    assert told[0] == ("frame_brightness", "frame_sharpness", *told[0][2:])
    assert told[-1] == ()
    assert len(told) == len(set(told))


def dark_view(image: Image) -> Image:
    return dark(image, 0)


def test_a_camera_that_was_dark_from_the_start_is_told_by_the_files_histograms(
    classifier: Classifier,
) -> None:
    images = list(map(dark_view, still(LEARNT)))
    with_file = watched(Chain(classifier, spread(classifier)), iter(images))
    assert "input_brightness" in with_file[0]
    # An older file says nothing: what is dark from the first frame on is the usual.
    assert watched(Chain(classifier, None), iter(images)) == []


def test_older_files_are_compared_with_the_first_frames_and_it_is_said_once(
    classifier: Classifier, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    model = Chain(classifier, None)
    told = watched(model, iter([*still(LEARNT), *map(dark_view, still(500))]))
    assert "input_brightness" in told[0]
    said = [text for text in caplog.messages if "no histograms" in text]
    assert len(said) == 1


def test_few_validation_images_are_no_reference(classifier: Classifier) -> None:
    few = spread(classifier)._replace(images=99)
    few = few._replace(
        **{
            name: np.array([99] + [0] * (len(getattr(few, name)) - 1))
            for name in ("brightness", "sharpness", "confidence", "labels")
        }
    )
    readings = DriftWatch(Chain(classifier, few), detects=False).readings
    assert all(each.against != "model file" for each in readings)


def test_damaged_histograms_do_not_end_a_run(
    classifier: Classifier, caplog: pytest.LogCaptureFixture
) -> None:
    model = Chain(classifier, None)
    model.spec = replace(model.spec, reference={"images": -3})
    assert watched(model, still(20)) == []
    assert "export it again" in caplog.text


def test_another_model_begins_anew(classifier: Classifier) -> None:
    model = Chain(classifier, spread(classifier))
    watch = DriftWatch(model, detects=False)
    for number, image in enumerate(still(RANGE_BLOCK * EVERY)):
        result = FrameResult(number, number / 30, "camera", (), 0.0, 0.0)
        watch.update(Frame(image, number, number / 30, "camera"), result)
    model.spec = replace(model.spec, labels=("yes", "no"), reference={})
    watch.update(Frame(image, 0, 0.0, "camera"), result)
    assert watch.document()["validation_images"] is None
    assert watch.document()["state"] == "learning"


def test_covered_lens_stays_one_when_the_model_is_another(
    classifier: Classifier, caplog: pytest.LogCaptureFixture
) -> None:
    model = Chain(classifier, None)
    watch = DriftWatch(model, detects=False)
    told = []
    for number, image in enumerate([*still(LEARNT), *map(dark_view, still(1000))]):
        if number == LEARNT + 500:
            assert "frame_brightness" in told[-1]
            model.spec = replace(model.spec)
        result = FrameResult(number, number / 30, "camera", (), 0.0, 0.0)
        drift = watch.update(Frame(image, number, number / 30, "camera"), result).drift
        if drift:
            told.append(drift.quantities)
    assert "frame_brightness" in told[-1]
    assert "drift has ended" not in caplog.text


def test_another_model_does_not_end_drift_but_begins_anew(
    classifier: Classifier, caplog: pytest.LogCaptureFixture
) -> None:
    model = Chain(classifier, spread(classifier))

    def swapping() -> Iterator[Image]:
        yield from map(dark_view, still(500))
        model.spec = Chain(classifier, None).spec
        yield from map(dark_view, still(100))

    told = watched(model, swapping())
    assert "input_brightness" in told[0]
    assert told[-1] == ()
    assert "drift: another model" in caplog.text
    assert "drift has ended" not in caplog.text


@pytest.mark.parametrize("shape", [(240, 320, 3), (1080, 1920, 3), (90, 120), (1, 1)])
def test_frames_of_any_size_are_measured_small_and_grey(shape: Any) -> None:
    grey = shrunk_grey(np.full(shape, 90, np.uint8))
    assert grey.ndim == 2
    assert grey.shape[1] <= 160
    assert grey.mean() == 90


def test_run_tells_drift_in_the_json_of_its_frame_and_in_its_log(
    tiny_model_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    black = f"size=160x120&clock=virtual&script=black@{LEARNT / 30}"
    source = f"fake:scene?{black}&frames={LEARNT + 500}"
    flags = ("--source", source, "--faces", "none", "--json")
    assert main(["run", str(tiny_model_path), *flags, "--drift", "on"]) == 0
    frames = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    told = {frame["frame"]: frame["drift"] for frame in frames if "drift" in frame}
    assert LEARNT <= min(told) < LEARNT + 500
    assert told[min(told)]["drift"] == "ON"
    assert "frame_brightness" in told[min(told)]["quantities"]
    assert "the picture is much darker than at first" in caplog.text


def test_run_without_page_and_broker_does_not_watch(
    tiny_model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[DriftWatch] = []
    monkeypatch.setattr(DriftWatch, "follow", lambda self, _: opened.append(self))
    source = "fake:scene?size=160x120&clock=virtual&frames=3"
    flags = ("--source", source, "--faces", "none", "--json")
    assert main(["run", str(tiny_model_path), *flags]) == 0
    assert opened == []
