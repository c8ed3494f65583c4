"""The configuration of a run: saved, read back, and refused when it is foreign."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import RunError
from train.augment import Augmentation
from train.config import RECIPES, TrainConfig


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_survives_json(name):
    written = json.loads(json.dumps(RECIPES[name].to_dict()))
    assert TrainConfig.from_dict(written) == RECIPES[name]


@given(
    st.builds(
        TrainConfig,
        data=st.text(),
        epochs=st.integers(1, 1000),
        learning_rate=st.floats(0, 10, exclude_min=True),
        size_px=st.none() | st.integers(16, 224),
        augmentation=st.builds(Augmentation, rotation_deg=st.floats(0, 90)),
        seed=st.integers(0, 2**32 - 1),
    )
)
def test_any_configuration_survives_json(config):
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    "values",
    [{"unheard_of": 1}, {"augmentation": {"unheard_of": 1}}, {"augmentation": 3}],
    ids=["key", "augmentation-key", "no-augmentation"],
)
def test_configuration_of_another_version_is_refused(values):
    with pytest.raises(RunError, match="not of this version"):
        TrainConfig.from_dict(values)


def test_settings_that_were_not_written_have_their_defaults():
    assert TrainConfig.from_dict({"epochs": 3}) == TrainConfig(epochs=3)


def test_configuration_cannot_be_changed_by_accident():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().epochs = 3


def test_notebook_recipe_is_the_origin_projects():
    recipe = RECIPES["notebook"]
    assert (recipe.arch, recipe.optimizer) == ("notebook_cnn", "adam")
    assert recipe.learning_rate == 1e-4
    assert recipe.augmentation.rotation_deg == 20
    assert recipe.augmentation.flip
