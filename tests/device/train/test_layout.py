"""Which folders are classes and splits: understood as others do, or refused."""

import io
import os
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import DatasetError
from train.data.dataset import load
from train.data.listing.ambiguous_layout import resolve
from train.data.listing.image_files import open_listing
from train.data.listing.layout import find_classes
from train.data.listing.stored_files import StoredFile, sort_files
from train.data.splits import find_splits, split_of
from train.data.summary import summarize

PICTURE = cv2.imencode(".png", np.full((8, 8), 9, np.uint8))[1].tobytes()


def in_folder(root, names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PICTURE)
    return root


def in_zip(path, names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, PICTURE)
    return path


@pytest.fixture(params=[in_folder, in_zip], ids=["folder", "zip"])
def make(request, tmp_path):
    """Writes a picture under each name; several at once are separated by commas."""

    def write(names):
        each = [name for group in names.split() for name in expand(group)]
        return request.param(tmp_path / "set.zip", each)

    return write


def expand(name):
    """``{a,b}/{1,2}.png`` as the shell does."""
    if "{" not in name:
        return [name]
    head, _, rest = name.partition("{")
    middle, _, tail = rest.partition("}")
    return [each for part in middle.split(",") for each in expand(head + part + tail)]


def classes_of(path):
    with open_listing(path) as source:
        return {(entry.split, entry.label) for entry in source.entries}


def pairs(text):
    return {tuple(pair.split("/")) for pair in text.split()}


# --- understood --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("{cats,dogs}/{indoor,outdoor}/1.png", "train/cats train/dogs"),
        ("{cats,dogs}/1.png cats/from-a-friend/2.png", "train/cats train/dogs"),
        (
            "{train,test}/{cats,dogs}/2019/june/1.png",
            "train/cats train/dogs test/cats test/dogs",
        ),
        (
            "w/{train,val}/{valid,broken}/1.png",
            "train/valid train/broken validation/valid validation/broken",
        ),
        ("{valid,invalid}/1.png", "train/valid train/invalid"),
        ("{bus,car,train}/1.png", "train/bus train/car train/train"),
        ("{test_tube,flask}/1.png", "train/test_tube train/flask"),
        ("{cat,dog}/{train,test}/1.png", "train/cat test/cat train/dog test/dog"),
        ("{cat,dog}/Training/1.png", "train/cat train/dog"),
        (
            "x/{training_set/training_set,test_set/test_set}/{cats,dogs}/1.png",
            "train/cats train/dogs test/cats test/dogs",
        ),
        (
            "seg_train/seg_train/{sea,city}/1.png seg_test/seg_test/{sea,city}/1.png"
            " seg_pred/seg_pred/7.png",
            "train/sea train/city test/sea test/city",
        ),
        (
            "{train2017,val2017}/{cat,dog}/1.png",
            "train/cat train/dog validation/cat validation/dog",
        ),
        (
            "test/{train,val}/{cat,dog}/1.png",
            "train/cat train/dog validation/cat validation/dog",
        ),
        (
            "{train,test}/animals/{cat,dog}/1.png",
            "train/cat train/dog test/cat test/dog",
        ),
        (
            "{animals,vehicles}/1.png vehicles/train/2.png",
            "train/animals train/vehicles",
        ),
    ],
)
def test_first_level_below_the_split_is_the_class(make, names, expected):
    assert classes_of(make(names)) == pairs(expected)


def test_accents_are_composed(make):
    path = make("train/{u\u0308ber,sad}/1.png val/{\xfcber,sad}/2.png")
    assert {label for _, label in classes_of(path)} == {"\xfcber", "sad"}


@pytest.mark.parametrize(
    ("names", "reason", "ignored"),
    [
        (
            "train/{cat,dog}/1.png test/{7,8}.png",
            "images in no class folder",
            ["test/7.png", "test/8.png"],
        ),
        (
            "{training_set,test_set}/{cat,dog}/1.png single_prediction/x.png",
            "images beside the splits",
            ["single_prediction/x.png"],
        ),
        (
            "{train,val}/{cat,dog}/1.png unlabeled/deep/x.png",
            "images beside the splits",
            ["unlabeled/deep/x.png"],
        ),
        (
            "{cat,dog}/1.png cat/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg",
            "images in hidden or system folders",
            ["cat/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg"],
        ),
        (
            "{cat,dog}/1.png .thumbnails/cat/2.png",
            "images in hidden or system folders",
            [".thumbnails/cat/2.png"],
        ),
        (
            "asl_train/asl_train/{A,B}/1.png asl_test/asl_test/A_test.png",
            "images in no class folder",
            ["asl_test/asl_test/A_test.png"],
        ),
        (  # Tiny ImageNet: a list beside val/images/ has the labels
            "train/{n1,n2}/images/1.png {val,test}/images/7.png",
            "images in no class folder",
            ["test/images/7.png", "val/images/7.png"],
        ),
    ],
    ids=["loose", "single", "unlabeled", "thumbnails", "hidden", "loose-deep", "plain"],
)
def test_what_is_not_used_is_counted_and_named(make, names, reason, ignored):
    with open_listing(make(names)) as source:
        assert source.ignored == {reason: ignored}


def test_ignored_images_are_in_the_summary(tmp_path):
    path = in_folder(tmp_path / "set", expand("{cat,dog}/{1,2,3}.png"))
    for number, image in enumerate(sorted(path.rglob("*.png"))):
        cv2.imwrite(str(image), np.full((8, 8), number, np.uint8))
    in_folder(path, ["loose.png"])
    summary = summarize(load(path))
    assert "ignored 1 images in no class folder: loose.png" in summary


@pytest.mark.parametrize(
    ("names", "line"),
    [
        ("{bus,car,train}/1.png", "train/ is taken as a class, like bus/, car/ beside"),
        ("{valid,invalid}/1.png", "valid/ is taken as a class, like invalid/ beside"),
    ],
)
def test_class_with_the_name_of_a_split_is_told(tmp_path, names, line, caplog):
    classes_of(in_folder(tmp_path / "set", expand(names)))
    (message,) = caplog.messages
    assert message.startswith(f"set: {line}")


# --- refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "part"),
    [
        ("train/cat.{1,2}.png test/7.png", "folder for each class in test/, train/"),
        ("train/cat.1.png test1/1.png", "folder for each class in test1/, train/"),
        ("images/{train,val}/1.png", "folder for each class in images/train/"),
        ("{train_images,test_images}/1.png", "folder for each class in test_images/"),
        ("{train,photos}/1.png", "train/ may be a split"),
        ("{cat,dog,test}/1.png", "test/ may be a split without class folders"),
        ("{train,masks,edges}/1.png", "train/ may be a split without class folders"),
        ("{train,Labels,depth}/1.png", "train/ may be a split without class folders"),
        ("{valid,images}/1.png", "valid/ may be a split without class folders"),
        ("{cat,dog,Validation}/1.png", "Validation/ may be a split"),
        ("train/{cat,dog}/1.png extra/cat/1.png", "train/ may be a split"),
        (
            "{val,eval,train}/{cat,dog}/1.png",
            "one validation split, got eval/ and val/",
        ),
        ("{raw,small}/{train,test}/{cat,dog}/1.png", "raw/ holds test/, train/"),
        ("{cat,dog}/{train,test}/1.png cat/loose.png", "cat/ holds test/, train/"),
        ("{a,b,cells/a,cells/b}/1.png", "cells/ holds the folders of the classes"),
        ("{1,2}.png", "got none of 2 in one: sort them"),
        ("test/1.png photos/{cat,dog}/1.png", "folder for each class in test/"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(make, names, part):
    with pytest.raises(DatasetError) as refused:
        classes_of(make(names))
    assert part in str(refused.value)


def test_boxes_and_lists_beside_the_images_are_mentioned(tmp_path):
    boxes = in_folder(tmp_path / "boxes", ["images/train/1.png", "images/val/1.png"])
    (boxes / "labels" / "train").mkdir(parents=True)
    (boxes / "labels" / "train" / "1.txt").write_text("0 .5 .5 .2 .2\n")
    with pytest.raises(DatasetError, match="boxes of a detector"):
        classes_of(boxes)
    listed = in_folder(tmp_path / "listed", ["train/1.png", "test/1.png"])
    (listed / "labels.csv").write_text("path,label\n")
    with pytest.raises(DatasetError, match=r"labels\.csv, give that CSV as --data"):
        classes_of(listed)


@pytest.mark.parametrize(
    ("images", "other", "reason"),
    [
        ("{train,valid}/images/1.png", "train/labels/1.txt", "boxes of a detector"),
        ("images/{1,2}.png", "annotations/list.txt", r"got only \['images'\]"),
        ("{images,masks}/{cat,dog}/1.png", "a.txt", "give --data images/"),
    ],
)
def test_folders_with_names_of_no_class_are_refused(tmp_path, images, other, reason):
    names = [name for group in images.split() for name in expand(group)]
    path = in_folder(tmp_path / "set", names)
    (path / other).parent.mkdir(parents=True, exist_ok=True)
    (path / other).write_text("0 .5 .5 .2 .2")
    with pytest.raises(DatasetError, match=reason):
        load(path)


def test_masks_beside_the_images_of_a_class_are_left_out_and_named(make):
    with open_listing(make("{COVID,normal}/{images,masks}/{1,2}.png")) as source:
        assert {entry.name.split("/")[1] for entry in source.entries} == {"images"}
        assert [len(names) for names in source.ignored.values()] == [4]


def test_folders_that_all_classes_have_are_mentioned(make, caplog):
    with open_listing(make("{fold1,fold2}/{cat,dog}/1.png")):
        assert "cat, dog in each of them are not told apart" in caplog.text


def test_list_beside_one_folder_of_images_is_mentioned(tmp_path):
    path = in_folder(tmp_path / "set", ["images/1.png", "images/2.png"])
    (path / "labels.csv").write_text("path,label\n")
    with pytest.raises(DatasetError, match=r"\['images'\].*labels are in labels\.csv"):
        load(path)


def test_set_with_a_test_split_alone_cannot_be_trained_on(tmp_path):
    path = in_folder(tmp_path / "set", expand("test/{cat,dog}/1.png"))
    with pytest.raises(
        DatasetError, match=r"train on, got only those of the test split"
    ):
        load(path)


def test_loose_training_images_are_mentioned(make):
    with pytest.raises(DatasetError, match=r"train/2\.png is in no class folder"):
        load(make("test/{cat,dog}/1.png train/{1,2}.png"))


def test_class_folder_without_readable_kinds_says_what_is_in_it(make):
    with (
        pytest.raises(DatasetError, match=r"'cat' \(2 \.heic\)"),
    ):
        load(make("{dog,emu}/{1,2}.png cat/{1,2}.heic"))


# --- links and rights --------------------------------------------------------------


def test_linked_split_is_a_split_of_its_own(tmp_path):
    path = in_folder(tmp_path / "set", expand("{train,val}/{cat,dog}/1.png"))
    (path / "test").symlink_to(path / "val")
    assert {split for split, _ in classes_of(path)} == {"train", "validation", "test"}


def test_classes_may_be_links(tmp_path):
    store = in_folder(tmp_path / "store", expand("{1,2}/1.png"))
    (tmp_path / "set").mkdir()
    for name, target in (("cat", "1"), ("dog", "2")):
        (tmp_path / "set" / name).symlink_to(store / target)
    assert classes_of(tmp_path / "set") == pairs("train/cat train/dog")


def test_links_back_are_named(tmp_path):
    path = in_folder(tmp_path / "set", expand("{a,b}/1.png"))
    (path / "a" / "up").symlink_to(path)
    with open_listing(path) as source:
        assert source.ignored == {"links back to a folder above them": ["a/up"]}
        assert len(source.entries) == 2


def test_link_to_nothing_is_named(tmp_path):
    path = in_folder(tmp_path / "set", expand("{train,val}/{cat,dog}/1.png"))
    (path / "test").symlink_to(tmp_path / "not-mounted")
    with open_listing(path) as source:
        assert source.ignored == {"links to nothing": ["test"]}


def test_links_that_multiply_are_refused(tmp_path):
    path = in_folder(tmp_path / "set", [f"{n}/1.png" for n in range(8)])
    for folder in range(8):
        for other in range(8):
            if other != folder:
                (path / str(folder) / f"to{other}").symlink_to(path / str(other))
    with pytest.raises(DatasetError, match="lead to the same folders more than 1,000"):
        classes_of(path)


def test_images_shared_by_validation_and_test_are_told(tmp_path):
    path = tmp_path / "set"
    for number, name in enumerate(expand("{train,val}/{cat,dog}/{1,2}.png")):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path / name), np.full((8, 8), number, np.uint8))
    (path / "test").symlink_to(path / "val")
    assert "note: 4 test images are validation images, too" in summarize(load(path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_folder_that_may_not_be_read_is_named(tmp_path):
    path = in_folder(tmp_path / "set", expand("{cat,dog,fox}/1.png"))
    (path / "cat").chmod(0)
    try:
        with pytest.raises(DatasetError, match=r"cat'.*Permission denied"):
            classes_of(path)
    finally:
        (path / "cat").chmod(0o755)


def test_error_of_a_folder_is_not_swallowed(tmp_path, monkeypatch):
    """As above, for root, too."""
    path = in_folder(tmp_path / "set", expand("{cat,dog}/1.png"))
    scandir = os.scandir

    def refuse(folder):
        if Path(folder).name == "dog":
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DatasetError, match=r"dog'.*Permission denied"):
        classes_of(path)


# --- names of splits ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("train test", {"train": "train", "test": "test"}),
        ("Train_data val-set", {"Train_data": "train", "val-set": "validation"}),
        ("test1 train", {"test1": "test", "train": "train"}),
        ("cars_train cars_test", {"cars_train": "train", "cars_test": "test"}),
        ("train_station tube", {}),
        ("train_station test_tube", {}),
        ("cat unlabeled", {}),
        ("strain contest", {}),
        ("train_val test", {"train_val": "train", "test": "test"}),
        ("Val-Train_images test", {"Val-Train_images": "train", "test": "test"}),
        ("trainval test", {"trainval": "train", "test": "test"}),
    ],
)
def test_splits_are_found_among_folders_side_by_side(names, expected):
    assert find_splits(names.split()) == expected


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("PublicTest", "validation"),
        ("Training", "train"),
        ("Training2", None),
        ("", None),
    ],
)
def test_split_of_a_single_name(name, split):
    assert split_of(name) == split


# --- nothing vanishes --------------------------------------------------------------

CLASSES = ("cat", "dog", "x", "@eaDir")
SPLITS = (
    "train",
    "val",
    "test",
    "valid",
    "test1",
    "seg_train",
    "seg_test",
    "unlabeled",
)
PATHS = st.lists(st.sampled_from(CLASSES + SPLITS), max_size=4).map(
    lambda folders: "/".join([*folders, "1.png"])
)


@settings(max_examples=300)
@given(st.sets(PATHS, min_size=1, max_size=9))
def test_every_image_has_a_class_or_is_named(names):
    files = [StoredFile(name, lambda: b"", io.BytesIO) for name in names]
    tree = sort_files("set", files, [], {})
    try:
        layout = find_classes(tree)
        if layout is None or not layout.is_plain(tree):
            layout = resolve(tree, layout)
    except DatasetError as error:
        assert "\n" not in str(error)
        return
    for image in tree.images:
        place = layout.place(image.parts)
        if place is None:
            assert layout.why_ignored(image.parts)
        else:
            split, label = place
            assert split in ("train", "validation", "test")
            assert label in image.parts[:-1]
    hidden = {name for name in names if "@eaDir" in name}
    assert {image.path for image in tree.images} == names - hidden
    assert set(tree.ignored.get("images in hidden or system folders", ())) == hidden


def test_deep_folders_are_no_recursion(tmp_path):
    path = in_zip(
        tmp_path / "set.zip", [f"{'a/' * 3000}{label}/1.png" for label in "xy"]
    )
    assert classes_of(path) == pairs("train/x train/y")
