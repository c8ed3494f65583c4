"""Listing labelled images in folders, zips and CSVs, and decoding them."""

import io
import os
import struct
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import DatasetError
from train.data.decoding import decode
from train.data.entries import Entry
from train.data.fer2013 import FER2013_LABELS
from train.data.image_files import describe_other_files, open_listing


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


def csv_row(emotion=0, usage="Training", pixels=48 * 48, value=7):
    return f"{emotion},{' '.join([str(value)] * pixels)},{usage}"


def make_csv(path, rows, header="emotion,pixels,Usage"):
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


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
    names = ["a/1.png", "a/2.HEIC", "b/3.heic", "b/4", "b/.DS_Store", ".git/x.txt"]
    with open_listing(make(tmp_path / "set.zip", names)) as source:
        assert source.other_files == {".heic": 2, "without a suffix": 1}


def test_name_that_is_no_text_can_be_told_of(tmp_path):
    path = make_folder(tmp_path / "set", ["a/1.png", "b/2.png", "b/so. It goes on"])
    (path / "b" / os.fsdecode(b"x.\xff")).write_bytes(b"")
    with open_listing(path) as source:
        assert source.other_files == {"without a suffix": 2}
        describe_other_files(source.other_files).encode()


def test_folder_of_other_kinds_alone_says_which(tmp_path):
    with (
        pytest.raises(DatasetError, match=r"but 2 \.heic \(read is \.bmp \.jpeg"),
        open_listing(make_folder(tmp_path / "set", ["a/1.heic", "b/2.heic"])),
    ):
        pass


@pytest.mark.parametrize("make", [make_folder, make_zip], ids=["folder", "zip"])
def test_loose_picture_in_a_split_is_passed_over_and_counted(tmp_path, make):
    names = ["train/cat/1.png", "train/loose.png", "test/2.png", "top.png"]
    with open_listing(make(tmp_path / "set.zip", names)) as source:
        assert [entry.name for entry in source.entries] == ["train/cat/1.png"]
        assert source.unlabelled == 3


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
        assert [decode(entry) is None for entry in source.entries] == [False, True]


@pytest.mark.parametrize("suffix", [".JPG", ".jpeg", ".bmp", ".webp", ".tiff"])
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
        values = [int(decode(entry)[0, 0]) for entry in source.entries]
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


# --- unreadable images -------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [b"", b"no image", png()[:20], b"\x89PNG\r\n\x1a\n" + bytes(50)],
    ids=["empty", "text", "cut", "header"],
)
def test_file_that_is_no_image_decodes_to_none(content):
    assert decode(Entry("x.png", "train", "cat", lambda: content)) is None


@pytest.mark.parametrize(
    "error",
    [OSError("gone"), ValueError("odd")],
    ids=repr,
)
def test_file_that_cannot_be_read_decodes_to_none(error):
    def read():
        raise error

    assert decode(Entry("x.png", "train", "cat", read)) is None


def test_encrypted_zip_entry_decodes_to_none(tmp_path):
    path = make_zip(tmp_path / "set.zip", PLAIN)
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.index(signature) + offset
        data[at] |= 1  # the flag "encrypted"
    path.write_bytes(data)
    with open_listing(path) as source:
        assert [decode(entry) is None for entry in source.entries] == [
            True,
            False,
            False,
        ]


def test_zip_entry_that_claims_to_be_huge_decodes_to_none(tmp_path):
    path = make_zip(tmp_path / "set.zip", PLAIN)
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", 2**31)
    path.write_bytes(data)
    with open_listing(path) as source:
        assert decode(source.entries[0]) is None


@pytest.mark.parametrize(
    ("image", "shape"),
    [
        (np.zeros((9, 7), np.uint8), (9, 7)),
        (np.zeros((9, 7, 3), np.uint8), (9, 7, 3)),
        (np.zeros((9, 7, 4), np.uint8), (9, 7, 3)),
        (np.zeros((9, 7), np.uint16), (9, 7)),
    ],
    ids=["grey", "colour", "alpha", "16-bit"],
)
def test_decoded_images_are_uint8_grey_or_bgr(image, shape):
    data = cv2.imencode(".png", image)[1].tobytes()
    decoded = decode(Entry("x.png", "train", "cat", lambda: data))
    assert (decoded.shape, decoded.dtype) == (shape, np.uint8)


@pytest.mark.parametrize(
    "compression",
    [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED],
    ids=["stored", "deflated"],
)
@settings(max_examples=60, deadline=None)
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
                images = [decode(entry) for entry in source.entries]
        except DatasetError:
            return
    assert all(image is None or image.dtype == np.uint8 for image in images)


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


def test_damaged_lzma_entry_decodes_to_none(tmp_path):
    """Its decompressor raises an error of its own."""
    path = make_zip(tmp_path / "set.zip", PLAIN, compression=zipfile.ZIP_LZMA)
    data = bytearray(path.read_bytes())
    data[48] = 1  # right behind the first entry's header
    path.write_bytes(data)
    with open_listing(path) as source:
        assert decode(source.entries[0]) is None


# --- fer2013.csv -------------------------------------------------------------------


def test_csv_labels_are_named_by_number_not_by_alphabet(tmp_path):
    rows = [csv_row(emotion) for emotion in range(7)]
    labels = [label for _, label, _ in listed(make_csv(tmp_path / "f.csv", rows))]
    assert labels == ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    assert tuple(labels) == FER2013_LABELS


@pytest.mark.parametrize(
    ("usage", "split"),
    [("Training", "train"), ("PublicTest", "validation"), ("PrivateTest", "test")],
)
def test_csv_usage_is_the_split(tmp_path, usage, split):
    path = make_csv(tmp_path / "f.csv", [csv_row(0, usage)])
    assert listed(path) == [(split, "angry", "row 1")]


def test_csv_pixels_are_rows_of_48(tmp_path):
    numbers = " ".join(str(i % 251) for i in range(48 * 48))
    path = make_csv(tmp_path / "f.csv", [f"0,{numbers},Training"])
    with open_listing(path) as source:
        image = decode(source.entries[0])
    assert image.shape == (48, 48)
    assert image.ravel().tolist() == [i % 251 for i in range(48 * 48)]


@pytest.mark.parametrize("order", ["Usage,emotion,pixels", "pixels,Usage,emotion,x"])
def test_csv_columns_are_found_by_name(tmp_path, order):
    values = {"emotion": "3", "pixels": "1 2", "Usage": "Training", "x": "y"}
    row = ",".join(values[name] for name in order.split(","))
    assert listed(make_csv(tmp_path / "f.csv", [row], order))[0][1] == "happy"


@pytest.mark.parametrize(
    "header", ["", "emotion,pixels", "label,image,split", "a;b;c"], ids=repr
)
def test_csv_with_wrong_columns_is_refused(tmp_path, header):
    path = make_csv(tmp_path / "f.csv", [csv_row()], header)
    with pytest.raises(DatasetError, match="emotion,pixels,Usage"):
        listed(path)


@pytest.mark.parametrize(
    "emotion", ["7", "-1", "", "x", "1.5", "²", "9" * 5000], ids=lambda e: repr(e[:5])
)
def test_csv_with_a_bad_emotion_names_the_row(tmp_path, emotion):
    path = make_csv(tmp_path / "f.csv", [csv_row(), csv_row(emotion)])
    with pytest.raises(DatasetError, match="row 2"):
        listed(path)


@pytest.mark.parametrize("usage", ["", "Holdout", "Training2"], ids=repr)
def test_csv_with_a_bad_usage_names_the_row(tmp_path, usage):
    path = make_csv(tmp_path / "f.csv", [csv_row(0, usage)])
    with pytest.raises(DatasetError, match="row 1"):
        listed(path)


@pytest.mark.parametrize(
    "pixels",
    ["", "1 2 3", " ".join(["1"] * 2305), " ".join(["256"] * 2304), "x " * 2304],
    ids=["none", "short", "long", "too-bright", "words"],
)
def test_csv_row_with_wrong_pixels_is_an_unreadable_image(tmp_path, pixels):
    path = make_csv(tmp_path / "f.csv", [f"0,{pixels},Training"])
    with open_listing(path) as source:
        assert decode(source.entries[0]) is None


def test_csv_without_rows_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="got none"):
        listed(make_csv(tmp_path / "f.csv", []))


def test_binary_file_named_csv_is_refused(tmp_path):
    path = tmp_path / "f.csv"
    path.write_bytes(bytes(range(256)) * 20)
    with pytest.raises(DatasetError):
        listed(path)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_in_a_csv_are_read_or_refused(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "f.csv"
        path.write_bytes(b"emotion,pixels,Usage\n" + content)
        with pytest.raises(DatasetError):
            listed(path)


def test_csv_is_streamed_not_held_as_text(tmp_path):
    path = make_csv(tmp_path / "f.csv", [csv_row(value=123)] * 600)
    tracemalloc.start()
    try:
        with open_listing(path) as source:
            assert len(source.entries) == 600
            peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The bytes alone are a quarter of the text.
    assert peak < 0.5 * path.stat().st_size
