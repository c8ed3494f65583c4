"""What ``--roi`` accepts, and where a region is in frames of any size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import SourceError
from edge_runtime.sources.region import parse_region, parse_regions


@pytest.mark.parametrize(
    ("text", "name", "box"),
    [
        ("10,20,30,40", None, (10, 20, 30, 40)),
        ("10%,20%,30%,40%", None, (64, 96, 192, 192)),
        ("0,0,50%,100%", None, (0, 0, 320, 480)),
        ("door=0,0,320,480", "door", (0, 0, 320, 480)),
        (" the door = 12.5% , 0, 87.5%,100% ", "the door", (80, 0, 560, 480)),
        ("Tür=600,400,100,100", "Tür", (600, 400, 40, 80)),
    ],
)
def test_region_is_in_pixels_or_percent(
    text: str, name: str | None, box: tuple[int, ...]
) -> None:
    region = parse_region(text)
    assert (region.name, region.box((640, 480))) == (name, box)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "X,Y,WIDTH,HEIGHT"),
        ("1,2,3", "X,Y,WIDTH,HEIGHT"),
        ("1,2,3,4,5", "X,Y,WIDTH,HEIGHT"),
        ("-1,2,3,4", "X,Y,WIDTH,HEIGHT"),
        ("1.5,2,3,4", "X,Y,WIDTH,HEIGHT"),
        ("a=b=1,2,3,4", "X,Y,WIDTH,HEIGHT"),
        ("nan%,0,3,4", "X,Y,WIDTH,HEIGHT"),
        ("\u0661,2,3,4", "X,Y,WIDTH,HEIGHT"),
        ("\u0967%,0,3,4", "X,Y,WIDTH,HEIGHT"),
        ("1,2,0,4", "not empty"),
        ("1,2,3,0%", "not empty"),
        ("0,0,101%,5", "ends at 101 % of its width"),
        ("0,60%,5,60%", "ends at 120 % of its height"),
        ("=1,2,3,4", "a name of a region"),
        ("a\nb=1,2,3,4", "a name of a region"),
        ("x" * 41 + "=1,2,3,4", "a name of a region"),
    ],
)
def test_wrong_region_says_what_was_expected(text: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        parse_region(text)


@pytest.mark.parametrize(
    "texts",
    [["0,0,9,9", "9,9,9,9"], ["a=0,0,9,9", "9,9,9,9"], ["a=0,0,9,9", "a=9,9,9,9"]],
)
def test_several_regions_have_names_of_their_own(texts: list[str]) -> None:
    with pytest.raises(SourceError, match="--roi NAME="):
        parse_regions(texts)


tenths = st.integers(0, 999)
sides = st.integers(2, 5000)


@given(tenths, tenths, sides, sides)
def test_neighbours_in_percent_have_no_gap_and_do_not_overlap(
    a: int, b: int, width: int, height: int
) -> None:
    left, right = (
        parse_region(text).box((width, height))
        for text in (
            f"0,0,{a / 10 or 0.1}%,100%",
            f"{a / 10 or 0.1}%,0,{(1000 - (a or 1)) / 10}%,100%",
        )
    )
    widths = [box[2] for box in (left, right) if box]
    assert sum(widths) == width
    assert all(box[3] == height for box in (left, right) if box)
    if left and right:
        assert right[0] == left[2]


@given(tenths, tenths, tenths, tenths, sides, sides)
def test_box_lies_in_the_frame(
    x: int, y: int, w: int, h: int, width: int, height: int
) -> None:
    box = parse_region(f"{x},{y},{w + 1},{h + 1}").box((width, height))
    if box is None:
        assert x >= width or y >= height
    else:
        assert box[0] + box[2] <= width and box[1] + box[3] <= height
        assert min(box[2:]) > 0
