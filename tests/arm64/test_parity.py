"""A model answers on the boards as it does here, to the last bit."""

import numpy as np
import pytest

from tests.arm64 import plan
from tests.arm64.parity import BOXES, FRAMES, IMAGES, differences

every_model = pytest.mark.parametrize(
    "model", plan.models(), ids=lambda path: path.name
)


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


@every_model
def test_inputs_are_many_and_unlike(work, model):
    replay = work.replay_here(plan.REPLAYS[0][0], model).result()
    assert replay.faces.shape == (FRAMES * BOXES, 48, 48, 1)
    # Large boxes are moved into the frame and may then be the same.
    assert len(np.unique(replay.faces, axis=0)) > FRAMES * BOXES // 2
    assert len(np.unique(replay.logits, axis=0)) == IMAGES


@every_model
def test_golden_vectors_hold_exactly_with_the_library_that_made_them(work, model):
    assert work.replay((plan.LITERT, plan.A72), model).result().golden_difference < 1e-5
