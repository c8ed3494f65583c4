"""The configuration of a run: saved, read back, and refused when it is foreign."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import FerEdgeError, RunError
from train.data.augment import Augmentation
from train.options.config import TrainConfig
from train.options.recipes import RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_survives_json(name):
    config = RECIPES[name].config
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@given(
    st.builds(
        TrainConfig,
        data=st.text(),
        epochs=st.integers(1, 1000),
        learning_rate=st.floats(0, 10, exclude_min=True),
        teachers=st.lists(st.text(), max_size=3).map(tuple),
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
    recipe = RECIPES["notebook"].config
    assert (recipe.arch, recipe.optimizer) == ("notebook_cnn", "adam")
    assert recipe.learning_rate == 1e-4
    assert recipe.augmentation.rotation_deg == 20
    assert recipe.augmentation.flip


def test_released_recipe_leaves_two_fifths_of_the_target_to_the_label():
    recipe = RECIPES["released"].config
    assert recipe.precision == "bfloat16"
    assert 1 - recipe.teacher_share - recipe.soft_label_share == pytest.approx(0.4)


def test_shares_add_up_only_where_they_are_used():
    shares = {"teacher_share": 0.6, "soft_label_share": 0.6}
    assert TrainConfig(teachers=("one",), **shares).teacher_share == 0.6
    assert TrainConfig(soft_labels="votes.csv", **shares).soft_label_share == 0.6
    with pytest.raises(FerEdgeError, match=r"shares below 1, got 1\.2"):
        TrainConfig(teachers=("one",), soft_labels="votes.csv", **shares)


@pytest.mark.parametrize("field", ["teacher_share", "soft_label_share"])
@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_share_that_is_none_is_refused(field, value):
    flag = f"--{field.replace('_', '-')} in"
    with pytest.raises(FerEdgeError, match=flag):
        TrainConfig(**{field: value})


def test_category_to_drop_needs_votes():
    with pytest.raises(FerEdgeError, match="--soft-labels with --drop-category"):
        TrainConfig(drop_categories=("NF",))
    assert TrainConfig(labels_from="votes.csv", drop_categories=("NF",)).votes.dropped


def test_rule_needs_votes_that_are_labels():
    with pytest.raises(FerEdgeError, match="--labels-from with --label-rule"):
        TrainConfig(soft_labels="votes.csv", label_rule="probability")
    with pytest.raises(FerEdgeError, match="--label-rule of majority, probability"):
        TrainConfig(labels_from="votes.csv", label_rule="mean")


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"drop_category": ""}, None),
        ({"drop_category": "NF"}, ("NF",)),
        ({"drop_categories": ["NF", "unknown"]}, ("NF", "unknown")),
        ({"drop_categories": []}, ()),
        ({}, None),
    ],
)
def test_configuration_of_an_older_run_is_read(before, now):
    config = TrainConfig.from_dict({"soft_labels": "votes.csv", **before})
    assert config.drop_categories == now


def test_older_run_of_several_sets_goes_on_as_it_was():
    assert TrainConfig.from_dict({"more_data": ["b"]}).match_appearance == 0
    assert TrainConfig(more_data=("b",)).match_appearance == 1


def test_padded_images_take_on_no_appearance():
    used = [TrainConfig(fit=fit).used_match_appearance for fit in ("crop", "pad")]
    assert used == [1, 0]


def test_configuration_survives_being_saved():
    config = TrainConfig(labels_from="votes.csv", drop_categories=("NF", "unknown"))
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
