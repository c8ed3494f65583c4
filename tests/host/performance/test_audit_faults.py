"""The measurement of planted faults, on a small set of drawn faces."""

import json

import cv2
import numpy as np

from tests.performance.audit import main
from tests.performance.faults import CHANGES, plant_copies, plant_labels
from train.data.drawn_faces import drawn_faces
from train.data.listing.image_files import open_listing


def write_faces(folder):
    faces, labels = drawn_faces(120, seed=4, size_px=48)
    for number, (face, label) in enumerate(zip(faces, labels % 2, strict=True)):
        path = folder / f"class-{label}"
        path.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path / f"{number}.png"), face)
    return folder


def test_planted_copies_are_found_and_recorded(tmp_path, capsys):
    data = write_faces(tmp_path / "faces")
    result = tmp_path / "result.json"
    assert main([str(data), "--seeds", "5", "--json", str(result)]) == 0
    document = json.loads(result.read_text(encoding="utf-8"))
    assert document["images"] == 120
    (seed,) = document["seeds"]
    assert seed["labels"]["planted"] == 4
    assert seed["copies"]["planted"] == 7
    assert seed["copies"]["found"] >= 0.8
    assert seed["copies"]["other_pairs"] == []
    assert "copies:" in capsys.readouterr().out


def test_same_seed_plants_the_same(tmp_path):
    with open_listing(write_faces(tmp_path / "faces")) as listing:
        first, again = (plant_copies(listing.entries, 0.1, 7) for _ in range(2))
        other = plant_copies(listing.entries, 0.1, 8)
        assert [c.entry.read() for c in first] == [c.entry.read() for c in again]
        assert [c.source for c in first] != [c.source for c in other]
        assert {copy.change for copy in first} == set(CHANGES)
        changed, wrong = plant_labels(listing.entries, 0.05, 7)
    differing = {
        new.name
        for old, new in zip(listing.entries, changed, strict=True)
        if old.label != new.label
    }
    assert differing == wrong
    assert len(wrong) == 6


def test_each_change_changes_the_pixels():
    image = cv2.resize(
        np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8), (120, 90)
    )
    rng = np.random.default_rng(1)
    for change, make in CHANGES.items():
        copy = cv2.imdecode(np.frombuffer(make(image, rng), np.uint8), cv2.IMREAD_COLOR)
        same = (
            copy.shape == image.shape and np.abs(copy.astype(int) - image).mean() < 0.2
        )
        assert not same, change
