"""A class without images is refused with the true reason."""

import cv2
import numpy as np
import pytest

from edge_runtime.errors import DatasetError
from train.data.dataset import load


def png(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (12, 12), dtype=np.uint8)
    return cv2.imencode(".png", noise)[1].tobytes()


HEIC = b"\0\0\0\x18ftypheic" + bytes(2000)


def write(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def images(folder, count, first_seed=0):
    return {f"{folder}/{i}.png": png(first_seed + i) for i in range(count)}


CASES = {
    "copies": (
        {
            f"{split}/{label}/{i}.png": png(100 * (label == "cat") + i)
            for split in ("train", "val")
            for label in ("cat", "dog")
            for i in range(3)
        },
        r"train split, got none of \['cat', 'dog'\]: 6 were dropped.*same pixels",
    ),
    "phone": (
        {**images("dog", 9), **{f"cat/IMG_{i}.jpg": HEIC for i in range(4)}},
        r"none of \['cat'\]: 4 cannot be read \(HEIC",
    ),
    "two-reasons": (
        {**images("dog", 9), "cat/1.jpg": HEIC, "cat/2.jpg": b"", "cat/3.jpg": HEIC},
        r"2 cannot be read \(HEIC.*\); 1 cannot be read \(empty\)",
    ),
    "capital": (
        {
            **images("train/cat", 3),
            **images("train/Dog", 3, 10),
            **images("val/cat", 3, 20),
            **images("val/dog", 3, 30),
        },
        r"train split, got none of \['dog'\]: there it is called 'Dog'",
    ),
    "absent": (
        {
            **images("train/cat", 3),
            **images("train/dog", 3, 10),
            **images("val/cat", 3, 20),
        },
        r"validation split, got none of \['dog'\]: put some there",
    ),
    "other-name": (
        {
            **images("train/cat", 3),
            **images("train/dog", 3, 10),
            **images("test/cats", 3, 20),
        },
        r"train split, got none of \['cats'\]: put some there.*train has cat, dog",
    ),
    "one-image": (
        {**images("dog", 9), **images("cat", 1, 50)},
        r"train split, got none of \['cat'\]: each needs two different images",
    ),
    "twice-the-same": (
        {**images("dog", 9), "cat/1.png": png(70), "cat/2.png": png(70)},
        r"\['cat'\]: 1 were dropped.*each needs two different images",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_reason_is_the_true_one(tmp_path, case):
    files, part = CASES[case]
    with pytest.raises(DatasetError, match=part):
        load(write(tmp_path / "set", files))


def test_reason_is_that_of_the_split_that_validates(tmp_path):
    files = {
        **images("train/cat", 3),
        **images("train/dog", 3, 10),
        **images("test/cat", 3, 20),
        "test/dog/1.jpg": HEIC,
    }
    with pytest.raises(DatasetError, match=r"validation split.*\['dog'\].*HEIC"):
        load(write(tmp_path / "set", files), validation_from="test")


def test_too_large_file_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("train.data.listing.stored_files.LARGEST_FILE_BYTES", 2**20)
    root = write(tmp_path / "set", {**images("dog", 9), "cat/1.png": bytes(3 * 2**20)})
    with pytest.raises(
        DatasetError, match=r"1 cannot be read \(expected at most 1048576 bytes"
    ):
        load(root)


def test_dangling_link_says_so(tmp_path):
    root = write(tmp_path / "set", images("dog", 9))
    (root / "cat").mkdir()
    (root / "cat" / "1.png").symlink_to(root / "gone.png")
    reason = r"1 cannot be read \(No such file.*the first is cat/1.png"
    with pytest.raises(DatasetError, match=reason):
        load(root)
