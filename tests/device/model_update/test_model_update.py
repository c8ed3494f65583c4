"""A model that is exchanged while frames are answered, and one that is not."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import subprocess
import sys
import threading
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.__main__ import build_parser
from edge_runtime.cli.open_model import open_classifier
from edge_runtime.cli.tuning_file import apply_tuning
from edge_runtime.drift.watch import EVERY, DriftWatch
from edge_runtime.errors import FerEdgeError, ModelError
from edge_runtime.inference.classifier import Classifier
from edge_runtime.model_file.container import attach, read_model_file
from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.model_update import probe as model_probe
from edge_runtime.model_update import verify as verification
from edge_runtime.model_update.policy import UpdatePolicy
from edge_runtime.model_update.trial import RECENT_FRAMES
from edge_runtime.model_update.updating_classifier import UpdatingClassifier
from edge_runtime.model_update.verify import verify
from edge_runtime.model_update.watch_folder import (
    BOOT_ID,
    MEMORY_NAME,
    ModelFolder,
    TrialMemory,
    consider,
    watching,
)
from edge_runtime.results import FaceResult, FrameResult
from edge_runtime.sources import Frame
from edge_runtime.utils.stderr import suppress_stderr
from train.data.drawn_faces import drawn_faces

FRAMES = 5
POLICY = UpdatePolicy(frames=FRAMES, max_slowdown=1000.0)


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    return drawn_faces(35, 7)[0]


@pytest.fixture
def running(tiny_model_path: Path) -> UpdatingClassifier:
    return UpdatingClassifier(Classifier.load(tiny_model_path), POLICY)


@pytest.fixture
def new(tiny_float_path: Path) -> Classifier:
    return Classifier.load(tiny_float_path)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Broken:
    """The real backend until it has answered ``after`` batches, then something else."""

    def __init__(self, backend, after, fault):
        self.name, self.version = backend.name, backend.version
        self.input, self.output = backend.input, backend.output
        self._backend, self._left, self._fault = backend, after, fault

    def logits(self, images):
        self._left -= 1
        if self._left >= 0:
            return self._backend.logits(images)
        return self._fault(self._backend, images)


def raising(backend, images):
    raise ModelError("cannot run the model: planted")


def not_finite(backend, images):
    return np.full((len(images), 7), np.nan, np.float32)


def always_the_same(backend, images):
    return np.tile(np.arange(7, dtype=np.float32), (len(images), 1))


def broken(classifier: Classifier, after: int, fault) -> Classifier:
    return Classifier(
        classifier.file, classifier.spec, Broken(classifier.backend, after, fault)
    )


def ask(running: UpdatingClassifier, images: np.ndarray) -> np.ndarray:
    """Answers one frame's faces, as the loop does."""
    return running.probabilities(np.stack([running.prepare(image) for image in images]))


def answer_frames(running: UpdatingClassifier, faces: np.ndarray, count: int) -> None:
    for _ in range(count):
        assert np.isfinite(ask(running, faces)).all()


def rewritten(source: Path, path: Path, **changes: object) -> Path:
    """Writes a model file whose metadata say something else, as an exporter would."""
    file = read_model_file(source)
    assert file.document is not None
    document = {**file.document, **changes}
    path.write_bytes(attach(file.model, document, file.kind))
    return path


# --- from one model to another ------------------------------------------------------


def test_frame_after_the_shadow_is_answered_by_the_new_model(running, new, faces):
    old = running.current
    running.offer(new, Path("new.tflite"))
    for _ in range(1 + FRAMES):  # the first only takes it up
        np.testing.assert_array_equal(
            ask(running, faces),
            old.probabilities(np.stack([old.prepare(face) for face in faces])),
        )
    assert running.update_state()["phase"] == "probation"
    np.testing.assert_array_equal(
        ask(running, faces),
        new.probabilities(np.stack([new.prepare(face) for face in faces])),
    )


def test_accepted_model_replaces_the_old_one(running, new, faces):
    running.offer(new, Path("new.tflite"))
    answer_frames(running, faces, 1 + 2 * FRAMES)
    state = running.update_state()
    assert (state["phase"], state["last"]["outcome"]) == ("watching", "accepted")
    assert running.file.name == "tiny.float32.tflite"


def test_shadow_records_agreement_and_latency(running, new, faces):
    running.offer(new, Path("new.tflite"))
    answer_frames(running, faces, 4)
    compared = running.update_state()["compared"]
    assert compared["frames"] == 3
    assert compared["faces"] == 3 * len(faces)
    assert compared["agreement"] > 0.8  # int8 and float32 of one network
    assert compared["old_ms"] > 0
    assert compared["new_ms"] > 0


def test_drift_that_is_watched_takes_no_part_in_the_trial(tiny_model_path, new, faces):
    frames = 2 * EVERY  # of the shadow: two of them are looked at for drift
    policy = UpdatePolicy(frames=frames + 1, max_slowdown=1000.0)
    running = UpdatingClassifier(Classifier.load(tiny_model_path), policy)
    watch = DriftWatch(running, detects=False)
    image = np.concatenate(faces[:2], axis=1)
    shares = dict.fromkeys(running.spec.labels, 1 / 7)
    label = running.spec.labels[0]
    found = tuple(
        FaceResult((x, 0, *image.shape[:1] * 2), 1.0, label, 1 / 7, shares)
        for x in (0, faces.shape[2])
    )
    running.offer(new, Path("new.tflite"))
    for number in range(1 + frames):
        ask(running, faces[:2])
        result = FrameResult(number, number / 30, "camera", found, 0.0, 0.0)
        watch.update(Frame(image, number, number / 30, "camera"), result)
    compared = running.update_state()["compared"]
    assert (compared["frames"], compared["faces"]) == (frames, 2 * frames)
    assert compared["agreement"] <= 1


@pytest.mark.parametrize(
    ("fault", "said"),
    [(raising, "planted"), (not_finite, "not finite"), (always_the_same, "same")],
    ids=["raises", "not finite", "collapsed"],
)
def test_fault_in_the_shadow_refuses_the_model(running, new, faces, fault, said):
    if fault is always_the_same:
        said = "present model's answer on 50 % of the faces"
    running.offer(broken(new, 1, fault), Path("new.tflite"))
    answer_frames(running, faces, 2 + FRAMES)
    last = running.update_state()["last"]
    assert last["outcome"] == "refused"
    assert said in last["reason"]
    assert running.file.name == "tiny.int8.tflite"


def lasting(clock: Clock, seconds: float):
    """Returns what classifies each face in so much time of the clock."""

    def answer(backend, images):
        clock.now += seconds * len(images)
        return backend.logits(images)

    return answer


def test_models_are_timed_by_the_face_not_by_the_frame(running, new, faces, clock):
    old = broken(running.current, 0, lasting(clock, 0.0005))
    policy = UpdatePolicy(frames=RECENT_FRAMES, max_slowdown=2.0)
    updating = UpdatingClassifier(old, policy, clock=clock)
    updating.offer(broken(new, 0, lasting(clock, 0.0005)), Path("new.tflite"))
    answer_frames(updating, faces[:3], 1 + RECENT_FRAMES)
    assert updating.update_state()["phase"] == "probation"
    answer_frames(updating, faces, RECENT_FRAMES)  # eleven times as many a frame
    assert updating.update_state()["last"]["outcome"] == "accepted"


@pytest.mark.parametrize("fault", [raising, not_finite], ids=["raises", "not finite"])
def test_frame_that_the_new_model_fails_on_is_answered_by_the_old(
    running, new, faces, fault
):
    old = running.current
    running.offer(broken(new, FRAMES + 2, fault), Path("new.tflite"))
    answer_frames(running, faces, 1 + FRAMES + 2)
    np.testing.assert_array_equal(
        ask(running, faces),
        old.probabilities(np.stack([old.prepare(face) for face in faces])),
    )
    assert running.update_state()["last"]["outcome"] == "rolled back"
    assert running.current is old


def test_model_that_becomes_slow_on_probation_is_rolled_back(
    tiny_model_path, new, faces, clock
):
    running = UpdatingClassifier(
        Classifier.load(tiny_model_path),
        UpdatePolicy(frames=30, max_slowdown=5.0),
        clock=clock,
    )
    running.offer(broken(new, 31, lasting(clock, 0.02)), Path("new.tflite"))
    answer_frames(running, faces[:1], 31 + 25)
    last = running.update_state()["last"]
    assert last["outcome"] == "rolled back"
    assert "expected at most 5 times" in last["reason"]


def test_newer_file_takes_the_place_of_one_in_the_shadow(running, new, faces):
    running.offer(new, Path("first.tflite"))
    answer_frames(running, faces, 2)
    running.offer(new, Path("second.tflite"))
    answer_frames(running, faces, 1)
    state = running.update_state()
    assert state["file"] == "second.tflite"
    assert state["compared"]["frames"] == 0


def test_newer_file_waits_for_the_end_of_a_probation(running, new, faces):
    running.offer(new, Path("first.tflite"))
    answer_frames(running, faces, 1 + FRAMES + 1)
    running.offer(new, Path("second.tflite"))
    answer_frames(running, faces, 1)
    assert running.update_state()["file"] == "first.tflite"
    answer_frames(running, faces, FRAMES)
    assert running.update_state()["file"] == "second.tflite"


# --- what is let in -----------------------------------------------------------------


def test_verified_model_is_loaded(running, tiny_float_path):
    new = verify(tiny_float_path, running.current, POLICY)
    assert new is not None
    assert new.file.name == tiny_float_path.name


def test_model_that_is_running_is_no_news(running, tiny_model_path, tmp_path):
    copy = tmp_path / "copy.tflite"
    copy.write_bytes(tiny_model_path.read_bytes())
    assert verify(copy, running.current, POLICY) is None


def garbage(source: Path, path: Path) -> Path:
    path.write_bytes(os.urandom(5000))
    return path


def half_written(source: Path, path: Path) -> Path:
    path.write_bytes(source.read_bytes()[:-3000])
    return path


def one_bit_off(source: Path, path: Path) -> Path:
    data = bytearray(source.read_bytes())
    data[9000] ^= 1
    path.write_bytes(data)
    return path


def without_metadata(source: Path, path: Path) -> Path:
    path.write_bytes(read_model_file(source).model)
    return path


def other_labels(source: Path, path: Path) -> Path:
    labels = ["angry", "contempt", "disgust", "fear", "happy", "neutral", "sad"]
    return rewritten(source, path, labels=labels)


def other_order(source: Path, path: Path) -> Path:
    labels = ["disgust", "angry", "fear", "happy", "neutral", "sad", "surprise"]
    return rewritten(source, path, labels=labels)


def other_margin(source: Path, path: Path) -> Path:
    return rewritten(source, path, crop_margin_frac=0.25)


def other_subject(source: Path, path: Path) -> Path:
    return rewritten(source, path, subject="bottle", labels_are="material")


def other_answers(source: Path, path: Path) -> Path:
    document = read_model_file(source).document
    assert document is not None
    logits = [[value + 9 for value in row] for row in document["golden"]["logits"]]
    golden = {**document["golden"], "logits": logits}
    return rewritten(source, path, golden=golden)


def vanished(source: Path, path: Path) -> Path:
    return path


@pytest.mark.parametrize(
    ("made_by", "said"),
    [
        (garbage, "not a TFLite model"),
        (half_written, "cut off or damaged"),
        (one_bit_off, "altered"),
        (without_metadata, "python -m export"),
        (other_labels, "it adds contempt and it lacks surprise"),
        (other_order, "the same in another order"),
        (other_margin, "crop margin 0, got 0.25"),
        (other_subject, "a model of face and expression, as the running one is, got"),
        (other_answers, "other logits"),
        (vanished, "No such file"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_file_is_refused_with_its_reason(
    running, tiny_float_path, tmp_path, made_by, said
):
    path = made_by(tiny_float_path, tmp_path / "new.tflite")
    consider(running, path)
    last = running.update_state()["last"]
    assert last["outcome"] == "refused"
    assert said in last["reason"]


@pytest.mark.parametrize(
    ("made_by", "said"),
    [(other_labels, "it adds contempt"), (half_written, "cut off or damaged")],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_file_that_is_refused_was_parsed_by_the_child_alone(
    monkeypatch, running, tiny_float_path, tmp_path, made_by, said
):
    """Memory and time that a hostile file takes are not those of the camera."""

    def parsed_here(*_):
        raise AssertionError("parsed in the process of the camera")

    monkeypatch.setattr(verification, "parse_model_file", parsed_here)
    consider(running, made_by(tiny_float_path, tmp_path / "new.tflite"))
    assert said in _reason(running)


def test_file_of_a_million_zip_entries_is_refused_by_the_child(running, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(100_000):
            archive.writestr(str(number), b"")
    path = tmp_path / "many.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL3" + buffer.getvalue())
    tracemalloc.start()
    consider(running, path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "at most 64 entries" in _reason(running)
    assert peak < 3 * path.stat().st_size


def test_unsigned_model_is_refused_where_a_signature_is_required(
    running, tiny_float_path, tmp_path
):
    pytest.importorskip("cryptography", reason="checks signatures")
    from edge_runtime.model_file.signature import new_key_pair

    key = tmp_path / "key.pub.pem"
    key.write_bytes(new_key_pair()[1])
    with pytest.raises(FerEdgeError, match="not signed"):
        verify(tiny_float_path, running.current, UpdatePolicy(public_key=key))


def test_limit_on_time_is_a_factor_and_a_little_slack():
    policy = UpdatePolicy(max_slowdown=2.0)
    assert policy.check_speed(2.9, 1.0) is None
    assert "got 3.10 ms" in (policy.check_speed(3.1, 1.0) or "")


def test_child_runs_the_bytes_that_were_verified(
    monkeypatch, running, tiny_float_path, tmp_path
):
    """Whoever exchanges the files meanwhile gets nothing run."""
    exchanged = tmp_path / "new.tflite"
    exchanged.write_bytes(tiny_float_path.read_bytes())
    probe = model_probe.probe

    def exchange_first(*args, **kwargs):
        exchanged.write_bytes(b"something that nobody has signed")
        return probe(*args, **kwargs)

    monkeypatch.setattr(verification, "probe", exchange_first)
    new = verify(exchanged, running.current, POLICY)
    assert new is not None
    assert new.file.sha256 == hashlib.sha256(tiny_float_path.read_bytes()).hexdigest()


def test_child_is_handed_its_models_also_by_a_python_without_memfd(
    monkeypatch, running, tiny_float_path
):
    monkeypatch.delattr(model_probe.os, "memfd_create")
    assert verify(tiny_float_path, running.current, POLICY) is not None


def test_crash_of_the_child_is_a_refusal(monkeypatch, tmp_path, running, new):
    crashing = tmp_path / "python"
    crashing.write_text("#!/bin/sh\nkill -ILL $$\n")
    crashing.chmod(0o755)
    monkeypatch.setattr(model_probe.sys, "executable", str(crashing))
    with pytest.raises(ModelError, match="SIGILL"):
        model_probe.probe(new.file, running.file, threads=1, backend="auto")


def test_child_that_hangs_is_a_refusal(monkeypatch, tmp_path, running, new):
    hanging = tmp_path / "python"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(model_probe.sys, "executable", str(hanging))
    with pytest.raises(ModelError, match=r"within 0\.2 s"):
        model_probe.probe(
            new.file,
            running.file,
            threads=1,
            backend="auto",
            timeout_s=0.2,
        )


@pytest.mark.parametrize("size", [64 * 2**20 + 1, 480 * 2**20])
def test_file_too_large_for_the_board_is_refused_unread(running, tmp_path, size):
    path = tmp_path / "big.onnx"
    with path.open("wb") as file:
        file.truncate(size)  # takes no room on the disk
    tracemalloc.start()
    consider(running, path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert running.update_state()["last"]["outcome"] == "refused"
    assert f"at most {64 * 2**20} bytes, got {size}" in _reason(running)
    assert peak < 2**20


def test_child_ends_with_the_run(monkeypatch, tmp_path, tiny_float_path, running):
    hanging = tmp_path / "python"
    hanging.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(model_probe.sys, "executable", str(hanging))
    models = tmp_path / "models"
    models.mkdir()
    (models / "new.tflite").write_bytes(tiny_float_path.read_bytes())
    with watching(running, ModelFolder(models, settle_s=0.0), poll_s=0.01):
        _until((tmp_path / "pid").exists)
        _until(lambda: (tmp_path / "pid").read_text())
        child = int((tmp_path / "pid").read_text())
    _until(lambda: not Path(f"/proc/{child}").exists())
    assert running.update_state()["last"] is None  # no fault of the model's
    assert not (models / MEMORY_NAME).exists()


def test_child_goes_first_where_memory_ends(new, running):
    program = (
        "import sys;"
        "from edge_runtime.model_update import probe;"
        "probe.main(sys.argv[1:]); print(open('/proc/self/oom_score_adj').read())"
    )
    in_memory = model_probe.in_memory
    with in_memory(new.file) as first, in_memory(running.file) as second:
        handed = ["new.tflite", "old.tflite", str(first), str(second)]
        done = subprocess.run(
            [sys.executable, "-c", program, *handed, "1", "auto"],
            cwd=Path(__file__).parents[3],
            pass_fds=(first, second),
            capture_output=True,
            check=True,
            text=True,
        )
    assert done.stdout.split()[-1] == "1000"


# --- across restarts ----------------------------------------------------------------


def died_on_trial(folder: Path, *, boot: str = "") -> None:
    """Leaves what a process leaves that dies while the newest file is on trial."""
    assert ModelFolder(folder, settle_s=0.0).next_candidate() is not None
    if boot:
        path = folder / MEMORY_NAME
        path.write_text(path.read_text().replace(_boot(), boot))


def _boot() -> str:
    return BOOT_ID.read_text().strip()


def test_model_that_ended_the_process_is_not_tried_again_until_it_changes(
    running, tmp_path, caplog
):
    (tmp_path / "older.tflite").write_bytes(b"older")
    os.utime(tmp_path / "older.tflite", (1e9, 1e9))
    (tmp_path / "new.tflite").write_bytes(b"kills")
    died_on_trial(tmp_path)
    for _ in range(2):  # it stays so, however often the service is started
        with watching(running, ModelFolder(tmp_path, settle_s=0.0), poll_s=0.01):
            time.sleep(0.1)
    assert caplog.messages == [
        "model update: new.tflite refused: the process died while it was on trial;"
        " to try it again, touch it"
    ]
    folder = ModelFolder(tmp_path, settle_s=0.0)
    assert folder.next_candidate() is None
    os.utime(tmp_path / "new.tflite")
    assert folder.next_candidate() == tmp_path / "new.tflite"


def test_of_two_on_trial_neither_is_tried_again_after_the_process_died(tmp_path):
    folder = ModelFolder(tmp_path, settle_s=0.0)
    for name in ("probation.tflite", "shadow.tflite"):
        (tmp_path / name).write_bytes(name.encode())
        assert folder.next_candidate() == tmp_path / name
    assert ModelFolder(tmp_path, settle_s=0.0).next_candidate() is None


def test_model_that_waited_for_one_that_was_accepted_is_blamed_alone(
    running, new, tmp_path, faces
):
    """There is no moment between the two at which nothing is on trial."""
    folder = ModelFolder(tmp_path, settle_s=0.0)
    for name in ("good.tflite", "kills.tflite"):
        (tmp_path / name).write_bytes(name.encode())
        running.offer(new, folder.next_candidate())
        folder.memory.keep(running.on_trial)
        answer_frames(running, faces, 1)
        if name == "good.tflite":
            answer_frames(running, faces, FRAMES)
            assert running.update_state()["phase"] == "probation"
    assert running.on_trial == {"good.tflite", "kills.tflite"}
    answer_frames(running, faces, FRAMES)
    assert running.on_trial == {"kills.tflite"}
    folder.memory.keep(running.on_trial)
    assert set(TrialMemory(tmp_path).died) == {"kills.tflite"}


def test_power_cut_tells_nothing_about_a_model(tmp_path):
    (tmp_path / "new.tflite").write_bytes(b"model")
    died_on_trial(tmp_path, boot="another")
    folder = ModelFolder(tmp_path, settle_s=0.0)
    assert folder.next_candidate() == tmp_path / "new.tflite"


def test_trial_that_the_process_outlived_leaves_nothing(running, tmp_path):
    path = tmp_path / MEMORY_NAME
    folder = ModelFolder(tmp_path, settle_s=0.0)
    with watching(running, folder, poll_s=0.2):
        (tmp_path / "bad.tflite").write_bytes(b"no model")
        _until(path.exists)
        _until(lambda: _refused(running, "bad"))
        _until(lambda: not path.exists())


def test_candidate_is_remembered_from_the_shadow_to_the_end_of_the_probation(
    running, new, faces
):
    assert running.on_trial == set()
    running.offer(new, Path("new.tflite"))
    for _ in range(2 * FRAMES):
        assert running.on_trial == {"new.tflite"}
        answer_frames(running, faces, 1)
    answer_frames(running, faces, 1)
    assert running.on_trial == set()


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"died": 3, "on_trial": [1]}'])
def test_damaged_memory_is_none(tmp_path, text):
    (tmp_path / MEMORY_NAME).write_bytes(text)
    assert TrialMemory(tmp_path).died == {}


def test_folder_that_cannot_be_written_is_logged_once(tmp_path, caplog):
    memory = TrialMemory(tmp_path / "file")
    (tmp_path / "file").write_text("no folder")
    for name in ("1.tflite", "2.tflite", "3.tflite"):
        memory.begin(name, {})
    assert len(caplog.messages) == 1


class Raced(UpdatingClassifier):
    """Another thread offers a model at the worst of times: while one is taken up."""

    later: tuple[Classifier, Path] | None = None

    @property
    def _pending(self):
        found = vars(self)["pending"]
        if found is not None and self.later is not None:
            later, self.later = self.later, None
            thread = threading.Thread(target=self.offer, args=later)
            thread.start()
            thread.join(0.2)
        return found

    @_pending.setter
    def _pending(self, value):
        vars(self)["pending"] = value


def test_model_that_is_offered_while_a_trial_starts_is_not_lost(tiny_model_path, new):
    running = Raced(Classifier.load(tiny_model_path), POLICY)
    running.offer(new, Path("first.tflite"))
    running.later = (new, Path("later.tflite"))
    running._start_trial()
    assert running.update_state()["file"] == "first.tflite"
    _until(lambda: running._pending == (new, Path("later.tflite")))


# --- the folder ---------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, clock: Clock) -> ModelFolder:
    return ModelFolder(tmp_path, settle_s=2.0, clock=clock)


def looked(folder: ModelFolder, clock: Clock) -> str | None:
    """Looks now and when everything has settled."""
    folder.next_candidate()
    clock.now += 3
    found = folder.next_candidate()
    return found.name if found else None


def test_file_is_offered_once_it_stands_still(folder, clock, tmp_path):
    path = tmp_path / "new.tflite"
    path.write_bytes(b"half")
    assert folder.next_candidate() is None
    clock.now += 1.9
    path.write_bytes(b"half and half")
    assert folder.next_candidate() is None
    clock.now += 1.9
    assert folder.next_candidate() is None
    clock.now += 0.2
    assert folder.next_candidate() == path


def test_file_renamed_into_place_is_offered(folder, clock, tmp_path):
    (tmp_path / ".partly").write_bytes(b"model")
    assert looked(folder, clock) is None
    (tmp_path / ".partly").rename(tmp_path / "new.onnx")
    assert looked(folder, clock) == "new.onnx"


def test_file_is_not_offered_again_until_it_changes(folder, clock, tmp_path):
    path = tmp_path / "new.tflite"
    path.write_bytes(b"bad")
    assert looked(folder, clock) == "new.tflite"
    assert looked(folder, clock) is None
    path.write_bytes(b"better")
    assert looked(folder, clock) == "new.tflite"


def test_signature_that_arrives_later_is_a_change(folder, clock, tmp_path):
    (tmp_path / "new.tflite").write_bytes(b"model")
    assert looked(folder, clock) == "new.tflite"
    (tmp_path / "new.tflite.sig").write_bytes(b"s" * 64)
    assert looked(folder, clock) == "new.tflite"


def test_newest_of_several_is_offered_and_the_older_are_left_out(
    folder, clock, tmp_path
):
    for age, name in enumerate(["new.tflite", "old.tflite", "oldest.onnx"]):
        (tmp_path / name).write_bytes(b"model")
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    assert looked(folder, clock) == "new.tflite"
    assert looked(folder, clock) is None


def test_loop_of_links_folders_pipes_and_other_files_are_passed_over(
    folder, clock, tmp_path
):
    (tmp_path / "a.tflite").symlink_to(tmp_path / "b.tflite")
    (tmp_path / "b.tflite").symlink_to(tmp_path / "a.tflite")
    (tmp_path / "folder.tflite").mkdir()
    os.mkfifo(tmp_path / "pipe.tflite")
    (tmp_path / "notes.txt").write_text("no model")
    assert looked(folder, clock) is None


def test_folder_that_vanishes_is_logged_once_and_watched_again(clock, tmp_path, caplog):
    path = tmp_path / "models"
    folder = ModelFolder(path, clock=clock)
    assert looked(folder, clock) is None
    assert len(caplog.records) == 1
    path.mkdir()
    (path / "new.tflite").write_bytes(b"model")
    assert looked(folder, clock) == "new.tflite"


# --- all of it ----------------------------------------------------------------------


def test_file_dropped_in_is_swapped_in_while_every_frame_is_answered(
    running, tiny_float_path, tmp_path, faces, caplog
):
    caplog.set_level(logging.INFO)
    folder = ModelFolder(tmp_path, settle_s=0.05)
    until = time.monotonic() + 30
    with watching(running, folder, poll_s=0.05):
        (tmp_path / "new.tflite").write_bytes(tiny_float_path.read_bytes())
        while running.update_state()["last"] is None and time.monotonic() < until:
            answer_frames(running, faces[:2], 1)
            time.sleep(0.002)
    assert running.update_state()["last"]["outcome"] == "accepted"
    assert running.file.name == "new.tflite"
    said = [record.getMessage().split()[3] for record in caplog.records]
    assert said == ["is", "swapped", "accepted"]


def test_watching_goes_on_after_files_of_every_bad_kind(
    running, tiny_float_path, tmp_path
):
    folder = ModelFolder(tmp_path, settle_s=0.0)
    with watching(running, folder, poll_s=0.01):
        for number, content in enumerate([b"", b"x" * 100, os.urandom(9999)]):
            (tmp_path / f"{number}.tflite").write_bytes(content)
            (tmp_path / f"{number}.onnx").write_bytes(content)
            _until(lambda n=number: _refused(running, str(n)))
        assert any(thread.name == "model-update" for thread in threading.enumerate())
    assert not any(thread.name == "model-update" for thread in threading.enumerate())


def _reason(running: UpdatingClassifier) -> str:
    return str(running.update_state()["last"]["reason"])


def _refused(running: UpdatingClassifier, start: str) -> bool:
    last = running.update_state()["last"]
    return last is not None and last["file"].startswith(start)


def _until(happened, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_without_a_folder_the_model_is_a_plain_classifier(tiny_model_path):
    args = build_parser().parse_args(["run", str(tiny_model_path)])
    apply_tuning(args, args.model)
    with open_classifier(args) as classifier:
        assert isinstance(classifier, Classifier)


def test_outcome_of_a_new_model_is_printed_on_a_terminal(tiny_model_path, tmp_path):
    (tmp_path / "new.tflite").write_bytes(tiny_model_path.read_bytes())
    options = ["--faces", "none", "--source", "fake:scene?fps=10", "--max-frames", "70"]
    command = [sys.executable, "-m", "edge_runtime", "run", str(tiny_model_path)]
    done = subprocess.run(
        [*command, *options, "--watch", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    told = "INFO: model update: new.tflite is the model that is running\n"
    assert done.stderr == told


def test_folder_that_is_none_is_an_error(tiny_model_path, tmp_path):
    args = build_parser().parse_args(
        ["run", str(tiny_model_path), "--watch", str(tmp_path / "no")]
    )
    apply_tuning(args, args.model)
    with pytest.raises(ModelError, match="expected a folder"), open_classifier(args):
        pass


def test_spec_of_the_rewritten_files_is_readable(tiny_float_path, tmp_path):
    """Otherwise the refusals above could come from a broken test."""
    path = rewritten(tiny_float_path, tmp_path / "same.tflite", architecture="other")
    document = read_model_file(path).document
    assert document is not None
    assert ModelSpec.from_document(document).architecture == "other"


def test_silence_of_two_threads_ends_with_the_last(capfd):
    first_in, first_out = threading.Event(), threading.Event()

    def other() -> None:
        with suppress_stderr():
            first_in.set()
            first_out.wait(5)

    thread = threading.Thread(target=other)
    with suppress_stderr():
        thread.start()
        first_in.wait(5)
    first_out.set()
    thread.join()
    os.write(2, b"heard\n")
    assert capfd.readouterr().err == "heard\n"
