"""A pipeline document as text."""

from __future__ import annotations

from benchmarks.common.documents import Document
from benchmarks.common.machine import describe
from benchmarks.common.text_table import columns

UNITS = {"x": "{:.2f} x", "share": "{:.1%}", "MiB": "{:.0f} MiB"}
LOOP_HEADINGS = (
    "",
    "ms/frame",
    "frames/s",
    "detect",
    "network",
    "faster",
    "(p5 to p95)",
)


def pipeline_table(document: Document) -> str:
    """Returns a pipeline document as text."""
    lines = [describe(document["machine"]), ""]
    lines += columns(LOOP_HEADINGS, [_loop_row(loop) for loop in document["loops"]])
    lines += ["", *(_around_line(loop) for loop in document["loops"][1:])]
    lines += [_boxes_line(loop) for loop in document["loops"][1:]]
    lines += [*(_age_line(age) for age in document["age"]), ""]
    rows = [requirement_cells(one) for one in document["requirements"]]
    lines += columns(("", "measured", "limit", "met"), rows)
    if len(document["loops"]) < 3:
        lines += ["", "YuNet was not measured: give its file with --detector-model"]
    return "\n".join(lines)


def _loop_row(loop: Document) -> list[str]:
    row = [loop["name"], f"{loop['frame_ms']:.2f}", f"{loop['frames_per_second']:.1f}"]
    if "speed_up" not in loop:
        return [*row, "", "", "", ""]
    speed = loop["speed_up"]
    return [
        *row,
        f"{loop['detect_ms']:.2f}",
        f"{loop['network_ms']:.2f}",
        f"{speed['median']:.1f} x",
        f"({speed['p5']:.1f} to {speed['p95']:.1f})",
    ]


def _around_line(loop: Document) -> str:
    alone, complete = loop["one_by_one"], loop["around_share_complete"]
    where_both = "" if complete is None else f" ({complete:.1%} where both ran)"
    return (
        f"{loop['name']}: one frame after the other {alone['frame_ms']:.2f} ms a frame,"
        f" {loop['over_one_by_one']['median']:.2f} times as long in the median turn,"
        f" {loop['around_share']:.1%} around detector and network{where_both};"
        f" faces located ahead, neither is at work {loop['idle_share']:.1%} of the time"
    )


def _boxes_line(loop: Document) -> str:
    boxes, slower = loop["boxes_of_a_camera"], loop["boxes_of_a_slower_detector"]
    return (
        f"{loop['name']}: the clip as a camera shows it, {boxes['fps']:.0f} frames/s:"
        f" every box in {boxes['matched_share']:.1%} of {boxes['frames']} frames;"
        f" {slower['matched_share']:.1%} were the detector"
        f" {slower['slower_ms']:.0f} ms slower"
    )


def _age_line(age: Document) -> str:
    how = "frames wait for the detector" if age["waits"] else "it looks meanwhile"
    how += "" if age["turns"] else ", each face in each frame"
    return (
        f"age, {how}: p50 {age['age_p50_ms']:.1f} ms, p95 {age['age_p95_ms']:.1f} ms;"
        f" an answer each {age['period_ms']:.1f} ms of {age['seconds']:.0f} s, camera"
        f" each {1000 / age['camera_fps']:.1f} ms, {age['dropped']:,} dropped;"
        f" p95 in its own periods {age['age_own_periods']:.2f}{_classified(age)}"
    )


def _classified(age: Document) -> str:
    if age["classified_share"] is None:
        return ""
    return (
        f"; faces classified in {age['classified_share']:.0%} of their frames, p95 of"
        f" that frame's age {age['classified_age_p95_ms']:.1f} ms; longest kept"
        f" {age['longest_kept_ms']:.0f} ms; no face in {age['faceless_share']:.0%}"
    )


def requirement_cells(one: Document) -> list[str]:
    """Returns a requirement: name, figure, limit, whether it was met.

    The last two are empty where there is no limit.
    """
    form = UNITS[one["unit"]]
    if one["limit"] is None:
        return [one["name"], form.format(one["value"]), "", ""]
    bound = ">= " if one["at_least"] else "<= "
    met = "met" if one["met"] else "MISSED"
    return [
        one["name"],
        form.format(one["value"]),
        bound + form.format(one["limit"]),
        met,
    ]
