"""Near copies: every change that is planted is found, different pictures are not."""

import cv2
import numpy as np
import pytest

from tests.performance.faults import CHANGES
from train.audit.alignment import THUMB_PX
from train.audit.copies import CopyPair, find_copies, perceptual_hash
from train.audit.findings import collect
from train.audit.labels import make_folds
from train.audit.quality import Quality
from train.audit.reading import Measured
from train.data.drawn_faces import drawn_faces
from train.data.listing.entries import Entry


def photo(seed, side=240):
    """A picture with structure at several scales."""
    rng = np.random.default_rng(seed)
    image = np.zeros((side, side * 4 // 3, 3), np.float32)
    for cells in (4, 9, 20, 45):
        noise = rng.normal(0, 1, (cells, cells, 3)).astype(np.float32)
        image += cv2.resize(noise, (side * 4 // 3, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(110 + 35 * image, 0, 255).astype(np.uint8)


def thumb(image):
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image
    return cv2.resize(grey, (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copy_is_found_without_a_network(change):
    rng = np.random.default_rng(7)
    images = [photo(seed) for seed in range(12)]
    copies = [
        cv2.imdecode(
            np.frombuffer(CHANGES[change](image, rng), np.uint8), cv2.IMREAD_COLOR
        )
        for image in images
    ]
    found = find_copies(np.stack([thumb(image) for image in images + copies]), None)
    pairs = {(pair.first, pair.second) for pair in found}
    assert len(pairs & {(number, number + 12) for number in range(12)}) >= 11
    assert all(second == first + 12 for first, second in pairs)
    assert {pair.mirrored for pair in found} == {change == "mirrored"}


def test_different_faces_are_no_copies():
    faces, _ = drawn_faces(300, seed=1, size_px=48)
    assert find_copies(np.stack([thumb(face) for face in faces]), None) == []


def test_hash_of_a_brighter_picture_is_nearly_the_same():
    image = photo(1)
    brighter = cv2.convertScaleAbs(image, alpha=1.1, beta=10)
    first, second = perceptual_hash(np.stack([thumb(image), thumb(brighter)]))
    assert np.bitwise_count(first ^ second) <= 8


def test_copies_share_a_fold():
    labels = np.arange(100) % 2
    pairs = [CopyPair(0, 50, 1.0, False), CopyPair(50, 99, 1.0, False)]
    folds = make_folds(labels.astype(np.int64), pairs, seed=0)
    assert folds[0] == folds[50] == folds[99]
    assert min(np.bincount(folds)) >= 17


def findings_of(splits, pairs):
    entries = [
        Entry(f"{number}.png", split, "cat", bytes)
        for number, split in enumerate(splits)
    ]
    measured = Measured(
        entries,
        [Quality((100, 80), 1.0, 1.0, 0.1)] * len(entries),
        np.zeros((len(entries), THUMB_PX, THUMB_PX), np.uint8),
        None,
        [],
        [],
    )
    found = collect(measured, pairs, None, ("cat",))
    return {each.entry.name: (each.copy_of.name, each.why) for each in found}


def test_of_copies_the_one_in_the_evaluation_split_stays():
    found = findings_of(("train", "test"), [CopyPair(0, 1, 0.95, False)])
    assert set(found) == {"0.png"}
    assert found["0.png"][0] == "1.png"
    assert "in the test split" in found["0.png"][1]


def test_of_a_slow_video_more_than_one_frame_stays():
    pairs = [CopyPair(row, row + 1, 0.9, False) for row in range(6)]
    assert set(findings_of(["train"] * 7, pairs)) == {
        "1.png",
        "2.png",
        "4.png",
        "5.png",
    }


def test_of_many_equal_pictures_one_stays():
    """The last one is in the test split, and not every pair was compared."""
    splits = ["train"] * 40 + ["test"]
    pairs = [CopyPair(0, row, 1.0, False) for row in range(1, 41)]
    found = findings_of(splits, pairs)
    assert set(found) == {f"{row}.png" for row in range(40)}
    assert {kept for kept, _ in found.values()} == {"40.png"}
