"""Several image sets as one: their labels and sizes, and how often each is drawn."""

from __future__ import annotations

import json
import zipfile

import cv2
import numpy as np
import pytest

from edge_runtime.errors import DatasetError, FerEdgeError
from train.__main__ import build_config, main
from train.data.dataset import load
from train.data.sources import (
    describe_sources,
    draw,
    epoch_length,
    times_by_source,
    times_drawn,
)
from train.data.summary import summarize
from train.options.arguments import build_parser
from train.options.config import TrainConfig
from train.options.defaults import Start, choose


def write_set(root, per_class=20, *, seed=0, size=16, labels=("cat", "dog")):
    rng = np.random.default_rng(seed)
    for label in labels:
        for number in range(per_class):
            path = root / label / f"{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), rng.integers(0, 256, (size, size), np.uint8))
    return str(root)


def zipped(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, file.relative_to(folder))
        archive.writestr("manifest.json", "{}")
    return str(path)


@pytest.fixture
def sets(tmp_path):
    first = write_set(tmp_path / "photos")
    write_set(tmp_path / "new", 4, seed=1, size=30)
    return first, zipped(tmp_path / "new", tmp_path / "dataset.zip")


def test_images_of_all_sets_are_learnt_in_the_size_of_the_first(sets):
    data = load(sets[0], more=sets[1:])
    assert (data.size_px, data.colour) == (16, "grey")
    assert data.name == "photos + dataset.zip"
    assert len(data.train) + len(data.validation) == 48
    of_second = [name for name in data.train.names if name.startswith("dataset.zip/")]
    assert len(of_second) == np.sum(data.train.sources == 1)


def test_what_validates_is_the_same_whatever_is_added_later(tmp_path, sets):
    alone = load(sets[0])
    two = load(sets[0], more=sets[1:])
    more = tmp_path / "more"
    write_set(more, 4, seed=1, size=30)
    write_set(more / "new", 30, seed=2, size=30)
    for label in ("cat", "dog"):
        for path in (more / "new" / label).iterdir():
            path.rename(more / label / f"new-{path.name}")
    (more / "new" / "cat").rmdir(), (more / "new" / "dog").rmdir()
    (more / "new").rmdir()
    later = load(sets[0], more=[zipped(more, tmp_path / "dataset.zip")])
    assert set(alone.validation.names) <= set(two.validation.names)
    assert set(two.validation.names) <= set(later.validation.names)
    added = np.mean(later.validation.sources == 1) * len(later.validation)
    assert 1 <= added <= 20


def test_first_set_that_does_not_validate_is_told(tmp_path, sets):
    write_set(tmp_path / "split" / "train", 4, seed=1)
    write_set(tmp_path / "split" / "val", 4, seed=2)
    more = [str(tmp_path / "split")]
    told = "no image of the first set validates"
    assert told in summarize(load(sets[0], more=more))
    assert told not in summarize(load(sets[0], more=more, validation_from="train"))
    assert told not in summarize(load(more[0], more=sets[:1]))


@pytest.mark.parametrize("seed", range(4))
def test_class_that_only_a_further_set_has_validates_with_one_at_least(
    tmp_path, sets, seed
):
    write_set(tmp_path / "owls", 3, seed=seed, labels=("owl",))
    data = load(sets[0], more=[str(tmp_path / "owls")])
    assert 1 <= np.sum(data.validation.labels == 2) < 3


def test_audit_of_a_further_set_alone_is_refused(tmp_path, sets):
    write_set(tmp_path / "photos", 21)  # cat/020.png: in the first set alone
    own = write_set(tmp_path / "own", 22, seed=9)  # cat/021.png: in the other alone
    table = tmp_path / "left.csv"
    table.write_text("action,file\nleave out,cat/000.png\nleave out,cat/021.png\n")
    with pytest.raises(DatasetError, match=r"such as 'own/cat/021\.png'"):
        load(sets[0], more=[own], leave_out=str(table))
    rows = "leave out,cat/020.png\nleave out,own/cat/000.png\n"
    table.write_text(f"action,file\n{rows}")
    data = load(sets[0], more=[own], leave_out=str(table))
    assert data.marked == ("cat/020.png", "own/cat/000.png")


def test_set_alone_is_what_it_was(sets):
    data = load(sets[0])
    assert data.train.sources is None
    assert times_drawn(data.train) is None
    assert describe_sources(["photos"], data.train, (), 0.5) == []


def test_one_class_is_enough_in_a_further_set(tmp_path, sets):
    write_set(tmp_path / "cats", 5, seed=3, labels=("cat",))
    data = load(sets[0], more=[str(tmp_path / "cats")])
    assert data.labels == ("cat", "dog")


def test_class_in_another_spelling_is_refused(tmp_path, sets):
    write_set(tmp_path / "cats", 5, seed=3, labels=("Cat",))
    with pytest.raises(DatasetError, match="expected the class 'cat' as in photos"):
        load(sets[0], more=[str(tmp_path / "cats")])


def test_two_sets_of_one_name_are_told_apart(tmp_path, sets):
    other = write_set(tmp_path / "b" / "photos", 5, seed=4)
    data = load(sets[0], more=[other])
    assert data.name == "photos + photos#2"
    assert len(set(data.train.names)) == len(data.train)


def test_drawn_faces_take_further_sets(tmp_path):
    write_set(tmp_path / "new", 4, seed=5, size=80, labels=("happy", "sad"))
    alone, both = load("drawn"), load("drawn", more=[str(tmp_path / "new")])
    assert (both.size_px, both.colour, both.labels) == (48, "grey", alone.labels)
    assert len(both.validation) == len(alone.validation)
    assert len(both.train) == len(alone.train) + 8
    assert np.array_equal(both.train.images[:50], alone.train.images[:50])


# --- how often ---------------------------------------------------------------------


def split_of(sets, *weights):
    data = load(sets[0], more=sets[1:])
    return data.train, times_by_source(data.train, weights)


def test_small_set_fills_a_fifth_of_an_epoch(sets):
    train, (first, second) = split_of(sets)
    counts = np.bincount(train.sources)
    assert first == 1
    assert second * counts[1] / (counts[0] + second * counts[1]) == pytest.approx(0.2)


def test_given_weights_are_taken(sets):
    train, times = split_of(sets, 0.5, 3)
    assert times == [0.5, 3]
    assert set(times_drawn(train, (0.5, 3)).tolist()) == {0.5, 3}


def test_last_set_may_have_no_training_images(sets, tmp_path):
    write_set(tmp_path / "held" / "val", 3, seed=6)
    data = load(sets[0], more=[str(tmp_path / "held")])
    assert not np.any(data.train.sources)
    first, last = describe_sources(["photos", "held"], data.train, (), 0.5)
    assert first.endswith("each drawn 1 times")
    assert last.startswith("  from held: 0 training images")


def test_each_image_is_drawn_as_often_as_said_in_every_epoch():
    times = np.array([1.0] * 30 + [3.0] * 4 + [0.5] * 6)
    rng = np.random.default_rng(0)
    epochs = [draw(times, rng) for _ in range(200)]
    assert {len(epoch) for epoch in epochs} == {epoch_length(times)} == {45}
    counts = np.mean([np.bincount(epoch, minlength=40) for epoch in epochs], axis=0)
    assert np.allclose(counts[:34], times[:34])
    assert np.allclose(counts[34:], 0.5, atol=0.12)
    assert (epochs[0] != epochs[1]).any()


# --- the command -------------------------------------------------------------------


def config_of(*words):
    return build_config(vars(build_parser().parse_args(words)))


def test_data_may_be_repeated():
    config = config_of("--data", "a", "--data", "b", "--data", "c")
    assert (config.data, config.more_data) == ("a", ("b", "c"))
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "a", "--data-weights", "1,2"], "--data-weights of 1 numbers"),
        (["--match-appearance", "1.1"], "--match-appearance in 0..1"),
        (["--match-appearance", "nan"], "--match-appearance in 0..1"),
        (
            ["--data", "a", "--data", "b", "--labels-from", "v.csv"],
            "expected one --data with --labels-from",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line(words, message):
    with pytest.raises(FerEdgeError, match=message):
        config_of(*words)


@pytest.mark.parametrize("text", ["1,x", "0,1", "1;2", ""])
def test_weights_are_numbers(text, capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args(["--data-weights", text])
    assert "expected a number from 0.001 to 100" in capsys.readouterr().err


def start(labels=("cat", "dog"), **flags):
    kept = {"arch": "fer_small", "size_px": 48, "colour": "rgb", "fit": "crop"}
    return Start(labels, kept | flags)


def chosen(path, begin, **options):
    options = {"data": path, "start_from": "runs/pets", **options}
    return choose(options, has_weights=True, released=("fer2013", []), start=begin)


def test_network_of_the_run_that_is_gone_on_with_is_taken_over(sets):
    found = chosen(sets[0], start())
    assert found["arch"] == "fer_small"
    assert (found["size_px"], found["colour"], found["fit"]) == (48, "rgb", "crop")
    assert found["learning_rate"] < TrainConfig().learning_rate
    assert "arch" not in chosen(sets[0], start(), arch="fer_tiny")


def test_published_network_at_its_own_size_goes_on_with_its_recipe(sets):
    found = chosen(sets[0], start(arch="efficientnet_lite0", size_px=96))
    assert (found["recipe"], found["size_px"]) == ("transfer", 96)
    assert "learning_rate" not in found


def test_run_with_other_classes_gives_weights_only(sets):
    assert chosen(sets[0], start(labels=("cat", "owl"))) == {}


def test_second_training_goes_on_with_both_sets(sets, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    quick = ["--epochs", "1", "--batch-size", "8"]
    (tmp_path / "left.csv").write_text("file,action\ncat/000.png,leave out\n")
    quick += ["--leave-out", "left.csv"]
    assert main(["--data", sets[0], "--arch", "fer_tiny", "--name", "one", *quick]) == 0
    again = ["--data", sets[0], "--data", sets[1], "--from", "one", "--name", "two"]
    assert main([*again, *quick]) == 0
    out = capsys.readouterr().out
    assert "chosen to go on with that run: --arch fer_tiny" in out
    assert "from dataset.zip: " in out
    config = json.loads((tmp_path / "runs" / "two" / "config.json").read_text())
    assert config["config"]["more_data"] == [sets[1]]
    assert config["config"]["arch"] == "fer_tiny"
    assert main(["--resume", "two"]) == 0
    from export.trained_model import find_trained_model, load_run_data

    found = load_run_data(find_trained_model("two", None))  # what export calibrates on
    assert found.fingerprint == config["data_fingerprint"]
