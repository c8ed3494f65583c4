"""Labelled images that a CSV lists."""

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
from train.data.listing.fer2013 import FER2013_LABELS
from train.data.listing.image_files import open_listing


def png(value=100, shape=(8, 8)):
    return cv2.imencode(".png", np.full(shape, value, np.uint8))[1].tobytes()


def listed(path):
    """(split, label, name) of every entry."""
    with open_listing(path) as source:
        return [(entry.split, entry.label, entry.name) for entry in source.entries]


def csv_row(emotion=0, usage="Training", pixels=48 * 48, value=7):
    return f"{emotion},{' '.join([str(value)] * pixels)},{usage}"


def make_csv(path, rows, header="emotion,pixels,Usage"):
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


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
        image = decode(source.entries[0]).pixels
    assert image.shape == (48, 48)
    assert image.ravel().tolist() == [i % 251 for i in range(48 * 48)]


@pytest.mark.parametrize("order", ["Usage,emotion,pixels", "pixels,Usage,emotion,x"])
def test_csv_columns_are_found_by_name(tmp_path, order):
    values = {"emotion": "3", "pixels": "1 2", "Usage": "Training", "x": "y"}
    row = ",".join(values[name] for name in order.split(","))
    assert listed(make_csv(tmp_path / "f.csv", [row], order))[0][1] == "happy"


@pytest.mark.parametrize(
    "header", ["", "emotion,usage", "label,colour,split", "a;b;c", "path"], ids=repr
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
    ["", "1 2 3", "1 " * 2305, "256 " * 2304, "x " * 2304, "1 " * 64**2, "1 2 3 4"],
    ids=["none", "short", "long", "too-bright", "words", "other-size", "tiny"],
)
def test_csv_row_with_wrong_pixels_is_an_unreadable_image(tmp_path, pixels):
    path = make_csv(tmp_path / "f.csv", [csv_row(), f"0,{pixels},Training"])
    with (
        open_listing(path) as source,
        pytest.raises(ValueError, match="pixels from 0 to 255: expected 48 x 48"),
    ):
        decode(source.entries[1])


@pytest.mark.parametrize("side", [8, 64, 300])
@pytest.mark.parametrize("first", [0, 2209, 3])
def test_csv_images_have_the_size_of_most(tmp_path, side, first):
    rows = [csv_row(pixels=first), *[csv_row(pixels=side**2)] * 2]
    with open_listing(make_csv(tmp_path / "f.csv", rows)) as source:
        assert decode(source.entries[1]).pixels.shape == (side, side)
        with pytest.raises(ValueError, match=f"expected {side} x {side}, as in most"):
            decode(source.entries[0])


def test_csv_without_square_images_says_so(tmp_path):
    path = make_csv(tmp_path / "f.csv", [csv_row(pixels=count) for count in (3, 2303)])
    with open_listing(path) as source:
        for entry in source.entries:
            with pytest.raises(ValueError, match="no square image"):
                decode(entry)


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("emotion, Usage, pixels", "3, PublicTest, 1 2"),
        (" Emotion ;PIXELS;usage", "3;1 2;PublicTest"),
        ("\ufeffemotion\tpixels\tUsage", "3\t1 2\tPublicTest"),
    ],
    ids=["spaces", "semicolons", "tabs"],
)
def test_csv_header_may_be_written_in_other_ways(tmp_path, header, row):
    path = make_csv(tmp_path / "icml_face_data.csv", [row], header)
    assert listed(path) == [("validation", "happy", "row 1")]


def test_csv_of_the_challenge_without_usage_is_for_training(tmp_path):
    path = make_csv(tmp_path / "train.csv", ["0,1 2", "6,3 4"], "emotion,pixels")
    assert listed(path) == [("train", "angry", "row 1"), ("train", "neutral", "row 2")]


def test_csv_of_the_challenge_without_labels_is_refused(tmp_path):
    path = make_csv(tmp_path / "test.csv", ["1 2"], "pixels")
    with pytest.raises(DatasetError, match="images to predict cannot be learnt from"):
        listed(path)


def test_csv_without_rows_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="got none"):
        listed(make_csv(tmp_path / "f.csv", []))


def test_binary_file_named_csv_is_refused(tmp_path):
    path = tmp_path / "f.csv"
    path.write_bytes(bytes(range(256)) * 20)
    with pytest.raises(DatasetError):
        listed(path)


@settings(max_examples=50)
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


# --- path,label --------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path):
    """Eight pictures beside a CSV."""
    for number in range(8):
        path = tmp_path / "images" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png(number))
    return tmp_path


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("path,label", "images/3.png,cat"),
        ("Filename, Class", "images/3.png, cat"),
        ("file_name;category;width", "images\\3.png;cat;40"),
        ("label,image", "cat,images/3.png"),
        ("id,path,label", "7,images/3.png,cat"),
    ],
)
def test_csv_of_paths_and_labels_is_read(pictures, header, row):
    path = make_csv(pictures / "labels.csv", [row], header)
    assert listed(path) == [("train", "cat", "images/3.png")]
    with open_listing(path) as source:
        assert decode(source.entries[0]).pixels[0, 0] == 3


@pytest.mark.parametrize(
    ("header", "rows", "splits"),
    [
        ("path,label,split", ["images/1.png,a,val", "images/2.png,a,TEST"], "vt"),
        ("path,label,Usage", ["images/1.png,a,PublicTest", "val/2.png,a,"], "vv"),
        ("path,label", ["test/1.png,a", "x/valid/2.png,a", "train/3.png,b"], "trv"),
        ("path,label", ["test2014/1.png,a", "z.png,a"], "tr"),
        ("path,label", ["/home/test/1.png,a", "/home/test/2.png,a"], "rr"),
        ("path,label", ["/mnt/eval/x/test/1.png,a", "/mnt/eval/x/2.png,a"], "rt"),
        ("path,label", ["../test/1.png,a", "../train/2.png,a"], "tr"),
        ("path,label", ["/dev/test/1.png,a", "valid/2.png,a"], "rv"),
    ],
)
def test_split_is_the_columns_else_that_of_the_path(pictures, header, rows, splits):
    names = {"v": "validation", "t": "test", "r": "train"}
    path = make_csv(pictures / "l.csv", rows, header)
    assert [split for split, _, _ in listed(path)] == [names[each] for each in splits]


@pytest.mark.parametrize(
    ("header", "rows", "part"),
    [
        ("path,label,split", ["1.png,a,holdout"], "row 1.*got '1.png' and 'holdout'"),
        ("path,label", [",a"], "row 1.*expected a path"),
        ("path,label,split", ["1.png,a,train", "2.png,a,"], "row 2.*its split.*''"),
        ("path,label", ["1.png,a", "c,d.png,a"], "row 2: expected 2 values.*got 3"),
        ("path,label", ["1.png,a,extra"], "row 1: expected 2 values.*got 3"),
        ("path,label,label", ["1.png,a,b"], "each column once, got 'label, label'"),
        ("path,Label,label", ["1.png,a,b"], "each column once, got 'Label, label'"),
        ("file_name,File Name,label", ["1.png,2.png,b"], "each column once"),
        ("path,label", ["1.png,a", "1.png,b"], "row 2.*'b' in train for 1.png.*'a'"),
        ("path,label,class", ["1.png,a,b"], "one column with the label"),
        ("filename,class,xmin,ymin", ["1.png,a,1,2"], "boxes of a detector"),
        ("image,colour", ["1.png,red"], "path,label"),
    ],
)
def test_list_that_says_no_single_class_is_refused(tmp_path, header, rows, part):
    with pytest.raises(DatasetError, match=part):
        listed(make_csv(tmp_path / "l.csv", rows, header))


def test_image_that_is_listed_but_missing_says_so(pictures):
    path = make_csv(pictures / "l.csv", ["images/99.png,cat"], "path,label")
    with (
        open_listing(path) as source,
        pytest.raises(ValueError, match=r"(?i)no such file"),
    ):
        decode(source.entries[0])


def test_row_without_a_label_is_ignored_and_named(pictures):
    rows = ["images/1.png,cat", "images/2.png,"]
    path = make_csv(pictures / "l.csv", rows, "path,label")
    with open_listing(path) as source:
        assert source.ignored == {"images without a class in the CSV": ["images/2.png"]}


def test_line_for_excel_before_the_header_is_passed_over(pictures):
    rows = ["path;label", "images/1.png;cat", "images/2.png;dog"]
    path = make_csv(pictures / "l.csv", rows, "sep=;")
    assert [each[1] for each in listed(path)] == ["cat", "dog"]


def test_columns_that_are_not_used_are_named(pictures):
    rows = ["0,images/1.png,cat,True,4", "1,images/2.png,dog,False,5"]
    path = make_csv(pictures / "l.csv", rows, ",path,label,is_valid,age")
    with open_listing(path) as source:
        assert source.ignored == {"columns of the CSV": ["is_valid", "age"]}


@pytest.mark.parametrize(
    "character", ["\u2028", "\x85", "\x0b", "\x0c", "\x1c", "\x1e"]
)
def test_characters_that_end_no_line_of_a_csv_are_kept(pictures, character):
    rows = [f"images/1.png,dog{character}ge", "images/2.png,cat"]
    path = make_csv(pictures / "l.csv", rows, "path,label")
    assert listed(path) == [
        ("train", f"dog{character}ge", "images/1.png"),
        ("train", "cat", "images/2.png"),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=repr)
def test_lines_of_every_system_are_read(pictures, end):
    path = pictures / "l.csv"
    text = end.join(["path,label", "images/1.png,cat", "", 'images/2.png,"a dog"', ""])
    path.write_bytes(text.encode())
    assert [label for _, label, _ in listed(path)] == ["cat", "a dog"]


def test_empty_columns_and_values_at_the_end_are_no_columns(pictures):
    path = make_csv(pictures / "l.csv", ["images/1.png,cat,,,,"], "path,label,,")
    assert listed(path) == [("train", "cat", "images/1.png")]


# --- CSVs inside folders and zips --------------------------------------------------


def write_set(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def zip_of(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return path


@pytest.fixture(params=["folder", "zip"])
def pack(request, tmp_path):
    def write(files):
        folder = write_set(tmp_path / "set", files)
        is_zip = request.param == "zip"
        return zip_of(folder, tmp_path / "set.zip") if is_zip else folder

    return write


def test_csv_in_a_folder_or_zip_is_found(pack):
    text = "emotion,pixels,Usage\n" + csv_row(3, "PrivateTest") + "\n"
    path = pack({"archive/fer2013.csv": text, "archive/README.md": "about"})
    assert listed(path) == [("test", "happy", "row 1")]


def test_csv_in_a_zip_may_be_larger_than_an_image(tmp_path, monkeypatch):
    monkeypatch.setattr("train.data.listing.zip_source.LARGEST_FILE_BYTES", 1000)
    text = "emotion,pixels,Usage\n" + csv_row(3) + "\n"
    folder = write_set(tmp_path / "set", {"fer2013.csv": text})
    assert len(listed(zip_of(folder, tmp_path / "set.zip"))) == 1


def test_several_csvs_without_images_are_named(pack):
    path = pack({"train.csv": "emotion,pixels\n", "test.csv": "pixels\n"})
    with pytest.raises(DatasetError, match=r"one CSV, got test\.csv, train\.csv"):
        listed(path)


def test_csv_without_rows_in_a_zip_is_refused(pack):
    with pytest.raises(DatasetError, match="expected rows with images in the CSV"):
        listed(pack({"fer2013.csv": "emotion,pixels,Usage\n"}))


def test_classes_of_roboflow_are_read(pack):
    files = {
        f"{split}/img{number}.jpg": png(number)
        for split in ("train", "valid", "test")
        for number in range(3)
    }
    rows = "filename, Cat, dog\nimg0.jpg, 1, 0\nimg1.jpg, 0, 1\n"
    files |= {f"{s}/_classes.csv": rows for s in ("train", "valid")}
    files["test/_classes.csv"] = "filename, Cat, dog\nimg0.jpg, 0, 0\n"
    with open_listing(pack(files)) as source:
        assert {(e.split, e.label, e.name) for e in source.entries} == {
            ("train", "Cat", "train/img0.jpg"),
            ("train", "dog", "train/img1.jpg"),
            ("validation", "Cat", "valid/img0.jpg"),
            ("validation", "dog", "valid/img1.jpg"),
        }
        assert source.ignored["images without a class in the CSV"] == ["test/img0.jpg"]
        assert source.ignored["images that the CSV does not list"] == [
            "test/img1.jpg",
            "test/img2.jpg",
            "train/img2.jpg",
            "valid/img2.jpg",
        ]


@pytest.mark.parametrize("flags", ["1,0", "1.0,0.0", "True,False"])
def test_classes_are_read_as_pandas_writes_them(pack, flags):
    files = {
        "train/img0.jpg": png(),
        "train/_classes.csv": f"filename,cat,dog\nimg0.jpg,{flags}\n",
    }
    assert listed(pack(files)) == [("train", "cat", "train/img0.jpg")]


def test_classes_that_differ_by_case_alone_are_refused(pack):
    files = {
        "train/img0.jpg": png(),
        "train/_classes.csv": "filename,T_shirt,T shirt\nimg0.jpg,1,0\n",
    }
    with pytest.raises(DatasetError, match="each column once, got 'T_shirt, T shirt'"):
        listed(pack(files))


def test_list_without_its_images_is_refused_with_the_way_out(pack):
    path = pack({"labels.csv": "path,label\n1.png,cat\n"})
    how = ", unpacked" if path.suffix else ""
    with pytest.raises(
        DatasetError, match=f"no images in .*CSV as --data{how}, beside"
    ):
        listed(path)


def test_list_beside_images_is_mentioned_with_the_way_out(pack):
    path = pack({"labels.csv": "path,label\n1.png,cat\n", "1.png": png()})
    how = ", unpacked" if path.suffix else ""
    with pytest.raises(DatasetError, match=rf"labels\.csv, give .* as --data{how}$"):
        listed(path)


@pytest.mark.parametrize("row", ["img0.jpg,1,1", "img0.jpg,0.5,0.5"])
def test_image_of_several_classes_is_refused(pack, row):
    files = {
        "train/img0.jpg": png(),
        "train/_classes.csv": f"filename,cat,dog\n{row}\n",
    }
    with pytest.raises(DatasetError, match="row 1: expected one 1 among 0"):
        listed(pack(files))


# --- lists of the challenges on Kaggle ----------------------------------------------


def folder_of(root, names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png())


@pytest.mark.parametrize(
    ("header", "rows", "expected"),
    [
        ("id,breed", ["a,pug", "b,beagle"], {"a": "pug", "b": "beagle"}),
        ("image_id,label", ["a.jpg,1", "b.jpg,0"], {"a.jpg": "1", "b.jpg": "0"}),
        ("id_code,diagnosis", ["a,2", "b,4"], {"a": "2", "b": "4"}),
        ("Width,ClassId,Path", ["9,7,a", "9,8,b"], {"a": "7", "b": "8"}),
        ("image_id,rust,scab", ["a,1,0", "b,0,1"], {"a": "rust", "b": "scab"}),
        ("image,MEL,NV", ["a,0.0,1.0", "b,1.0,0.0"], {"a": "NV", "b": "MEL"}),
    ],
)
def test_images_are_found_without_folder_and_suffix(tmp_path, header, rows, expected):
    folder_of(tmp_path, ["train_images/a.jpg", "train_images/b.jpg", "test/c.jpg"])
    with open_listing(make_csv(tmp_path / "train.csv", rows, header)) as source:
        assert {entry.name: entry.label for entry in source.entries} == expected
        assert all(decode(entry).pixels.shape == (8, 8) for entry in source.entries)


def test_name_that_two_images_have_is_refused(tmp_path):
    folder_of(tmp_path, ["train/a.jpg", "test/a.jpg"])
    path = make_csv(tmp_path / "train.csv", ["a,pug", "b,beagle"], "id,breed")
    with pytest.raises(DatasetError, match=r"a may be test/a\.jpg or train/a\.jpg"):
        listed(path)


def test_path_with_a_folder_is_not_looked_for_elsewhere(tmp_path):
    folder_of(tmp_path, ["other/a.jpg"])
    path = make_csv(tmp_path / "train.csv", ["images/a.jpg,pug"], "path,label")
    with open_listing(path) as source, pytest.raises(ValueError, match="No such file"):
        decode(source.entries[0])


@pytest.mark.parametrize(
    ("header", "row"),
    [("id,beagle,pug", "a,0.5,0.5"), ("image_id", "a"), ("id,split", "a,train")],
)
def test_list_without_labels_is_refused(tmp_path, header, row):
    path = make_csv(tmp_path / "submission.csv", [row], header)
    with pytest.raises(DatasetError, match="expected the columns"):
        listed(path)
