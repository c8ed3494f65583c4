"""``--log mlflow``: a tracking server, or the folder ``mlruns/``.

Where is decided by MLflow's usual variables: ``MLFLOW_TRACKING_URI``, with its user,
password or token, and ``MLFLOW_EXPERIMENT_NAME``.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edge_runtime.errors import RunError
from train.run.folder import RunFolder
from train.tracking.tracker import Outcome, Parameters, Row, reason_of

FOLDER = "mlruns"
EXPERIMENT = "fer-edge"
FILES = ("confusion_matrix.png", "curves.png", "metrics.json", "config.json")
# MLflow's own defaults let a training wait for minutes; variables that are set stay.
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


class MlflowLog:
    """A run of MLflow; see ``train.tracking.tracker.RunTracker``."""

    name = "MLflow"

    def __init__(self, run: RunFolder, parameters: Parameters) -> None:
        """Takes the run's folder and its configuration; nothing is sent yet."""
        self._run, self._parameters = run, parameters
        self._client: Any = None
        self._id = ""
        self._written: dict[str, set[int]] = {}  # steps by the name of the figure

    def begin(self) -> str:
        """Returns where the run is."""
        self._client = open_client()
        found = self._find()
        if found is None:
            found = self._create()
        self._id = found.info.run_id
        self._written.clear()
        self._client.update_run(self._id, status="RUNNING")
        if urlsplit(uri := tracking_uri()).scheme in ("http", "https"):
            page = f"#/experiments/{found.info.experiment_id}/runs/{self._id}"
            return f"{without_secrets(uri)}/{page}"
        return f"run {found.info.run_name} in {uri}"

    def _find(self) -> Any:
        """Returns the run that this folder's training was recorded in, or None."""
        from mlflow.exceptions import MlflowException

        if not self._run.mlflow.is_file():
            return None
        try:
            return self._client.get_run(
                str(self._run.read_json(self._run.mlflow)["run"])
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None  # recorded elsewhere: here the curve begins anew, complete

    def _create(self) -> Any:
        from mlflow.entities import Param

        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        experiment = self._client.get_experiment_by_name(name)
        number = (
            experiment.experiment_id
            if experiment is not None
            else self._client.create_experiment(name)
        )
        tags = {"run_folder": str(self._run.path.resolve())}
        created = self._client.create_run(number, run_name=self._run.name, tags=tags)
        parameters = [Param(key, str(value)) for key, value in self._parameters.items()]
        self._client.log_batch(created.info.run_id, params=parameters)
        self._run.write_json(self._run.mlflow, {"run": created.info.run_id})
        return created

    def write(self, history: Sequence[Row]) -> None:
        """Sends the epochs that are not there yet."""
        self._send(
            [
                (name, int(row["epoch"]), float(value))
                for row in history
                for name, value in row.items()
                if name != "epoch"
            ]
        )

    def finish(self, outcome: Outcome) -> None:
        """Sends the final figures and files, and ends MLflow's run."""
        self._send(
            [(name, outcome.step, value) for name, value in outcome.figures.items()]
        )
        for name in FILES if outcome.figures else ():
            if (path := self._run.path / name).is_file():
                self._client.log_artifact(self._id, str(path))
        self._client.set_terminated(self._id, status=outcome.status)

    def _send(self, points: Sequence[tuple[str, int, float]]) -> None:
        """Sends the points that are not there yet, by name and step."""
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        for name in {point[0] for point in points} - set(self._written):
            there = self._client.get_metric_history(self._id, name)
            self._written[name] = {point.step for point in there}
        missing = [
            Metric(name, value, now_ms, step)
            for name, step, value in points
            if step not in self._written[name]
        ]
        if not missing:
            return
        try:
            self._client.log_batch(self._id, metrics=missing)
        except Exception:
            self._written.clear()  # a part may be there
            raise
        for each in missing:
            self._written[each.key].add(each.step)


def tracking_uri() -> str:
    """Returns where MLflow records: a server's address, or a folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or str(Path(FOLDER).resolve())


def without_secrets(uri: str) -> str:
    """Returns an address without user and password."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")


def require_server() -> None:
    """Raises RunError if MLflow does not answer, before anything slow begins."""
    try:
        open_client().search_experiments(max_results=1)
    except Exception as error:  # MLflow and its HTTP library raise many kinds
        where = without_secrets(tracking_uri())
        raise RunError(
            f"--log mlflow: no answer from {where} ({reason_of(error)}): start the"
            " tracking server, set MLFLOW_TRACKING_URI (unset it for the folder"
            f" {FOLDER}/), or leave out --log mlflow"
        ) from error


def open_client() -> Any:
    """Returns MLflow's client of the tracking server or folder."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    # The registry is not used; unnamed, it would be a database.
    return MlflowClient(tracking_uri(), registry_uri=tracking_uri())
