"""Raters' votes: read strictly, and turned into labels by FERPlus's rule."""

import cv2
import numpy as np
import pytest

from edge_runtime.errors import DatasetError
from train.data.dataset import load
from train.data.decoding import load_split
from train.data.summary import summarize
from train.data.vote_labels import VoteSource, label_categories, vote_shares
from train.data.votes import Votes, has_majority, read_votes

NAMES = ("train/cat/1.png", "train/cat/2.png", "train/dog/1.png")
HEADER = "file,cat,dog,nothing"
ROWS = ("train/cat/1.png,9,1,0", "train/cat/2.png,5,5,0", "train/dog/1.png,0,2,8")


def written(folder, *lines):
    path = folder / "votes.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


# --- reading -----------------------------------------------------------------------


def test_votes_stand_in_the_order_of_the_images(tmp_path):
    votes = read_votes(written(tmp_path, HEADER, *reversed(ROWS)), NAMES)
    assert votes.categories == ("cat", "dog", "nothing")
    assert votes.counts.tolist() == [[9, 1, 0], [5, 5, 0], [0, 2, 8]]


@pytest.mark.parametrize(
    "second", [(), ("train/cat/2.png,0,0,0",)], ids=["no-row", "only-zeros"]
)
def test_image_nobody_voted_on_is_unknown(tmp_path, second):
    votes = read_votes(written(tmp_path, HEADER, ROWS[0], *second, ROWS[2]), NAMES)
    assert votes.known.tolist() == [True, False, True]


def test_rows_of_other_images_and_empty_lines_are_passed_over(tmp_path):
    path = written(tmp_path, HEADER, *ROWS, "", "test/cat/7.png,1,1,1")
    assert read_votes(path, NAMES).counts.sum() == 30


def test_byte_order_mark_of_a_spreadsheet_is_no_part_of_the_name(tmp_path):
    path = written(tmp_path, "\ufeff" + HEADER, *ROWS)
    assert read_votes(path, NAMES).known.all()


@pytest.mark.parametrize("separator", [";", "\t"])
def test_votes_of_a_spreadsheet_are_read(tmp_path, separator):
    header = HEADER.replace("file", "File")
    lines = (line.replace(",", separator) for line in (header, *ROWS))
    votes = read_votes(written(tmp_path, *lines), NAMES)
    assert votes.categories == ("cat", "dog", "nothing")
    assert votes.known.all()


def test_line_without_an_end_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("train.data.listing.csv_table.MAX_LINE_BYTES", 1000)
    path = written(tmp_path, HEADER, "x" * 2000)
    with pytest.raises(DatasetError, match="a line has more than 1000 bytes"):
        read_votes(path, NAMES)


@pytest.mark.parametrize("place", [1, 3])
def test_column_of_the_files_may_stand_anywhere(tmp_path, place):
    lines = []
    for line in (HEADER.replace(",", ", "), *ROWS):
        cells = line.split(",")
        lines.append(",".join([*cells[1 : place + 1], cells[0], *cells[place + 1 :]]))
    votes = read_votes(written(tmp_path, *lines), NAMES)
    assert votes.categories == ("cat", "dog", "nothing")
    assert votes.counts.tolist() == [[9, 1, 0], [5, 5, 0], [0, 2, 8]]


@pytest.mark.parametrize(
    ("lines", "part"),
    [
        ((), "expected the column file"),
        (("name,cat,dog", "x,1,2"), "expected the column file"),
        (("file,cat", "x,1"), "at least two categories"),
        (("file,cat,cat", "x,1,1"), "each column once, got 'cat, cat'"),
        (("file,cat,Cat", "x,1,1"), "each column once, got 'cat, Cat'"),
        (("file,file,cat,dog", "x,x,1,1"), "each column once, got 'file, file'"),
        (("file,cat,dog,", "x,1,1,1"), "row 1: expected 3 values"),
        (("file,,cat,dog", "x,1,1,1"), "at least two categories"),
        ((HEADER, "train/cat/1.png,9,-1,0"), "row 1: expected a number of votes"),
        ((HEADER, "train/cat/1.png,9,nan,0"), "got 'nan'"),
        ((HEADER, "train/cat/1.png,9,inf,0"), "got 'inf'"),
        ((HEADER, "train/cat/1.png,9,,0"), "got ''"),
        ((HEADER, "train/cat/1.png,9"), "expected a number of votes, got ''"),
        ((HEADER, "train/cat/1.png,9,1,0,4"), "row 1: expected 4 values"),
        ((HEADER, *ROWS, ROWS[1]), "'train/cat/2.png' is listed twice"),
        ((HEADER, "elsewhere/1.png,1,1,1"), "0% of the images"),
        ((HEADER, ROWS[0]), "33% of the images"),
    ],
    ids=[
        "empty",
        "no-file-column",
        "one-category",
        "category-twice",
        "category-in-two-cases",
        "file-twice",
        "value-too-many",
        "no-category-name",
        "negative",
        "nan",
        "infinite",
        "no-number",
        "short-row",
        "long-row",
        "image-twice",
        "other-images",
        "too-few",
    ],
)
def test_file_that_cannot_be_meant_is_refused(tmp_path, lines, part):
    with pytest.raises(DatasetError, match=r"votes\.csv") as raised:
        read_votes(written(tmp_path, *lines), NAMES)
    assert part in str(raised.value)


@pytest.mark.parametrize(
    "content",
    [None, b"\xff\xfe\x00file", b'file,a,b\n"x'],
    ids=["none", "bytes", "csv"],
)
def test_unreadable_file_is_a_dataset_error(tmp_path, content):
    path = tmp_path / "votes.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"votes\.csv"):
        read_votes(path, NAMES)


# --- a category as a reason to leave images out ------------------------------------


def test_half_of_the_votes_is_enough_to_be_mostly_voted():
    counts = np.array([[4.0, 6.0], [5.0, 5.0], [6.0, 4.0], [np.nan, np.nan]])
    votes = Votes(("face", "NF"), counts)
    assert has_majority(votes, "NF").tolist() == [True, True, False, False]


def test_unknown_category_names_the_known_ones():
    with pytest.raises(DatasetError, match="of face, NF, got 'nf'"):
        has_majority(Votes(("face", "NF"), np.ones((1, 2))), "nf")


# --- which categories are labels ---------------------------------------------------


def votes_of(*categories):
    return Votes(categories, np.ones((1, len(categories))))


@pytest.mark.parametrize(
    ("dropped", "labels"),
    [
        (None, ("cat", "dog")),
        (("NF",), ("cat", "dog", "unknown")),
        (("dog", "unknown"), ("NF", "cat")),
        ((), ("NF", "cat", "dog", "unknown")),
    ],
    ids=["as-ferplus", "one", "others", "none"],
)
def test_labels_are_the_categories_that_are_not_dropped(dropped, labels):
    assert label_categories(votes_of("dog", "cat", "unknown", "NF"), dropped) == labels


def test_file_without_such_categories_has_labels_alone():
    assert label_categories(votes_of("dog", "cat"), None) == ("cat", "dog")


def test_dropped_category_that_does_not_exist_is_refused():
    with pytest.raises(DatasetError, match="of dog, cat, got 'NF'"):
        label_categories(votes_of("dog", "cat"), ("NF",))


# --- labels by votes ---------------------------------------------------------------


def write_set(root, names):
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = np.random.default_rng(number).integers(0, 256, (16, 16), np.uint8)
        cv2.imwrite(str(path), image)
    return root


# Votes for dog, cat, unknown, NF; the folders' names are another opinion.
VOTED = {
    "train/a/1.png": ((7, 2, 1, 0), "dog"),
    "train/a/2.png": ((2, 7, 0, 1), "cat"),
    "train/a/tie.png": ((4, 4, 1, 1), "dog"),  # the first column
    "train/a/few.png": ((3, 2, 2, 2), "dog"),  # most, but no majority
    "train/b/1.png": ((1, 8, 1, 0), "cat"),  # the same name in another folder
    "train/b/nobody.png": ((1, 1, 1, 1), None),  # votes that stand alone are none
    "train/b/no_face.png": ((3, 0, 0, 7), None),
    "train/b/half_a_face.png": ((5, 0, 0, 5), "dog"),  # as many as for no label
    "test/a/1.png": ((6, 2, 2, 0), "dog"),
    "test/a/2.png": ((0, 6, 4, 0), "cat"),
    "test/a/half.png": ((0, 5, 5, 0), None),  # half is not a majority
    "test/a/alone.png": ((0, 3, 1, 1), "cat"),  # 3 of the 3 that remain
    "test/b/three.png": ((4, 4, 2, 0), None),
    "test/b/no_face.png": ((2, 1, 1, 6), None),
}


def write_votes(folder, votes, header="file,dog,cat,unknown,NF"):
    rows = [f"{name},{','.join(map(str, row))}" for name, row in votes.items()]
    path = folder / "votes.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.fixture
def voted(tmp_path):
    """A folder of images, and the source of their labels."""
    path = write_votes(tmp_path, {name: row for name, (row, _) in VOTED.items()})
    return write_set(tmp_path / "set", VOTED), VoteSource(str(path))


def labels_in(split, labels):
    names = [labels[index] for index in split.labels]
    return dict(zip(split.names, names, strict=True))


def test_labels_are_those_of_the_votes(voted):
    root, source = voted
    data = load(root, votes=source, validation_from="test")
    found = labels_in(data.train, data.labels) | labels_in(data.validation, data.labels)
    assert found == {name: label for name, (_, label) in VOTED.items() if label}
    assert data.labels == ("cat", "dog")
    assert data.name == "set + votes.csv"


def test_images_without_a_label_are_counted_by_reason(voted):
    root, source = voted
    data = load(root, votes=source, validation_from="test")
    assert data.left_out == {
        "without two votes for one category": 1,
        "of which most votes are for no label": 2,
        "of test without a majority": 2,
    }
    assert "left out: 2 images of test without a majority" in summarize(data)


def test_model_is_measured_on_majorities_alone(voted):
    root, source = voted
    options = {"size_px": 16, "colour": "grey", "labels": ("cat", "dog")}
    measured = load_split(root, split="test", votes=source, **options)
    assert set(measured.names) == {
        "test/a/1.png",
        "test/a/2.png",
        "test/a/alone.png",
    }
    trained = load_split(root, split="train", votes=source, **options)
    assert "train/a/few.png" not in trained.names
    assert "train/a/1.png" in trained.names


def test_model_with_other_labels_is_refused(voted):
    root, source = voted
    options = {"size_px": 16, "colour": "grey", "labels": ("happy", "sad")}
    with pytest.raises(DatasetError, match="expected only the classes"):
        load_split(root, split="test", votes=source, **options)


def test_training_images_that_validate_have_a_majority(tmp_path):
    rows = {f"train/x/{i}.png": (6, 2) if i % 4 else (4, 4) for i in range(40)}
    rows |= {f"train/y/{i}.png": (2, 6) for i in range(40)}
    root = write_set(tmp_path / "set", rows)
    source = VoteSource(str(write_votes(tmp_path, rows, "file,dog,cat")))
    data = load(root, votes=source, validation_frac=0.5)
    undecided = {name for name, row in rows.items() if row == (4, 4)}
    assert len(data.validation) > 20
    assert not undecided & set(data.validation.names)
    assert undecided <= set(data.train.names)


def test_copy_of_an_image_that_evaluates_is_dropped_by_its_pixels(voted):
    root, source = voted
    (root / "train/a/1.png").write_bytes((root / "test/a/1.png").read_bytes())
    (root / "train/a/2.png").write_bytes((root / "test/a/half.png").read_bytes())
    data = load(root, votes=source, validation_from="test")
    assert data.dropped == ("train/a/1.png",)


@pytest.mark.parametrize("folders", ["fer", "download/fer2013"])
def test_folder_around_the_whole_set_is_no_part_of_the_names(tmp_path, folders):
    votes = {name: row for name, (row, _) in VOTED.items()}
    source = VoteSource(str(write_votes(tmp_path, votes)))
    write_set(tmp_path / "set" / folders, VOTED)
    data = load(tmp_path / "set", votes=source, validation_from="test")
    assert len(data.validation) == 3


def test_votes_for_other_images_are_refused(tmp_path):
    source = VoteSource(str(write_votes(tmp_path, {"train/a/x.png": (9, 1, 0, 0)})))
    root = write_set(tmp_path / "set", VOTED)
    with pytest.raises(DatasetError, match="of another image set"):
        load(root, votes=source)


@pytest.mark.parametrize("vote", [1, 0.4], ids=["one-rater", "shares"])
def test_votes_of_one_rater_label_nothing(tmp_path, vote):
    source = VoteSource(
        str(write_votes(tmp_path, dict.fromkeys(VOTED, (vote, 0, 0, 0))))
    )
    root = write_set(tmp_path / "set", VOTED)
    with pytest.raises(DatasetError, match="expected votes of several raters"):
        load(root, votes=source)


def test_drawn_faces_take_no_votes(voted):
    _, source = voted
    with pytest.raises(DatasetError, match="labels of their own: name the images"):
        load("drawn", votes=source)
    with pytest.raises(DatasetError, match="labels of their own"):
        load_split(
            "drawn", split="test", size_px=48, colour="grey", labels=(), votes=source
        )


def test_category_without_an_image_is_named(tmp_path):
    votes = {name: (*row, 0) for name, (row, _) in VOTED.items()}
    path = write_votes(tmp_path, votes, "file,dog,cat,unknown,NF,bird")
    root = write_set(tmp_path / "set", VOTED)
    with pytest.raises(DatasetError, match=r"train split, got none of \['bird'\]"):
        load(root, votes=VoteSource(str(path)), validation_from="test")


# --- votes as a distribution -------------------------------------------------------


def test_shares_are_of_the_votes_for_labels_that_do_not_stand_alone():
    counts = np.array([[6.0, 2, 1, 1], [1, 0, 9, 0], [np.nan] * 4])
    votes = Votes(("dog", "cat", "unknown", "NF"), counts)
    shares = vote_shares(votes, ("cat", "dog"))
    assert shares.dtype == np.float32
    assert np.allclose(shares[0], [0.25, 0.75])
    assert np.isnan(shares[1:]).all()
