"""The commands: what they print, what they write, and how they fail."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.__main__ import build_parser, main

ROOT = Path(__file__).resolve().parents[2]


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


def test_run_prints_json_lines_and_nothing_else(
    tiny_model_path: Path, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tiny_model_path, video, "--json", "--every", "5") == 0
    out, err = capsys.readouterr()
    documents = [json.loads(line) for line in out.splitlines()]
    assert [document["frame"] for document in documents] == [0, 5, 10]
    assert len(documents[0]["faces"][0]["probabilities"]) == 7
    assert err == ""


def test_run_on_a_video_ends_with_a_summary_and_no_progress_in_a_pipe(
    tiny_model_path: Path, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tiny_model_path, video) == 0
    out = capsys.readouterr().out
    assert "\r" not in out
    assert out.split()[:2] == ["frames", "12"]
    assert "next:" in out


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


def test_run_writes_an_annotated_picture(
    tiny_model_path: Path, picture: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.png"
    assert run(tiny_model_path, picture, "--output", str(out)) == 0
    assert (cv2.imread(str(out)) != cv2.imread(str(picture))).any()


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
        (["--source", "97"], "/dev/video97"),
        (["--source", "97", "--faces", "yunet"], "--detector-model"),
        (["--source", "97", "--detector-model", "no.onnx"], "no.onnx"),
        (["--source", "97", "--output", "out.txt"], "out.txt"),
        (["--source", "97", "--labels", "a,b"], "leave out --labels"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_users_error_is_one_line_and_code_2(
    tiny_model_path: Path,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    part: str,
) -> None:
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
    ],
)
def test_wrong_flags_end_with_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_help_has_examples() -> None:
    assert "examples:" in build_parser().format_help()


@pytest.mark.parametrize("fixture", ["tiny_model_path", "tiny_onnx_path"])
def test_check_tells_what_is_inside(
    fixture: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    if fixture == "tiny_onnx_path":
        pytest.importorskip("onnxruntime", reason="runs .onnx files")
    path = request.getfixturevalue(fixture)
    assert main(["check", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "fer-edge/check/1"
    assert document["size_bytes"] == path.stat().st_size
    assert len(document["labels"]) == 7
    assert document["image"] == {"size_px": 48, "colour": "grey"}
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
