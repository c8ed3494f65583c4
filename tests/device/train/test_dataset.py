"""Image sets: read, split, and without images that give the evaluation away."""

import doctest
import zipfile

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import DatasetError
from edge_runtime.hardware.board import Memory
from train.data.dataset import load
from train.data.splits import balanced_indices, pixel_hash, stratified_indices
from train.data.summary import summarize


def noise(seed, size=12, channels=0):
    shape = (size, size, channels) if channels else (size, size)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write(root, images):
    """Writes images by name."""
    for name, image in images.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), image)
    return root


def two_classes(per_class=20, prefix="", first_seed=0, **options):
    return {
        f"{prefix}{label}/{i:03}.png": noise(first_seed + 1000 * c + i, **options)
        for c, label in enumerate(("cat", "dog"))
        for i in range(per_class)
    }


def split_set():
    return {
        **two_classes(10, "train/"),
        **two_classes(4, "val/", 5000),
        **two_classes(5, "test/", 7000),
    }


def counts(data):
    return tuple(len(data.split(s)) for s in ("train", "validation", "test"))


# --- what is read ------------------------------------------------------------------


def test_images_and_labels_are_those_of_the_files(tmp_path):
    images = two_classes(10)
    data = load(write(tmp_path / "set", images))
    for part in (data.train, data.validation):
        for image, label, name in zip(
            part.images, part.labels, part.names, strict=True
        ):
            assert np.array_equal(image[..., 0], images[name])
            assert data.labels[label] == name.split("/")[0]


def test_image_sets_are_also_found_under_their_former_name():
    from train import dataset

    assert dataset.load is load


def test_example_in_the_docstring_runs(tmp_path, monkeypatch):
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(10):
            path = tmp_path / "photos" / label / f"{i}.png"
            cv2.imwrite(str(path), noise(100 * (label == "dog") + i, 48))
    monkeypatch.chdir(tmp_path)
    (example,) = doctest.DocTestFinder().find(load, "load", globs={"load": load})
    assert doctest.DocTestRunner().run(example) == (0, 3)


def test_own_splits_are_kept(tmp_path):
    data = load(write(tmp_path / "set", split_set()))
    assert counts(data) == (20, 8, 10)
    assert data.validation_from == "source"


def test_folder_and_zip_give_the_same_data(tmp_path):
    folder = write(tmp_path / "set", split_set())
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, "wrapper/" + path.relative_to(folder).as_posix())
    one, other = load(folder), load(tmp_path / "set.zip")
    assert one.fingerprint == other.fingerprint
    assert np.array_equal(one.train.images, other.train.images)


def test_csv_is_read_with_labels_in_alphabetical_order(tmp_path):
    rows = ["emotion,pixels,Usage"]
    for emotion in range(7):
        for i, usage in enumerate(["Training"] * 3 + ["PublicTest", "PrivateTest"]):
            pixels = noise(100 * emotion + i, 48).ravel()
            rows.append(f"{emotion},{' '.join(map(str, pixels))},{usage}")
    path = tmp_path / "fer2013.csv"
    path.write_text("\n".join(rows))
    data = load(path)
    assert data.labels[4:] == ("neutral", "sad", "surprise")
    assert counts(data) == (21, 7, 7)
    sad = np.flatnonzero(data.train.labels == data.labels.index("sad"))
    assert [data.train.names[i] for i in sad] == ["row 21", "row 22", "row 23"]


def test_unreadable_images_are_counted_and_the_first_ten_named(tmp_path):
    root = write(tmp_path / "set", two_classes())
    for i in range(13):
        (root / "cat" / f"bad{i:02}.png").write_bytes(b"no image")
    data = load(root)
    assert len(data.unreadable) == 13
    summary = summarize(data)
    assert "skipped 13 files" in summary
    assert "bad09.png" in summary
    assert "bad10.png" not in summary
    assert "and 3 more" in summary


def test_summary_counts_images_per_class_and_split(tmp_path):
    lines = summarize(load(write(tmp_path / "set", split_set()))).splitlines()
    assert lines[2].split() == ["cat", "10", "4", "5"]
    assert lines[4].split() == ["all", "20", "8", "10"]


def test_summary_names_classes_that_differ_by_case(tmp_path):
    folders = {
        f"{c}/{i}.png": noise(20 * n + i)
        for n, c in enumerate(("Cat", "cat", "dog"))
        for i in range(4)
    }
    text = summarize(load(write(tmp_path / "set", folders)))
    assert "note: classes that differ by case alone: Cat, cat\n" in text + "\n"


@pytest.mark.parametrize(("validating", "told"), [(9, True), (4, False)])
def test_summary_tells_where_more_images_validate(tmp_path, validating, told):
    folders = {**two_classes(5, "train/"), **two_classes(validating, "val/", 5000)}
    text = summarize(load(write(tmp_path / "set", folders)))
    assert ("more images validate than are learnt from" in text) == told


# --- size and colour ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "expected"), [(12, 12), (48, 48), (224, 224), (225, 96)], ids=str
)
def test_size_is_the_images_own_up_to_a_limit(tmp_path, size, expected):
    data = load(write(tmp_path / "set", two_classes(3, size=size)))
    assert data.size_px == expected
    assert data.train.images.shape[1:3] == (expected, expected)


def test_images_of_different_sizes_get_the_fallback_size(tmp_path):
    images = {**two_classes(3), "cat/large.png": noise(1, 20)}
    assert load(write(tmp_path / "set", images)).size_px == 96


def test_images_that_are_not_square_get_the_fallback_size(tmp_path):
    images = {name: image[:-2] for name, image in two_classes(3).items()}
    assert load(write(tmp_path / "set", images)).size_px == 96


@pytest.mark.parametrize(("channels", "colour"), [(0, "grey"), (3, "rgb")])
def test_colour_is_what_the_images_are(tmp_path, channels, colour):
    data = load(write(tmp_path / "set", two_classes(3, channels=channels)))
    assert data.colour == colour
    assert data.train.images.shape[3] == max(1, channels)


def test_grey_stored_in_three_channels_is_grey(tmp_path):
    images = {n: np.dstack([i] * 3) for n, i in two_classes(3).items()}
    assert load(write(tmp_path / "set", images)).colour == "grey"


def test_rgb_images_have_red_first(tmp_path):
    bgr = {n: i // 8 for n, i in two_classes(3, channels=3).items()}
    for image in bgr.values():
        image[..., 2] += 200
    data = load(write(tmp_path / "set", bgr))
    assert data.train.images[..., 0].min() >= 200


def test_given_size_and_colour_win(tmp_path):
    data = load(write(tmp_path / "set", two_classes(3)), size_px=20, colour="rgb")
    assert data.train.images.shape[1:] == (20, 20, 3)


# --- leaks -------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["val", "test"])
def test_training_copies_of_evaluation_images_are_dropped(tmp_path, split):
    images = split_set()
    images["train/cat/copy.png"] = images[f"{split}/cat/000.png"]
    images["train/dog/copy.png"] = images[f"{split}/cat/000.png"]  # also mislabelled
    data = load(write(tmp_path / "set", images))
    assert data.dropped == ("train/cat/copy.png", "train/dog/copy.png")
    assert counts(data) == (20, 8, 10)
    assert "dropped 2 training images" in summarize(data)


def test_copies_across_the_carved_split_are_dropped(tmp_path):
    """Each image three times: none may be on both sides."""
    images = {
        f"{name[:-4]}-{i}.png": image
        for name, image in two_classes(15).items()
        for i in range(3)
    }
    data = load(write(tmp_path / "set", images), validation_frac=0.2)
    train = {pixel_hash(image) for image in data.train.images}
    validation = {pixel_hash(image) for image in data.validation.images}
    assert not train & validation
    assert data.dropped
    assert len(data.train) + len(data.validation) + len(data.dropped) == len(images)


def test_copies_within_the_training_split_stay(tmp_path):
    images = split_set()
    images["train/cat/copy.png"] = images["train/cat/000.png"]
    assert counts(load(write(tmp_path / "set", images))) == (21, 8, 10)


def test_copies_are_found_by_pixels_whatever_the_file_format(tmp_path):
    images = split_set()
    images["train/cat/copy.bmp"] = images["test/cat/000.png"]
    assert load(write(tmp_path / "set", images)).dropped == ("train/cat/copy.bmp",)


# --- validation --------------------------------------------------------------------


def test_carved_validation_is_stratified(tmp_path):
    images = {**two_classes(40), **{f"rare/{i}.png": noise(9000 + i) for i in range(5)}}
    data = load(write(tmp_path / "set", images), validation_frac=0.1)
    assert data.validation_from == "train"
    assert np.bincount(data.validation.labels).tolist() == [4, 4, 1]
    assert np.bincount(data.train.labels).tolist() == [36, 36, 4]


def test_carved_validation_depends_on_the_seed_alone(tmp_path):
    root = write(tmp_path / "set", two_classes(40))
    one, again, other = load(root, seed=1), load(root, seed=1), load(root, seed=2)
    assert one.validation.names == again.validation.names
    assert one.validation.names != other.validation.names


def test_validation_on_the_test_split_leaves_no_test(tmp_path):
    data = load(write(tmp_path / "set", split_set()), validation_from="test")
    assert counts(data) == (20, 10, 0)
    assert data.validation_from == "test"


def test_validation_on_a_missing_test_split_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="no test split"):
        load(write(tmp_path / "set", two_classes()), validation_from="test")


def test_validation_can_be_carved_although_the_source_has_one(tmp_path):
    root = write(tmp_path / "set", split_set())
    data = load(root, validation_from="train", validation_frac=0.2)
    assert counts(data)[:2] == (16, 4)
    assert all(name.startswith("train/") for name in data.validation.names)


@pytest.mark.parametrize("share", [0, -0.1, 0.6, 1])
def test_impossible_validation_share_is_refused(tmp_path, share):
    with pytest.raises(DatasetError, match="validation share"):
        load(write(tmp_path / "set", two_classes(2)), validation_frac=share)


# --- refusals ----------------------------------------------------------------------


def test_single_class_is_refused(tmp_path):
    images = {f"cat/{i}.png": noise(i) for i in range(5)}
    with pytest.raises(DatasetError, match="at least two classes"):
        load(write(tmp_path / "set", images))


def test_class_without_a_readable_image_is_named(tmp_path):
    root = write(tmp_path / "set", two_classes())
    (root / "empty").mkdir()
    (root / "empty" / "bad.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"none of \['empty'\]"):
        load(root)


def test_class_with_one_image_cannot_be_split(tmp_path):
    images = {**two_classes(), "rare/1.png": noise(77)}
    with pytest.raises(DatasetError, match=r"train split.*\['rare'\]"):
        load(write(tmp_path / "set", images))


def test_class_missing_from_the_validation_split_is_named(tmp_path):
    images = {**split_set(), **{f"train/emu/{i}.png": noise(i) for i in range(9)}}
    with pytest.raises(DatasetError, match=r"validation split.*\['emu'\]"):
        load(write(tmp_path / "set", images))


def test_folder_without_images_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="got none"):
        load(tmp_path)


def test_missing_path_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="no such path"):
        load(tmp_path / "nothing")


def test_unexpected_class_is_refused_where_labels_are_given(tmp_path):
    with pytest.raises(DatasetError, match=r"got also \['dog'\]"):
        load(write(tmp_path / "set", two_classes()), labels=["cat", "emu"])


def test_given_labels_decide_the_order(tmp_path):
    data = load(write(tmp_path / "set", two_classes()), labels=["dog", "cat"])
    assert data.labels == ("dog", "cat")
    assert all(
        data.labels[label] == name.split("/")[0]
        for label, name in zip(data.train.labels, data.train.names, strict=True)
    )


# --- fingerprint -------------------------------------------------------------------


def test_fingerprint_does_not_depend_on_file_names_or_format(tmp_path):
    images = split_set()
    renamed = {name.replace(".png", "x.bmp"): image for name, image in images.items()}
    one = load(write(tmp_path / "one", images))
    assert one.fingerprint == load(write(tmp_path / "other", renamed)).fingerprint


@pytest.mark.parametrize("change", ["pixel", "label", "split", "removed"])
def test_fingerprint_changes_with_the_content(tmp_path, change):
    images = split_set()
    before = load(write(tmp_path / "one", images)).fingerprint
    image = images.pop("train/cat/003.png")
    if change == "pixel":
        image = image.copy()
        image[0, 0] ^= 1
        images["train/cat/003.png"] = image
    elif change == "label":
        images["train/dog/from-cat.png"] = image
    elif change == "split":
        images["test/cat/from-train.png"] = image
    assert load(write(tmp_path / "other", images)).fingerprint != before


# --- indices -----------------------------------------------------------------------

label_arrays = st.lists(st.integers(0, 5), min_size=1, max_size=80).map(
    lambda values: np.array(values, np.int64)
)


@given(label_arrays, st.integers(1, 60), st.integers(0, 5))
def test_balanced_choice_is_even_and_without_repeats(labels, count, seed):
    indices = balanced_indices(labels, count, seed)
    assert indices.tolist() == sorted(set(indices.tolist()))
    classes, sizes = np.unique(labels, return_counts=True)
    each = max(1, count // len(classes))
    chosen = [int(np.sum(labels[indices] == label)) for label in classes]
    assert chosen == [min(each, int(size)) for size in sizes]


@given(label_arrays, st.floats(0.05, 0.95), st.integers(0, 5))
def test_stratified_choice_takes_a_share_of_every_class(labels, share, seed):
    indices = stratified_indices(labels, share, seed)
    assert indices.tolist() == sorted(set(indices.tolist()))
    for label in np.unique(labels):
        size = int(np.sum(labels == label))
        chosen = int(np.sum(labels[indices] == label))
        assert chosen == max(1, round(share * size))


@pytest.mark.parametrize("choose", [balanced_indices, stratified_indices])
def test_choice_depends_on_the_seed_alone(choose):
    labels = np.repeat(np.arange(3), 50)
    size = 30 if choose is balanced_indices else 0.2
    one, again, other = (choose(labels, size, seed) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_unknown_split_name_is_refused(tmp_path):
    data = load(write(tmp_path / "set", two_classes()))
    with pytest.raises(DatasetError, match="'holdout'"):
        data.split("holdout")


# --- the real data -----------------------------------------------------------------

FER2013_TRAIN = [3923, 411, 4036, 7187, 4940, 4808, 3017]
FER2013_TEST = [467, 56, 496, 895, 607, 653, 415]


@pytest.fixture(scope="module")
def fer2013(shared_folder):
    path = shared_folder / "fer2013" / "fer2013.zip"
    if not path.exists():
        pytest.skip("the FER2013 images are not on this machine")
    return load(path, validation_from="test")


def test_fer2013_loses_exactly_the_copies_of_its_evaluation_images(fer2013):
    assert len(fer2013.dropped) == 316
    assert len(fer2013.train) == 28_322 - 316
    assert (fer2013.unreadable, fer2013.ignored, fer2013.damaged) == ({}, {}, ())


def test_fer2013_has_the_published_counts_per_class(fer2013):
    dropped = [name.split("/")[-2] for name in fer2013.dropped]
    train = np.bincount(fer2013.train.labels)
    whole = [
        int(n) + dropped.count(label)
        for n, label in zip(train, fer2013.labels, strict=True)
    ]
    assert whole == FER2013_TRAIN
    assert np.bincount(fer2013.validation.labels).tolist() == FER2013_TEST


def test_fer2013_is_grey_and_48_pixels(fer2013):
    assert (fer2013.size_px, fer2013.colour) == (48, "grey")


def test_empty_class_folder_is_refused_by_name(tmp_path):
    root = write(tmp_path / "set", two_classes())
    (root / "zebra").mkdir()
    with pytest.raises(DatasetError, match="zebra"):
        load(root)


@pytest.mark.parametrize(
    "name", ["x" * 150, "new\nline", "\u202eevil"], ids=["long", "newline", "bidi"]
)
def test_folder_that_is_no_usable_label_is_refused_before_training(tmp_path, name):
    root = write(tmp_path / "set", two_classes())
    next(path for path in root.iterdir() if path.is_dir()).rename(root / name)
    with pytest.raises(DatasetError, match="rename the folder"):
        load(root)


def test_too_large_set_is_refused_before_it_is_read(tmp_path):
    root = write(tmp_path / "set", two_classes())
    with pytest.raises(DatasetError, match="GiB of memory"):
        load(root, size_px=1_000_000)


def test_limit_of_a_container_counts_for_too_large_sets(tmp_path, monkeypatch):
    root = write(tmp_path / "set", two_classes())
    memory = Memory(2**40, limit=100, available=100, swap_total=0, swap_free=0)
    monkeypatch.setattr("train.data.image_stores.read_memory", lambda: memory)
    with pytest.raises(DatasetError, match="GiB of memory"):
        load(root)
