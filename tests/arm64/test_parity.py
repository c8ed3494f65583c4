"""A model answers on the boards as it does here, to the last bit."""

import numpy as np
import pytest

from tests.arm64 import plan
from tests.arm64.parity import BOXES, FRAMES, IMAGES, differences, write_cases

every_model = pytest.mark.parametrize(
    "model", plan.models(), ids=lambda path: path.name
)
# Two images may have the same seven int8 logits: seen once in 200.
UNLIKE = 0.95


@pytest.mark.parametrize(
    ("place", "model"),
    [
        pytest.param(place, model, id=f"{place[0].name}-{place[1].name}-{model.name}")
        for place, model in plan.replays()
    ],
)
def test_pixels_and_int8_logits_are_those_of_x86(work, place, model):
    board = work.replay(place, model).result()
    here = work.replay_here(place[0], model).result()
    assert (here.machine, board.machine) == ("x86_64", "aarch64")
    assert differences(here, board) == []


def test_images_are_many_and_unlike(tmp_path):
    write_cases(tmp_path / "cases.npz")
    with np.load(tmp_path / "cases.npz", allow_pickle=False) as cases:
        assert len(np.unique(cases["images"], axis=0)) == IMAGES


@every_model
def test_faces_and_logits_are_many_and_unlike(work, model):
    replay = work.replay_here(plan.LITERT, model).result()
    assert replay.faces.shape == (FRAMES * BOXES, 48, 48, 1)
    # Large boxes are moved into the frame and may then be the same.
    assert len(np.unique(replay.faces, axis=0)) > FRAMES * BOXES // 2
    assert len(replay.logits) == IMAGES
    assert len(np.unique(replay.logits, axis=0)) > UNLIKE * IMAGES


@every_model
def test_golden_vectors_hold_exactly_with_the_library_that_made_them(work, model):
    assert work.replay((plan.LITERT, plan.A72), model).result().golden_difference < 1e-5
