"""One split of an image set, as a finished model takes it."""

import cv2
import numpy as np
import pytest

from edge_runtime.errors import DatasetError
from train.data.decoding import load_split
from train.data.drawn_faces import DRAWN

FINISHED = {"size_px": 12, "colour": "grey", "labels": ["cat", "dog"]}


def write(root, counts):
    """Writes as many images of both classes into each folder."""
    rng = np.random.default_rng(0)
    for folder, count in counts.items():
        for label in ("cat", "dog"):
            (root / folder / label).mkdir(parents=True)
            for number in range(count):
                image = rng.integers(0, 256, (12, 12), dtype=np.uint8)
                assert cv2.imwrite(str(root / folder / label / f"{number}.png"), image)
    return root


@pytest.mark.parametrize(
    ("split", "count"), [("train", 20), ("validation", 8), ("test", 10)]
)
def test_one_split_is_read_alone(tmp_path, split, count):
    root = write(tmp_path, {"train": 10, "val": 4, "test": 5})
    assert len(load_split(root, split=split, **FINISHED)) == count


def test_source_without_splits_is_taken_whole(tmp_path):
    assert len(load_split(write(tmp_path, {"": 6}), split="train", **FINISHED)) == 12


def test_missing_split_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(DatasetError, match=r"no test split, got \['train'\]"):
        load_split(write(tmp_path, {"": 6}), split="test", **FINISHED)


def test_split_with_classes_the_model_does_not_know_is_refused(tmp_path):
    root = write(tmp_path, {"train": 1, "val": 1, "test": 1})
    (root / "test" / "cat").rename(root / "test" / "emu")
    with pytest.raises(DatasetError, match="emu"):
        load_split(root, split="test", **FINISHED)


def test_split_of_the_drawn_set_is_fresh_and_labelled():
    split = load_split(DRAWN, split="validation", size_px=16, colour="grey", labels=[])
    assert split.images.shape == (1400, 16, 16, 1)
    assert np.bincount(split.labels).tolist() == [200] * 7
