"""What a search proposes, and that the flags of training say all of it."""

import argparse

import optuna
import pytest

from train.__main__ import build_config
from train.options.arguments import build_parser as training_parser
from train.options.config import SCALABLE_NAMES
from train.search.arguments import amount, build_parser, milliseconds
from train.search.space import Range, choose_space, default_sizes


def grey(**given):
    space = {"size_px": 48, "colour": "grey", "images": 28_000, "weights": True}
    return choose_space(given, **space)


def proposals(space, count=40):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    return [space.propose(study.ask()) for _ in range(count)]


def test_training_takes_every_proposal_as_it_is():
    for candidate in proposals(grey()):
        options = vars(training_parser().parse_args(candidate.flags()))
        config = build_config(options)
        network = candidate.network
        assert (config.arch, config.width) == (network.arch, network.width)
        assert (config.depth, config.size_px) == (network.depth, network.size_px)
        assert config.learning_rate == candidate.learning_rate
        assert config.epochs == candidate.epochs == 10


def test_all_epochs_are_those_of_the_recipe():
    candidate = proposals(grey(recipes=("quick",)), 1)[0]
    options = vars(training_parser().parse_args(candidate.flags(epochs=False)))
    assert build_config(options).epochs == 18


def test_a_search_of_one_value_proposes_nothing_else():
    space = grey(
        archs=("fer_wide",),
        width=Range(0.5, 0.5),
        depth=Range(2, 2),
        sizes_px=(32,),
        recipes=("quick",),
        augmentation=Range(1, 1),
        learning_rate=Range(1, 1),
    )
    assert len({str(each) for each in proposals(space, 5)}) == 1


def test_networks_of_one_scale_have_no_width():
    space = grey(archs=("notebook_cnn",), width=Range(0.5, 0.5))
    assert "notebook_cnn" not in SCALABLE_NAMES
    assert "--width" not in proposals(space, 1)[0].flags()


def test_photos_are_learnt_with_published_weights():
    space = choose_space({}, size_px=224, colour="rgb", images=1500, weights=True)
    assert all(arch.startswith("efficientnet") for arch in space.archs)
    assert {each.recipe for each in proposals(space, 9)} == {"transfer"}


def test_small_sets_get_more_epochs():
    assert choose_space(
        {}, size_px=48, colour="grey", images=200, weights=False
    ).epochs == pytest.approx(300 / (200 // 16), abs=1)


@pytest.mark.parametrize(
    ("side", "expected"),
    [(48, (32, 40, 48)), (224, (144, 184, 224)), (24, (16, 24)), (16, (16,))],
)
def test_sizes_are_parts_of_the_images_own(side, expected):
    assert default_sizes(side) == expected


@pytest.mark.parametrize(
    ("text", "value"), [("60M", 60_000_000), ("500k", 500_000), ("1.5M", 1_500_000)]
)
def test_an_amount_has_a_unit(text, value):
    assert amount(text) == value


def test_a_latency_has_its_unit():
    assert milliseconds("0.5ms") == 0.5
    with pytest.raises(argparse.ArgumentTypeError, match="such as 5ms, got '5'"):
        milliseconds("5")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--width", "2:1"], "expected LOW:HIGH or one value, got '2:1'"),
        (["--width", "0.01:1"], "from 0.1 to 4, got '0.01'"),
        (["--depth", "1.5"], "a whole number from 1 to 8, got '1.5'"),
        (["--arch", "fer_tiny,resnet"], "got 'resnet'"),
        (["--size", "8"], "from 16 to 1024, got '8'"),
        (["--max-macs", "60Q"], "such as 500k or 60M, got '60Q'"),
        (["--objective", "speed"], "speed"),
        (["--resume"], "the same command continues a search"),
        (["--validation", "test"], "flags of the trainings stand after --"),
    ],
)
def test_a_wrong_value_is_one_line(flags, said, capsys):
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(flags)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
