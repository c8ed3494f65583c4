"""Class names as people have them: typed, or in a file of one of three shapes."""

import argparse
import logging

import pytest

from edge_runtime.model_file.labels import labels, usable_labels
from edge_runtime.model_file.metadata import LONGEST_LABEL


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat,dog", ("cat", "dog")),
        ("cat, dog", ("cat", "dog")),
        (" cat ,  small\tdog ", ("cat", "small dog")),
        ('"tench, Tinca tinca",goldfish', ("tench, Tinca tinca", "goldfish")),
        ("crane,kite,crane,crane", ("crane", "kite", "crane 2", "crane 3")),
        ("a,a 2,a", ("a", "a 2", "a 3")),
        ("TV/monitor,and\\or", ("TV-monitor", "and-or")),
        (
            "K\N{LATIN SMALL LETTER A}\N{COMBINING DIAERESIS}fer,Hund",
            ("K\xe4fer", "Hund"),
        ),
    ],
    ids=["plain", "space", "tab", "quoted", "twice", "number-taken", "slash", "accent"],
)
def test_typed_names(text, expected):
    assert labels(text) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("cat\ndog\n", ("cat", "dog")),
        ("\ufeffcat\r\ndog\r\n\r\n", ("cat", "dog")),
        ("0 cat\n1 big dog\n", ("cat", "big dog")),
        ("1: dog\n0: cat\n", ("cat", "dog")),
        ("1,cat\n2,dog\n", ("cat", "dog")),
        ("0  tench, Tinca tinca\n1  goldfish\n", ("tench, Tinca tinca", "goldfish")),
        ("1 euro\n2 euro\n", ("1 euro", "2 euro")),
        ("3 stars\ngood\n", ("3 stars", "good")),
        ("cat, dog, bird\n", ("cat", "dog", "bird")),
        ("crane\ncrane\n", ("crane", "crane 2")),
    ],
    ids=[
        *("lines", "windows", "teachable", "colon", "from-one", "coral", "names"),
        *("one-numbered", "one-line", "twice"),
    ],
)
def test_names_in_a_file(tmp_path, content, expected):
    path = tmp_path / "labels.txt"
    path.write_text(content, encoding="utf-8", newline="")
    assert labels(str(path)) == expected


def test_long_name_ends_at_a_comma_and_one_without_is_cut():
    long, plain = ", ".join(["damselfly"] * 15), "x" * 140
    first, second = usable_labels([long, plain])
    assert long.startswith(first)
    assert first.endswith("damselfly")
    assert len(second) == LONGEST_LABEL


def test_changed_name_is_told(caplog):
    with caplog.at_level(logging.WARNING):
        usable_labels(["crane", "crane", " kite "])
    assert caplog.messages == ["label 'crane' is called 'crane 2'"]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "which is not a file"),
        ("missing.txt", "which is not a file"),
        ("cat,,dog", "1 to 100 characters"),
        ("cat,do\ng", None),
        ("cat,\x1b[31mdog", "printable"),
    ],
    ids=["empty", "no-such-file", "gap", "line-break", "escape"],
)
def test_typed_text_that_is_no_list_of_names(text, part):
    with pytest.raises(argparse.ArgumentTypeError, match=part):
        labels(text)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "got nothing"),
        (b"\xff\xfe\x00cat", "UTF-8"),
        (b'{"cat": 0, "dog": 1}', "JSON"),
        (b"0 cat\n2 dog\n", "numbers 0 to 1"),
        (b"id,name\n0,cat\n1,dog\n", "got the header"),
        (b"names:\n- cat\n- dog\n", "YAML"),
        (b"item {\n  name: 'cat'\n}\n", "label map"),
        (b"cat\n", "which is not a file"),
        (b"a\n" * 2**20, "over 1 MiB"),
    ],
    ids=["empty", "utf-16", "json", "gap", "header", "yaml", "pbtxt", "one", "large"],
)
def test_file_that_is_no_list_of_names(tmp_path, content, part):
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(argparse.ArgumentTypeError, match=part):
        labels(str(path))


def test_list_longer_than_any_path_is_a_list():
    names = [f"name {number}" for number in range(2000)]
    assert labels(",".join(names)) == tuple(names)
