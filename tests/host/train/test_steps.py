"""A small set gets small batches and enough steps; what the user gave stays."""

import pytest

from train.options.config import TrainConfig
from train.options.recipes import RECIPES
from train.options.steps import fit_to_count


def steps(config, images):
    return config.epochs * (images // min(config.batch_size, images))


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("images", [1, 2, 7, 20, 162, 300, 1_500, 28_000])
def test_every_recipe_has_three_hundred_steps(name, images):
    config = fit_to_count(RECIPES[name].config, images)
    assert steps(config, images) >= 300
    assert config.batch_size <= RECIPES[name].config.batch_size


@pytest.mark.parametrize("name", RECIPES)
def test_large_set_is_trained_as_the_recipe_says(name):
    assert fit_to_count(RECIPES[name].config, 28_000) == RECIPES[name].config


@pytest.mark.parametrize("images", [81, 162, 300])
def test_epoch_of_a_small_set_has_several_steps(images):
    config = fit_to_count(TrainConfig(), images)
    assert images // config.batch_size >= 10


def test_learning_rate_of_sgd_shrinks_with_the_batch():
    config = fit_to_count(TrainConfig(batch_size=128, learning_rate=0.1), 300)
    assert config.learning_rate / 0.1 == pytest.approx(config.batch_size / 128)


def test_learning_rate_of_adam_stays():
    config = fit_to_count(TrainConfig(optimizer="adamw", learning_rate=1e-3), 300)
    assert config.learning_rate == 1e-3


@pytest.mark.parametrize("images", [1, 24, 108, 300, 2_000])
def test_run_of_a_small_set_does_not_end_after_a_few_steps(images):
    recipe = RECIPES["transfer"].config
    config = fit_to_count(recipe, images)
    assert config.patience >= recipe.patience
    assert config.patience * (images // config.batch_size) >= 100
    assert fit_to_count(recipe, images, {"patience": 3}).patience == recipe.patience
    assert fit_to_count(TrainConfig(), images).patience == 0


@pytest.mark.parametrize("images", [2, 20, 300])
def test_what_was_given_stays(images):
    config = TrainConfig(epochs=2, batch_size=64, learning_rate=0.3)
    given = {"epochs": 2, "batch_size": 64, "learning_rate": 0.3}
    assert fit_to_count(config, images, given) == config
    assert fit_to_count(config, images, {"epochs": 2}).epochs == 2
    assert fit_to_count(config, images, {"batch_size": 64}).batch_size == 64
    assert fit_to_count(config, images, {"learning_rate": 1}).learning_rate == 0.3
