"""Boards, well and sick: their files as the kernel writes them, and the real tools."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
from pathlib import Path

import pytest

from edge_runtime.__main__ import build_parser, main
from edge_runtime.cli import doctor as command
from edge_runtime.cli.doctor import document, examine, table
from edge_runtime.detection.factory import YUNET_FILE, data_folder
from edge_runtime.doctor import cameras, software
from edge_runtime.doctor.board import board_findings
from edge_runtime.doctor.cameras import camera_findings, first_frame, unusable
from edge_runtime.doctor.finding import Finding, worst
from edge_runtime.doctor.health import health_findings
from edge_runtime.errors import MissingDependencyError
from edge_runtime.hardware.sensors import (
    read_throttled,
    reasons_now,
    reasons_since_boot,
)
from edge_runtime.model_file.container import attach, read_model_file

WELL = Finding("board", "ok", "well")
CPUFREQ = "sys/devices/system/cpu/cpu0/cpufreq"
A72 = "fp asimd evtstrm crc32 cpuid"
A76 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp asimddp"
PI_4 = {
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "proc/cpuinfo": "".join(f"processor\t: {n}\nFeatures\t: {A72}\n" for n in range(4)),
    "proc/meminfo": "MemTotal: 3884368 kB\nMemAvailable: 3100000 kB\n"
    "SwapTotal: 102396 kB\nSwapFree: 102396 kB\n",
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    f"{CPUFREQ}/scaling_governor": "ondemand\n",
    f"{CPUFREQ}/scaling_cur_freq": "600000\n",
    f"{CPUFREQ}/scaling_max_freq": "1800000\n",
    f"{CPUFREQ}/cpuinfo_max_freq": "1800000\n",
    "sys/class/thermal/thermal_zone0/temp": "48686\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "0\n",
    "sys/class/video4linux/video10/name": "bcm2835-codec-decode\n",
    "sys/class/video4linux/video13/name": "bcm2835-isp-output0\n",
}
PI_5 = PI_4 | {
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "proc/cpuinfo": "".join(f"processor\t: {n}\nFeatures\t: {A76}\n" for n in range(4)),
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n',
    "sys/class/video4linux/video0/name": "rp1-cfe-csi2_ch0\n",
    "sys/class/video4linux/video19/name": "rpi-hevc-dec\n",
    "sys/class/video4linux/v4l-subdev2/name": "imx708 10-001a\n",
}


@pytest.fixture
def board(tmp_path: Path):
    """Returns a function that writes a board's files and returns their root."""

    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def named(findings: list[Finding], name: str) -> Finding:
    return next(finding for finding in findings if finding.name == name)


def health(root: Path) -> list[Finding]:
    return health_findings(root, root)


# --- the board ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "name", "feature"),
    [
        (PI_4, "Raspberry Pi 4 Model B Rev 1.4", "asimd (128-bit vectors, no int8"),
        (PI_5, "Raspberry Pi 5 Model B Rev 1.0", "asimddp (int8 dot products)"),
    ],
    ids=["Pi 4", "Pi 5"],
)
def test_board_and_its_int8_instructions_are_named(board, files, name, feature):
    findings = board_findings(board(files))
    assert named(findings, "board").value == name
    assert named(findings, "processor").value.startswith(f"4 cores, {feature}")


def test_healthy_board_needs_no_remedy(board):
    root = board(PI_4)
    found = [*board_findings(root), *health(root)]
    assert worst(found) == "ok"
    assert not any(finding.remedy for finding in found)
    assert named(found, "frequency").value == "600 of 1800 MHz now"


@pytest.mark.parametrize(
    ("file", "text", "finding", "status", "remedy"),
    [
        (f"{CPUFREQ}/scaling_governor", "powersave", "governor", "warn", "ondemand"),
        (f"{CPUFREQ}/scaling_max_freq", "600000", "frequency", "warn", "restart"),
        ("sys/class/thermal/thermal_zone0/temp", "81200", "temperature", "warn", "fan"),
        ("sys/class/thermal/thermal_zone0/temp", "86000", "temperature", "fail", "fan"),
        (
            "proc/meminfo",
            "MemTotal: 434000 kB\nMemAvailable: 200000 kB\nSwapTotal: 0 kB\n",
            "memory",
            "warn",
            "console",
        ),
        (
            "proc/meminfo",
            "MemTotal: 434000 kB\nMemAvailable: 60000 kB\nSwapTotal: 0 kB\n",
            "memory",
            "fail",
            "console",
        ),
        (
            "proc/meminfo",
            "MemTotal: 434000 kB\nMemAvailable: 300000 kB\nSwapTotal: 0 kB\n",
            "swap",
            "warn",
            "zram",
        ),
        (
            "proc/meminfo",
            "MemTotal: 434000 kB\nMemAvailable: 300000 kB\nSwapTotal: 200000 kB\n"
            "SwapFree: 1000 kB\n",
            "swap",
            "warn",
            "stop",
        ),
    ],
    ids=[
        "powersave",
        "capped",
        "hot",
        "too hot",
        "little memory",
        "no memory",
        "no swap",
        "swapping",
    ],
)
def test_sick_board_has_a_finding_with_its_remedy(
    board, file, text, finding, status, remedy
):
    root = board(PI_4 | {file: text})
    found = named([*board_findings(root), *health(root)], finding)
    assert found.status == status
    assert remedy in found.remedy


@pytest.mark.parametrize(
    ("bits", "now", "since_start"),
    [
        (0x0, [], []),
        (0x50000, [], ["under-voltage", "throttled"]),
        (0x50005, ["under-voltage", "throttled"], ["under-voltage", "throttled"]),
        (0x80008, ["soft temperature limit"], ["soft temperature limit"]),
        (0x20000, [], ["frequency capped"]),
    ],
    ids=["well", "before", "now", "heat", "capped"],
)
def test_bits_of_the_firmware_are_decoded(bits, now, since_start):
    assert (reasons_now(bits), reasons_since_boot(bits)) == (now, since_start)


def test_under_voltage_now_fails_and_blames_the_power_supply(board):
    path = "sys/devices/platform/soc/soc:firmware/get_throttled"
    found = named(health(board(PI_4 | {path: "50005\n"})), "throttling")
    assert found.status == "fail"
    assert found.value == "under-voltage, throttled now (0x50005)"
    assert "power supply" in found.remedy


def test_vcgencmd_is_called_where_the_kernel_says_nothing(board):
    files = {k: v for k, v in PI_5.items() if not k.endswith("get_throttled")}
    root = board(
        files | {"usr/bin/vcgencmd": "#!/bin/sh\n[ $1 = get_throttled ] && echo"
                 " throttled=0x20000\n"}
    )  # fmt: skip
    assert read_throttled(root) is None
    (root / "usr/bin/vcgencmd").chmod(0o755)
    assert read_throttled(root) == 0x20000
    assert named(health(root), "throttling").status == "warn"


def test_raspberry_pi_without_throttling_bits_is_a_warning(board):
    files = {k: v for k, v in PI_4.items() if not k.endswith("get_throttled")}
    assert named(health(board(files)), "throttling").value == "cannot be read"


def test_machine_without_any_of_the_files_is_examined(tmp_path):
    found = [*board_findings(tmp_path), *health(tmp_path), *camera_findings(tmp_path)]
    assert "fail" not in {finding.status for finding in found}


def test_broken_files_do_not_raise(board):
    root = board(PI_5)
    for path in root.rglob("*"):
        if path.is_file():
            path.write_bytes(b"\xff\xfe:=\n:\n=\nMemTotal:\nPRETTY_NAME\n")
    assert [*board_findings(root), *health(root), *camera_findings(root)]


def test_disk_that_cannot_be_written_is_a_warning(board, tmp_path):
    found = health_findings(board(PI_4), Path("/proc"))
    assert "cannot be written" in named(found, "disk").value


@pytest.mark.parametrize(
    ("controllers", "status"),
    [("cpuset cpu io memory pids\n", "ok"), ("cpuset cpu io pids\n", "warn")],
)
def test_kernel_without_a_memory_limit_is_a_warning(board, controllers, status):
    root = board(PI_5 | {"sys/fs/cgroup/cgroup.controllers": controllers})
    found = named(health(root), "memory limit")
    assert found.status == status
    assert ("cgroup_enable=memory" in found.remedy) == (status == "warn")


# --- cameras ------------------------------------------------------------------------


def test_codecs_of_a_board_are_no_cameras(board):
    (found,) = camera_findings(board(PI_4))
    assert found.value == "none was found"


def test_camera_on_the_ribbon_without_picamera2_says_how_to_get_it(board):
    (found,) = camera_findings(board(PI_5))
    assert found.name == "camera imx708"
    assert found.status == "warn"
    assert "--system-site-packages" in found.remedy


@pytest.fixture
def picamera2(tmp_path, monkeypatch):
    """Returns a function that puts a stand-in for the system's module in the path."""

    def write(text: str) -> None:
        folder = tmp_path / "modules"
        folder.mkdir()
        (folder / "picamera2.py").write_text(text)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.setenv("PYTHONPATH", str(folder))

    return write


def test_camera_on_the_ribbon_is_usable_with_picamera2(board, picamera2):
    picamera2("")
    (found,) = camera_findings(board(PI_5))
    assert found.status == "ok"
    assert "--source picamera2" in found.value


def test_picamera2_built_for_another_numpy_has_its_own_remedy(board, picamera2):
    picamera2("raise ValueError('numpy.dtype size changed, may indicate binary')")
    (found,) = camera_findings(board(PI_5))
    assert found.status == "warn"
    assert "numpy.dtype size changed" in found.value
    assert "numpy<2" in found.remedy


def test_remedy_for_a_camera_without_a_frame_can_be_typed(board, monkeypatch):
    root = board({"sys/class/video4linux/video0/name": "HD Webcam\n"})
    monkeypatch.setattr(cameras, "_captures", lambda device: True)
    (found,) = camera_findings(root)
    flags = re.search(r"--size \S+ --pixel-format \S+", found.remedy)
    assert flags is not None
    args = build_parser("run").parse_args(["run", *flags[0].split()])
    assert (args.size, args.pixel_format) == ((640, 480), "mjpg")


@pytest.mark.parametrize(
    ("found", "source"),
    [
        ([], "fake:scene"),
        ([Finding("camera", "warn", "none was found", "plug one in")], "fake:scene"),
        (
            [Finding("camera imx708", "ok", "on the ribbon: --source picamera2")],
            "picamera2",
        ),
        (
            [
                Finding("camera video0", "warn", "Cam, in use by x (pid 1)", "stop it"),
                Finding("camera video2", "ok", "Cam, 640x480: --source /dev/video2"),
            ],
            "/dev/video2",
        ),
    ],
    ids=["not looked", "none", "ribbon", "second"],
)
def test_next_step_has_a_camera_that_is_there(monkeypatch, capsys, found, source):
    monkeypatch.setattr(command, "examine", lambda model: found or [WELL])
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.endswith(f"run --source {source}\n")


def test_next_step_of_a_model_of_things_is_without_faces(
    monkeypatch, capsys, tmp_path, tiny_model_path
):
    monkeypatch.setattr(command, "examine", lambda model: [WELL])
    words = {"subject": "item", "labels_are": "material"}
    file, model = read_model_file(tiny_model_path), tmp_path / "waste.tflite"
    model.write_bytes(attach(file.model, {**file.document, **words}, "tflite"))
    assert main(["doctor", str(model)]) == 0
    out = capsys.readouterr().out
    assert out.endswith(f"run {model} --source fake:scene --faces none\n")


def test_node_that_vanished_is_a_finding(board):
    root = board({"sys/class/video4linux/video0/name": "HD Webcam\n"})
    (found,) = camera_findings(root)
    assert found.name == "camera video0"
    assert "HD Webcam has no usable" in found.value


def test_node_that_is_no_video_device_is_passed_over(board):
    root = board({"sys/class/video4linux/video0/name": "odd\n", "dev/video0": "text"})
    assert [finding.value for finding in camera_findings(root)] == ["none was found"]


@pytest.mark.parametrize(
    ("number", "reason", "remedy"),
    [
        (errno.EACCES, "no permission", "usermod -aG video"),
        (errno.EBUSY, "in use", "fuser"),
        (errno.ENODEV, "no usable", "plug it in"),
        (errno.EIO, "Input/output error", "plug it in"),
    ],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) else "",
)
def test_reason_of_an_unusable_camera_has_its_remedy(number, reason, remedy):
    value, todo = unusable(number, Path("/dev/video0"), "HD Webcam")
    assert reason in value
    assert remedy in todo


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_node_without_permission_is_a_finding(board):
    root = board({"sys/class/video4linux/video0/name": "Cam\n", "dev/video0": ""})
    (root / "dev/video0").chmod(0)
    assert "no permission" in camera_findings(root)[0].value


def test_device_that_gives_no_frame_is_none(tmp_path):
    assert first_frame(tmp_path / "video0") is None


# --- software -----------------------------------------------------------------------


def test_every_installed_library_loads_here(tiny_model_path):
    found = software.library_findings(tiny_model_path)
    assert [finding.status for finding in found] == ["ok"] * len(found)
    assert "answers" in found[0].value
    assert found[-1].name == "first label"


def test_crash_of_a_library_is_a_finding_and_no_crash(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nkill -ILL $$\n")
    python.chmod(0o755)
    trial = software.try_library("onnxruntime", None, python=str(python))
    assert trial.crashed
    assert "SIGILL, an illegal instruction" in trial.error


def test_library_that_hangs_is_a_finding(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    python.chmod(0o755)
    trial = software.try_library("onnxruntime", None, python=str(python), timeout_s=0.2)
    assert trial.error == "no answer within 0.2 s"


def test_library_that_cannot_be_imported_says_why(monkeypatch, tmp_path):
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('no libgomp.so.1')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    trial = software.try_library("onnxruntime", None)
    assert trial.error == "no libgomp.so.1"
    assert not trial.crashed


def test_damaged_model_is_a_finding_of_its_own(tmp_path):
    path = tmp_path / "bad.tflite"
    path.write_bytes(b"x" * 100)
    found = software.software_findings(path)
    assert named(found, "model").status == "fail"
    # The detector's depends on the environment: not every one has YuNet.
    apart = ("model", "face detector")
    assert {other.status for other in found if other.name not in apart} == {"ok"}
    assert named(found, "Python").value.endswith(sys.prefix)


def test_model_of_something_else_needs_no_face_detector(
    tmp_path, tiny_model_path, monkeypatch
):
    def fail(*_):
        raise MissingDependencyError("no detector here: install one")

    monkeypatch.setattr(software, "open_detector", fail)
    file = read_model_file(tiny_model_path)
    words = {"subject": "bottle", "labels_are": "material"}
    other = tmp_path / "bottles.tflite"
    other.write_bytes(attach(file.model, {**file.document, **words}, file.kind))
    faces = named(software.software_findings(tiny_model_path), "face detector")
    assert (faces.status, faces.remedy) == ("fail", "install one")
    found = named(software.software_findings(other), "face detector")
    assert found.status == "ok"
    assert found.value.startswith("not needed: the model looks at one bottle")


# --- the command --------------------------------------------------------------------


def test_document_has_its_schema_and_every_finding(board, tiny_model_path):
    made = document(examine(tiny_model_path, board(PI_5)))
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert made["schema"] == "fer-edge/doctor/1"
    assert made["status"] == "warn"  # no picamera2 in a test environment
    assert {"board", "throttling", "first label", "camera imx708"} <= {
        finding["name"] for finding in made["findings"]
    }
    assert set(made["findings"][0]) == {"name", "status", "value", "remedy"}


def test_command_with_a_failure_ends_with_code_3(tmp_path, capsys):
    path = tmp_path / "bad.tflite"
    path.write_bytes(b"x" * 100)
    assert main(["doctor", str(path), "--json"]) == 3
    out, err = capsys.readouterr()
    assert json.loads(out)["status"] == "fail"
    assert err.startswith("error: this board is not ready:")
    assert "model" in err


def test_table_puts_the_remedy_below_its_finding():
    found = [
        Finding("disk", "ok", "much"),
        Finding("memory", "warn", "little", "stop it"),
    ]
    assert table(found).splitlines() == [
        "ok    disk    much",
        "warn  memory  little",
        "              -> stop it",
    ]


def test_remedy_for_an_altered_detector_is_a_new_download(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    altered = data_folder() / YUNET_FILE
    altered.parent.mkdir(parents=True)
    altered.write_bytes(b"something else")
    found = software.software_findings(None)
    (finding,) = (one for one in found if one.name == "face detector")
    assert finding.status == "fail"
    assert finding.value.endswith("is not the file that OpenCV Zoo publishes")
    assert finding.remedy.endswith("fetch-detector --force")
