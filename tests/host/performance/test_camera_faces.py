"""The measurement of faces behind a camera, on drawn faces."""

import json

import numpy as np
import pytest

from tests.performance import camera_faces
from tests.performance.camera_faces import Condition, camera_frame, main
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
    left, right = (frame_of(Condition("tilted", tilt_deg=15), s) for s in (-1, 1))
    assert np.abs(left - right).mean() > 1


def test_a_small_face_is_the_image_shrunk():
    small = frame_of(Condition("small", face_px=24))
    halves = FACE[..., 0].reshape(24, 2, 24, 2).astype(float).mean(axis=(1, 3))
    assert np.abs(small[228:252, 308:332, 0] - halves).max() <= 1


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
    for row in rows.values():
        for model in row["models"]:
            certain = model.get("certain")
            if certain:
                assert certain["right"] <= model["right"] <= row["found"]
    first, second = known["models"]  # both know what a drawn face shows
    assert first["accuracy"] > 0.5
    assert second["accuracy"] > 0.5
