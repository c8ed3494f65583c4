"""Decoded images on the disk: found again by content, and never the wrong ones."""

import gc
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.errors import DatasetError, OutputError
from train.data import decoding, image_cache
from train.data.dataset import load
from train.data.decoding import Decoder, load_split, prepare
from train.data.image_formats import ImageFormat
from train.data.image_stores import CACHES
from train.data.listing import stored_files
from train.data.splits import in_batches, pixel_hash, pixel_hashes
from train.data.stored_images import StoredImages

ROOT = Path(__file__).resolve().parents[3]
DISK = Decoder("disk", 1)
SIZE_PX = 16


def picture(seed, size=(24, 30)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def write(root, per_class=12):
    for split, count in (("train", per_class), ("val", 3), ("test", 2)):
        for number, label in enumerate(("cat", "dog")):
            folder = root / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                seed = 1000 * number + 100 * len(split) + i
                cv2.imwrite(str(folder / f"{i}.png"), picture(seed))
    return root


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own; files count as settled at once."""
    folder = tmp_path / "cache"
    monkeypatch.setenv(image_cache.FOLDER_VARIABLE, str(folder))
    monkeypatch.setattr(stored_files, "SETTLED_S", 0.0)
    return folder


@pytest.fixture
def photos(tmp_path):
    return write(tmp_path / "set")


@pytest.fixture
def decoded(monkeypatch):
    """The number of images decoded at each call, from now on."""
    counts = []

    def count(files, *more):
        counts.append(len(files))
        return kept(files, *more)

    kept = decoding.prepare
    monkeypatch.setattr(decoding, "prepare", count)
    return counts


def read(path, decoder=DISK):
    return load(path, size_px=SIZE_PX, colour="rgb", fit="crop", decoder=decoder)


def everything(data):
    """The names, labels and pixels of all splits."""
    return {
        split: [
            (name, int(label), pixel_hash(image))
            for name, label, image in zip(
                part.names, part.labels, part.images, strict=True
            )
        ]
        for split, part in (
            ("train", data.train),
            ("validation", data.validation),
            ("test", data.test),
        )
    }


def files(cache, suffix):
    return sorted(cache.glob(f"*/*{suffix}"))


# --- the same images, however they are kept ------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("cache_kind", CACHES)
def test_images_are_the_same_however_they_are_kept(
    photos, cache_kind, workers, monkeypatch
):
    monkeypatch.setattr(decoding, "WORTH_PROCESSES_S", -1)
    monkeypatch.setattr(decoding, "IMAGES_AT_ONCE", 5)
    expected = read(photos, Decoder("ram", 1))
    data = read(photos, Decoder(cache_kind, workers))
    assert everything(data) == everything(expected)
    assert data.fingerprint == expected.fingerprint
    assert isinstance(data.train.images, StoredImages) == (cache_kind != "ram")


@pytest.mark.parametrize("cache_kind", ["disk", "none"])
def test_stored_images_are_read_like_an_array(photos, cache_kind):
    array = read(photos, Decoder("ram", 1)).train.images
    stored = read(photos, Decoder(cache_kind, 1)).train.images
    assert (stored.shape, stored.dtype, len(stored)) == (array.shape, np.uint8, 24)
    chosen = np.array([5, 0, 5, 23])
    for key in (3, -1, slice(2, 7), slice(None, None, -1), chosen, np.arange(24) > 4):
        assert np.array_equal(stored[key], array[key])
    assert np.array_equal(np.asarray(stored), array)
    assert np.array_equal(np.concatenate(list(in_batches(stored, 7))), array)
    assert np.array_equal(stored.view(chosen)[1:], array[chosen][1:])
    assert pixel_hashes(stored) == pixel_hashes(array)


# --- what is kept stays right ---------------------------------------------------------


@pytest.mark.parametrize(
    ("fit", "colour", "expected"),
    [
        (
            "stretch",
            "grey",
            [
                [53, 62, 71, 77],
                [90, 97, 103, 112],
                [128, 131, 139, 148],
                [162, 170, 172, 181],
            ],
        ),
        (
            "crop",
            "grey",
            [
                [59, 62, 68, 73],
                [92, 99, 101, 108],
                [131, 131, 138, 140],
                [168, 170, 171, 177],
            ],
        ),
        (
            "pad",
            "grey",
            [
                [127, 127, 127, 127],
                [71, 79, 87, 95],
                [145, 150, 155, 164],
                [127, 127, 127, 127],
            ],
        ),
        ("crop", "rgb", [[125, 25, 63, 120, 25, 99, 128, 25, 135, 130, 25, 171]]),
    ],
)
def test_images_of_this_version_are_decoded_as_ever(fit, colour, expected):
    """Where this fails on purpose, raise ``image_cache.VERSION``: caches are stale."""
    assert image_cache.VERSION == 1
    y, x = np.indices((24, 40))
    image = np.stack([6 * x, 10 * y, (37 * x + 91 * y) % 256], axis=2)
    _, data = cv2.imencode(".png", image.astype(np.uint8))
    (prepared,) = prepare([data.tobytes()], ImageFormat(4, colour, fit), False)
    pixels = prepared.pixels.reshape(4, -1)[: len(expected)]
    assert (
        np.abs(pixels.astype(int) - expected).max() <= 1
    )  # versions round differently


def test_decoded_images_are_for_their_owner_alone(photos, cache):
    read(photos)
    assert cache.stat().st_mode & 0o777 == 0o700


def test_small_sets_stay_in_memory_and_large_ones_go_to_the_disk(
    photos, cache, monkeypatch
):
    assert isinstance(read(photos, Decoder()).train.images, np.ndarray)
    assert not cache.exists()
    monkeypatch.setattr(decoding, "SMALL_SET_BYTES", 34 * SIZE_PX**2 * 3)
    assert isinstance(read(photos, Decoder()).train.images, StoredImages)


def test_only_the_split_that_is_measured_is_kept(photos, decoded):
    given = {"size_px": SIZE_PX, "colour": "rgb", "labels": ["cat", "dog"]}
    split = load_split(photos, split="test", decoder=DISK, **given)
    assert isinstance(split.images, StoredImages)
    assert (len(split), sum(decoded)) == (4, 4)


def test_unreadable_and_doubtful_images_are_named_again_the_second_time(photos):
    (photos / "train" / "cat" / "0.png").write_bytes(b"no image")
    dark = np.full((24, 24), 900, np.uint16)
    cv2.imwrite(str(photos / "train" / "dog" / "0.png"), dark)
    bright = np.full((24, 24), 60_000, np.uint16)
    for i in (1, 2):
        cv2.imwrite(str(photos / "train" / "dog" / f"{i}.png"), bright + i * 300)
    first, second = read(photos), read(photos)
    for data in (first, second):
        assert list(data.unreadable) == ["train/cat/0.png"]
        assert data.dark == ("train/dog/0.png",)
        assert len(data.train) == 23


# --- found again ---------------------------------------------------------------------


def test_second_start_decodes_nothing_and_reads_no_file(photos, decoded, monkeypatch):
    before = everything(read(photos))
    assert sum(decoded) == 34
    monkeypatch.setattr(decoding, "read", None)  # would fail
    assert everything(read(photos)) == before
    assert sum(decoded) == 34


def test_zip_is_found_again_too(photos, tmp_path, decoded, monkeypatch):
    archive = Path(shutil.make_archive(str(tmp_path / "photos"), "zip", photos))
    before = everything(read(archive))
    monkeypatch.setattr(decoding, "read", None)
    assert everything(read(archive)) == before
    assert sum(decoded) == 34


def test_set_that_moved_is_read_but_not_decoded(photos, tmp_path, decoded, monkeypatch):
    before = everything(read(photos))
    moved = Path(shutil.copytree(photos, tmp_path / "moved"))
    shutil.rmtree(photos)
    assert everything(read(moved)) == before
    assert sum(decoded) == 34
    monkeypatch.setattr(decoding, "read", None)  # from now on it is known there
    assert everything(read(moved)) == before


def test_only_new_images_are_decoded(photos, decoded):
    read(photos)
    (photos / "train" / "cat" / "3.png").unlink()
    cv2.imwrite(str(photos / "train" / "dog" / "new.png"), picture(7777))
    data = read(photos)
    assert sum(decoded) == 35
    assert everything(data) == everything(read(photos, Decoder("ram", 1)))


def test_other_labels_and_seeds_use_the_same_images(photos, decoded):
    read(photos)
    options = {"size_px": SIZE_PX, "colour": "rgb", "fit": "crop", "decoder": DISK}
    load(photos, validation_from="train", seed=7, **options)
    assert sum(decoded) == 34


@pytest.mark.parametrize(
    "other", [{"size_px": 12}, {"colour": "grey"}, {"fit": "pad"}], ids=str
)
def test_other_formats_are_decoded_anew(photos, decoded, other):
    read(photos)
    given = {"size_px": SIZE_PX, "colour": "rgb", "fit": "crop", **other}
    data = load(photos, decoder=DISK, **given)
    assert sum(decoded) == 68
    expected = load(photos, decoder=Decoder("ram", 1), **given)
    assert everything(data) == everything(expected)


def test_what_was_decoded_before_an_interrupt_is_kept(photos, decoded, monkeypatch):
    monkeypatch.setattr(decoding, "IMAGES_AT_ONCE", 2)
    counting = decoding.prepare

    def stop(files, *more):
        if len(decoded) == 6:
            raise KeyboardInterrupt
        return counting(files, *more)

    monkeypatch.setattr(decoding, "prepare", stop)
    with pytest.raises(KeyboardInterrupt):
        read(photos)
    kept = sum(decoded)
    monkeypatch.setattr(decoding, "prepare", counting)
    data = read(photos)
    assert 0 < kept < 34
    assert sum(decoded) < 34 + kept
    assert everything(data) == everything(read(photos, Decoder("ram", 1)))


# --- sources that changed ------------------------------------------------------------


def replace_picture(path, seed):
    """Another picture of the same size in bytes, with the old time."""
    old, before = path.read_bytes(), path.stat()
    new = cv2.imencode(".png", picture(seed))[1].tobytes()
    new = new[: len(old)] + bytes(len(old) - len(new)) if len(new) < len(old) else new
    path.write_bytes(new)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_changed_file_is_decoded_anew_also_with_its_old_time(photos, decoded):
    read(photos)
    replace_picture(photos / "train" / "cat" / "5.png", 4242)
    data = read(photos)
    assert sum(decoded) == 35
    assert everything(data) == everything(read(photos, Decoder("ram", 1)))


def test_file_that_changed_just_now_is_not_known_by_its_time(photos, monkeypatch):
    """Two changes within a tick of the clock would have the same time."""
    monkeypatch.setattr(stored_files, "SETTLED_S", 3600.0)
    path = photos / "train" / "cat" / "5.png"
    assert stored_files.stamp_of(path.stat()) == ""
    reads = []
    kept = decoding.read
    monkeypatch.setattr(decoding, "read", lambda e: reads.append(e) or kept(e))
    read(photos)
    read(photos)
    assert len(reads) == 2 * 34


def test_names_that_changed_places_keep_their_pixels(photos, decoded):
    read(photos)
    one, other = photos / "train" / "cat" / "1.png", photos / "train" / "dog" / "1.png"
    one.rename(photos / "x")
    other.rename(one)
    (photos / "x").rename(other)
    data = read(photos)
    assert sum(decoded) == 34
    assert everything(data) == everything(read(photos, Decoder("ram", 1)))


# --- caches that are damaged, foreign, shared, full ----------------------------------


@pytest.mark.parametrize("suffix", [".pixels", ".index.npy", "stamps.npy"])
@pytest.mark.parametrize("how", ["cut", "empty", "garbage", "folder", "gone"])
def test_damaged_file_is_made_anew_in_silence(photos, cache, suffix, how, capfd):
    expected = everything(read(photos))
    (path,) = files(cache, suffix)
    data = path.read_bytes()
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how != "gone":
        content = {"cut": data[:-100], "empty": b"", "garbage": bytes(300)}[how]
        path.write_bytes(content)
    for _ in range(2):
        assert everything(read(photos)) == expected
    assert capfd.readouterr().err == ""


def test_damaged_pixels_are_refused_and_decoded_anew_the_next_time(photos, cache):
    expected = everything(read(photos))
    (path,) = files(cache, ".pixels")
    data = bytearray(path.read_bytes())
    data[5 * SIZE_PX**2 * 3 + 100] ^= 1  # the sixth image
    path.write_bytes(data)
    damaged = read(photos)
    assert damaged.train.images[4].shape == (SIZE_PX, SIZE_PX, 3)
    with pytest.raises(DatasetError, match=r"damaged.*--resume"):
        everything(damaged)
    assert everything(read(photos)) == expected


def test_cache_of_another_version_is_not_used(photos, decoded, monkeypatch):
    read(photos)
    monkeypatch.setattr(image_cache, "VERSION", image_cache.VERSION + 1)
    read(photos)
    assert sum(decoded) == 68


def test_images_can_be_read_after_the_cache_was_deleted(photos, cache):
    data = read(photos)
    expected = everything(read(photos, Decoder("ram", 1)))
    shutil.rmtree(cache)
    assert everything(data) == expected


def test_two_trainings_at_the_same_time_have_the_right_images(photos, cache):
    code = (
        "import sys; from train.data.dataset import load\n"
        "from train.data.decoding import Decoder\n"
        f"data = load(sys.argv[1], size_px={SIZE_PX}, colour='rgb', fit='crop',"
        " decoder=Decoder('disk', 1))\n"
        "print(data.fingerprint, sum(int(i.sum()) for i in data.train.images))\n"
    )
    command = [sys.executable, "-c", code, str(photos)]
    both = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    expected = read(photos, Decoder("ram", 1))
    total = int(expected.train.images.sum())
    for each in both:
        assert each.communicate()[0].split() == [expected.fingerprint, str(total)]
    assert everything(read(photos)) == everything(expected)


def test_oldest_images_are_removed_where_the_cache_is_full(
    photos, tmp_path, cache, monkeypatch
):
    read(photos)
    (first,) = files(cache, ".index.npy")
    os.utime(first, (1, 1))
    others = [write(tmp_path / "b", 13), write(tmp_path / "c", 14)]
    for each in others[0], others[1]:
        for path in each.glob("*/*/*.png"):
            cv2.imwrite(str(path), picture(abs(hash(str(path))) % 2**32))
    read(others[0])
    monkeypatch.setattr(image_cache, "SEGMENT_BYTES", 40 * SIZE_PX**2 * 3)
    monkeypatch.setattr(image_cache, "LARGEST_CACHE", 80 * SIZE_PX**2 * 3)
    data = read(others[1])
    assert not first.exists()
    assert len(files(cache, ".pixels")) == len(files(cache, ".index.npy")) == 2
    assert everything(data) == everything(read(others[1], Decoder("ram", 1)))


def test_set_larger_than_the_bound_is_kept_whole(photos, decoded, monkeypatch):
    monkeypatch.setattr(image_cache, "LARGEST_CACHE", 1)
    monkeypatch.setattr(image_cache, "SEGMENT_BYTES", 5 * SIZE_PX**2 * 3)
    data = read(photos)
    assert everything(data) == everything(read(photos, Decoder("ram", 1)))
    again = sum(decoded)
    assert everything(read(photos)) == everything(data)
    assert sum(decoded) == again


def test_what_a_killed_training_left_is_removed_later(photos, cache):
    read(photos)
    (pixels,) = files(cache, ".pixels")
    abandoned, fresh = pixels.with_name("a.pixels"), pixels.with_name("b.pixels")
    for path in (abandoned, fresh):
        path.write_bytes(b"x")
    os.utime(abandoned, (1, 1))
    cv2.imwrite(str(photos / "train" / "dog" / "new.png"), picture(7777))
    read(photos)
    assert (abandoned.exists(), fresh.exists()) == (False, True)


def test_folder_that_cannot_be_written_is_one_line(photos, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(image_cache.FOLDER_VARIABLE, str(tmp_path / "file" / "cache"))
    with pytest.raises(OutputError, match=r"Not a directory: .*FER_EDGE_CACHE"):
        read(photos)


def test_without_a_disk_images_stay_in_memory_where_nothing_was_said(
    photos, tmp_path, monkeypatch, caplog
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(image_cache.FOLDER_VARIABLE, str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(decoding, "SMALL_SET_BYTES", 0)
    assert isinstance(read(photos, Decoder()).train.images, np.ndarray)
    assert "kept in memory" in caplog.text


def test_set_that_fits_neither_on_the_disk_is_refused_before_it_is_read(
    photos, decoded, monkeypatch
):
    usage = shutil._ntuple_diskusage(10**6, 10**6 - 1000, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OutputError, match=r"34 decoded images need 0.0 GiB"):
        read(photos)
    assert decoded == []


def test_disk_that_becomes_full_is_one_line_and_leaves_nothing(photos, cache):
    code = (
        "import resource, sys\n"
        "from train.data.dataset import load\n"
        "from train.data.decoding import Decoder\n"
        "from edge_runtime.errors import OutputError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n"
        "try:\n"
        f"    load(sys.argv[1], size_px={SIZE_PX}, decoder=Decoder('disk', 1))\n"
        "except OutputError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(photos)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    (line,) = done.stdout.splitlines()
    assert "File too large" in line
    assert "--cache none" in line
    assert done.stderr == ""
    assert files(cache, ".pixels") == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 9000


def test_cache_lies_in_the_folder_for_caches(monkeypatch, tmp_path):
    monkeypatch.delenv(image_cache.FOLDER_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert image_cache.cache_folder() == tmp_path / "fer-edge" / "images"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the specification ignores it
    monkeypatch.setenv("HOME", str(tmp_path))
    assert image_cache.cache_folder() == tmp_path / ".cache" / "fer-edge" / "images"


# --- no cache ------------------------------------------------------------------------


def test_zip_stays_open_as_long_as_its_images_are_used(photos, tmp_path):
    archive = Path(shutil.make_archive(str(tmp_path / "photos"), "zip", photos))
    data = read(archive, Decoder("none", 1))
    gc.collect()
    assert everything(data) == everything(read(photos, Decoder("ram", 1)))
    del data
    gc.collect()
    descriptors = Path("/proc/self/fd").iterdir()
    open_files = [str(link.readlink()) for link in descriptors if link.exists()]
    assert str(archive) not in open_files


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_source_that_changes_while_it_is_used_is_refused(photos, how):
    data = read(photos, Decoder("none", 1))
    path = photos / data.train.names[3]
    path.unlink() if how == "gone" else cv2.imwrite(str(path), picture(4242))
    assert data.train.images[2].shape == (SIZE_PX, SIZE_PX, 3)
    with pytest.raises(DatasetError, match=r"again .*--resume"):
        data.train.images[3]


def test_damaged_zip_member_is_named(photos, tmp_path):
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for path in sorted(photos.glob("*/*/*.png")):
            target.write(path, path.relative_to(photos))
    content = bytearray(archive.read_bytes())
    content[200] ^= 255
    archive.write_bytes(content)
    for cache_kind in CACHES:
        data = read(archive, Decoder(cache_kind, 1))
        assert len(data.unreadable) == 1
