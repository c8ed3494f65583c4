"""Images that a CSV leaves out."""

import cv2
import numpy as np
import pytest

from edge_runtime.errors import DatasetError
from edge_runtime.untrusted import spreadsheet_cell
from train.data.dataset import load
from train.data.left_out import leave_out_marked
from train.data.listing.image_files import open_listing
from train.data.summary import summarize


@pytest.fixture
def images(tmp_path):
    """Ten images of each of two classes, all different."""
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        folder = tmp_path / "set" / label
        folder.mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 256, (16, 16), np.uint8)
            cv2.imwrite(str(folder / f"{number}.png"), pixels)
    return tmp_path / "set"


def write(folder, *rows, header="action,file"):
    path = folder.parent / "audit.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return str(path)


def marked(images, path):
    with open_listing(images) as listing:
        return leave_out_marked(listing, path)


def test_only_images_with_the_action_leave_out_go(images):
    path = write(images, "leave out,cat/1.png", "keep,cat/2.png", "leave out,dog/3.png")
    result = marked(images, path)
    assert result.left_out == ("cat/1.png", "dog/3.png")
    names = [entry.name for entry in result.listing.entries]
    assert len(names) == 18
    assert "cat/2.png" in names


@pytest.mark.parametrize("action", ["Leave Out", "leave_out", " leave  out "])
def test_action_may_be_written_in_other_ways(images, action):
    assert marked(images, write(images, f"{action},cat/1.png")).left_out == (
        "cat/1.png",
    )


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_may_come_back_from_a_spreadsheet(images, separator):
    row = separator.join(["note", "cat/1.png", "leave out"])
    header = separator.join(["why", "File", "Action"])
    path = write(images, row, header="\ufeff" + header)
    assert marked(images, path).left_out == ("cat/1.png",)


@pytest.mark.parametrize("name", ["=1+1.png", "-a;=b.png", "'x.png"])
def test_name_is_known_as_a_spreadsheet_may_hold_it(images, name):
    folder = images / "=2"
    folder.mkdir()
    for each in (name, "other.png"):
        (folder / each).write_bytes((images / "cat" / "0.png").read_bytes())
    cell = spreadsheet_cell(f"=2/{name}")
    assert cell.startswith("'=")
    assert marked(images, write(images, f"leave out,{cell}")).left_out == (
        f"=2/{name}",
    )


def test_names_that_are_not_there_are_told(images):
    path = write(images, "leave out,cat/1.png", "leave out,cat/gone.png")
    data = load(images, leave_out=path)
    assert data.marked == ("cat/1.png",)
    assert data.unknown_marked == ("cat/gone.png",)
    text = summarize(data)
    assert "left out: 1 images that a CSV leaves out" in text
    assert "cat/gone.png" in text


def test_images_left_out_are_in_no_split_and_change_the_fingerprint(images):
    path = write(images, "leave out,cat/1.png")
    whole, less = load(images), load(images, leave_out=path)
    names = {
        name for split in ("train", "validation") for name in less.split(split).names
    }
    assert "cat/1.png" not in names
    assert len(names) == 19
    assert whole.fingerprint != less.fingerprint


BAD = {
    "other-action": (("drop,cat/1.png",), "expected the action 'leave out' or 'keep'"),
    "both": (("keep,cat/1.png", "leave out,cat/1.png"), "both actions"),
    "other-set": (("leave out,bird/1.png",), "of another image set"),
    "whole-class": (
        tuple(f"leave out,cat/{number}.png" for number in range(10)),
        "leaves out all images of cat",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_csv_is_refused_with_the_reason(images, name):
    rows, part = BAD[name]
    with pytest.raises(DatasetError, match=part):
        marked(images, write(images, *rows))


def test_csv_without_the_columns_is_refused(images):
    with pytest.raises(DatasetError, match="columns action and file"):
        marked(images, write(images, "cat/1.png", header="file"))


def test_missing_csv_is_refused(images):
    with pytest.raises(DatasetError, match="no such file"):
        marked(images, "nothing.csv")


def test_drawn_faces_have_nothing_to_leave_out():
    with pytest.raises(DatasetError, match="no files to leave out"):
        load("drawn", leave_out="audit.csv")
