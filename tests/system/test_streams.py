"""Real streams over loopback: each is killed, revived and stalled under a run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import cv2
import pytest

from edge_runtime.errors import SourceError
from edge_runtime.sources import open_source
from edge_runtime.sources.fake.scenes import DrawnScene
from tests.system.service_run import ROOT, running

HERE = Path(__file__).parent
SYSTEM_PYTHON = "/usr/bin/python3"
RECOVERY_S = 5.0
END_S = 2.0  # as in test_faults.py
FLAGS = ("--faces", "none", "--json", "--stall-after", "1")


def rtsp_is_missing() -> str:
    """Returns which part is missing; empty where an RTSP server can be run."""
    check = (
        "import gi; gi.require_version('GstRtspServer', '1.0');"
        "from gi.repository import Gst, GstRtspServer; Gst.init(None);"
        "missing = [n for n in ('x264enc', 'rtph264pay') if not"
        " Gst.ElementFactory.find(n)]; assert not missing, missing"
    )
    if not Path(SYSTEM_PYTHON).exists():
        return f"no {SYSTEM_PYTHON}"
    command = [SYSTEM_PYTHON, "-c", check]
    done = subprocess.run(command, capture_output=True, check=False)
    if not done.returncode:
        return ""
    return (
        "run  apt-get install gir1.2-gst-rtsp-server-1.0 python3-gi"
        " gstreamer1.0-plugins-{base,good,bad,ugly}  for the RTSP test"
    )


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port


@contextmanager
def serving(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


def kill_and_revive(
    model: Path, folder: Path, url: str, command: tuple[str, ...]
) -> None:
    """Runs on a stream that dies and comes back, and checks all that is promised."""
    with ExitStack() as stack:
        server = stack.enter_context(serving(*command))
        run = stack.enter_context(running(folder, str(model), "--source", url, *FLAGS))
        run.wait_for_frames(10)
        server.kill()
        server.wait()
        time.sleep(2.5)
        frames = len(run.answers)
        stack.enter_context(serving(*command))
        revived = time.monotonic()
        run.wait_for(lambda: len(run.answers) > frames, 30, "a frame afterwards")
        assert run.times_s[frames] - revived < RECOVERY_S
        run.wait_for_frames(10)
        assert run.end() < END_S
        assert run.process.returncode == 0
        lines = run.said.splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["WARNING:", "WARNING:"], lines
    assert "opening it again" in lines[0]
    assert "frames again after" in lines[1]


def test_mjpeg_stream_that_is_killed_and_revived_goes_on(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    port = free_port()
    command = (sys.executable, str(HERE / "mjpeg_server.py"), str(port))
    url = f"http://127.0.0.1:{port}/stream"
    kill_and_revive(tiny_model_path, tmp_path, url, command)


@pytest.mark.skipif(bool(rtsp_is_missing()), reason=rtsp_is_missing() or "all there")
@pytest.mark.parametrize("path", ["ball", "udp"])
def test_rtsp_stream_that_is_killed_and_revived_goes_on(
    path: str, tiny_model_path: Path, tmp_path: Path
) -> None:
    port = free_port()
    command = (SYSTEM_PYTHON, str(HERE / "rtsp_server.py"), str(port))
    url = f"rtsp://127.0.0.1:{port}/{path}"
    kill_and_revive(tiny_model_path, tmp_path, url, command)


def test_server_that_stalls_is_noticed_and_does_not_delay_the_end(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    port = free_port()
    # Each connection gives 20 pictures and then nothing, for ever.
    command = (sys.executable, str(HERE / "mjpeg_server.py"), str(port), "20")
    url = f"http://127.0.0.1:{port}/stream"
    with (
        serving(*command),
        running(tmp_path, str(tiny_model_path), "--source", url, *FLAGS) as run,
    ):
        run.wait_for(lambda: len(run.answers) > 25, 30, "frames of a second connection")
        run.wait_for(lambda: "opening it again" in run.said, 10, "the loss in the log")
        time.sleep(1.3)  # in the middle of a read that gets nothing
        assert run.end() < END_S
        assert run.process.returncode == 0, run.said


def test_password_is_in_no_message_and_no_answer(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    port = free_port()
    command = (sys.executable, str(HERE / "mjpeg_server.py"), str(port))
    url = f"http://me:s3cret@127.0.0.1:{port}/stream"
    with ExitStack() as stack:
        server = stack.enter_context(serving(*command))
        run = stack.enter_context(
            running(tmp_path, str(tiny_model_path), "--source", url, *FLAGS)
        )
        run.wait_for_frames(2)
        server.kill()
        run.wait_for(lambda: "opening it again" in run.said, 20, "the loss in the log")
        run.end()
    assert run.answers[0]["source"] == f"http://127.0.0.1:{port}/..."
    assert "s3cret" not in run.said + str(run.answers)


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_address_without_a_server_is_an_error_with_a_reason(scheme: str) -> None:
    url = f"{scheme}://me:s3cret@127.0.0.1:{free_port()}/x"
    caught = pytest.raises(SourceError, match="connection refused")
    with caught as error, open_source(url):
        pass
    assert "s3cret" not in str(error.value)


def test_server_that_accepts_and_says_nothing_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        started = time.monotonic()
        with pytest.raises(SourceError, match="expected a"), open_source(url):
            pass
        assert time.monotonic() - started < 12


def test_stdin_yields_images_until_the_sender_ends(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    scene = DrawnScene((160, 120), 10)
    pictures = [cv2.imencode(".jpg", scene.render(n))[1].tobytes() for n in range(12)]
    clip = tmp_path / "clip.mjpeg"
    clip.write_bytes(b"".join(pictures))
    command = (
        *(sys.executable, "-m", "edge_runtime", "run", str(tiny_model_path)),
        *("--source", "-", "--faces", "none", "--json"),
    )
    with clip.open("rb") as file:
        done = subprocess.run(
            command, stdin=file, capture_output=True, check=True, cwd=ROOT
        )
    assert done.stdout.count(b"\n") == 12  # a file on a disk: no frame is dropped
    piped = subprocess.run(
        command, input=b"".join(pictures), capture_output=True, check=True, cwd=ROOT
    )
    assert b'"frame": 11,' in piped.stdout.splitlines()[-1]
