"""Training runs: complete, resumable after any end, and honest about failures."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.utils.signals import ECHO_S
from train.__main__ import main
from train.networks.backend import start_keras
from train.options.config import TrainConfig
from train.options.recipes import RECIPES
from train.session import fit

start_keras()

import keras  # noqa: E402

from tests.console import one_error_line  # noqa: E402
from tests.patterns import CLASSES, write_patterns  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]
VALIDATION_PER_CLASS = 7  # no multiple of any batch
FILES = {
    "model.keras",
    "architecture.json",
    "config.json",
    "history.csv",
    "metrics.json",
    "calibration.json",
    "curves.png",
    "confusion_matrix.png",
    "checkpoint",
}
SECONDS = 120  # a hung process is a failure, not a wait


def write_images(root, per_class):
    return write_patterns(root, {"train": per_class, "val": VALIDATION_PER_CLASS})


def flags(data, run, *more, epochs=2, arch="notebook_cnn"):
    return [
        *("--data", str(data), "--name", str(run), "--epochs", str(epochs)),
        *("--arch", arch, "--batch-size", "16", "--learning-rate", "0.05"),
        *more,
    ]


def tiny_features(x):
    """A network that is compiled in a moment, with a BatchNorm and a Dropout."""
    from keras import layers

    x = layers.Conv2D(8, 3, strides=2, use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x))
    return layers.Dropout(0.1)(layers.Flatten()(x))


@pytest.fixture(scope="module", autouse=True)
def _tiny_architecture():
    """In this process one of the names stands for a network of a moment."""
    from train.networks import architectures

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(architectures.ARCHITECTURES, "notebook_cnn", tiny_features)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images") / "set", 30)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A run of two epochs; tests copy it before they change it."""
    run = tmp_path_factory.mktemp("runs") / "done"
    start_keras()
    from train.run import results

    with pytest.MonkeyPatch.context() as patch:
        # The validation set is not a multiple of the batch it is evaluated in.
        patch.setattr(results, "EVALUATION_PIXELS", 8 * 16 * 16)
        assert main(flags(data, run)) == 0
    return run


@pytest.fixture
def copied(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "copied"))


def history(run):
    with (run / "history.csv").open() as file:
        return list(csv.DictReader(file))


def read(run, name):
    return json.loads((run / name).read_text())


# --- a finished run ----------------------------------------------------------------


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="counts what TensorFlow traces"
)
def test_a_training_step_is_traced_once(data, tmp_path, monkeypatch):
    """A second trace would cost seconds and 200 MiB with a large network."""
    traced = []
    step = keras.Model.train_step

    def counted(model, batch):
        traced.append(model.name)
        return step(model, batch)

    monkeypatch.setattr(keras.Model, "train_step", counted)
    assert main(flags(data, tmp_path / "run", epochs=1)) == 0
    assert len(traced) == 1


def test_run_folder_is_complete_and_holds_nothing_else(finished):
    assert {path.name for path in finished.iterdir()} == FILES


def test_history_has_one_row_per_epoch(finished):
    assert [row["epoch"] for row in history(finished)] == ["1", "2"]


def test_validation_covers_the_whole_validation_set(finished):
    figures = read(finished, "metrics.json")["validation"]
    assert figures["count"] == VALIDATION_PER_CLASS * len(CLASSES)
    rows = np.sum(figures["confusion_matrix"], axis=1)
    assert rows.tolist() == [VALIDATION_PER_CLASS] * len(CLASSES)


def test_kept_model_is_the_best_epoch_and_has_its_accuracy(finished):
    metrics = read(finished, "metrics.json")
    accuracies = [float(row["val_accuracy"]) for row in history(finished)]
    best = metrics["best_epoch"] - 1
    assert accuracies[best] == max(accuracies)
    assert metrics["validation"]["accuracy"] == pytest.approx(accuracies[best])


def test_recorded_calibration_images_are_of_the_training_split(finished, data):
    from train.data import dataset
    from train.data.splits import pixel_hash

    record = read(finished, "calibration.json")
    images = dataset.load(data)
    training = {pixel_hash(image) for image in images.train.images}
    assert record["data_fingerprint"] == images.fingerprint
    assert set(record["pixel_hashes"]) <= training
    assert np.ptp(np.bincount(record["labels"])) == 0


def test_architecture_json_rebuilds_the_network(finished):
    import keras

    model = keras.models.model_from_json((finished / "architecture.json").read_text())
    parameters = read(finished, "metrics.json")["parameters"]
    assert model.count_params() == parameters


def test_bfloat16_trains_and_the_saved_model_is_float32(data, tmp_path):
    import keras

    run = tmp_path / "run"
    assert main(flags(data, run, "--precision", "bfloat16", epochs=1)) == 0
    model = keras.models.load_model(run / "model.keras")
    assert {str(weight.dtype) for weight in model.weights} == {"float32"}
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    images = np.zeros((3, *model.inputs[0].shape[1:]), np.uint8)
    assert np.isfinite(model.predict(images, verbose=0)).all()


# --- ends that were not planned ----------------------------------------------------


def begin(data, run, *more, epochs):
    """Starts ``python -m train`` as a user does."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "train"),
            *flags(data, run, *more, epochs=epochs, arch="fer_wide"),
        ],
        cwd=run.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start(data, run, *more, epochs):
    """Starts ``python -m train`` and returns it once epoch 1 is reported."""
    process = begin(data, run, *more, epochs=epochs)
    for line in process.stdout:
        if line.startswith("epoch   1/"):
            return process
    raise AssertionError(f"ended with {process.wait()} before its first epoch")


@pytest.fixture(scope="module")
def more_data(tmp_path_factory):
    """Enough images that an epoch is not over at once."""
    return write_images(tmp_path_factory.mktemp("images") / "more", 200)


def test_killed_run_resumes_and_loses_no_epoch(more_data, tmp_path):
    run = tmp_path / "run"
    process = start(more_data, run, epochs=4)
    process.kill()
    process.communicate(timeout=SECONDS)
    before = read(run / "checkpoint", "progress.json")
    assert 1 <= before["epoch"] < 4
    assert main(["--resume", str(run)]) == 0
    assert [row["epoch"] for row in history(run)] == ["1", "2", "3", "4"]
    after = read(run / "checkpoint", "progress.json")
    assert after["history"][: before["epoch"]] == before["history"]
    assert after["best_accuracy"] >= before["best_accuracy"]
    metrics = read(run, "metrics.json")
    assert metrics["epochs"] == 4
    # The kept model is the best of all epochs, those before the kill included.
    assert metrics["validation"]["accuracy"] == pytest.approx(after["best_accuracy"])


def test_ctrl_c_between_saving_an_epoch_and_noting_it_loses_nothing(
    more_data, tmp_path, monkeypatch
):
    from train.run import checkpoint

    write = checkpoint.save

    def save(folder, model, progress, *, best):
        saved = write(folder, model, progress, best=best)
        if progress.epoch == 2:
            raise KeyboardInterrupt
        return saved

    monkeypatch.setattr(checkpoint, "save", save)
    run = tmp_path / "run"
    flags = ["--data", str(more_data), "--name", str(run), "--recipe", "demo"]
    assert main([*flags, "--epochs", "3"]) == 130
    progress = read(run / "checkpoint", "progress.json")
    assert [row["epoch"] for row in history(run)] == ["1", "2"]
    metrics = read(run, "metrics.json")
    assert (metrics["epochs"], metrics["best_epoch"]) == (2, progress["best_epoch"])
    best = run / "checkpoint" / progress["best_file"]
    assert (run / "model.keras").read_bytes() == best.read_bytes()


def votes_file(folder, data):
    """Votes of ten raters for every training image; two images are called nothing."""
    path = folder / "votes.csv"
    lines = ["file,dots,lines,waves,nothing"]
    for number, image in enumerate(sorted(data.glob("train/*/*.png"))):
        own = CLASSES.index(image.parent.name)
        votes = [7 if own == k else 1 for k in range(3)] + [1]
        votes = [2, 1, 1, 6] if number in (5, 50) else votes
        lines.append(f"{image.relative_to(data)},{','.join(map(str, votes))}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_run_killed_in_its_first_epoch_needs_teacher_and_votes_no_more(
    more_data, finished, tmp_path
):
    run, teacher = tmp_path / "run", Path(shutil.copytree(finished, tmp_path / "big"))
    votes = votes_file(tmp_path, more_data)
    more = ["--teacher", str(teacher), "--soft-labels", str(votes)]
    more += ["--drop-category", "nothing"]
    process = begin(more_data, run, *more, epochs=2)
    ready = run / "calibration.json"  # the last file before the first step
    deadline = time.monotonic() + SECONDS
    while not ready.exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    out, _ = process.communicate(timeout=SECONDS)
    assert ready.exists(), out
    assert not (run / "model.keras").exists()
    targets = np.load(run / "checkpoint" / "targets.npy")
    shutil.rmtree(teacher)
    votes.unlink()
    assert main(["--resume", str(run)]) == 0
    assert [row["epoch"] for row in history(run)] == ["1", "2"]
    assert read(run, "metrics.json")["data"]["left_out"] == 2
    kept = np.load(run / "checkpoint" / "targets.npy")
    assert np.array_equal(kept, targets, equal_nan=True)


@pytest.mark.parametrize("flag", ["--leave-out", "--apply"])
def test_images_left_out_are_recorded_and_the_csv_may_move(data, tmp_path, flag):
    run, table = tmp_path / "run", tmp_path / "audit.csv"
    names = [f"train/{CLASSES[0]}/1.png", f"train/{CLASSES[1]}/2.png"]
    rows = [f"leave out,{name}" for name in names]
    table.write_text("\n".join(["action,file", *rows]) + "\n", encoding="utf-8")
    assert main(flags(data, run, flag, str(table), epochs=1)) == 0
    assert read(run, "config.json")["left_out"] == names
    assert read(run, "config.json")["config"]["leave_out"] == str(table)
    assert read(run, "metrics.json")["data"]["left_out_by_csv"] == 2
    moved = table.rename(tmp_path / "moved.csv")
    assert main(["--resume", str(run), flag, str(moved)]) == 0
    moved.write_text("action,file\n", encoding="utf-8")
    assert main(["--resume", str(run), flag, str(moved)]) == 2


def test_labels_of_votes_are_trained_on_and_the_votes_may_move(data, tmp_path):
    """Every image is voted another class than its folder: dots are lines, and so on."""
    run, votes = tmp_path / "run", tmp_path / "votes.csv"
    lines = ["file,shapes,lines,waves,NF"]
    for image in sorted(data.glob("*/*/*.png")):
        own = CLASSES.index(image.parent.name)
        row = [8 if own == k else 2 for k in range(3)]
        lines.append(f"{image.relative_to(data)},{','.join(map(str, row))},0")
    votes.write_text("\n".join(lines) + "\n")
    more = ["--labels-from", str(votes), "--label-rule", "probability"]
    assert main(flags(data, run, *more, epochs=1)) == 0
    metrics = read(run, "metrics.json")
    assert metrics["labels"] == ["lines", "shapes", "waves"]
    assert metrics["data"]["name"] == f"{data.name} + votes.csv"
    targets = np.load(run / "checkpoint" / "targets.npy")
    assert np.allclose(np.sort(targets, axis=1)[:, 2], 0.9 * 8 / 12 + 0.1 / 3)
    moved = votes.rename(tmp_path / "moved.csv")
    assert main(["--resume", str(run)]) == 2
    assert main(["--resume", str(run), "--labels-from", str(moved)]) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_is_usable_and_can_be_continued(more_data, tmp_path, number):
    run = tmp_path / "run"
    process = start(more_data, run, epochs=400)
    process.send_signal(number)
    out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, out
    assert len(history(run)) < 400
    assert f"--resume {run}" in out
    assert "Traceback" not in out
    assert {path.name for path in run.iterdir()} == FILES
    assert read(run, "metrics.json")["best_epoch"] >= 1


class SecondCtrlC(keras.callbacks.Callback):
    """Ctrl-C twice before a batch of the second epoch ends."""

    def on_train_batch_begin(self, batch, logs=None):
        if self.model.optimizer.iterations == self.params["steps"]:
            signal.raise_signal(signal.SIGINT)
            time.sleep(ECHO_S + 0.1)
            signal.raise_signal(signal.SIGINT)


def test_second_ctrl_c_ends_at_once_and_can_be_continued(data, tmp_path):
    config = TrainConfig(data=str(data), arch="notebook_cnn", epochs=3)
    with pytest.raises(KeyboardInterrupt):
        fit(config, name=f"{tmp_path}/run", callbacks=[SecondCtrlC()])
    assert not (tmp_path / "run" / "metrics.json").exists()
    assert main(["--resume", str(tmp_path / "run")]) == 0
    assert [row["epoch"] for row in history(tmp_path / "run")] == ["1", "2", "3"]


@pytest.mark.parametrize("teacher", [False, True], ids=["labels", "teacher"])
def test_resumed_epochs_are_those_of_the_unbroken_run(
    data, finished, tmp_path, monkeypatch, teacher
):
    """The same batches, weights and optimizer state: the same figures.

    A teacher's two views repeat in the third epoch.
    """
    from train.distillation import teachers
    from train.run import epoch_callback

    monkeypatch.setattr(teachers, "CACHE", tmp_path / "cache")
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    big = Path(shutil.copytree(finished, tmp_path / "big"))
    more = ["--mixup", "0.4", "--teacher", str(big), "--teacher-views", "2"]
    more = more if teacher else []
    assert main(flags(data, unbroken, *more, epochs=3)) == 0

    def stop_after_first(self, epoch, row):
        kept(self, epoch, row)
        if epoch == 1:
            raise KeyboardInterrupt

    kept = epoch_callback.EpochCallback._save
    monkeypatch.setattr(epoch_callback.EpochCallback, "_save", stop_after_first)
    assert main(flags(data, broken, *more, epochs=3)) == 130
    monkeypatch.undo()
    shutil.rmtree(big)
    assert main(["--resume", str(broken)]) == 0
    for one, other in zip(history(unbroken), history(broken), strict=True):
        # float32 sums of several threads differ in their last digits.
        assert float(one["loss"]) == pytest.approx(float(other["loss"]), rel=1e-3)
        assert one["learning_rate"] == other["learning_rate"]


# Runs with the tiny network on one thread: sums of several differ in their last digits.
TINY_RUNS = """
import os, signal, sys
from train.networks.backend import start_keras
start_keras(1)
from tests.host.train.test_fit import tiny_features
from train.__main__ import main as train
from train.networks import architectures
from train.run.epoch_callback import EpochCallback

architectures.ARCHITECTURES["notebook_cnn"] = tiny_features
killed_after, *runs = sys.argv[1:]
kept = EpochCallback._save

def save(self, epoch, row):
    kept(self, epoch, row)
    if epoch == int(killed_after):
        os.kill(os.getpid(), signal.SIGKILL)

EpochCallback._save = save
for run in runs:
    assert train(run.split()) == 0
"""


def run_tiny(folder, killed_after, *runs):
    """Returns the exit code of a process that makes these runs, one by one."""
    done = subprocess.run(
        [sys.executable, "-c", TINY_RUNS, str(killed_after), *map(" ".join, runs)],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "FER_EDGE_CACHE": str(folder / "cache"),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


def saved_weights(path):
    """All arrays in a .weights.h5 or .keras file by name, the optimizer's too."""
    import h5py

    data = path.read_bytes()
    if path.suffix == ".keras":
        data = zipfile.ZipFile(path).read("model.weights.h5")
    arrays = {}

    def note(name, item):
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()]

    with h5py.File(io.BytesIO(data)) as file:
        file.visititems(note)
    return arrays


def test_killed_run_with_cache_and_processes_ends_with_the_weights_of_the_unbroken_one(
    more_data, tmp_path
):
    """Bit for bit; the unbroken run has neither a cache nor processes."""
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    kept = ["--cache", "disk", "--workers", "2"]
    killed = flags(more_data, broken, *kept, epochs=3)
    assert run_tiny(tmp_path, 1, killed) == -signal.SIGKILL
    assert read(broken / "checkpoint", "progress.json")["epoch"] == 1
    assert len(list((tmp_path / "cache").glob("*/*.pixels"))) == 1
    whole = flags(more_data, unbroken, "--workers", "1", epochs=3)
    assert run_tiny(tmp_path, 0, whole, ["--resume", str(broken), *kept]) == 0
    for row, other in zip(history(unbroken), history(broken), strict=True):
        assert {**row, "seconds": ""} == {**other, "seconds": ""}
    last = "checkpoint/epoch-0003.weights.h5"
    assert (unbroken / last).exists()
    for name in ("model.keras", last):
        one, other = (saved_weights(run / name) for run in (unbroken, broken))
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[key], other[key]) for key in one)


# --- continuing and starting over --------------------------------------------------


def test_resuming_a_finished_run_changes_nothing(copied, capsys):
    before = (copied / "history.csv").read_text()
    model = (copied / "model.keras").read_bytes()
    assert main(["--resume", str(copied)]) == 0
    assert (copied / "history.csv").read_text() == before
    assert (copied / "model.keras").read_bytes() == model
    assert "python -m export" in capsys.readouterr().out


def test_resume_with_other_flags_is_refused(copied, capsys):
    assert main(["--resume", str(copied), "--learning-rate", "0.1"]) == 2
    assert "--learning-rate" in one_error_line(capsys)


def test_resume_with_changed_images_is_refused(copied, data, tmp_path, capsys):
    changed = Path(shutil.copytree(data, tmp_path / "changed"))
    (changed / "train" / "dots" / "0.png").unlink()
    assert main(["--resume", str(copied), "--data", str(changed)]) == 2
    assert "other images" in one_error_line(capsys)


def test_resume_finds_images_that_moved(copied, data, tmp_path):
    moved = Path(shutil.copytree(data, tmp_path / "moved"))
    assert main(["--resume", str(copied), "--data", str(moved)]) == 0


def test_resume_of_a_damaged_checkpoint_says_so(copied, capsys):
    (copied / "checkpoint" / "progress.json").write_text("{")
    assert main(["--resume", str(copied)]) == 2
    assert "progress.json" in one_error_line(capsys)


def test_run_without_its_checkpoint_is_not_begun_anew(copied, capsys):
    """It may be deleted, and a finished model must not be lost by --resume."""
    model = (copied / "model.keras").read_bytes()
    shutil.rmtree(copied / "checkpoint")
    assert main(["--resume", str(copied)]) == 2
    assert "its checkpoint was deleted" in one_error_line(capsys)
    assert (copied / "model.keras").read_bytes() == model


def test_foreign_teacher_is_refused_before_anything_is_written(
    finished, data, tmp_path, capsys
):
    other = Path(shutil.copytree(data, tmp_path / "other"))
    for split in ("train", "val"):
        (other / split / "waves").rename(other / split / "zebras")
    run = tmp_path / "run"
    assert main(flags(other, run, "--teacher", str(finished))) == 2
    assert "expected the classes dots, lines, zebras" in one_error_line(capsys)
    assert not run.exists()


def test_foreign_teacher_leaves_the_run_that_force_would_replace(
    copied, data, tmp_path, capsys
):
    (tmp_path / "teacher.keras").write_bytes(b"no zip")
    before = {path.name: path.stat().st_mtime_ns for path in copied.iterdir()}
    foreign = ("--teacher", str(tmp_path / "teacher.keras"), "--force")
    assert main(flags(data, copied, *foreign)) == 2
    assert "cannot load the teacher" in one_error_line(capsys)
    assert {p.name: p.stat().st_mtime_ns for p in copied.iterdir()} == before


def test_existing_name_is_refused_without_force(copied, data, capsys):
    before = sorted(path.stat().st_mtime_ns for path in copied.iterdir())
    assert main(flags(data, copied)) == 2
    assert "--force" in one_error_line(capsys)
    assert sorted(path.stat().st_mtime_ns for path in copied.iterdir()) == before


def test_force_starts_over_even_with_other_images(copied, data, tmp_path):
    other = Path(shutil.copytree(data, tmp_path / "other"))
    (other / "train" / "dots" / "0.png").unlink()
    assert main(flags(other, copied, "--force", epochs=1)) == 0
    assert [row["epoch"] for row in history(copied)] == ["1"]


def test_loss_that_is_not_finite_is_reported(data, tmp_path, capsys):
    bad = flags(data, tmp_path / "run", "--learning-rate", "1000", epochs=9)
    assert main(bad) == 2
    line = one_error_line(capsys)
    assert "loss nan" in line or "loss inf" in line
    assert "lower --learning-rate" in line


def test_average_of_a_short_run_forgets_its_beginning():
    from train.optimization.optimizer import ema_horizon_steps

    assert ema_horizon_steps(TrainConfig(epochs=8), 150) == 80
    for recipe in RECIPES.values():  # the named recipes are what they say
        config = recipe.config
        expected = max(2, config.ema_epochs * 150)
        assert ema_horizon_steps(config, 150) == expected
