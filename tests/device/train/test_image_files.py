"""Listing labelled images in folders and zips."""

import io
import os
import tempfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import DatasetError
from train.data.decoding import decode
from train.data.listing.image_files import describe_other_files, open_listing


def png(value=100, shape=(8, 8)):
    return cv2.imencode(".png", np.full(shape, value, np.uint8))[1].tobytes()


def make_folder(root, names):
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    return root


def make_zip(path, names, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for number, name in enumerate(names):
            archive.writestr(name, png(number))
    return path


def listed(path):
    """(split, label, name) of every entry."""
    with open_listing(path) as source:
        return [(entry.split, entry.label, entry.name) for entry in source.entries]


def why(entry):
    """The reason for which an entry cannot be decoded; empty if it can."""
    try:
        picture = decode(entry)
    except ValueError as error:
        return str(error)
    assert picture.pixels.dtype == np.uint8
    return ""


# --- layouts -----------------------------------------------------------------------

PLAIN = ["cat/1.png", "dog/1.png", "dog/2.png"]


@pytest.mark.parametrize("make", [make_folder, make_zip], ids=["folder", "zip"])
@pytest.mark.parametrize("wrapper", ["", "archive/", "a/b/c/"], ids=["bare", "1", "3"])
def test_class_folders_are_found_below_any_wrapper(tmp_path, make, wrapper):
    path = make(tmp_path / "set.zip", [wrapper + name for name in PLAIN])
    assert [(split, label) for split, label, _ in listed(path)] == [
        ("train", "cat"),
        ("train", "dog"),
        ("train", "dog"),
    ]


@pytest.mark.parametrize("make", [make_folder, make_zip], ids=["folder", "zip"])
@pytest.mark.parametrize(
    ("folder", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("TRAIN", "train"),
        ("val", "validation"),
        ("Valid", "validation"),
        ("validation", "validation"),
        ("PublicTest", "validation"),
        ("test", "test"),
        ("Test", "test"),
        ("PrivateTest", "test"),
        ("other", "train"),
    ],
)
def test_split_is_the_folder_above_the_class(tmp_path, make, folder, split):
    path = make(tmp_path / "set.zip", [f"w/{folder}/cat/1.png"])
    assert listed(path) == [(split, "cat", f"w/{folder}/cat/1.png")]


@pytest.mark.parametrize("make", [make_folder, make_zip], ids=["folder", "zip"])
@pytest.mark.parametrize(
    "name",
    [
        "__MACOSX/cat/._1.png",
        "cat/._1.png",
        ".hidden/cat/1.png",
        "cat/.1.png",
        "cat/notes.txt",
        "cat/1.gif.bak",
        "top.png",
    ],
)
def test_files_that_are_no_labelled_images_are_passed_over(tmp_path, make, name):
    path = make(tmp_path / "set.zip", [name, "cat/good.png"])
    assert [entry[2] for entry in listed(path)] == ["cat/good.png"]


@pytest.mark.parametrize("make", [make_folder, make_zip], ids=["folder", "zip"])
def test_files_of_other_kinds_are_counted(tmp_path, make):
    names = ["a/1.png", "a/2.HEIC", "b/3.heic", "b/.DS_Store", ".git/x.txt"]
    with open_listing(make(tmp_path / "set.zip", names)) as source:
        assert source.other_files == {".heic": 2}


@pytest.mark.parametrize("make", [make_folder, make_zip], ids=["folder", "zip"])
def test_picture_without_a_suffix_is_known_by_its_first_bytes(tmp_path, make):
    path = make(tmp_path / "set.zip", ["a/1", "b/2", "b/3.png"])
    assert [name for _, _, name in listed(path)] == ["a/1", "b/2", "b/3.png"]


def test_text_without_a_suffix_is_no_picture(tmp_path):
    path = make_folder(tmp_path / "set", ["a/1.png"])
    (path / "a" / "README").write_text("about these pictures")
    (path / "a" / "empty").write_bytes(b"")
    with open_listing(path) as source:
        assert source.other_files == {"without a suffix": 2}


def test_name_that_is_no_text_can_be_told_of(tmp_path):
    path = make_folder(tmp_path / "set", ["a/1.png", "b/2.png", "b/so. It goes on"])
    (path / "b" / os.fsdecode(b"x.\xff")).write_bytes(b"")
    with open_listing(path) as source:
        assert source.other_files == {"without a suffix": 2}
        describe_other_files(source.other_files).encode()


def test_folder_of_other_kinds_alone_says_which(tmp_path):
    with (
        pytest.raises(DatasetError, match=r"but 2 \.heic \(read is \.avif \.bmp"),
        open_listing(make_folder(tmp_path / "set", ["a/1.heic", "b/2.heic"])),
    ):
        pass


@pytest.mark.parametrize("make", [make_folder, make_zip], ids=["folder", "zip"])
def test_loose_picture_in_a_split_is_passed_over_and_counted(tmp_path, make):
    names = ["train/cat/1.png", "train/loose.png", "test/2.png", "top.png"]
    with open_listing(make(tmp_path / "set.zip", names)) as source:
        assert [entry.name for entry in source.entries] == ["train/cat/1.png"]
        assert source.ignored == {
            "images in no class folder": ["test/2.png", "top.png", "train/loose.png"]
        }


@pytest.mark.parametrize("make", [make_folder, make_zip], ids=["folder", "zip"])
def test_class_may_have_the_name_of_a_split(tmp_path, make):
    names = ["bus/1.png", "car/1.png", "train/1.png"]
    assert [label for _, label, _ in listed(make(tmp_path / "v.zip", names))] == [
        "bus",
        "car",
        "train",
    ]


@pytest.mark.parametrize("make", [make_folder, make_zip], ids=["folder", "zip"])
def test_split_may_stand_further_up(tmp_path, make):
    path = make(tmp_path / "set.zip", ["test_set/animals/cat/1.png"])
    assert listed(path) == [("test", "cat", "test_set/animals/cat/1.png")]


def test_folders_and_zips_list_in_the_same_order(tmp_path):
    names = ["happy-2/1.png", "happy/1.png", "happy/2.png"]
    folder = make_folder(tmp_path / "set", names)
    assert listed(folder) == listed(make_zip(tmp_path / "set.zip", names))


def test_links_back_do_not_loop(tmp_path):
    root = make_folder(tmp_path / "set", ["a/1.png", "b/1.png"])
    (root / "a" / "up").symlink_to(root)
    (root / "b" / "up").symlink_to(root)
    assert len(listed(root)) == 2


def test_named_pipe_is_unreadable_and_does_not_hang(tmp_path):
    root = make_folder(tmp_path / "set", ["a/1.png"])
    os.mkfifo(root / "a" / "2.png")
    with open_listing(root) as source:
        assert [why(entry) for entry in source.entries] == [
            "",
            "it is not a regular file",
        ]


@pytest.mark.parametrize(
    "suffix", [".JPG", ".jpeg", ".jfif", ".gif", ".AVIF", ".webp", ".tiff"]
)
def test_suffix_may_be_of_any_common_format_and_case(tmp_path, suffix):
    path = make_folder(tmp_path / "set", [f"cat/1{suffix}"])
    assert len(listed(path)) == 1


def test_folder_and_zip_list_the_same_entries(tmp_path):
    names = ["train/a/2.png", "train/a/1.png", "test/b/1.png", "train/b/x.png"]
    folder = make_folder(tmp_path / "set", names)
    assert listed(folder) == listed(make_zip(tmp_path / "set.zip", names))


def test_order_does_not_depend_on_the_order_in_the_zip(tmp_path):
    names = ["b/1.png", "a/2.png", "a/1.png"]
    one = make_zip(tmp_path / "one.zip", names)
    assert listed(one) == listed(make_zip(tmp_path / "other.zip", names[::-1]))


@pytest.mark.parametrize("make", [make_folder, make_zip], ids=["folder", "zip"])
def test_pixels_are_those_of_the_file(tmp_path, make):
    path = make(tmp_path / "set.zip", PLAIN)
    with open_listing(path) as source:
        values = [int(decode(entry).pixels[0, 0]) for entry in source.entries]
    assert values == [0, 1, 2]


# --- wrong sources -----------------------------------------------------------------


def test_missing_path_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"no-such\.zip.*no such path"):
        listed(tmp_path / "no-such.zip")


def test_file_of_another_kind_says_what_is_expected(tmp_path):
    path = tmp_path / "images.tar"
    path.write_bytes(b"x")
    with pytest.raises(
        DatasetError, match=r"folder, \.zip or \.csv, got 'images\.tar'"
    ):
        listed(path)


def test_text_file_named_zip_is_refused(tmp_path):
    path = tmp_path / "set.zip"
    path.write_text("404: not found\n")
    with pytest.raises(DatasetError, match="readable zip"):
        listed(path)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"<!DOCTYPE html>Virus scan warning", "text, such as a web page"),
        (b"Rar!\x1a\x07\0" + bytes(99), "RAR archive"),
    ],
    ids=["page", "rar"],
)
def test_other_file_called_zip_is_named(tmp_path, content, what):
    (tmp_path / "set.zip").write_bytes(content)
    with pytest.raises(DatasetError, match=f"readable zip.*it is {what}"):
        listed(tmp_path / "set.zip")


def test_truncated_zip_is_refused(tmp_path):
    path = make_zip(tmp_path / "set.zip", PLAIN)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DatasetError, match="fetch it again"):
        listed(path)


@pytest.mark.parametrize("make", [make_folder, make_zip], ids=["folder", "zip"])
def test_source_without_images_says_which_layout_is_expected(tmp_path, make):
    path = make(tmp_path / "set.zip", ["readme.txt"])
    with pytest.raises(DatasetError, match="<class>/<image>"):
        listed(path)


# --- damaged zips ------------------------------------------------------------------


@pytest.mark.parametrize(
    "compression",
    [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED],
    ids=["stored", "deflated"],
)
@settings(max_examples=60)
@given(st.data())
def test_broken_zip_is_refused_or_its_images_are_unreadable(compression, data):
    """Nothing but DatasetError comes out of a zip with damaged bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for number, name in enumerate(PLAIN):
            archive.writestr(name, png(number, (20, 20)))
    broken = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(broken) - 1))
        broken[position] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "set.zip"
        path.write_bytes(broken)
        try:
            with open_listing(path) as source:
                reasons = [why(entry) for entry in source.entries]
        except DatasetError:
            return
    assert all("\n" not in reason for reason in reasons)


def test_zip_entry_without_a_name_is_no_image(tmp_path):
    path = make_zip(tmp_path / "set.zip", PLAIN)
    data = bytearray(path.read_bytes())
    central = data.index(b"PK\x01\x02")
    name = data.index(PLAIN[0].encode(), central)
    data[name] = 0  # a name ends there
    path.write_bytes(data)
    with zipfile.ZipFile(path) as archive:
        assert archive.infolist()[0].filename == ""
    with open_listing(path) as source:
        assert len(source.entries) == len(PLAIN) - 1


def test_damaged_lzma_entry_says_so(tmp_path):
    """Its decompressor raises an error of its own."""
    path = make_zip(tmp_path / "set.zip", PLAIN, compression=zipfile.ZIP_LZMA)
    data = bytearray(path.read_bytes())
    data[48] = 1  # right behind the first entry's header
    path.write_bytes(data)
    with open_listing(path) as source:
        assert "damaged in the zip" in why(source.entries[0])
