"""Labels of people: each crop once, none lost, whoever answers and how often."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.outputs.base import CollectLimits
from edge_runtime.outputs.collection import crop_files
from edge_runtime.outputs.collection.crop_folder import CropFolder
from edge_runtime.outputs.collection.review import (
    LEASE_S,
    MOST_UNDONE,
    AlreadyReviewedError,
    Review,
    review_order,
)
from tests.device.outputs.test_collection import LABELS, crop


def reviewed(
    path: Path, count: int, *, at_random: int = 0, **limits: Any
) -> tuple[Review, list[float]]:
    folder = CropFolder(path, CollectLimits(**limits))
    for number in range(count):
        more = {"reason": "random"} if number < at_random else {}
        folder.store(crop(number, score=number / 100, **more))
    now_s = [0.0]
    return Review(folder, lambda: LABELS, clock=lambda: now_s[0]), now_s


def names(crops: list[dict[str, Any]]) -> list[str]:
    return [one["name"] for one in crops]


def label_of(review: Review, name: str) -> str | None:
    given = crop_files.read_document(review.folder.path, name)["review"]
    return None if given is None else given["label"]


@pytest.mark.parametrize(
    ("at_random", "places"),
    [(0, []), (2, [14, 29]), (10, [*range(2, 30, 3)]), (30, [*range(30)])],
)
def test_highest_score_comes_first_and_random_ones_by_their_share(
    tmp_path: Path, at_random: int, places: list[int]
) -> None:
    review, _ = reviewed(tmp_path, 30, at_random=at_random)
    order = list(review_order(review.folder.crops()))
    assert [number for number, crop in enumerate(order) if crop.random] == places
    scores = [crop.score for crop in order if not crop.random]
    assert scores == [n / 100 for n in range(29, at_random - 1, -1)]


def test_random_crops_keep_their_share_when_one_is_shown_at_a_time(
    tmp_path: Path,
) -> None:
    review, _ = reviewed(tmp_path, 30, at_random=10)
    for _ in range(9):
        (name,) = names(review.next("me", 1))
        review.answer(name, LABELS[0], name)
    seen = [crop.random for crop in review.folder.crops() if crop.reviewed]
    assert sum(seen) == 3


def test_two_people_are_asked_about_different_crops(tmp_path: Path) -> None:
    review, now_s = reviewed(tmp_path, 10)
    first, second = names(review.next("one", 4)), names(review.next("two", 4))
    assert not set(first) & set(second)
    assert names(review.next("one", 4)) == first  # a reload
    now_s[0] = LEASE_S + 1  # the first one left
    assert names(review.next("two", 4)) == first


def test_answer_is_in_the_document_and_survives_a_restart(tmp_path: Path) -> None:
    review, _ = reviewed(tmp_path, 3)
    (one, other) = names(review.next("me", 2))
    review.answer(one, "dog", "key-1")
    review.answer(other, None, "key-2")
    assert label_of(review, one) == "dog"
    review.folder.close()
    again = Review(CropFolder(tmp_path, CollectLimits()), lambda: LABELS)
    assert again.progress() == {
        "waiting": 1,
        "labelled": 1,
        "discarded": 1,
        "full": False,
    }
    assert one not in names(again.next("me", 5))


def test_same_answer_again_changes_nothing(tmp_path: Path) -> None:
    review, _ = reviewed(tmp_path, 1)
    (name,) = names(review.next("me", 1))
    review.answer(name, "dog", "key-1")
    before = (tmp_path / f"{name}.json").read_bytes()
    review.answer(name, "dog", "key-1")
    assert (tmp_path / f"{name}.json").read_bytes() == before


def test_second_person_cannot_label_the_same_crop(tmp_path: Path) -> None:
    review, _ = reviewed(tmp_path, 1)
    (name,) = names(review.next("me", 1))
    review.answer(name, "dog", "key-1")
    with pytest.raises(AlreadyReviewedError):
        review.answer(name, "cat", "key-2")
    with pytest.raises(AlreadyReviewedError):
        review.undo(name, "key-2", "other")
    assert label_of(review, name) == "dog"


def test_hundred_answers_at_once_label_a_crop_once(tmp_path: Path) -> None:
    review, _ = reviewed(tmp_path, 1)
    (name,) = names(review.next("me", 1))
    refused: list[int] = []

    def answer(number: int) -> None:
        try:
            review.answer(name, LABELS[number % 3], f"key-{number}")
        except AlreadyReviewedError:
            refused.append(number)

    threads = [threading.Thread(target=answer, args=(n,)) for n in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 99
    (kept,) = set(range(100)) - set(refused)
    assert label_of(review, name) == LABELS[kept % 3]


def test_undo_asks_the_same_person_again(tmp_path: Path) -> None:
    review, _ = reviewed(tmp_path, 2)
    name = names(review.next("me", 1))[0]
    review.answer(name, "dog", "key-1")
    review.undo(name, "key-1", "me")
    review.undo(name, "key-1", "me")  # the answer was lost on its way
    assert label_of(review, name) is None
    assert name not in names(review.next("other", 2))
    assert name in names(review.next("me", 2))


def test_answer_that_arrives_after_it_was_taken_back_is_none(tmp_path: Path) -> None:
    review, _ = reviewed(tmp_path, 2)
    name, other = names(review.next("me", 2))
    review.answer(name, "dog", "key-1")
    review.undo(name, "key-1", "me")
    review.answer(name, "dog", "key-1")  # a retry that was under way
    assert label_of(review, name) is None
    review.answer(name, "cat", "key-2")
    assert label_of(review, name) == "cat"
    review.undo(other, "key-3", "me")  # overtook its answer
    review.answer(other, "dog", "key-3")
    assert label_of(review, other) is None


def test_undoing_a_crop_again_and_again_does_not_fill_its_document(
    tmp_path: Path,
) -> None:
    review, _ = reviewed(tmp_path, 1)
    (name,) = names(review.next("me", 1))
    for number in range(3 * MOST_UNDONE):
        review.answer(name, "dog", f"key-{number}")
        review.undo(name, f"key-{number}", "me")
    document = crop_files.read_document(tmp_path, name)
    assert len(document["undone"]) == MOST_UNDONE


def test_label_must_be_one_of_the_model(tmp_path: Path) -> None:
    review, _ = reviewed(tmp_path, 1)
    (name,) = names(review.next("me", 1))
    with pytest.raises(ValueError, match="expected a label of the model, got 'cow'"):
        review.answer(name, "cow", "key-1")


@pytest.mark.parametrize("name", ["000000009-20300101T000000.000000Z", "../x", ""])
def test_crop_that_is_not_there_is_a_key_error(tmp_path: Path, name: str) -> None:
    review, _ = reviewed(tmp_path, 1)
    with pytest.raises(KeyError):
        review.answer(name, "dog", "key-1")
    with pytest.raises(KeyError):
        review.folder.jpeg(name)


def test_answer_that_cannot_be_written_is_not_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    review, _ = reviewed(tmp_path, 1)
    (name,) = names(review.next("me", 1))

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken:
        broken.setattr(crop_files, "_write_whole", fail)
        with pytest.raises(OSError, match="No space"):
            review.answer(name, "dog", "key-1")
    assert label_of(review, name) is None
    assert review.progress()["waiting"] == 1
    review.answer(name, "dog", "key-1")
    assert review.progress()["labelled"] == 1


def test_folder_full_of_labelled_crops_is_told(tmp_path: Path) -> None:
    review, _ = reviewed(tmp_path, 2, max_crops=2)
    for number, name in enumerate(names(review.next("me", 2))):
        review.answer(name, "dog", f"key-{number}")
    assert review.progress()["full"]
