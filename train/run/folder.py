"""The folder of a training run.

runs/<name>/
    model.keras             the best model so far, float32, raw pixels in, logits out
    architecture.json       its layers
    config.json             the configuration, and the data's fingerprint
    history.csv             one row per epoch
    metrics.json            accuracy, F1, recall, confusion matrix, versions
    calibration.json        the training images chosen for quantization
    curves.png, confusion_matrix.png
    events.out.tfevents.*, mlflow.json   with --log
    checkpoint/             for --resume; may be deleted afterwards
    .lock                   held by the training that writes here
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

from edge_runtime.errors import OutputError, RunError
from edge_runtime.untrusted import read_json
from edge_runtime.utils.files import real_path, write_text
from train.options.config import TrainConfig
from train.run.lock import LOCK_FILE

RUNS = Path("runs")
RELEASED = (
    Path(__file__).resolve().parents[1] / "released"
)  # a run folder of each released model
FIRST_RELEASED = "fer2013"
RUN_SCHEMA = "fer-edge/run/1"
RUN_FILES = (
    "model.keras",
    "architecture.json",
    "config.json",
    "history.csv",
    "metrics.json",
    "calibration.json",
    "calibration_ranges.json",
    "curves.png",
    "confusion_matrix.png",
    "mlflow.json",
)
EVENTS = "events.out.tfevents.*"  # of TensorBoard
MAX_JSON_BYTES = 8 * 2**20
MAX_METRICS_BYTES = 64 * 2**20  # with the confusion matrix of some thousand classes


class RunFolder:
    """The paths of one run.

    Attributes:
        path: The folder; need not exist yet.
        name: Name of the folder.
        model: The best model so far, a ``.keras`` file.
        architecture: Its layers, JSON.
        config: The configuration, JSON.
        metrics: The result on the validation and test images, JSON.
        calibration: The choice of training images for quantization, JSON.
        ranges: Measured activation ranges, JSON; written by the first export.
        mlflow: The run of MLflow that this one is recorded in, JSON.
        checkpoint: The folder with the state to resume from.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = real_path(path).name
        self.model = path / "model.keras"
        self.architecture = path / "architecture.json"
        self.config = path / "config.json"
        self.metrics = path / "metrics.json"
        self.calibration = path / "calibration.json"
        self.ranges = path / "calibration_ranges.json"
        self.mlflow = path / "mlflow.json"
        self.checkpoint = path / "checkpoint"

    def clear(self) -> None:
        """Removes the files of an earlier run; other files are kept."""
        for pattern in (
            "progress.json",
            "targets.npy",
            "targets.json",
            "answers.npy",
            "network.json",
            "epoch-*.weights.h5",
            "best-*.keras",
        ):
            for old in self.checkpoint.glob(pattern):
                old.unlink()
        for name in RUN_FILES:
            (self.path / name).unlink(missing_ok=True)
        for events in self.path.glob(EVENTS):
            events.unlink()

    def remove_if_empty(self) -> None:
        """Removes the folder if nothing was written into it."""
        if _is_empty(self.path):
            with contextlib.suppress(OSError):
                (self.path / LOCK_FILE).unlink(missing_ok=True)
                self.path.rmdir()

    def read_json(self, path: Path) -> dict[str, Any]:
        """Returns the contents of one of the run's JSON files.

        Raises:
            RunError: The file is missing or no JSON object.
        """
        try:
            largest = MAX_METRICS_BYTES if path == self.metrics else MAX_JSON_BYTES
            document = read_json(path, largest)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise RunError(
                f"{self.path} is not a complete run: {path.name} is missing or damaged"
                f" ({reason})"
            ) from error
        if not isinstance(document, dict):
            raise RunError(f"{path}: expected a JSON object")
        return document

    def read_config(self) -> TrainConfig:
        """Returns the run's configuration.

        Raises:
            RunError: Its file is missing, damaged or of another version.
        """
        with understood(self.config):
            return TrainConfig.from_dict(self.read_json(self.config)["config"])

    def write_json(self, path: Path, document: Mapping[str, Any]) -> None:
        """Writes one of the run's JSON files atomically."""
        write_text(path, json.dumps(document, indent=1) + "\n")

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Writes ``history.csv``: one row per epoch, columns as in the first row."""
        text = StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.path / "history.csv", text.getvalue())


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Turns errors about what is in a JSON file into one line that names it.

    A run folder may be somebody else's, and its files may hold anything.

    Raises:
        RunError: A value is missing or of a wrong type.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        kind = type(error).__name__
        raise RunError(
            f"{path} is damaged, or of another version ({kind}: {error})"
        ) from error


def require_free_name(name: str | None, *, force: bool) -> None:
    """Raises OutputError unless a new run may have this name.

    Args:
        name: Name or path; None is always free.
        force: Allow the name of an earlier run, which is then replaced.
    """
    if name is None:
        return
    if name.strip() in ("", ".", ".."):
        raise OutputError(f"expected a --name for the run folder, got {name!r}")
    path = run_path(name)
    if not path.exists() or _is_empty(path):
        return
    if not force:
        raise OutputError(
            f"{path} exists: continue it with --resume {name}, choose another"
            " --name, or start over with --force"
        )
    run = RunFolder(path)
    if not run.config.is_file() or "data_fingerprint" not in run.read_json(run.config):
        raise OutputError(f"{path} is not a run folder: --force does not touch it")


def _is_empty(folder: Path) -> bool:
    """Returns whether a folder has nothing but the lock of a run that wrote nothing."""
    return folder.is_dir() and not {path.name for path in folder.iterdir()} - {
        LOCK_FILE
    }


def create_run(name: str | None, stem: str) -> RunFolder:
    """Creates and returns the folder of a new run, so that no other run takes it.

    Args:
        name: A free name or path; None takes the first free ``<stem>-<number>``.
        stem: First part of an automatic name.

    Raises:
        OutputError: The folder cannot be made.
    """
    try:
        if name is not None:
            run_path(name).mkdir(parents=True, exist_ok=True)
            return RunFolder(run_path(name))
        RUNS.mkdir(exist_ok=True)
        for number in itertools.count(1):
            with contextlib.suppress(FileExistsError):
                (RUNS / f"{stem}-{number}").mkdir()
                return RunFolder(RUNS / f"{stem}-{number}")
    except OSError as error:
        raise OutputError(f"cannot make a run folder: {error}") from error
    raise AssertionError("count() has no end")


def find_run(name: str | None) -> RunFolder:
    """Returns an existing run by name or path; for None the last one written to.

    The name of a released model is that of its run, unless ``runs/`` has one.

    Raises:
        RunError: There is none.
    """
    if name is not None:
        run = RunFolder(run_path(name))
        if not run.config.exists() and len(Path(name).parts) == 1:
            released = RunFolder(RELEASED / name)
            run = released if released.config.exists() else run
        if real_path(run.path) == RELEASED:  # version 0.1 had one
            run = RunFolder(RELEASED / FIRST_RELEASED)
        if not run.config.exists():
            raise RunError(f"expected a run folder, got {name!r}: no config.json there")
        return run
    found = (path for path in RUNS.glob("*/config.json") if path.is_file())
    configs = sorted(found, key=_last_written)
    if not configs:
        raise RunError(f"no run in {RUNS}/ yet: make one with  python -m train")
    return RunFolder(configs[-1].parent)


def find_model(source: str) -> Path:
    """Returns the model file of a run's name or path, or of a ``.keras`` path.

    Raises:
        RunError: There is no such file.
    """
    path = Path(source) if source.endswith(".keras") else find_run(source).model
    if not path.is_file():
        raise RunError(f"expected a run or a .keras file, got {source!r}: no {path}")
    return path


def read_labels(model: Path) -> list[str] | None:
    """Returns the class names of the run that a model file is in, if it is in one."""
    run = RunFolder(model.parent)
    if not run.metrics.is_file():
        return None
    labels = run.read_json(run.metrics).get("labels")
    return labels if isinstance(labels, list) else None


def read_weights(run: RunFolder) -> dict[str, Any] | None:
    """Returns the source and licence of the published weights that a run began with.

    None without such weights, and for a folder that is not a run.
    """
    if not run.config.is_file():
        return None
    weights = run.read_json(run.config).get("weights")
    return weights if isinstance(weights, dict) else None


def _last_written(config: Path) -> float:
    files = (config, config.parent / "history.csv", config.parent / "metrics.json")
    return max(file.stat().st_mtime for file in files if file.exists())


def run_path(name: str) -> Path:
    """Returns the folder of a run's name (below ``runs/``) or path."""
    path = Path(name)
    return path if len(path.parts) > 1 or path.is_absolute() else RUNS / name


def git_revision() -> str:
    """Returns the short revision of the checkout, with ``+`` if changed, or ``""``."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=12"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
