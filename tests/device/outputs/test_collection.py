"""Which crops are collected, within which limits, and what a failure leaves of them."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime.__main__ import main
from edge_runtime.errors import OutputError
from edge_runtime.outputs.base import CollectLimits
from edge_runtime.outputs.collection import collector as collector_module
from edge_runtime.outputs.collection import crop_files, crop_folder
from edge_runtime.outputs.collection.collector import Collector, LabelCounts
from edge_runtime.outputs.collection.crop_age import CropAge
from edge_runtime.outputs.collection.crop_folder import CropFolder, TakenCrop
from edge_runtime.outputs.collection.kept_crop import KeptCrop, beyond_limits
from edge_runtime.outputs.collection.review import Review
from edge_runtime.outputs.work_queue import QueueCapacity, WorkQueue
from edge_runtime.preprocessing import square_crop
from edge_runtime.results import Decision, FaceResult, FrameResult
from edge_runtime.sources import Frame
from edge_runtime.sources.region import parse_regions
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[3]
LABELS = ("cat", "dog", "owl")
IMAGE = np.random.default_rng(0).integers(0, 256, (120, 160, 3)).astype(np.uint8)


def face(
    share: float,
    label: str = "cat",
    *,
    track: int | None = 1,
    average: float | None = None,
    box: Any = (40, 30, 50, 60),
    region: str | None = None,
) -> FaceResult:
    """An answer with a share for one label; the rest goes to the next one."""
    other = LABELS[(LABELS.index(label) + 1) % len(LABELS)]
    shares = dict.fromkeys(LABELS, 0.0) | {label: share, other: 1 - share}
    decision = None
    if average is not None:
        smooth = dict.fromkeys(LABELS, 0.0) | {label: average, other: 1 - average}
        decision = Decision(label, average, smooth, 0.0)
    return FaceResult(
        box, 0.9, label, share, shares, track, decision, None, region=region
    )


def answer(index: int, *faces: FaceResult, at_s: float | None = None) -> FrameResult:
    time_s = index / 10 if at_s is None else at_s
    return FrameResult(index, time_s, "camera", faces, 4.0, 1.0)


def frame(index: int = 0, image: Any = IMAGE) -> Frame:
    return Frame(image, index, index / 10, "camera")


class Taken:
    """A collector whose crops are noted, not written."""

    def __init__(
        self, *, random: float = 0.0, whole: bool = False, regions: Any = ()
    ) -> None:
        self.crops: list[TakenCrop] = []
        self.queue: WorkQueue[TakenCrop] = WorkQueue(
            "--collect",
            self.crops.append,
            capacity=QueueCapacity(frames=9),
            lossless=True,
        )
        self.spec: Any = SimpleNamespace(crop_margin_frac=0.1, size_px=48)
        self.model = {"name": "m", "sha256": "0"}
        self.collector = Collector(
            self.queue,
            CollectLimits(every_s=1.0, random_frac=random),
            spec=lambda: self.spec,
            model=lambda: self.model,
            whole=whole,
            live=True,
            regions=parse_regions(regions),
            seed=1,
        )

    def of(self, *answers: FrameResult, image: Any = IMAGE) -> list[TakenCrop]:
        for one in answers:
            assert self.collector.write(frame(one.index, image), one)
        self.collector.finish()
        self.queue.close()
        return self.crops


def frames_of(crops: list[TakenCrop]) -> list[int]:
    return [crop.document["frame"] for crop in crops]


# --- the choice --------------------------------------------------------------------


def test_of_each_second_the_most_doubtful_answer_is_taken() -> None:
    shares = [0.9, 0.6, 0.8] * 10  # ten frames a second
    shares[13] = 0.51
    crops = Taken().of(*(answer(n, face(share)) for n, share in enumerate(shares)))
    assert frames_of(crops) == [1, 13, 22]
    assert {crop.document["reason"] for crop in crops} == {"uncertain"}


def test_nothing_is_taken_where_the_model_is_sure() -> None:
    assert Taken().of(*(answer(n, face(0.99)) for n in range(50))) == []


def test_frame_that_disagrees_with_its_track_is_taken() -> None:
    sure = [answer(n, face(0.98, average=0.98)) for n in range(9)]
    odd = answer(9, face(0.98, "dog", average=0.02))
    (crop,) = Taken().of(*sure, odd)
    assert crop.document["frame"] == 9
    assert crop.document["reason"] == "disagreement"


def test_rare_label_makes_an_answer_worth_more() -> None:
    answers = LabelCounts()
    for _ in range(200):
        usual = answers.doubt(face(0.9))
    rare = answers.doubt(face(0.9, "owl"))
    assert usual.rare == 0.0
    assert rare.rare > 0.9
    assert rare.reason == "rare"
    assert rare.score > usual.score + 0.3


def test_track_that_had_its_turns_gives_way_to_another() -> None:
    answers = [
        answer(n, face(0.55, track=1), face(0.62, track=2, box=(5, 5, 40, 40)))
        for n in range(80)
    ]
    tracks = Counter(crop.document["track"] for crop in Taken().of(*answers))
    assert tracks == {1: 4, 2: 4}


def test_share_of_crops_is_taken_at_random_whatever_the_model_says() -> None:
    crops = Taken(random=0.5).of(*(answer(n, face(0.99)) for n in range(400)))
    assert {crop.document["reason"] for crop in crops} == {"random"}
    assert 10 <= len(crops) <= 30  # of 40 seconds
    assert len({crop.document["frame"] % 10 for crop in crops}) > 4  # any of a second


def test_few_frames_of_a_second_are_looked_at_where_there_are_many() -> None:
    at_s = [number / 1000 for number in range(3000)]
    looked: list[float] = []
    taken = Taken(random=1.0)
    doubt = taken.collector._answers.doubt

    def count(one: FaceResult) -> Any:
        looked.append(1.0)
        return doubt(one)

    taken.collector._answers.doubt = count  # type: ignore[method-assign]
    taken.of(*(answer(n, face(0.5), at_s=time_s) for n, time_s in enumerate(at_s)))
    assert 140 <= len(looked) <= 150


def test_answer_of_an_earlier_frame_is_not_taken_again() -> None:
    kept = face(0.51)._replace(classified_s=0.0)
    assert frames_of(Taken().of(answer(0, kept), answer(5, kept))) == [0]


def test_crop_is_what_the_network_was_shown() -> None:
    (crop,) = Taken().of(answer(0, face(0.5)))
    shown = square_crop(IMAGE, (40, 30, 50, 60), margin_frac=0.1)
    assert np.array_equal(crop.image, shown)
    assert crop.document["label"] == "cat"
    assert crop.document["probabilities"]["dog"] == 0.5


def test_crop_names_the_model_and_the_time_of_its_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = Taken()
    monkeypatch.setattr(collector_module, "utc_now", lambda: "then")
    assert taken.collector.write(frame(), answer(0, face(0.5)))
    monkeypatch.setattr(collector_module, "utc_now", lambda: "later")
    taken.model = {"name": "other", "sha256": "1"}
    taken.spec = SimpleNamespace(crop_margin_frac=0.4, size_px=96)
    (crop,) = taken.of()
    shown = square_crop(IMAGE, (40, 30, 50, 60), margin_frac=0.1)
    assert crop.document["utc"] == "then"
    assert crop.document["model"] == {"name": "m", "sha256": "0"}
    assert np.array_equal(crop.image, shown)


def test_crop_of_a_region_does_not_reach_beyond_it() -> None:
    regions = ("left=0,0,70,120", "right=70,0,90,120")
    at_edge = face(0.5, box=(40, 30, 30, 40), region="left")
    (crop,) = Taken(regions=regions).of(answer(0, at_edge))
    shown = square_crop(IMAGE[:, :70], (40, 30, 30, 40), margin_frac=0.1)
    assert np.array_equal(crop.image, shown)


def test_whole_image_is_kept_as_it_is() -> None:
    whole = face(0.5, box=(0, 0, 160, 120))
    (crop,) = Taken(whole=True).of(answer(0, whole))
    assert crop.image.shape == IMAGE.shape


# --- the folder --------------------------------------------------------------------


def crop(
    number: int, *, score: float = 0.5, label: str = "cat", **more: Any
) -> TakenCrop:
    """A crop that looks like no other."""
    noise = np.random.default_rng(number).integers(0, 256, (9, 12), np.uint8)
    image = cv2.resize(noise, (60, 60), interpolation=cv2.INTER_NEAREST)
    document = {"schema": crop_files.CROP_SCHEMA, "label": label, "score": score}
    return TakenCrop(
        image, 224, {**document, "reason": "uncertain", "review": None, **more}
    )


def opened(path: Path, **limits: Any) -> CropFolder:
    return CropFolder(path, CollectLimits(**limits))


def test_crop_lies_beside_its_answer_for_its_owner_alone(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    folder.store(crop(1))
    (kept,) = folder.crops()
    document = json.loads((tmp_path / f"{kept.name}.json").read_text())
    jpeg = (tmp_path / f"{kept.name}.jpg").read_bytes()
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1).shape == (60, 60, 3)
    assert document["label"] == "cat"
    assert document["image"]["bytes"] == len(jpeg)
    assert kept.size == sum(one.stat().st_size for one in tmp_path.glob("0*"))
    assert (tmp_path / f"{kept.name}.jpg").stat().st_mode & 0o077 == 0


def test_large_crop_is_reduced(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    large = cv2.resize(IMAGE, (1600, 1200))
    folder.store(crop(1)._replace(image=large, most_px=300))
    (path,) = tmp_path.glob("*.jpg")
    assert cv2.imread(str(path)).shape == (300, 400, 3)


def test_crop_that_looks_like_a_recent_one_is_left_out(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    for number in range(20):
        same = crop(1)
        same.image[0, 0] = number  # never quite the same
        folder.store(same)
    assert len(folder.crops()) == 1


def test_hundred_thousand_offered_crops_stay_within_all_limits(tmp_path: Path) -> None:
    folder = CropFolder(tmp_path, CollectLimits(40, max_megabytes=1, every_s=10.0))
    queue: WorkQueue[TakenCrop] = WorkQueue(
        "--collect", folder.store, capacity=QueueCapacity(frames=4), lossless=True
    )
    spec: Any = SimpleNamespace(crop_margin_frac=0.0, size_px=48)
    collector = Collector(
        queue,
        folder.limits,
        spec=lambda: spec,
        model=dict,
        whole=False,
        live=False,
        seed=1,
    )
    noise = np.random.default_rng(1)
    shares = noise.uniform(0.4, 1.0, 100_000)
    images = noise.integers(0, 256, (50, 40, 40), np.uint8)
    most = 0
    for number, share in enumerate(shares.tolist()):
        label = LABELS[number // 977 % 3]
        one = answer(number, face(share, label, track=number // 300, box=(0, 0, 9, 9)))
        collector.write(frame(number, images[number % 50]), one)
        if number % 5000 == 0:
            most = max(most, len(list(tmp_path.glob("*.jpg"))))
    collector.finish()
    queue.close()
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    kept = folder.crops()
    assert most <= 40
    assert len(kept) == len(list(tmp_path.glob("*.jpg"))) <= 40
    assert size <= 1e6
    assert len(list(tmp_path.iterdir())) == 2 * len(kept) + 1  # and the lock


def test_least_doubtful_crop_of_the_most_frequent_label_goes_first(
    tmp_path: Path,
) -> None:
    folder = opened(tmp_path, max_crops=4)
    for number, score in enumerate((0.9, 0.5, 0.7, 0.8)):
        folder.store(crop(number, score=score))
    folder.store(crop(10, score=0.6, label="owl"))
    assert [one.score for one in folder.crops()] == [0.9, 0.7, 0.8, 0.6]
    folder.store(crop(11, score=0.65))  # the least useful of all is itself
    assert [one.score for one in folder.crops()] == [0.9, 0.7, 0.8, 0.6]


def test_random_crops_keep_their_share(tmp_path: Path) -> None:
    folder = opened(tmp_path, max_crops=10, random_frac=0.2)
    for number in range(5):
        folder.store(crop(number, score=0.01, reason="random"))
    for number in range(10, 40):
        folder.store(crop(number, score=number / 50))
    assert sum(one.random for one in folder.crops()) == 2


def test_megabytes_are_a_limit(tmp_path: Path) -> None:
    folder = opened(tmp_path, max_megabytes=1)
    noise = np.random.default_rng(3)
    for number in range(30):
        image = noise.integers(0, 256, (220, 220, 3), np.uint8)
        folder.store(crop(number)._replace(image=image))
        files = sum(path.stat().st_size for path in tmp_path.iterdir())
        assert files <= 1e6
    assert files > 0.8e6


def test_labelled_crops_stay_and_discarded_ones_go_first(tmp_path: Path) -> None:
    folder = opened(tmp_path, max_crops=3)
    for number in range(3):
        folder.store(crop(number, score=0.1 + number / 10))
    first, second, third = (one.name for one in folder.crops())
    for name, label in ((first, "dog"), (second, None), (third, "cat")):
        document = folder.document(name) | {"review": {"label": label}}
        folder.replace_document(name, document)
    folder.store(crop(10, score=0.9))
    names = [one.name for one in folder.crops()]
    assert names[:2] == [first, third]
    folder.replace_document(
        names[2], folder.document(names[2]) | {"review": {"label": "cat"}}
    )
    folder.store(crop(11, score=0.9))  # all are labelled
    assert [one.name for one in folder.crops()] == names


class Clock:
    """A time of day and a clock that nobody sets."""

    def __init__(self) -> None:
        self.day = datetime(2030, 1, 1, tzinfo=UTC)
        self.seconds = 0.0

    def wait(self, **time_: float) -> None:
        self.day += timedelta(**time_)
        self.seconds += timedelta(**time_).total_seconds()

    def age(self, days: float) -> CropAge:
        return CropAge(days, now=lambda: self.day, clock=lambda: self.seconds)

    def opened(self, path: Path) -> CropFolder:
        return CropFolder(path, CollectLimits(max_days=2), age=self.age(2))


def labelled(folder: CropFolder, number: int) -> str:
    """Stores a crop that a person has labelled; returns its name."""
    folder.store(crop(number))
    name = folder.crops()[-1].name
    document = folder.document(name) | {"review": {"label": "cat"}}
    folder.replace_document(name, document)
    return name


def names_in(folder: CropFolder) -> list[str]:
    return [one.name for one in folder.crops()]


def test_crops_beyond_the_age_are_removed_labelled_or_not(tmp_path: Path) -> None:
    clock = Clock()
    folder = clock.opened(tmp_path)
    old = labelled(folder, 1)
    clock.wait(days=1)
    folder.store(crop(2))
    clock.wait(days=1, seconds=1)
    folder.store(crop(3))
    assert old not in names_in(folder)
    assert len(folder.crops()) == 2


def test_old_crops_are_not_shown_though_no_new_one_comes(tmp_path: Path) -> None:
    clock = Clock()
    folder = clock.opened(tmp_path)
    labelled(folder, 1)
    clock.wait(days=3)
    assert folder.crops() == []
    assert list(tmp_path.glob("0*")) == []


def test_clock_that_is_wrong_for_a_while_removes_no_labels(tmp_path: Path) -> None:
    clock = Clock()
    folder = clock.opened(tmp_path)
    kept = labelled(folder, 1)
    clock.day += timedelta(days=3650)  # set, and set right again
    folder.store(crop(2))
    clock.wait(minutes=5)
    folder.store(crop(3))
    clock.day -= timedelta(days=3650)
    folder.store(crop(4))
    assert kept in names_in(folder)
    clock.wait(days=3)  # the age counts as before
    assert kept not in names_in(folder)


def test_clock_that_is_wrong_at_the_start_removes_no_labels(tmp_path: Path) -> None:
    clock = Clock()
    folder = clock.opened(tmp_path)
    kept = labelled(folder, 1)
    folder.close()
    clock.wait(days=3650)  # or the board was off for so long: then a little later
    again = clock.opened(tmp_path)
    again.store(crop(2))
    again.store(crop(3))
    assert kept in names_in(again)
    clock.wait(minutes=11)
    assert kept not in names_in(again)


def test_order_of_removal_looks_at_each_crop_a_few_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = [0]

    def reviewed(self: KeptCrop) -> bool:
        looked[0] += 1
        return False

    monkeypatch.setattr(KeptCrop, "labelled", property(reviewed))
    crops = [
        KeptCrop(f"{n:09d}", LABELS[n % 3], n % 89 / 89, False, 9) for n in range(900)
    ]
    assert len(beyond_limits(crops, CollectLimits(max_crops=100))) == 800
    assert looked[0] <= 2 * len(crops)


def test_next_run_goes_on_with_what_is_there(tmp_path: Path) -> None:
    first = opened(tmp_path, max_crops=3)
    for number in range(3):
        first.store(crop(number, score=number / 10))
    first.close()
    second = opened(tmp_path, max_crops=2)
    second.store(crop(7, score=0.9))
    assert [one.score for one in second.crops()] == [0.2, 0.9]
    numbers = [crop_files.number_of(one.name) for one in second.crops()]
    assert numbers == [3, 4]


def test_two_runs_cannot_collect_into_one_folder(tmp_path: Path) -> None:
    first = opened(tmp_path)
    with pytest.raises(OutputError, match="another run collects into"):
        opened(tmp_path)
    first.close()
    opened(tmp_path).close()


def test_files_of_others_are_neither_counted_nor_touched(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.json", "notes.txt"):
        (tmp_path / name).write_bytes(b"x" * 600_000)
    folder = opened(tmp_path, max_megabytes=1)
    for number in range(5):
        folder.store(crop(number))
    assert len(folder.crops()) == 5
    assert (tmp_path / "a.jpg").stat().st_size == 600_000


# --- failures ----------------------------------------------------------------------


def queue_of(folder: CropFolder) -> WorkQueue[TakenCrop]:
    return WorkQueue(
        "--collect", folder.store, capacity=QueueCapacity(frames=4), lossless=False
    )


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS])
def test_disk_that_cannot_be_written_is_one_line_and_collecting_goes_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: int,
) -> None:
    folder, broken = opened(tmp_path), [True]
    write = crop_files._write_whole

    def fail(path: Path, data: bytes) -> None:
        if broken[0] and path.suffix == ".jpg":
            raise OSError(error, os.strerror(error))
        write(path, data)

    monkeypatch.setattr(crop_files, "_write_whole", fail)
    caplog.set_level(logging.WARNING)
    queue = queue_of(folder)
    for number in range(20):
        queue.put(crop(number))
    until(lambda: queue.counts()["error"])
    assert list(tmp_path.glob("0*")) == []  # no half of a crop
    broken[0] = False
    until(lambda: not queue.counts()["waiting"] and not queue.counts()["error"])
    queue.close(10)
    lines = [record.message for record in caplog.records]
    assert lines[0] == f"--collect: {os.strerror(error)}; trying again"
    assert lines[1].startswith("--collect works again")
    assert len(lines) == 2
    assert queue.counts()["dropped_frames"] > 0
    assert 0 < len(folder.crops()) < 20


def test_full_disk_keeps_some_space_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = opened(tmp_path)
    usage = SimpleNamespace(free=crop_folder.SPARE_BYTES - 1)
    monkeypatch.setattr(crop_folder.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match="No space left"):
        folder.store(crop(1))


def test_folder_that_somebody_removes_is_made_again(tmp_path: Path) -> None:
    folder = opened(tmp_path / "crops")
    labelled(folder, 1)
    shutil.rmtree(tmp_path / "crops")
    assert folder.store(crop(1))
    (name,) = names_in(folder)
    assert crop_files.number_of(name) == 2  # a name is not used twice
    with pytest.raises(OutputError, match="another run collects into"):
        opened(tmp_path / "crops")


def test_crops_that_somebody_removes_make_room(tmp_path: Path) -> None:
    folder = opened(tmp_path, max_crops=2)
    for number in range(2):
        labelled(folder, number)
    assert not folder.store(crop(7))
    for path in tmp_path.glob("0*"):
        path.unlink()
    assert folder.crops() == []
    assert folder.store(crop(8))


def test_crops_that_are_not_kept_do_not_count_as_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    folder = opened(tmp_path, max_crops=2)
    queue = WorkQueue(
        "--collect", folder.store, capacity=QueueCapacity(frames=9), lossless=True
    )
    for number in (1, 1, 1, 2):
        queue.put(crop(number))
    until(lambda: queue.counts()["written"] == 2 and not queue.counts()["waiting"])
    for name in names_in(folder):
        document = folder.document(name) | {"review": {"label": "cat"}}
        folder.replace_document(name, document)
    for number in range(10, 15):
        queue.put(crop(number))
    queue.close()
    assert queue.counts()["written"] == 2
    (line,) = [record.message for record in caplog.records]
    assert line.startswith(f"--collect: {tmp_path} is full of labelled crops")
    assert "collect export" in line


def json_too_large(path: Path) -> None:
    path.write_bytes(b" " * (crop_files.MAX_JSON_BYTES + 1))


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def folder_alone(path: Path) -> None:
    folder_instead(path)
    path.with_suffix(".jpg").unlink()


def image_is_a_folder(path: Path) -> None:
    folder_instead(path.with_suffix(".jpg"))


def with_fields(fields: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.write_text(path.read_text()[:-1] + f", {fields}}}")

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        json_too_large,
        folder_instead,
        folder_alone,
        image_is_a_folder,
        with_fields(f'"score": {"9" * 400}'),
        with_fields('"score": 1e999'),
        with_fields('"score": NaN'),
        with_fields('"review": {}'),
        with_fields('"probabilities": ["cat", 0.5]'),
        with_fields('"probabilities": {"cat": "0.5", "dog": 0.5}'),
    ],
    ids=[
        *("large", "folder", "folder alone", "image folder", "huge", "infinite", "NaN"),
        *("review", "list", "text"),
    ],
)
def test_one_damaged_crop_stops_nothing(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    first = opened(tmp_path)
    for number in range(2):
        first.store(crop(number))
    first.close()
    bad, good = sorted(tmp_path.glob("*.json"))
    damage(bad)
    second = opened(tmp_path)
    review = Review(second, lambda: LABELS)
    assert [one["name"] for one in review.next("somebody", 9)] == [good.stem]
    assert second.store(crop(7))


def test_label_is_on_the_disk_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, synced = opened(tmp_path), list[str]()
    folder.store(crop(1))
    (name,) = names_in(folder)
    sync, replace = os.fsync, Path.replace

    def fsync(handle: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        synced.append("folder" if is_folder else "file")
        sync(handle)

    def rename(path: Path, target: Path) -> Path:
        synced.append("name")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", rename)
    folder.replace_document(name, folder.document(name))
    assert synced == ["file", "name", "folder"]


WRITER = """
import sys
from tests.device.outputs.test_collection import crop, opened
from pathlib import Path
folder = opened(Path(sys.argv[1]), max_crops=30)
print("ready", flush=True)
number = 0
while True:
    number += 1
    folder.store(crop(number, score=number % 97 / 97))
"""


def test_killed_while_writing_there_is_no_half_crop(tmp_path: Path) -> None:
    left = set()
    for number in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.05 + 0.013 * number)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        for name in crop_files.crop_names(tmp_path):
            document = crop_files.read_document(tmp_path, name)
            jpeg = crop_files.read_jpeg(tmp_path, name, document)
            assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), 0) is not None
        left |= {path.name[:9] for path in tmp_path.iterdir()}
    folder = opened(tmp_path, max_crops=30)
    kept = folder.crops()
    assert 0 < len(kept) <= 30
    files = {path.name for path in tmp_path.iterdir()} - {".lock"}
    assert files == {f"{one.name}{end}" for one in kept for end in (".jpg", ".json")}


def test_folder_that_cannot_be_written_is_told_at_the_start(
    tmp_path: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    command = ["run", str(tiny_model_path), "--source", "fake:scene?clock=virtual"]
    command += ["--max-frames", "3", "--faces", "none"]
    folder = str(tmp_path / "file" / "crops")
    assert main([*command, "--collect", folder]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: cannot collect into {folder!r}: Not a directory"


def test_crops_are_not_collected_where_faces_are_blurred(
    tmp_path: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", str(tiny_model_path), "--source", "fake:scene", "--privacy"]
    assert main([*command, "blur", "--collect", str(tmp_path / "crops")]) == 2
    assert "leave out one of them" in capsys.readouterr().err
    assert not (tmp_path / "crops").exists()


def test_run_collects_crops_of_a_video_with_the_answers_of_the_model(
    tmp_path: Path, tiny_model_path: Path
) -> None:
    crops = tmp_path / "crops"
    config = tmp_path / "run.toml"
    config.write_text(
        f'[collect]\ncollect = "{crops}"\ncollect-every = 1\ncollect-random = 1\n'
    )
    source = "fake:scene?size=320x240&clock=virtual&frames=200"
    command = ["run", str(tiny_model_path), "--source", source, "--faces", "none"]
    assert main([*command, "--max-frames", "200", "--config", str(config)]) == 0
    names = crop_files.crop_names(crops)
    assert 3 <= len(names) <= 9  # eight seconds; the fake scene may look the same
    document = crop_files.read_document(crops, names[0])
    assert document["reason"] == "random"
    assert document["model"]["name"] == tiny_model_path.name
    assert document["source"].startswith("fake:scene")
