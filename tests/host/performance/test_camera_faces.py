"""The measurement of faces behind a camera, on drawn faces."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from tests.performance import camera_faces
from tests.performance.camera_faces import Answers, Condition, camera_frame, main
from tests.performance.level import tilted_frame
from train.data.drawn_faces import drawn_faces

FACE = drawn_faces(1, seed=4, size_px=48)[0][0][..., None]


def frame_of(condition, sign=1):
    return camera_frame(FACE, condition, sign, np.random.default_rng(1)).astype(float)


def test_each_defect_changes_the_frame_as_it_says():
    plain = frame_of(Condition("plain"))
    assert plain.shape == (480, 640, 3)
    assert frame_of(Condition("dark", light=0.25)).mean() == pytest.approx(
        plain.mean() / 4, rel=0.02
    )
    noise = frame_of(Condition("noise", light=0.5, noise=8)) - plain / 2
    assert noise.std() == pytest.approx(8, rel=0.05)
    sharp, blurred = (
        np.abs(np.diff(one, axis=1)).max()
        for one in (plain, frame_of(Condition("blurred", blur_px=1)))
    )
    assert blurred < 0.6 * sharp
    assert np.abs(frame_of(Condition("coded", jpeg=15)) - plain).max() > 3
    for sign in (-1, 1):
        tilted = frame_of(Condition("tilted", tilt_deg=15), sign)
        assert np.array_equal(tilted, tilted_frame(FACE, sign * 15))


def test_a_small_face_is_the_image_shrunk():
    small = frame_of(Condition("small", face_px=24))
    halves = FACE[..., 0].reshape(24, 2, 24, 2).astype(float).mean(axis=(1, 3))
    assert np.abs(small[228:252, 308:332, 0] - halves).max() <= 1


class Model:
    """Says the probabilities that a crop's pixels hold, for two labels."""

    spec = SimpleNamespace(labels=("happy", "sad"), crop_margin_frac=0.0)

    def prepare(self, crop):
        return crop[0, 0, :2] / 100

    def probabilities(self, inputs):
        return inputs


def test_figures_count_what_the_model_knows_under_any_name():
    answers = Answers(Model())
    truth = ["happiness", "happiness", "sadness", "contempt"]
    for happy, label in zip((90, 40, 30, 80), truth, strict=True):
        crop = np.full((8, 8, 3), (happy, 100 - happy, 0), np.uint8)
        answers.add(crop, (0, 0, 8, 8), label)
    found = answers.figures()
    assert found["right"] == 2
    assert found["uncertain"] == 0
    assert found["certain"]["right"] == 2
    # Right with 0.9 and 0.7, wrong with 0.6; contempt is not known.
    error = (0.1 + 0.6 + 0.3) / 3
    assert found["expected_calibration_error"] == pytest.approx(error, abs=1e-3)
    assert found["confidence"] == pytest.approx((0.9 + 0.6 + 0.7 + 0.8) / 4, abs=1e-3)


def test_what_is_recorded_is_of_each_detector_and_model(tmp_path, monkeypatch):
    conditions = (Condition("plain"), Condition("black", light=0))
    monkeypatch.setattr(camera_faces, "CONDITIONS", conditions)
    result = tmp_path / "result.json"
    words = ["fer2013", "ferplus", "--data", "drawn", "--images", "28", "--json"]
    assert main([*words, str(result)]) == 0
    document = json.loads(result.read_text(encoding="utf-8"))
    rows = {
        (row["condition"]["name"], row["detector"], row["detect_width"]): row
        for row in document["rows"]
    }
    assert len(rows) == len(conditions) * len(camera_faces.DETECTORS)
    known = rows["plain", "none", 0]
    assert known["found"] == known["images"]
    assert rows["black", "haar", 320]["found"] == 0
    assert min(rows["plain", name, 320]["found"] for name in ("yunet", "haar")) > 20
    for row in rows.values():
        for model in row["models"]:
            certain = model.get("certain")
            if certain:
                assert certain["right"] <= model["right"] <= row["found"]
    first, second = known["models"]  # both know what a drawn face shows
    assert first["accuracy"] > 0.5
    assert second["accuracy"] > 0.5
