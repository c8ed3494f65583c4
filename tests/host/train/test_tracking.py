"""--log: what TensorBoard and MLflow read is the run, each point once."""

import csv
import http.server
import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from train.__main__ import main
from train.networks.backend import start_keras

start_keras()

from edge_runtime.errors import FerEdgeError  # noqa: E402
from tests.conftest import ROOT  # noqa: E402
from tests.console import one_error_line  # noqa: E402
from tests.host.train.test_fit import (  # noqa: E402
    flags,
    tiny_features,
    write_images,
)
from train.networks import architectures  # noqa: E402
from train.options.config import TrainConfig  # noqa: E402
from train.run import epoch_callback  # noqa: E402
from train.run.checkpoint import Progress  # noqa: E402
from train.run.folder import RunFolder  # noqa: E402
from train.tracking import mlflow_log, tracker  # noqa: E402
from train.tracking.tracker import Outcome, RunTrackers, flatten  # noqa: E402

BOTH = ["--log", "tensorboard", "--log", "mlflow"]


@pytest.fixture(scope="module", autouse=True)
def _tiny_architecture():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(architectures.ARCHITECTURES, "notebook_cnn", tiny_features)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images") / "set", 30)


def enter(folder, monkeypatch):
    """Makes a folder the current one, with none of MLflow's variables."""
    for name in [*mlflow_log.SETTINGS, "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # for the reader below
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """The folder that a command runs in."""
    return enter(tmp_path / "work", monkeypatch)


def history(run):
    with (run / "history.csv").open() as file:
        return [{key: float(row[key]) for key in row} for row in csv.DictReader(file)]


def events_of(run):
    event_accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="TensorBoard is not installed here",
    )
    events = event_accumulator.EventAccumulator(str(run))
    return events.Reload()


def client(work):
    pytest.importorskip("mlflow", reason="MLflow is not installed here")
    from mlflow.tracking import MlflowClient

    return MlflowClient(str(work / "mlruns"), registry_uri=str(work / "mlruns"))


def mlflow_runs(work, experiment="fer-edge"):
    found = client(work).get_experiment_by_name(experiment)
    return [] if found is None else client(work).search_runs([found.experiment_id])


def curve(work, name):
    (run,) = mlflow_runs(work)
    points = client(work).get_metric_history(run.info.run_id, name)
    return [(point.step, point.value) for point in points]


def expected(run, name):
    return [(int(row["epoch"]), row[name]) for row in history(run)]


def interrupted_after(monkeypatch, epochs, call, *arguments):
    """What a command returns that is interrupted after an epoch is saved."""

    def stop(self, epoch, row):
        kept(self, epoch, row)
        if epoch == epochs:
            raise KeyboardInterrupt

    kept = epoch_callback.EpochCallback._save
    with monkeypatch.context() as patch:
        patch.setattr(epoch_callback.EpochCallback, "_save", stop)
        return call(*arguments)


# --- whole runs --------------------------------------------------------------------


@pytest.fixture(scope="module")
def resumed(data, tmp_path_factory):
    """A run of three epochs, interrupted after two, and resumed."""
    with pytest.MonkeyPatch.context() as patch:
        work = enter(tmp_path_factory.mktemp("resumed") / "work", patch)
        run = work / "runs" / "dots"
        call = flags(data, run, *BOTH, epochs=3)
        assert interrupted_after(patch, 2, main, call) == 130
        assert main(["--resume", str(run)]) == 0
        assert main(["--resume", str(run)]) == 0  # has nothing to add
    return run


def test_resumed_run_is_one_curve_in_both(resumed):
    events = events_of(resumed)
    for name, tag in (
        ("loss", "loss/training"),
        ("val_loss", "loss/validation"),
        ("accuracy", "accuracy/training"),
        ("val_accuracy", "accuracy/validation"),
        ("learning_rate", "learning_rate"),
    ):
        points = [(each.step, each.value) for each in events.Scalars(tag)]
        assert points == [
            (step, pytest.approx(value)) for step, value in expected(resumed, name)
        ]
        assert curve(resumed.parents[1], name) == expected(resumed, name)
    assert [row["epoch"] for row in history(resumed)] == [1, 2, 3]


def test_parameters_pictures_and_path_are_in_both(resumed):
    import cv2
    import numpy as np

    events = events_of(resumed)
    picture = (resumed / "confusion_matrix.png").read_bytes()
    shown = events.Images("confusion_matrix")[-1]
    assert shown.encoded_image_string == picture
    height, width = cv2.imdecode(np.frombuffer(picture, np.uint8), 1).shape[:2]
    assert (shown.width, shown.height) == (width, height)
    text = events.Tensors("run/text_summary")[0].tensor_proto.string_val[0].decode()
    assert f"| run folder | {resumed} |" in text
    assert "| learning_rate | 0.05 |" in text
    assert "_hparams_/session_start_info" in events.summary_metadata
    work = resumed.parents[1]
    (run,) = mlflow_runs(work)
    assert (run.info.run_name, run.info.status) == ("dots", "FINISHED")
    assert run.data.tags["run_folder"] == str(resumed)
    assert run.data.params["learning_rate"] == "0.05"
    assert run.data.params["augmentation.flip"] == "True"
    files = {each.path for each in client(work).list_artifacts(run.info.run_id)}
    assert files == {
        "confusion_matrix.png",
        "curves.png",
        "metrics.json",
        "config.json",
    }
    metrics = json.loads((resumed / "metrics.json").read_text())
    accuracy = metrics["validation"]["accuracy"]
    assert run.data.metrics["final_validation_accuracy"] == accuracy
    last = events.Scalars("final_validation_accuracy")[-1]
    assert (last.step, last.value) == (3, pytest.approx(accuracy))


def test_run_that_starts_over_has_none_of_the_old_points(data, workplace):
    run = workplace / "runs" / "dots"
    assert main(flags(data, run, *BOTH, epochs=2)) == 0
    assert main(flags(data, run, *BOTH, "--force", epochs=1)) == 0
    assert [each.step for each in events_of(run).Scalars("loss/training")] == [1]
    assert len(mlflow_runs(workplace)) == 2  # MLflow keeps the old run


def test_log_can_begin_with_a_resumed_run(data, workplace):
    run = workplace / "runs" / "dots"
    assert main(flags(data, run, epochs=2)) == 0
    assert main(["--resume", str(run), *BOTH]) == 0
    points = [each.step for each in events_of(run).Scalars("loss/training")]
    assert points == [1, 2]
    assert curve(workplace, "val_accuracy") == expected(run, "val_accuracy")
    config = json.loads((run / "config.json").read_text())["config"]
    assert config["log"] == ["tensorboard", "mlflow"]


def test_experiment_has_the_name_of_its_usual_variable(data, workplace, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "waste")
    assert main(flags(data, workplace / "run", "--log", "mlflow", epochs=1)) == 0
    assert len(mlflow_runs(workplace, "waste")) == 1


def test_diverged_run_has_failed(data, workplace):
    bad = flags(data, workplace / "run", *BOTH, "--learning-rate", "1000", epochs=9)
    assert main(bad) == 2
    assert mlflow_runs(workplace)[0].info.status == "FAILED"


def test_tensorboard_needs_no_tensorflow(tmp_path):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed here")
    script = (
        "import sys; from tensorboardX import summary, event_file_writer;"
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


# --- what is missing ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "package"), [("tensorboard", "tensorboardX"), ("mlflow", "mlflow")]
)
def test_missing_library_is_named_before_the_images(monkeypatch, capsys, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["--data", "no/such/images", "--log", name]) == 2
    line = one_error_line(capsys)
    assert f"{package} is not installed" in line
    assert f"pip install --group {name}" in line


def test_unknown_log_is_refused():
    with pytest.raises(FerEdgeError, match="--log of tensorboard, mlflow"):
        TrainConfig(log=("wandb",))


def test_server_that_is_not_there_is_one_line_before_the_images(
    workplace, monkeypatch, capsys
):
    pytest.importorskip("mlflow", reason="MLflow is not installed here")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9/")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert main(["--data", "no/such/images", "--log", "mlflow"]) == 2
    line = one_error_line(capsys)
    assert "no answer from http://127.0.0.1:9" in line
    assert "leave out --log mlflow" in line
    assert "secret" not in line
    assert list(workplace.iterdir()) == []


def test_server_that_is_gone_costs_a_resumed_run_a_warning(
    data, workplace, monkeypatch, capsys
):
    run = workplace / "runs" / "dots"
    call = flags(data, run, "--log", "mlflow", epochs=3)
    assert interrupted_after(monkeypatch, 1, main, call) == 130
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9/")
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        capsys.readouterr()
        assert main(["--resume", str(run)]) == 0
        out, err = capsys.readouterr()
    assert "warning: MLflow: not recorded: " in err
    assert "secret" not in out + err
    assert f"record the rest:  python -m train --resume {run}" in out
    assert len(history(run)) == 3
    assert [step for step, _ in curve(workplace, "loss")] == [1]
    assert main(["--resume", str(run)]) == 0  # as it was told
    assert curve(workplace, "loss") == expected(run, "loss")


class Silent(http.server.BaseHTTPRequestHandler):
    """A server that takes every request and never answers."""

    def do_GET(self):
        self.server.stopped.wait()

    def do_POST(self):
        self.server.stopped.wait()


def test_server_that_never_answers_is_given_up(workplace, monkeypatch, capsys):
    pytest.importorskip("mlflow", reason="MLflow is not installed here")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    server.stopped = threading.Event()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        uri = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        assert main(["--data", "no/such/images", "--log", "mlflow"]) == 2
    finally:
        server.stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()
    assert f"no answer from {uri}" in one_error_line(capsys)


# --- one tracker -------------------------------------------------------------------


class Failing:
    """A tracker whose library fails as often as told."""

    name = "failing"

    def __init__(self, failures):
        self.failures, self.seen = failures, []

    def begin(self):
        return "here"

    def write(self, history):
        if self.failures:
            self.failures -= 1
            raise OSError("no space left")
        self.seen.append(len(history))

    def finish(self, outcome):
        self.seen.append(outcome.status)


def rows(count):
    return Progress(history=tuple({"epoch": n + 1, "loss": 1.0} for n in range(count)))


def test_failed_tracker_is_left_alone_for_a_while_and_told_all_at_the_end(
    tmp_path, monkeypatch, capsys
):
    now = [0.0]
    monkeypatch.setattr(tracker.time, "monotonic", lambda: now[0])
    slow = Failing(1)

    def write(history):
        now[0] += 3.0  # seconds that it took
        Failing.write(slow, history)

    slow.write = write
    trackers = RunTrackers([slow])
    trackers.write(rows(1))
    trackers.write(rows(2))
    assert "warning: failing: not recorded: no space left" in capsys.readouterr().err
    assert slow.seen == []
    now[0] += 3.0 * tracker.PATIENCE
    trackers.write(rows(3))
    trackers.finish(rows(4), Outcome("FINISHED", 4, {}), RunFolder(tmp_path))
    assert slow.seen == [3, 4, "FINISHED"]


def test_events_cut_off_by_a_full_disk_are_completed(tmp_path, monkeypatch):
    tensorboard_log = pytest.importorskip("train.tracking.tensorboard_log")
    run = RunFolder(tmp_path)
    first = tensorboard_log.TensorBoardLog(run, {"epochs": 3})
    first.begin()
    first.write(rows(2).history)
    first.finish(Outcome("KILLED", 2, {}))
    (path,) = tmp_path.glob("events*")
    path.write_bytes(path.read_bytes()[:-7])
    second = tensorboard_log.TensorBoardLog(run, {"epochs": 3})
    second.begin()
    second.write(rows(3).history)
    second.finish(Outcome("FINISHED", 3, {}))
    steps = [each.step for each in events_of(tmp_path).Scalars("loss/training")]
    assert steps == [1, 2, 3]


def test_nested_parameters_become_one_level():
    nested = {"a": 1, "b": {"c": (2, 3), "d": None}}
    assert flatten(nested) == {"a": 1, "b.c": "2, 3", "b.d": ""}


# --- the Python interface ----------------------------------------------------------


def test_callbacks_see_each_saved_epoch_and_can_end_the_run(data, workplace):
    import keras

    import train

    seen = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append({**logs, "saved": len(history(workplace / "runs" / "a"))})
            self.model.stop_training = epoch == 1

    config = train.TrainConfig(
        data=str(data), arch="notebook_cnn", epochs=5, batch_size=16, learning_rate=0.05
    )
    result = train.fit(config, name="a", callbacks=[Watch()])
    assert result.finished
    assert result.path.resolve() == workplace / "runs" / "a"
    assert [each["saved"] for each in seen] == [1, 2]
    for logs, row in zip(seen, history(result.path), strict=True):
        assert {name: logs[name] for name in ("val_loss", "val_accuracy")} == {
            name: row[name] for name in ("val_loss", "val_accuracy")
        }
    metrics = json.loads((result.path / "metrics.json").read_text())
    assert metrics["ended_early"] == "a callback stopped it"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_while_an_object_is_deleted_ends_the_run(data, workplace):
    """An exception is ignored there; the batch after it ends the run."""
    import keras

    import train

    class Deleted:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if not epoch:
                Deleted()

    config = train.TrainConfig(data=str(data), arch="notebook_cnn", epochs=3)
    result = train.fit(config, name="a", callbacks=[Interrupt()])
    assert not result.finished
    assert len(history(result.path)) == 1


def test_example_runs_as_its_docstring_shows(tmp_path):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed here")
    data = write_images(tmp_path / "photos", 12)
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "train_own_network.py"), str(data)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "epoch 1: validation loss" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("python -m export runs/")
    run = next((tmp_path / "runs").iterdir())
    assert events_of(run).Scalars("loss/validation")
