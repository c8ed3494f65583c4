"""What outputs write, what they drop, and what they do when a disk or reader fails."""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.cli.console import Console
from edge_runtime.cli.flag_checks import check_flags
from edge_runtime.cli.open_outputs import open_sinks
from edge_runtime.cli.output_options import add_output_options
from edge_runtime.detection.base import Face
from edge_runtime.errors import OutputError
from edge_runtime.outputs import documents, event_document, frame_document, video
from edge_runtime.outputs.append_file import AppendedFile
from edge_runtime.outputs.base import RecordLimits
from edge_runtime.outputs.blur import CELLS, RecentBoxes, blur
from edge_runtime.outputs.documents import EVENT_START
from edge_runtime.outputs.mqtt_topics import parse_broker
from edge_runtime.outputs.record import FrameArchive, Recorder
from edge_runtime.outputs.rendering import FrameRenderer, RenderedFrame
from edge_runtime.outputs.work_queue import QueueCapacity, WorkQueue, pauses_s
from edge_runtime.pipeline.pipeline import Pipeline
from edge_runtime.pipeline.stats import Status
from edge_runtime.results import Box, Decision, Event, FaceResult, FrameResult
from edge_runtime.sources import Frame
from edge_runtime.sources.base import Kind
from edge_runtime.utils.files import read_secret
from edge_runtime.utils.signals import StopRequest
from tests.device.pipeline.test_pipeline import Brightness, Light, painted
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[3]
LABELS = ("happy", "sad")
IMAGE = np.random.default_rng(0).integers(0, 256, (120, 160, 3)).astype(np.uint8)


class Camera:
    """What outputs ask a source; not iterated over here."""

    name, fps, peak_fps, frame_count = "camera", 25.0, 25.0, None
    skipped = dropped = reopened = 0
    lost = None

    def __init__(self, *, live: bool = True, kind: Kind = "camera") -> None:
        self.live, self.kind = live, kind

    def __iter__(self) -> Iterator[Frame]:
        yield from ()

    def close(self) -> None: ...


def face(label: str = "happy", box: Any = (40, 30, 50, 60)) -> FaceResult:
    share = {"happy": 0.75, "sad": 0.25}
    decision = Decision(label, 0.8, share, 1.5)
    return FaceResult(box, 0.9, label, 0.75, share, 7, decision, 1.96667)


def event(kind: Any = "expression_changed") -> Event:
    return Event(kind, 7, 2.0, "happy", "sad", 0.8)


def result(index: int = 0, *faces: FaceResult, events: Any = ()) -> FrameResult:
    return FrameResult(
        index, index / 10, "camera", faces, 4.0, 1.0, 0.5, 12.5, True, tuple(events)
    )


def frame(index: int = 0) -> Frame:
    return Frame(IMAGE, index, index / 10, "camera")


def status(source: Camera) -> Status:
    spec = SimpleNamespace(labels=LABELS, architecture="tiny", format="tflite-int8")
    return Status(source=source, classifier=SimpleNamespace(spec=spec), detector="none")


def flags(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", default="0")
    parser.add_argument("--detect-every", type=int)
    add_output_options(parser)
    return parser.parse_args(given)


def run(
    results: list[FrameResult],
    *given: str,
    live: bool = True,
    kind: Kind = "camera",
) -> dict[str, Any]:
    """Writes results as a run does; returns what the status says at the end."""
    source = Camera(live=live, kind=kind)
    args, state = flags(*given), status(source)
    check_flags(args)
    with open_sinks(args, source, state) as sinks:
        for one in results:
            assert all([sink.write(frame(one.index), one) for sink in sinks])
    outputs: dict[str, Any] = state.snapshot()["outputs"]
    return outputs


# --- documents ---------------------------------------------------------------------


def test_frame_document_has_track_decision_events_and_age() -> None:
    document = frame_document(result(3, face(), events=[event()]))
    assert document == json.loads(json.dumps(document))
    assert document["schema"] == "fer-edge/frame/4"
    assert (document["age_ms"], document["detected"]) == (12.5, True)
    assert document["faces"][0]["track"] == 7
    assert document["faces"][0]["classified_s"] == 1.9667
    assert document["faces"][0]["decision"] == {
        "label": "happy",
        "confidence": 0.8,
        "probabilities": {"happy": 0.75, "sad": 0.25},
        "since_s": 1.5,
    }
    assert document["events"] == [
        {
            "event": "expression_changed",
            "track": 7,
            "time_s": 2.0,
            "label": "happy",
            "previous": "sad",
            "confidence": 0.8,
        }
    ]
    assert set(document["latency_ms"]) == {"detect", "track", "classify"}


def test_event_of_a_file_has_no_clock_time() -> None:
    assert "utc" not in event_document(event(), "clip.mp4", utc=None)
    live = event_document(event(), "camera", utc="2026-11-22T18:00:00.000Z")
    assert live["utc"] == "2026-11-22T18:00:00.000Z"


# --- the queue ---------------------------------------------------------------------


class Slow:
    """Takes nothing until it is told to."""

    def __init__(self) -> None:
        self.go, self.taken = threading.Event(), list[int]()

    def __call__(self, item: int) -> None:
        self.go.wait(60)
        self.taken.append(item)


def test_full_queue_drops_frames_first_and_keeps_every_event() -> None:
    slow = Slow()
    queue = WorkQueue(
        "--x", slow, capacity=QueueCapacity(frames=3, events=10), lossless=False
    )
    queue.put(-1)
    until(lambda: queue.counts()["waiting"] == 0)  # in the slow one's hands
    for number in range(20):
        queue.put(number, event=number % 5 == 0)
    slow.go.set()
    queue.close(5)
    assert slow.taken == [-1, 0, 5, 10, 15, 17, 18, 19]
    assert queue.counts()["dropped_frames"] == 13
    assert queue.counts()["dropped_events"] == 0


def test_queue_full_of_events_drops_the_oldest_and_counts_it() -> None:
    slow = Slow()
    queue = WorkQueue(
        "--x", slow, capacity=QueueCapacity(frames=3, events=4), lossless=False
    )
    queue.put(-1)
    until(lambda: queue.counts()["waiting"] == 0)
    for number in range(9):
        queue.put(number, event=True)
    slow.go.set()
    queue.close(5)
    assert slow.taken == [-1, 5, 6, 7, 8]
    assert queue.counts()["dropped_events"] == 5


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 4), st.integers(1, 4))
def test_queue_never_holds_more_than_its_bound_and_keeps_the_order(
    kinds: list[bool], frames: int, events: int
) -> None:
    slow = Slow()
    queue = WorkQueue(
        "--x", slow, capacity=QueueCapacity(frames, events), lossless=False
    )
    for number, keep in enumerate(kinds):
        queue.put(number, event=keep)
        assert queue.counts()["waiting"] <= frames + events
    slow.go.set()
    queue.close(5)
    counts = queue.counts()
    assert slow.taken == sorted(slow.taken)
    lost = counts["dropped_frames"] + counts["dropped_events"]
    assert counts["written"] + lost == len(kinds)


def test_files_frames_are_waited_for_and_none_is_lost() -> None:
    taken: list[int] = []

    def slowly(item: int) -> None:
        time.sleep(0.002)
        taken.append(item)

    queue = WorkQueue("--x", slowly, capacity=QueueCapacity(frames=2), lossless=True)
    for number in range(50):
        queue.put(number)
    queue.close()
    assert taken == list(range(50))


def test_stuck_output_neither_blocks_the_loop_nor_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stuck = Slow()
    queue = WorkQueue("--x", stuck, capacity=QueueCapacity(frames=2), lossless=False)
    for number in range(10_000):
        queue.put(number)
    queue.close(0.1)
    assert stuck.taken == []  # it is stuck still
    assert "unwritten" in caplog.text
    counts = queue.counts()  # those that waited and the one at work are lost, too
    assert (counts["written"], counts["dropped_frames"]) == (0, 10_000)
    stuck.go.set()


def test_full_disk_is_logged_once_and_waiting_items_are_written_later(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_runtime.outputs.work_queue.FIRST_PAUSE_S", 0.01)
    full, taken = threading.Event(), list[int]()
    full.set()

    def write(item: int) -> None:
        if full.is_set():
            raise OSError(28, "No space left on device")
        taken.append(item)

    queue = WorkQueue("--csv", write, capacity=QueueCapacity(frames=5), lossless=False)
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            queue.put(number)
        until(lambda: queue.counts()["error"] == "No space left on device")
        full.clear()
        until(lambda: len(taken) == 3)
        queue.close(5)
    assert taken == [0, 1, 2]
    assert [one.message for one in caplog.records] == [
        "--csv: No space left on device; trying again",
        "--csv works again; dropped so far: 0",
    ]
    assert queue.counts()["error"] is None


def test_tries_become_rarer_and_never_so_rare_that_recovery_takes_five_seconds() -> (
    None
):
    tries = list(itertools.islice(pauses_s(), 1000))
    assert tries == sorted(tries)
    assert tries[0] == 0.5
    assert max(tries) <= 4


def test_outage_of_a_night_is_logged_in_two_lines(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_runtime.outputs.work_queue.FIRST_PAUSE_S", 1e-4)
    monkeypatch.setattr("edge_runtime.outputs.work_queue.LONGEST_PAUSE_S", 1e-4)
    tries = itertools.count()

    def write(item: int) -> None:
        if next(tries) < 1000:
            raise OSError(30, "Read-only file system")

    with caplog.at_level(logging.DEBUG):
        queue = WorkQueue(
            "--record", write, capacity=QueueCapacity(frames=5), lossless=False
        )
        queue.put(0)
        until(lambda: queue.counts()["written"] == 1)
        queue.close(5)
    assert [one.message for one in caplog.records] == [
        "--record: Read-only file system; trying again",
        "--record works again; dropped so far: 0",
    ]


def test_error_of_a_files_output_ends_the_run() -> None:
    def broken(item: int) -> None:
        raise OSError(28, "No space left on device")

    queue = WorkQueue("--csv", broken, capacity=QueueCapacity(frames=5), lossless=True)
    queue.put(0)
    until(lambda: queue.counts()["error"])
    with pytest.raises(OutputError, match="No space left"):
        queue.put(1)


@pytest.mark.parametrize("error", [ValueError("odd"), cv2.error("odd")], ids=repr)
def test_any_error_of_a_files_output_ends_the_run(error: Exception) -> None:
    def broken(item: int) -> None:
        raise error

    queue = WorkQueue("--csv", broken, capacity=QueueCapacity(frames=2), lossless=True)
    queue.put(0)
    until(lambda: queue.counts()["error"])
    with pytest.raises(OutputError, match=r"^--csv: \w+: odd"):
        queue.put(1)
    with pytest.raises(OutputError, match="odd"):
        queue.check()


def test_any_error_of_a_live_output_is_logged_once_and_losses_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(item: int) -> None:
        raise KeyError("odd")

    queue = WorkQueue("--csv", broken, capacity=QueueCapacity(frames=2), lossless=False)
    for number in range(5):
        queue.put(number, event=number == 4)
    queue.close(5)
    counts = queue.counts()
    assert (counts["dropped_frames"], counts["dropped_events"]) == (4, 1)
    assert counts["error"] == "KeyError: 'odd'"
    assert [one.message for one in caplog.records] == ["--csv: KeyError: 'odd'; closed"]


# --- lines -------------------------------------------------------------------------


def test_name_that_is_no_text_is_written_as_in_json(tmp_path: Path) -> None:
    """Python gives the byte 0xff of a file's name as a character no UTF-8 has."""
    path = tmp_path / "faces.csv"
    odd = replace(result(0, face()), name=os.fsdecode(b"Zo\xeb.png"))
    run([odd], "--csv", str(path), live=False)
    with path.open(newline="", encoding="utf-8") as file:
        assert [row["source"] for row in csv.DictReader(file)] == ["Zo\\udceb.png"]


def test_csv_has_one_row_per_face_with_a_column_per_label(tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    run([result(0, face(), face("sad")), result(1)], "--csv", str(path))
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["happy", "sad"]
    first = rows[0]
    assert (first["track"], first["x"], first["height"]) == ("7", "40", "60")
    assert (first["decision"], first["happy"]) == ("happy", "0.75")
    assert first["classified_s"] == "1.9667"


def test_csv_goes_on_where_an_earlier_run_ended(tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    for _ in range(2):
        run([result(0, face())], "--csv", str(path))
    assert len(path.read_text().splitlines()) == 3


def test_file_with_other_content_is_refused_without_force(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("my,own,table\n1,2,3\n")
    with pytest.raises(OutputError, match="--force"):
        run([], "--csv", str(path))
    assert path.read_text().startswith("my,own")
    run([result(0, face())], "--csv", str(path), "--force")
    assert path.read_text().startswith("frame,time_s")


def test_events_file_has_a_line_per_event_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    happened = [event("face_appeared"), event("face_left")]
    run([result(0, face()), result(1, events=happened)], "--events", str(path))
    documents = [json.loads(line) for line in path.read_text().splitlines()]
    assert [one["event"] for one in documents] == ["face_appeared", "face_left"]
    assert documents[0]["schema"] == "fer-edge/event/1"
    assert documents[0]["utc"].endswith("Z")
    assert path.read_text().startswith(EVENT_START)


@pytest.mark.parametrize("how", ["moved", "removed", "truncated"])
def test_rotated_file_is_written_on(tmp_path: Path, how: str) -> None:
    path = tmp_path / "faces.csv"
    file = AppendedFile(path, start="a,b", header="a,b")
    file.write("1,2")
    if how == "moved":
        path.rename(tmp_path / "faces.csv.1")
    elif how == "removed":
        path.unlink()
    else:
        os.truncate(path, 0)
    file.write("3,4")
    file.close()
    assert path.read_text() == "a,b\n3,4\n"
    AppendedFile(path, start="a,b", header="a,b").close()  # the next start takes it


def test_pipe_gets_the_header_once(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    os.mkfifo(path)
    file = AppendedFile(path, start="a,b", header="a,b")
    for line in ("1,2", "3,4"):
        file.write(line)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    assert os.read(reader, 100) == b"a,b\n1,2\n3,4\n"
    os.close(reader)
    file.close()


def test_file_that_is_refused_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "photo.csv"
    path.write_bytes(b"no line end")
    with pytest.raises(OutputError):
        AppendedFile(path, start="a,b", header="a,b")
    assert path.read_bytes() == b"no line end"


def test_line_that_was_cut_off_spoils_no_other_one(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(EVENT_START + ', "event": "face_appe')
    happened = [event("face_left")]
    run([result(1, events=happened)], "--events", str(path))
    assert json.loads(path.read_text().splitlines()[-1])["event"] == "face_left"


def test_line_that_does_not_fit_on_the_disk_leaves_no_part(tmp_path: Path) -> None:
    """A real limit, as of a full disk: the kernel cuts the write short."""
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from edge_runtime.outputs.append_file import AppendedFile\n"
        "file = AppendedFile(Path(sys.argv[1]), start='', header='head')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20, 100))\n"
        "try:\n    file.write('x' * 50)\n"
        "except OSError as error:\n    print(error.strerror)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "file.write('fits')\n"
    )
    path = tmp_path / "lines"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "File too large\n"
    assert path.read_text() == "head\nfits\n"


def test_header_that_does_not_fit_on_the_disk_leaves_no_part(tmp_path: Path) -> None:
    """``logrotate`` took the file away while the disk was full."""
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from edge_runtime.outputs.append_file import AppendedFile\n"
        "path = Path(sys.argv[1])\n"
        "file = AppendedFile(path, start='', header='a long header')\n"
        "path.rename(sys.argv[1] + '.1')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5, 100))\n"
        "for _ in range(2):\n"
        "    try:\n        file.write('1')\n"
        "    except OSError as error:\n        print(error.strerror)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "file.write('2')\n"
    )
    path = tmp_path / "lines"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "File too large\n" * 2
    assert path.read_text() == "a long header\n2\n"


def test_csv_on_a_full_device_does_not_stop_the_loop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    frames = [result(0, face()), result(1, face(), events=[event()])]
    counts = run(frames, "--csv", "/dev/full")["csv"]
    assert (counts["dropped_frames"], counts["dropped_events"]) == (1, 1)
    nobody = [result(0)]  # not even a line to write
    for of_a_file in (frames, nobody):
        with pytest.raises(OutputError, match="No space left"):
            run(of_a_file, "--csv", "/dev/full", live=False)
    caplog.clear()
    queue = WorkQueue(
        "--csv",
        lambda one: documents.write_rows(full_device(), LABELS, one),
        capacity=QueueCapacity(frames=4),
        lossless=False,
    )
    for index in range(100):
        queue.put(result(index, face()))
    until(lambda: queue.counts()["error"])
    queue.close(2)
    assert queue.counts()["dropped_frames"] == 100
    assert caplog.text.count("No space left") <= 2


def test_nothing_counts_as_lost_after_the_reader_has_closed_the_pipe() -> None:
    def leave(item: int) -> None:
        raise BrokenPipeError

    queue = WorkQueue(
        "--json", leave, capacity=QueueCapacity(frames=100), lossless=False
    )
    with suppress(BrokenPipeError):
        for number in range(20):
            queue.put(number, event=number % 2 == 0)
    queue.close(5)
    counts = queue.counts()
    assert counts["dropped_frames"] == counts["dropped_events"] == 0


def test_video_for_which_there_was_no_room_ends_no_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OutputError("the disk is nearly full")

    monkeypatch.setattr(video, "_check_space", full)
    frames = [result(number, face()) for number in range(3)]
    to = tmp_path / "out.avi"
    counts = run(frames, "--output", str(to))["output"]
    assert (counts["written"], counts["dropped_frames"]) == (0, 3)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="nearly full"):
        run(frames, "--output", str(to), live=False)


def test_event_that_no_broker_took_is_lost_and_not_written() -> None:
    pytest.importorskip("paho.mqtt", reason="publishes to brokers")
    counts = run([result(0, face(), events=[event()])], "--mqtt", "mqtt://127.0.0.1:9")
    assert (counts["mqtt"]["written"], counts["mqtt"]["dropped_events"]) == (0, 1)


def test_losses_of_a_full_disk_are_printed_at_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    camera = Camera()
    camera.dropped, camera.reopened = 40, 2
    more = {
        "model": None,
        "faces": "haar",
        "detector_model": None,
        "words": [],
        "size": None,
        "fps": None,
    }
    args = argparse.Namespace(**vars(flags()), **more)
    counts = status(camera)
    console = Console(args, counts, StopRequest())
    counts.update(result(0, face()))
    error = "No space left on device"
    lost = {"dropped_frames": 7, "dropped_events": 1, "error": error}
    none = {"dropped_frames": 0, "dropped_events": 0, "error": None}
    console.finish({"csv": lost, "events": none, "page": lost})
    out, err = capsys.readouterr()
    assert "frames         1 (40 passed over for newer ones)" in out
    assert "lost and back  2 times" in out
    (line,) = err.splitlines()
    assert line.startswith("--csv: 7 frames without an event and 1 with one")
    assert line.endswith(error)


def full_device() -> AppendedFile:
    return AppendedFile(Path("/dev/full"), start="")


def test_stdout_without_a_reader_does_not_block_a_live_loop() -> None:
    """The reader of the pipe never reads; the run must still end in time."""
    code = (
        "import sys, time\n"
        "sys.path.insert(0, 'tests/device/outputs')\n"
        "from test_outputs import face, result, run\n"
        "many = [result(i, *[face()] * 9) for i in range(2000)]\n"
        "started = time.monotonic()\n"
        "counts = run(many, '--json')\n"
        "print(time.monotonic() - started, counts['json'], file=sys.stderr)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(10) == 0, said
    line = said.splitlines()[-1]
    assert float(line.split()[0]) < 2
    assert "'dropped_frames': 0" not in line


# --- privacy -----------------------------------------------------------------------


def test_blurred_face_keeps_no_detail() -> None:
    """Noise of any kind in the box becomes nearly one tone: detail is gone."""
    hidden = blur(IMAGE, [(60, 40, 40, 40)])
    inside = hidden[45:75, 65:95].astype(float)
    assert inside.std() < 0.1 * IMAGE[45:75, 65:95].std()
    assert (hidden[:20] == IMAGE[:20]).all()
    assert (np.random.default_rng(0).integers(0, 256, IMAGE.shape) == IMAGE).all()


def test_two_different_faces_of_equal_cell_means_are_the_same_afterwards() -> None:
    """Irreversible: what differs within the cells leaves no trace."""
    side = 16 * CELLS
    flat = np.full((side, side), 120, np.uint8)
    fine = flat.copy()
    fine[::2, ::2] += 40
    fine[1::2, ::2] -= 40
    whole = [(0, 0, side, side)]
    assert (blur(flat, whole) == blur(fine, whole)).all()


@given(
    st.tuples(
        st.integers(-50, 200),
        st.integers(-50, 200),
        st.integers(0, 300),
        st.integers(0, 300),
    )
)
def test_any_box_can_be_blurred(box: tuple[int, int, int, int]) -> None:
    assert blur(IMAGE, [box]).shape == IMAGE.shape
    assert blur(IMAGE[..., 0], [box]).shape == IMAGE.shape[:2]


def test_face_stays_hidden_for_a_second_when_the_detector_misses_it() -> None:
    recent = RecentBoxes()
    assert recent.add(result(0, face())) == ((40, 30, 50, 60),)
    assert recent.add(result(5)) == ((40, 30, 50, 60),)
    assert recent.add(result(11)) == ()
    assert recent.add(result(2, face())) == ((40, 30, 50, 60),)  # time ran back


def test_moving_face_that_the_detector_misses_stays_hidden() -> None:
    """It turns away at once: neither detected nor like itself for ten frames."""
    classifier, renderer = Brightness(), FrameRenderer(privacy=True, sequence=True)

    class Blind(Light):
        def detect(self, frame: Any) -> list[Face]:
            return [] if frame.min() == 0 else super().detect(frame)

    pipeline = Pipeline(Blind(), classifier, detect_every=1)
    shown = []
    for index in range(25):
        x = 10 + 6 * index  # 180 pixels a second, three times its side
        image = painted(x, 60)
        if index >= 15:
            image[60:120, x : x + 60] = 255 - image[60:120, x : x + 60]
            image[0, 0] = 0
        one = Frame(image, index, index / 30, "camera")
        hidden = renderer.prepare(one, pipeline.process(one)).blurred_boxes
        assert hidden is not None
        sharp = np.ones(image.shape[:2], bool)
        for left, top, wide, tall in hidden:
            sharp[top : top + tall, left : left + wide] = False
        shown.append(sharp[60:120, x : x + 60].mean())
    assert max(shown[1:]) < 0.1  # the box alone, without the margin around it


def test_places_of_the_last_second_are_few_and_contain_every_box() -> None:
    recent, boxes = RecentBoxes(), list[Box]()
    for index in range(10):  # one sways, one walks through the picture
        boxes += [(40 + index % 3, 30, 50, 60), (60 + 8 * index, 60, 40, 40)]
        faces = [face(box=box) for box in boxes[-2:]]
        hidden = recent.add(result(index, *faces))
        for x, y, w, h in boxes:
            assert any(
                left <= x and top <= y and x + w <= left + wide and y + h <= top + tall
                for left, top, wide, tall in hidden
            )
    assert len(hidden) <= 5  # of 13 different ones


def test_places_of_a_near_face_are_blurred_as_one_box() -> None:
    """Thirty of them, 330 pixels wide, took two and a half seconds."""
    recent = RecentBoxes()
    for index in range(30):
        near = face(box=(120 + 2 * (index % 5) + index, 60 + index % 3, 330, 330))
        boxes = recent.add(replace(result(0, near), timestamp_s=index / 30))
    assert len(boxes) == 1


@pytest.mark.parametrize("way", ["output", "record"])
def test_privacy_reaches_every_picture(tmp_path: Path, way: str) -> None:
    to = tmp_path / ("out.avi" if way == "output" else "kept")
    sharp, hidden = tmp_path / "sharp", tmp_path / "hidden"
    for place, privacy in ((sharp, "none"), (hidden, "blur")):
        place.mkdir()
        path = str(place / to.name)
        run([result(0, face())], f"--{way}", path, "--privacy", privacy, live=False)
    details = [detail_in(first_picture(place)) for place in (sharp, hidden)]
    assert details[1] < 0.5 * details[0]


def test_pictures_that_stand_alone_share_no_blurred_places() -> None:
    renderer = FrameRenderer(privacy=True, sequence=False)
    for left in (0, 60, 110):
        alone = replace(result(0, face(box=(left, 30, 50, 60))), timestamp_s=0.0)
        assert renderer.prepare(frame(), alone).blurred_boxes == ((left, 30, 50, 60),)
    assert renderer.prepare(frame(), result(0)).blurred_boxes == ()


def first_picture(folder: Path) -> Any:
    (path,) = [one for one in folder.rglob("*") if one.suffix in (".avi", ".jpg")]
    if path.suffix == ".jpg":
        return cv2.imread(str(path))
    return cv2.VideoCapture(str(path)).read()[1]


def detail_in(image: Any) -> float:
    return float(np.abs(np.diff(image[35:80, 48:82].astype(float), axis=0)).mean())


def test_frame_is_drawn_once_for_all_outputs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    renderer = FrameRenderer(privacy=False, sequence=True)
    rendered = renderer.prepare(frame(), result(0, face()))
    assert renderer.draw(rendered) is renderer.draw(rendered)
    assert (renderer.draw(rendered) != IMAGE).any()


def test_what_a_killed_run_left_of_a_video_is_removed_by_a_later_one(
    tmp_path: Path,
) -> None:
    left, busy, others = (
        tmp_path / f".partly-written-{name}" for name in ("a-o.avi", "b-o.avi", "c-x")
    )
    for path in (left, busy, others):
        path.write_bytes(b"half")
    alive = os.getppid()  # its camera is away
    waiting = tmp_path / f".partly-written-{alive}-d-o.avi"
    dead = tmp_path / f".partly-written-{2**40}-e-o.avi"
    for path in (waiting, dead):
        path.write_bytes(b"half")
    for path in (left, others, waiting, dead):
        os.utime(path, (1e9, 1e9))
    run([result(0, face())], "--output", str(tmp_path / "o.avi"), live=False)
    assert {one.name for one in tmp_path.iterdir()} == {
        "o.avi",
        busy.name,
        others.name,
        waiting.name,
    }


# --- recording ---------------------------------------------------------------------


def stored(archive: FrameArchive, count: int) -> None:
    for index in range(count):
        archive.store(RenderedFrame(frame(index), result(index, face()), None))


def test_archive_keeps_the_newest_pictures_with_their_answers(tmp_path: Path) -> None:
    stored(FrameArchive(tmp_path, RecordLimits(max_images=3)), 5)
    pictures = sorted(tmp_path.glob("*.jpg"))
    assert [int(path.stem[-9:]) for path in pictures] == [2, 3, 4]
    assert len(list(tmp_path.iterdir())) == 6
    document = json.loads(pictures[0].with_suffix(".json").read_text())
    assert document["frame"] == 2
    assert pictures[0].stat().st_mode & 0o077 == 0


def test_archive_counts_what_an_earlier_run_left(tmp_path: Path) -> None:
    stored(FrameArchive(tmp_path, RecordLimits(max_images=3)), 3)
    stored(FrameArchive(tmp_path, RecordLimits(max_images=3)), 2)
    assert len(list(tmp_path.glob("*.jpg"))) == 3


class SteppedClock:
    """Stands in for ``datetime``: each call is an hour before the last one."""

    def __init__(self) -> None:
        self._now = datetime(2030, 1, 1, tzinfo=UTC)

    def now(self, zone: object) -> datetime:
        self._now -= timedelta(hours=1)
        return self._now


def test_archive_keeps_the_newest_pictures_when_the_clock_steps_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run reads the folder anew: a board without a battery starts in the past."""
    from edge_runtime.outputs import record

    monkeypatch.setattr(record, "datetime", SteppedClock())
    for index in range(8):
        archive = FrameArchive(tmp_path, RecordLimits(max_images=3))
        archive.store(RenderedFrame(frame(index), result(index, face()), None))
    pictures = sorted(tmp_path.glob("*.jpg"))
    assert [int(path.stem[-9:]) for path in pictures] == [5, 6, 7]


def test_archive_removes_pictures_of_the_older_naming_first(tmp_path: Path) -> None:
    for name in (
        "20990101T000000.000000Z-000000001",
        "20200101T000000.000000Z-000000002",
    ):
        for suffix in (".jpg", ".json"):
            (tmp_path / f"{name}{suffix}").write_bytes(b"x")
    stored(FrameArchive(tmp_path, RecordLimits(max_images=3)), 2)
    stored(FrameArchive(tmp_path, RecordLimits(max_images=3)), 1)
    names = [path.name for path in sorted(tmp_path.glob("*.jpg"))]
    assert [name.startswith("00000000") for name in names] == [True] * 3


@pytest.mark.parametrize("flag", ["csv", "events", "output"])
def test_results_are_not_for_every_user_of_the_machine(
    tmp_path: Path, flag: str
) -> None:
    path = tmp_path / ("a.avi" if flag == "output" else "a.txt")
    before = os.umask(0o022)
    try:
        run([result(0, face(), events=[event()])], f"--{flag}", str(path), live=False)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o007 == 0


@pytest.mark.parametrize("flag", ["csv", "events"])
def test_older_file_that_every_user_may_read_is_told(
    tmp_path: Path, flag: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.txt"
    path.touch()
    path.chmod(0o644)
    run([result(0, face())], f"--{flag}", str(path), live=False)
    assert "can be read by every user of this machine" in caplog.text


@pytest.mark.parametrize(
    ("mode", "told"), [(0o644, True), (0o640, False), (0o400, False)]
)
def test_secret_that_every_user_may_read_is_told(
    tmp_path: Path, mode: int, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "token.txt"
    path.write_text("a-token-that-nobody-guesses\n")
    path.chmod(mode)
    read_secret(path, "--token-file")
    assert ("--token-file" in caplog.text) is told
    assert "guesses" not in caplog.text


def test_documents_without_an_image_count_until_they_are_the_oldest(
    tmp_path: Path,
) -> None:
    """As after a power cut between the two removals."""
    stored(FrameArchive(tmp_path, RecordLimits(max_images=3)), 3)
    for path in sorted(tmp_path.glob("*.jpg"))[:2]:
        path.unlink()
    archive = FrameArchive(tmp_path, RecordLimits(max_images=3))
    assert len(list(tmp_path.iterdir())) == 4  # nobody's answers vanish at a start
    stored(archive, 1)
    assert len(list(tmp_path.glob("*.json"))) == 3
    stored(archive, 1)
    assert len(list(tmp_path.iterdir())) == 6


def test_archive_neither_counts_nor_removes_files_of_others(tmp_path: Path) -> None:
    names = ["0-IMG_0001.jpg", "0-IMG_0001.json", "20240131T101112.jpg", "notes.txt"]
    for name in names:
        (tmp_path / name).write_bytes(b"x" * 600_000)
    (tmp_path / "0-album.jpg").mkdir()
    stored(FrameArchive(tmp_path, RecordLimits(max_images=3)), 5)
    stored(FrameArchive(tmp_path, RecordLimits(max_images=3, max_megabytes=1)), 2)
    assert [(tmp_path / name).stat().st_size for name in names] == [600_000] * 4
    assert len(list(tmp_path.glob("*Z-*.jpg"))) == 3
    assert len(list(tmp_path.glob("*Z-*.json"))) == 3


def test_archive_stays_under_its_megabytes(tmp_path: Path) -> None:
    stored(FrameArchive(tmp_path, RecordLimits(max_megabytes=1)), 60)
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert 0.8e6 < sum(sizes) <= 1e6


def test_recorder_keeps_events_and_else_one_face_per_second() -> None:
    kept: list[int] = []
    queue: WorkQueue[RenderedFrame] = WorkQueue(
        "--record",
        lambda one: kept.append(one.result.index),
        capacity=QueueCapacity(frames=99),
        lossless=True,
    )
    recorder = Recorder(queue, min_interval_s=0.95)
    for index in range(25):
        events = [event()] if index == 13 else []
        faces = [face()] if index else []
        answer = result(index, *faces, events=events)
        assert recorder.write(RenderedFrame(frame(index), answer, None))
    queue.close()
    assert kept == [1, 11, 13, 23]


def test_every_picture_of_a_folder_with_a_face_is_kept(tmp_path: Path) -> None:
    alone = [replace(result(n, face()), timestamp_s=0.0) for n in range(10)]
    run(alone, "--record", str(tmp_path), live=False, kind="pictures")
    assert len(list(tmp_path.glob("*.jpg"))) == 10


def test_nothing_is_stored_without_record(tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    os.chdir(tmp_path)
    try:
        run([result(0, face(), events=[event()])], "--events", "e.jsonl")
    finally:
        os.chdir(ROOT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.jsonl"]
    assert before == []


# --- flags -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "part"),
    [
        (["--json", "--events"], "both write to stdout"),
        (["--csv", "no/such/folder/x.csv"], "mkdir -p"),
        (["--csv", "."], "folder"),
        (["--csv", "a.csv", "--events", "a.csv"], "four files"),
        (["--mqtt", "http://host"], "mqtt://HOST"),
        (["--mqtt", "mqtt://"], "mqtt://HOST"),
        (["--mqtt", "mqtt://host:99999"], "mqtt://HOST"),
        (["--mqtt", "mqtt://host/a/#"], "mqtt://HOST"),
        (["--mqtt", "mqtt://host/a/+/b"], "prefix"),
        (["--mqtt", "mqtt://host/my%20cam"], "without # . . and spaces, got 'my cam'"),
        (["--mqtt-password-file", "p"], "without --mqtt"),
        (["--mqtt", "mqtt://me@host", "--mqtt-ca", "c.pem"], "mqtts://"),
        (["--mqtt", "mqtts://host", "--mqtt-password-file", "p"], "mqtts://USER@"),
        (["--mqtt", "mqtts://@host", "--mqtt-password-file", "p"], "mqtts://USER@"),
        (["--serve", "host:port"], "PORT"),
        (["--serve", "99999"], "PORT"),
        (["--serve", "0.0.0.0:8080"], "--token-file"),
        (["--serve", ":8080"], "PORT"),
        (["--serve", "8080", "--token-file", "no-such"], "--token-file"),
        (["--token-file", "t"], "without --serve"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_impossible_outputs_are_refused_with_what_to_do(
    given: list[str], part: str
) -> None:
    with pytest.raises(OutputError, match=part):
        check_flags(flags(*given))


def test_password_on_the_command_line_is_refused_and_not_repeated() -> None:
    with pytest.raises(OutputError, match="--mqtt-password-file") as caught:
        check_flags(flags("--mqtt", "mqtt://me:hunter2@host"))
    assert "hunter2" not in str(caught.value)


def test_user_of_a_broker_may_have_any_character() -> None:
    broker = parse_broker("mqtt://us%40er%20%C3%A9@host/home/door")
    assert (broker.user, broker.host) == ("us@er é", "host")
    check_flags(flags("--mqtt", "mqtts://a%40b@host", *("--mqtt-password-file", "p")))


@pytest.mark.parametrize(
    ("data", "secret"),
    [
        (b"\xef\xbb\xbfhunter2\r\n", "hunter2"),  # Notepad
        ("\ufeffp\u00e4ss".encode(), "p\u00e4ss"),
        (b"hunter2\r\nnext line", "hunter2"),
    ],
)
def test_secret_may_be_of_an_editor_of_windows(
    tmp_path: Path, data: bytes, secret: str
) -> None:
    path = tmp_path / "password"
    path.write_bytes(data)
    assert read_secret(path, "--mqtt-password-file") == secret


def test_secret_with_control_characters_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_bytes(b"hunter\x002")
    with pytest.raises(OutputError, match="got 8, control characters among them"):
        read_secret(path, "--mqtt-password-file")


def test_short_token_is_refused_and_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("letmein\n")
    with pytest.raises(OutputError, match="16 to") as caught:
        check_flags(flags("--serve", "8080", "--token-file", str(path)))
    assert "letmein" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.1.2.3"])
def test_this_machines_own_addresses_need_no_token(host: str) -> None:
    check_flags(flags("--serve", f"{host}:8080"))


@pytest.mark.parametrize(
    ("library", "given"),
    [("aiohttp", ["--serve", "0"]), ("paho", ["--mqtt", "mqtt://127.0.0.1:9"])],
    ids=["page", "mqtt"],
)
def test_missing_library_is_named_with_its_command(
    library: str, given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    users = ("edge_runtime.web.", "edge_runtime.outputs.lasting_client", f"{library}.")
    for name in [one for one in sys.modules if one.startswith(users)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setitem(sys.modules, f"{library}.mqtt", None)
    with pytest.raises(Exception, match=r"pip install 'fer-edge\[(web|mqtt)\]'"):
        run([], *given)


def test_optional_libraries_are_loaded_only_for_their_output() -> None:
    code = (
        "import sys, edge_runtime.__main__ as main; main.build_parser();"
        "print({'aiohttp', 'paho', 'prometheus_client'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == "set()\n", done.stderr
