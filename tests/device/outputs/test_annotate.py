"""What is drawn is visible, stays inside, and leaves the frame as it was."""

from __future__ import annotations

import re
from importlib.resources import files
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.model_file.released import released_models
from edge_runtime.outputs import annotate
from edge_runtime.outputs.annotate import GREY, PALETTE, draw, enlarge
from edge_runtime.results import Box, Decision, FaceResult


def result(box: Box, label: str = "happy") -> FaceResult:
    return FaceResult(box, 0.9, label, 0.8, {label: 0.8, "sad": 0.2})


@pytest.mark.parametrize("value", [0, 128, 255])
def test_drawing_is_visible_on_any_background(value: int) -> None:
    frame = np.full((240, 320, 3), value, np.uint8)
    drawn = draw(frame, [result((100, 60, 90, 90))], text="25.0 fps")
    assert (frame == value).all()
    far = np.abs(drawn.astype(int) - value).max(axis=2) > 60
    assert far[60, 100:190].mean() > 0.9  # the box's upper edge
    assert far[:30, :120].any()  # the text


def test_grey_frame_becomes_colour_and_keeps_its_size() -> None:
    drawn = draw(np.zeros((50, 70), np.uint8), [result((5, 5, 20, 20))])
    assert drawn.shape == (50, 70, 3)
    assert drawn.dtype == np.uint8


def test_nothing_found_changes_nothing() -> None:
    frame = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    assert (draw(frame, []) == frame).all()


def decided(label: str) -> FaceResult:
    smooth = {"happy": 0.55, "sad": 0.45}
    decision = Decision(label, 0.55, smooth, 0.0)
    plain = result((60, 40, 90, 90), "sad")
    return plain._replace(track_id=3, decision=decision)


@pytest.mark.parametrize(
    ("label", "colour"), [("happy", PALETTE[0]), ("uncertain", GREY)]
)
def test_box_has_the_colour_of_what_was_decided(
    label: str, colour: tuple[int, int, int]
) -> None:
    drawn = draw(np.zeros((240, 320, 3), np.uint8), [decided(label)])
    assert np.abs(drawn[40, 100].astype(int) - colour).max() < 20  # smoothed line


def test_number_of_a_face_is_drawn() -> None:
    frame = np.zeros((240, 320, 3), np.uint8)
    numbered = draw(frame, [decided("happy")])
    assert (numbered != draw(frame, [decided("happy")._replace(track_id=4)])).any()


@pytest.mark.parametrize("scale", [0.4, 0.5, 0.8, 1.2])
def test_outline_stays_at_its_letters(scale: float) -> None:
    canvas = np.full((60, 480, 3), 120, np.uint8)
    annotate._put_text(canvas, "metal 43 % 30.0 fps", (10, 40), scale)
    dark, bright = (canvas[..., 0] < 60), (canvas[..., 0] > 180)
    last = [np.flatnonzero(each.any(axis=0))[-1] for each in (dark, bright)]
    assert 0 < last[0] - last[1] <= 2 + 3 * scale


def test_label_outside_ascii_is_drawn() -> None:
    frame = np.zeros((240, 320, 3), np.uint8)
    accented = draw(frame, [result((9, 9, 90, 90), "fröhlich")])
    plain = draw(frame, [result((9, 9, 90, 90), "frohlich")])
    assert (accented == plain).all()


@settings(max_examples=50)
@given(
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.tuples(
        st.integers(0, 299),
        st.integers(0, 299),
        st.integers(1, 300),
        st.integers(1, 300),
    ),
)
def test_any_box_in_any_frame_can_be_drawn(shape: tuple[int, int], box: Box) -> None:
    drawn = draw(np.zeros(shape, np.uint8), [result(box)], text="1 fps")
    assert drawn.shape == (*shape, 3)


def test_text_goes_to_the_corner_that_no_panel_covers() -> None:
    frame = np.full((480, 640, 3), 90, np.uint8)
    left, right = result((10, 60, 300, 410)), result((330, 60, 300, 410))
    for face, text_is_right in ((left, True), (right, False)):
        plain = draw(frame, [face]).astype(int)
        changed = (draw(frame, [face], text="45.5 fps") != plain).any(axis=(0, 2))
        assert changed.any()
        assert (changed.nonzero()[0].mean() > 320) == text_is_right


def test_small_picture_is_enlarged_with_its_boxes() -> None:
    face = result((8, 16, 24, 24))
    image, moved = enlarge(np.zeros((48, 60, 3), np.uint8), [face])
    assert image.shape == (240, 300, 3)
    assert moved[0].box_xywh == (40, 80, 120, 120)
    assert moved[0].label == face.label


@pytest.mark.parametrize("shape", [(100, 300), (480, 640, 3), (1, 5000), (2000, 1)])
def test_large_or_long_picture_stays_as_it_is(shape: tuple[int, ...]) -> None:
    image = np.zeros(shape, np.uint8)
    assert enlarge(image, [])[0] is image


def test_of_ten_thousand_classes_only_those_drawn_are_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Looking up every label's colour took two seconds."""
    lookups = Mock(wraps=annotate._colour)
    monkeypatch.setattr(annotate, "_colour", lookups)
    values = {f"label {number}": 1 / 10_000 for number in range(10_000)}
    face = FaceResult((10, 10, 100, 100), 1.0, "label 9", 1e-4, values)
    draw(np.zeros((240, 320, 3), np.uint8), [face])
    assert lookups.call_count <= 1 + annotate.MAX_BARS


def test_labels_of_released_models_have_colours_of_their_own() -> None:
    assert len(set(PALETTE)) == len(PALETTE)
    assert all(
        len(model.labels) <= len(PALETTE) for model in released_models().values()
    )


def test_page_has_the_colours_of_the_picture() -> None:
    page = files("edge_runtime.web") / "static" / "page.js"
    line = re.search(r"const PALETTE = \[(.+)\];", page.read_text(encoding="utf-8"))
    assert line is not None
    colours = re.findall(r"#([0-9a-f]{6})", line[1])
    assert [tuple(bytes.fromhex(one))[::-1] for one in colours] == list(PALETTE)
