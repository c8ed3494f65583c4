"""The trackers that ``--log`` names."""

from __future__ import annotations

from collections.abc import Sequence

from edge_runtime.errors import require_in_checkout
from train.run.folder import RunFolder
from train.tracking.tracker import Parameters, RunTracker

PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow"}


def require_trackers(names: Sequence[str]) -> None:
    """Raises an error if a library or a server is missing, before anything slow begins.

    Args:
        names: Some of ``train.options.config.LOGS``.

    Raises:
        MissingDependencyError: The library is not installed.
        RunError: The tracking server does not answer.
    """
    require_packages(names)
    if "mlflow" in names:
        from train.tracking.mlflow_log import require_server

        require_server()


def require_packages(names: Sequence[str]) -> None:
    """Raises MissingDependencyError if the library of a tracker is not installed."""
    for name in names:
        require_in_checkout(PACKAGES[name], group=name)


def open_trackers(
    names: Sequence[str], run: RunFolder, parameters: Parameters
) -> list[RunTracker]:
    """Returns the trackers of a run; nothing is written yet.

    Args:
        names: Some of ``train.options.config.LOGS``.
        run: The run's folder.
        parameters: What the run is compared with others by.
    """
    trackers: list[RunTracker] = []
    if "tensorboard" in names:
        from train.tracking.tensorboard_log import TensorBoardLog

        trackers.append(TensorBoardLog(run, parameters))
    if "mlflow" in names:
        from train.tracking.mlflow_log import MlflowLog

        trackers.append(MlflowLog(run, parameters))
    return trackers
