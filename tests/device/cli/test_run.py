"""The commands: what they print, what they write, and how they fail."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.__main__ import COMMANDS, build_parser, main
from edge_runtime.detection import factory
from edge_runtime.pipeline.stats import Status
from edge_runtime.sources.fake.scenes import DrawnScene
from tests.detectors import needs_haar
from tests.onnx_runtime import require_onnxruntime

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "face.png"
    cv2.imwrite(str(path), np.full((60, 80, 3), 120, np.uint8))
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.avi", 12)


def write_video(path: Path, frames: int) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    for value in range(frames):
        writer.write(np.full((240, 320, 3), value % 250, np.uint8))
    writer.release()
    return path


def frames_of(path: Path) -> int:
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    return count


def run(model: Path, source: Path, *more: str) -> int:
    return main(["run", str(model), "--source", str(source), "--faces", "none", *more])


def test_picture_with_a_name_that_is_no_text_is_answered_like_any_other(
    tiny_model_path: Path, picture: Path, tmp_path: Path
) -> None:
    """A name in Latin-1, from an old disk; stdout is UTF-8 and strict about it."""
    odd = os.fsencode(tmp_path) + b"/Zo\xeb.png"
    Path(os.fsdecode(odd)).write_bytes(picture.read_bytes())
    command = ["-m", "edge_runtime", "run", str(tiny_model_path), "--faces", "none"]
    done = subprocess.run(
        [sys.executable, *command, "--source", odd, "--csv", tmp_path / "faces.csv"],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert b"Zo\\udceb.png  frame 0" in done.stdout
    assert b"Zo\\udceb.png" in (tmp_path / "faces.csv").read_bytes()


def test_next_check_does_not_repeat_the_output(
    tiny_model_path: Path,
    video: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(tiny_model_path, video, "--output", str(tmp_path / "a.mp4")) == 0
    assert capsys.readouterr().out.endswith(f" check {tiny_model_path}\n")


def test_run_prints_json_lines_and_nothing_else(
    tiny_model_path: Path, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tiny_model_path, video, "--json", "--every", "5") == 0
    out, err = capsys.readouterr()
    documents = [json.loads(line) for line in out.splitlines()]
    assert [document["frame"] for document in documents] == [0, 5, 10]
    assert len(documents[0]["faces"][0]["probabilities"]) == 7
    assert err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_run_of_a_camera_tells_what_it_could_not_write(
    tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = str(tmp_path / "events.jsonl")
    camera = "fake:scene?fps=30&size=160x120"
    arguments = ("--faces", "none", "--max-frames", "5", "--csv", "/dev/full")
    command = ["run", str(tiny_model_path), "--source", camera, *arguments]
    assert main([*command, "--events", events]) == 0
    (loss,) = capsys.readouterr().err.splitlines()
    assert loss.startswith("--csv: 4 frames without an event and 1 with one")


def test_run_on_a_video_tells_events_then_a_summary_and_no_progress_in_a_pipe(
    tiny_model_path: Path, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tiny_model_path, video) == 0
    out = capsys.readouterr().out
    assert "\r" not in out
    first, second, *_ = out.splitlines()
    assert re.fullmatch(r" +0\.00 s  \w+ \(\d+ %\)", first)
    assert second == ""
    assert re.search(r"^frames +12$", out, re.MULTILINE)
    assert "next:" in out


def test_empty_path_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["run", ""], ["check", ""], ["run", "--watch="]):
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert ended.value.code == 2
        err = capsys.readouterr().err
        assert "expected a path, got ''" in err
        assert err.count("\n") == 1


def test_picture_that_cannot_be_read_is_an_error_and_no_next_step(
    tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    assert run(tiny_model_path, bad) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: expected an image")
    assert err.count("\n") == 1


@pytest.mark.parametrize("source", ["video", "fake:scene?frames=3&clock=virtual"])
def test_camera_flags_without_a_camera_are_reported(
    tiny_model_path: Path,
    source: str,
    video: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = str(video) if source == "video" else source
    command = ["run", str(tiny_model_path), "--faces", "none", "--source", name]
    assert main([*command, "--fps", "5", "--size", "64x48"]) == 0
    assert "--size, --fps had no effect" in capsys.readouterr().err
    watched = ["--stall-after", "9", "--frozen-after", "0", "--reopen-limit", "0"]
    assert main([*command, *watched]) == 0
    hint = "--stall-after, --frozen-after, --reopen-limit had no effect"
    assert (hint in capsys.readouterr().err) == (source == "video")
    assert main(command) == 0
    assert "no effect" not in capsys.readouterr().err


def test_events_of_a_picture_give_a_hint(
    tiny_model_path: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tiny_model_path, picture, "--events") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("--events is empty")


@needs_haar
def test_pictures_without_a_face_give_the_hint_faces_none(
    tiny_model_path: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", str(tiny_model_path), "--source", str(picture), "--json"]
    assert main([*command, "--faces", "none"]) == 0
    assert capsys.readouterr().err == ""
    blank = picture.with_name("blank.png")
    cv2.imwrite(str(blank), np.full((96, 96, 3), 200, np.uint8))
    command[3] = str(blank)
    assert main([*command, "--faces", "haar"]) == 0
    assert "--faces none" in capsys.readouterr().err


@needs_haar
@pytest.mark.parametrize("more", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize(
    ("size_wh", "width", "told"),
    [
        (
            (3840, 2160),
            (),
            "below about 288 pixels are missed: try --detect-width 1280",
        ),
        ((1280, 720), (), "below about 96 pixels are missed: try --detect-width 1280"),
        ((1280, 2400), ("640",), "below about 154 pixels"),
    ],
    ids=["4k", "hd", "portrait"],
)
def test_hint_for_large_pictures_names_the_smallest_face(
    tiny_model_path: Path,
    tmp_path: Path,
    size_wh: tuple[int, int],
    width: tuple[str, ...],
    told: str,
    more: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    blank = tmp_path / "blank.png"
    cv2.imwrite(str(blank), np.full((size_wh[1], size_wh[0], 3), 200, np.uint8))
    given = [*more, *(("--detect-width", *width) if width else ())]
    command = ["run", str(tiny_model_path), "--source", str(blank), *given]
    assert main([*command, "--faces", "haar"]) == 0
    hint = capsys.readouterr().err
    assert told in hint
    assert "--faces none" not in hint
    assert "YuNet" in hint


@needs_haar
@pytest.mark.parametrize("width", [640, 1920])
@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ("cat,dog,cow", True),
        ("happy,sad,neutral", True),
        ("angry,disgust,fear,happy,neutral,sad,surprise", False),
        ("surprise,sad,neutral,happy,fear,disgust,angry", False),
    ],
    ids=["animals", "other expressions", "fer2013", "in another order"],
)
def test_labels_of_its_own_may_be_those_of_whole_pictures(
    width: int,
    labels: str,
    told: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny_model_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Status, "model_labels", tuple(labels.split(",")))
    blank = tmp_path / "blank.png"
    cv2.imwrite(str(blank), np.full((width // 2, width, 3), 200, np.uint8))
    command = ["run", str(tiny_model_path), "--source", str(blank), "--faces", "haar"]
    assert main(command) == 0
    hints = capsys.readouterr().err
    assert ("--faces none" in hints) is told
    assert "--detect-width" in hints


def test_run_on_a_picture_prints_its_answer(
    tiny_model_path: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tiny_model_path, picture) == 0
    assert capsys.readouterr().out.startswith("face.png  frame 0")


def test_run_writes_an_annotated_video(
    tiny_model_path: Path, video: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.avi"
    assert run(tiny_model_path, video, "--output", str(out), "--max-frames", "4") == 0
    assert frames_of(out) == 4


def test_answers_of_a_video_are_the_same_where_its_model_may_change(
    tiny_model_path: Path,
    video: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def answers(*more: str) -> list[list[dict[str, object]]]:
        assert run(tiny_model_path, video, "--json", *more) == 0
        lines = capsys.readouterr().out.splitlines()
        return [json.loads(line)["faces"] for line in lines]

    expected = answers()
    (tmp_path / "new").mkdir()
    # Which model prepares a face is decided when it answers: nothing may be ahead.
    monkeypatch.setattr("edge_runtime.pipeline.prefetch.prefetch_tracked", None)
    assert answers("--watch", str(tmp_path / "new")) == expected
    assert len(expected) == 12


def test_live_video_lasts_as_long_as_the_run(
    tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = "fake:scene?size=320x240&fps=30&script=slow@0s=5"
    output = tmp_path / "out.avi"
    more = ["--output", str(output), "--json", "--max-frames", "10"]
    assert (
        main(["run", str(tiny_model_path), "--source", slow, "--faces", "none", *more])
        == 0
    )
    times = [
        json.loads(line)["time_s"] for line in capsys.readouterr().out.splitlines()
    ]
    assert frames_of(output) / 30 == pytest.approx(times[-1] - times[0], abs=0.1)


@needs_haar
def test_face_that_enters_is_blurred_from_its_first_frame(
    tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wall, scene = (DrawnScene((640, 480), 30, faces=n, seed=1) for n in (0, 1))
    clip, output = tmp_path / "clip.avi", tmp_path / "out.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 30, (640, 480))
    for number in range(24):
        writer.write((scene if number >= 11 else wall).render(number))
    writer.release()
    command = ["run", str(tiny_model_path), "--source", str(clip), "--faces", "haar"]
    assert main([*command, "--privacy", "blur", "--output", str(output), "--json"]) == 0
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(document["detected"] for document in documents)
    assert all(document["faces"] for document in documents[11:])
    sharp, hidden = (pictures_of(path)[11:] for path in (clip, output))
    for before, after, document in zip(sharp, hidden, documents[11:], strict=True):
        x, y, width, height = document["faces"][0]["box"]
        # Not the frame that is drawn around the face.
        inside = slice(y + 6, y + height - 6), slice(x + 6, x + width - 6)
        assert detail(after[inside]) < 0.2 * detail(before[inside])


def pictures_of(path: Path) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    pictures = []
    while (read := capture.read())[0]:
        pictures.append(read[1])
    return pictures


def detail(image: np.ndarray) -> float:
    return float(cv2.Laplacian(image, cv2.CV_64F).var())


def test_camera_is_searched_for_faces_in_every_frame_that_is_to_be_blurred(
    tiny_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ["--source", "fake:scene?size=160x120&fps=30"]
    command = ["run", str(tiny_model_path), *source, "--json", "--max-frames", "20"]
    assert main([*command, "--privacy", "blur"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["detected"] for line in lines] == [True] * 20


def test_run_writes_an_annotated_picture(
    tiny_model_path: Path, picture: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.png"
    assert run(tiny_model_path, picture, "--output", str(out)) == 0
    drawn, small = cv2.imread(str(out)), cv2.imread(str(picture))
    assert drawn.shape[:2] == (4 * small.shape[0], 4 * small.shape[1])
    assert (drawn[::4, ::4] != small).any()


def test_existing_output_is_kept_without_force(
    tiny_model_path: Path,
    picture: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out.png"
    out.write_bytes(b"mine")
    assert run(tiny_model_path, picture, "--output", str(out)) == 2
    assert "--force" in capsys.readouterr().err
    assert out.read_bytes() == b"mine"
    assert run(tiny_model_path, picture, "--output", str(out), "--force") == 0
    assert out.read_bytes() != b"mine"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--source", "no/such.mp4"], "does not exist"),
        (["--detector-model", "/dev/null"], "which is not a file"),
        (["--source", "97"], "/dev/video97"),
        (["--source", "97", "--faces", "yunet"], "--detector-model"),
        (["--source", "97", "--detector-model", "no.onnx"], "no.onnx"),
        (["--source", "97", "--output", "out.txt"], "out.txt"),
        (["--source", "97", "--labels", "a,b"], "leave out --labels"),
        (["--source", "97", "--privacy", "blur", "--detect-every", "2"], "every frame"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_users_error_is_one_line_and_code_2(
    tiny_model_path: Path,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    part: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(factory, "YUNET_PACKAGE", "no_such_package")
    defaults = (
        []
        if "--faces" in arguments or "--detector-model" in arguments
        else [
            "--faces",
            "none",
        ]
    )
    assert main(["run", str(tiny_model_path), *defaults, *arguments]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert part in err


def test_missing_model_is_code_2(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "no/such.tflite"]) == 2
    assert capfd.readouterr().err.startswith("error: expected a .tflite or .onnx")


def test_display_without_a_screen_is_code_2(
    tiny_model_path: Path,
    picture: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    if sys.platform != "linux":
        pytest.skip("only Linux runs without a screen")
    assert run(tiny_model_path, picture, "--display") == 2
    assert "--output FILE" in capfd.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["run", "--every", "0"],
        ["run", "--threads", "x"],
        ["walk"],
        ["run", "--sour"],
        ["run", "model.tflite", "--source"],
        ["run", "model.tflite", "surplus"],
    ],
)
def test_wrong_flags_end_with_code_2_and_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert "--help)" in error


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("--detect-evry", ": did you mean --detect-every?"),
        ("--sourc=rtsp://camera.local:554/a/long/address", ": did you mean --source?"),
        ("--qqqqqq", " (see python -m edge_runtime run --help)"),
    ],
)
def test_wrong_flag_names_the_nearest_of_its_command(
    given: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["run", given])
    assert f"unknown {given!r}{meant}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["checks", "x.tflite"], "unknown 'checks': did you mean check?"),
        (["--versio"], "unknown '--versio': did you mean --version?"),
        (["install-service", "--confg", "x"], "did you mean --config?"),
    ],
)
def test_mistyped_command_or_required_flag_is_named(
    arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert meant in capsys.readouterr().err


def test_what_follows_two_dashes_is_no_flag(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["run", "--", "--sourc"]) == 2
    assert "model file, got '--sourc'" in capsys.readouterr().err


def test_help_has_examples() -> None:
    assert "examples:" in build_parser().format_help()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_has_examples_that_can_be_typed(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = capsys.readouterr().out
    assert "examples:" in text
    assert f"python -m edge_runtime {command}" in text


@pytest.mark.parametrize("fixture", ["tiny_model_path", "tiny_onnx_path"])
def test_check_tells_what_is_inside(
    fixture: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    if fixture == "tiny_onnx_path":
        require_onnxruntime()
    path = request.getfixturevalue(fixture)
    assert main(["check", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "fer-edge/check/1"
    assert document["size_bytes"] == path.stat().st_size
    assert len(document["labels"]) == 7
    assert document["image"] == {"size_px": 48, "colour": "grey", "fit": "stretch"}
    assert document["golden"]["count"] >= 1
    assert main(["check", str(path)]) == 0
    assert "golden vectors" in capsys.readouterr().out


def test_check_of_an_int8_file_tells_its_quantization(
    tiny_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["check", str(tiny_model_path), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["input"]["dtype"] == "int8"
    assert document["input"]["scale"] == pytest.approx(1.0)
    assert document["input"]["zero_point"] == -128


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)], ids=["int", "term"]
)
def test_signal_ends_with_the_video_complete(
    tiny_model_path: Path, tmp_path: Path, number: int, code: int
) -> None:
    source, out = write_video(tmp_path / "long.avi", 3000), tmp_path / "out.avi"
    command = [sys.executable, "-m", "edge_runtime", "run", str(tiny_model_path)]
    command += ["--source", str(source), "--faces", "none", "--json"]
    with subprocess.Popen(
        [*command, "--output", str(out)], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        lines = 1 + len(process.stdout.readlines())
    assert process.returncode == code
    assert frames_of(out) == lines < 3000


def test_help_imports_no_inference_or_plotting_library() -> None:
    program = (
        "import sys, edge_runtime.__main__ as m; m.build_parser().format_help();"
        "heavy = {'ai_edge_litert', 'tflite_runtime', 'onnxruntime', 'matplotlib',"
        " 'tensorflow', 'keras', 'scipy'} & set(sys.modules); sys.exit(str(heavy))"
        " if heavy else None"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
