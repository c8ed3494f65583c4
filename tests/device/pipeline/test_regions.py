"""Answers of turned frames and of regions are those of frames prepared beforehand."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime.__main__ import main
from edge_runtime.cli import run as command
from edge_runtime.detection.base import FaceDetector
from edge_runtime.detection.factory import open_detector
from edge_runtime.outputs.blur import blur_outside
from edge_runtime.outputs.rendering import FrameRenderer
from edge_runtime.pipeline.regions import RegionPipeline, still_regions
from edge_runtime.results import FrameResult, Words
from edge_runtime.sources import Frame, open_source
from edge_runtime.sources.region import parse_regions

SCENE = "fake:scene?faces=2&size=640x360&clock=virtual&seed=3&frames=12"
Change = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    with open_source(SCENE) as source:
        return [frame.image for frame in source]


def write_clip(path: Path, images: list[np.ndarray], change: Change) -> Path:
    """Writes a video without losses."""
    changed = [np.ascontiguousarray(change(image)) for image in images]
    size_wh = (changed[0].shape[1], changed[0].shape[0])
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MPNG"), 30, size_wh)
    for image in changed:
        video.write(image)
    video.release()
    return path


def answers(
    model: Path, source: Path | str, capsys: pytest.CaptureFixture[str], *flags: str
) -> list[dict[str, Any]]:
    """Returns the faces and events of each frame, without times of the computer."""
    command = ["run", str(model), "--json", "--source", str(source)]
    assert main([*command, *flags]) == 0
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    keys = ("frame", "time_s", "detected", "faces", "events")
    return [{key: document[key] for key in keys} for document in documents]


def moved(documents: list[dict[str, Any]], x: int, y: int) -> list[dict[str, Any]]:
    for document in documents:
        for face in document["faces"]:
            face["box"][0] += x
            face["box"][1] += y
    return documents


@pytest.mark.parametrize(
    ("flags", "hang"),
    [
        (("--rotate", "90"), lambda image: np.rot90(image, 1)),
        (("--rotate", "180"), lambda image: np.rot90(image, 2)),
        (("--rotate", "270"), lambda image: np.rot90(image, 3)),
        (("--mirror",), lambda image: image[:, ::-1]),
        (("--hflip",), lambda image: image[:, ::-1]),
        (("--rotate", "90", "--mirror"), lambda image: np.rot90(image[:, ::-1], 1)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
@pytest.mark.parametrize("still", [False, True], ids=["clip", "stills"])
def test_turned_frames_have_the_answers_of_upright_ones(
    images: list[np.ndarray],
    flags: tuple[str, ...],
    hang: Change,
    still: bool,
    tiny_model_path: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if still:
        upright, hanging = tmp_path / "upright", tmp_path / "hanging"
        for folder, change in ((upright, lambda image: image), (hanging, hang)):
            folder.mkdir()
            cv2.imwrite(str(folder / "a.png"), change(images[0]))
    else:
        upright = write_clip(tmp_path / "upright.avi", images, lambda image: image)
        hanging = write_clip(tmp_path / "hanging.avi", images, hang)
    expected = answers(tiny_model_path, upright, capsys)
    assert sum(len(one["faces"]) for one in expected) >= len(expected)
    assert answers(tiny_model_path, hanging, capsys, *flags) == expected
    assert answers(tiny_model_path, hanging, capsys) != expected


@pytest.mark.parametrize("still", [False, True], ids=["clip", "stills"])
@pytest.mark.parametrize("roi", ["300,20,340,340", "50%,0,50%,100%"])
def test_region_has_the_answers_of_a_clip_that_was_cut(
    images: list[np.ndarray],
    roi: str,
    still: bool,
    tiny_model_path: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    x, y, width, height = (
        (300, 20, 340, 340) if roi.startswith("3") else (320, 0, 320, 360)
    )

    def cut(image: np.ndarray) -> np.ndarray:
        return image[y : y + height, x : x + width]

    if still:
        whole, part = tmp_path / "whole.png", tmp_path / "part.png"
        cv2.imwrite(str(whole), images[0])
        cv2.imwrite(str(part), cut(images[0]))
    else:
        whole = write_clip(tmp_path / "whole.avi", images, lambda image: image)
        part = write_clip(tmp_path / "part.avi", images, cut)
    expected = moved(answers(tiny_model_path, part, capsys), x, y)
    assert sum(len(one["faces"]) for one in expected) >= len(expected)
    assert answers(tiny_model_path, whole, capsys, "--roi", roi) == expected
    assert answers(tiny_model_path, whole, capsys) != expected


def test_regions_of_a_camera_are_named_and_their_numbers_differ(
    tiny_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    roi = ("--roi", "left=0,0,50%,100%", "--roi", "right=50%,0,50%,100%")
    documents = answers(tiny_model_path, SCENE, capsys, *roi)
    seen = {
        (face["track"], face["region"], face["box"][0] >= 320)
        for document in documents
        for face in document["faces"]
    }
    assert {(region, right) for _, region, right in seen} == {
        ("left", False),
        ("right", True),
    }
    assert len({track for track, _, _ in seen}) == len(seen)
    events = [event for document in documents for event in document["events"]]
    assert {event["region"] for event in events} == {"left", "right"}


@pytest.mark.parametrize("regions", [1, 2])
def test_there_are_as_many_detectors_as_regions(
    regions: int,
    tiny_model_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    opened: list[FaceDetector] = []

    def open_one(*args: Any, **settings: Any) -> FaceDetector:
        opened.append(open_detector(*args, **settings))
        return opened[-1]

    monkeypatch.setattr(command, "open_detector", open_one)
    roi = [("--roi", f"part {n}={50 * n}%,0,50%,100%") for n in range(regions)]
    answers(tiny_model_path, SCENE, capsys, *sum(roi, ()))
    assert len(opened) == regions


class Closable:
    closed = 0

    def close(self) -> None:
        Closable.closed += 1
        raise OSError("cannot be closed")


def test_all_pipelines_are_closed_also_where_one_cannot_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    regions = parse_regions(["a=0,0,9,9", "b=9,0,9,9", "c=18,0,9,9"])
    monkeypatch.setattr(Closable, "closed", 0)
    whole: Any = RegionPipeline(regions, lambda _: Closable(), Words())  # type: ignore[arg-type,return-value]
    with pytest.raises(OSError, match="cannot be closed"):
        whole.close()
    assert Closable.closed == 3


def test_pipelines_are_closed_where_a_later_one_cannot_be_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Closable, "closed", 0)
    opened = iter([Closable(), Closable()])
    regions = parse_regions(["a=0,0,9,9", "b=9,0,9,9", "c=18,0,9,9"])
    with pytest.raises((OSError, StopIteration)):
        RegionPipeline(regions, lambda _: next(opened), Words())  # type: ignore[arg-type,return-value]
    assert Closable.closed == 2


def test_rows_have_a_column_for_named_regions(
    tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    roi = ("--roi", "left=0,0,50%,100%", "--csv", str(tmp_path / "a.csv"))
    faces = answers(tiny_model_path, SCENE, capsys, *roi)[-1]["faces"]
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["region"] for row in rows} == {"left"}
    assert int(rows[-1]["x"]) == faces[-1]["box"][0]
    assert float(rows[-1]["happy"]) == faces[-1]["probabilities"]["happy"]
    answers(tiny_model_path, SCENE, capsys, "--csv", str(tmp_path / "b.csv"))
    assert "region" not in (tmp_path / "b.csv").read_text()


def test_region_is_cut_from_the_turned_frame(
    images: list[np.ndarray],
    tiny_model_path: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), images[0])
    cv2.imwrite(str(tmp_path / "b.png"), np.rot90(images[0], 1))
    roi = ("--roi", "0,0,60%,100%")
    upright = answers(tiny_model_path, tmp_path / "a.png", capsys, *roi)
    turned = (*roi, "--rotate", "90")
    hanging = answers(tiny_model_path, tmp_path / "b.png", capsys, *turned)
    assert upright == hanging
    assert upright[0]["faces"]


def test_lines_about_pictures_name_the_regions(
    tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((100, 160, 3), np.uint8))
    command = ["run", str(tiny_model_path), "--source", str(tmp_path / "a.png")]
    command += ["--roi", "left=0,0,50%,100%", "--roi", "right=50%,0,50%,100%"]
    assert main([*command, "--faces", "none"]) == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert "  left: " in line
    assert ", right: " in line


def test_region_beyond_the_first_frame_is_one_line(
    tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((100, 160, 3), np.uint8))
    command = ["run", str(tiny_model_path), "--source", str(tmp_path / "a.png")]
    assert main([*command, "--faces", "none", "--roi", "100,0,61,100"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "160x100 pixels, got '100,0,61,100'" in line
    assert "or percent" in line


def test_region_beyond_a_later_frame_is_looked_at_as_far_as_it_goes(
    tiny_model_path: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    for number, (height, width) in enumerate(((100, 160), (50, 80), (50, 120))):
        image = np.zeros((height, width, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
    command = ["run", str(tiny_model_path), "--source", str(tmp_path), "--json"]
    assert main([*command, "--faces", "none", "--roi", "100,0,60,100"]) == 0
    lines = capsys.readouterr().out.splitlines()
    faces = [json.loads(line)["faces"] for line in lines]
    assert [[face["box"] for face in each] for each in faces] == [
        [[100, 0, 60, 100]],
        [],
        [[100, 0, 20, 50]],
    ]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_frame_without_a_region_is_hidden_and_keeps_the_words() -> None:
    noise = np.random.default_rng(2).integers(0, 256, (50, 80, 3)).astype(np.uint8)
    regions, words = parse_regions(["100,0,60,100"]), Words("bottle", "material")
    sizes = [np.zeros((100, 160, 3), np.uint8), noise]
    frames = [Frame(image, number, 0.0, "") for number, image in enumerate(sizes)]

    def classify(frame: Frame) -> FrameResult:
        return FrameResult(0, 0.0, "", (), 0.0, 0.0, words=words)

    look = still_regions(regions, classify, words)
    renderer = FrameRenderer(privacy=True, sequence=False, regions=regions)
    first, second = (renderer.prepare(frame, look(frame)) for frame in frames)
    assert first.regions == ((None, (100, 0, 60, 100)),)
    assert second.image.std() < 0.2 * noise.std()
    assert second.result.words == words
    shown = FrameRenderer(privacy=False, sequence=False, regions=regions)
    drawn = shown.draw(shown.prepare(frames[1], second.result))
    assert drawn[60:].mean() < 0.6 * noise.mean()


def test_regions_of_a_file_are_used_and_typed_ones_replace_them(
    tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "c.toml"
    config.write_text(
        'roi = ["a=0,0,50%,100%", "b=50%,0,50%,100%"]\nmirror = true\nrotate = 180\n'
    )
    command = ["run", str(tiny_model_path), "--config", str(config)]
    assert main([*command, "--print-config"]) == 0
    printed = capsys.readouterr().out
    assert 'roi = ["a=0,0,50%,100%", "b=50%,0,50%,100%"]' in printed
    assert "mirror = true" in printed
    assert main([*command, "--print-config", "--roi", "c=1,1,9,9"]) == 0
    assert 'roi = ["c=1,1,9,9"]' in capsys.readouterr().out
    config.write_text("hflip = true\n")
    assert main([*command, "--print-config"]) == 0
    assert "mirror = true" in capsys.readouterr().out
    config.write_text('roi = "1,2,3"\n')
    assert main(command) == 2
    assert "roi: expected a region" in capsys.readouterr().err


def test_pictures_show_where_is_looked_and_hide_the_rest_where_faces_are_blurred(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), noise)
    command = ["run", str(tiny_model_path), "--source", str(tmp_path / "a.png")]
    command += ["--roi", "160,0,160,240"]
    assert main([*command, "--output", str(tmp_path / "b.png")]) == 0
    shown = cv2.imread(str(tmp_path / "b.png"))
    assert shown.shape == noise.shape
    assert (shown[100:230, 10:150] == noise[100:230, 10:150] // 2).all()
    assert (shown[100:230, 170:310] == noise[100:230, 170:310]).all()
    blurred = [*command, "--privacy", "blur", "--output", str(tmp_path / "c.png")]
    assert main(blurred) == 0
    hidden = cv2.imread(str(tmp_path / "c.png"))[100:, 10:150]
    assert hidden.std() < 0.1 * noise.std()


@pytest.mark.parametrize("shape", [(40, 60), (40, 60, 3), (3, 4, 3)])
def test_outside_of_regions_nothing_is_left(shape: tuple[int, ...]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    hidden = blur_outside(noise, [(1, 1, 2, 2)])
    assert (hidden[1:3, 1:3] == noise[1:3, 1:3]).all()
    outside = np.ones(shape[:2], bool)
    outside[1:3, 1:3] = False
    assert hidden[outside].std() < 0.5 * noise[outside].std()
