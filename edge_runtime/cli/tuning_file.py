"""The tuning file beside a model: threads, library and detector width for one board.

``tune`` measures and writes it, ``run`` reads it: by itself where model, processor and
versions are those that were measured, or as ``--config`` anywhere. Typed flags and the
configuration file take precedence.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
from pathlib import Path
from typing import Any

from edge_runtime.cli.run_options import TUNABLE
from edge_runtime.model_file.container import read_model_bytes

SUFFIX = ".tuning.toml"


def tuning_path(model: Path) -> Path:
    """Returns where the tuning file of a model file is: beside it."""
    return model.with_name(model.name + SUFFIX)


def tuning_text(model: Path, setting: dict[str, Any]) -> str:
    """Returns the content of a tuning file (TOML); None is what was not measured."""
    flags = {key.replace("_", "-"): value for key, value in setting.items()}
    return "\n".join(
        [
            "# Written by  python -m edge_runtime tune",
            *_rows({key: value for key, value in flags.items() if value is not None}),
            "",
            "[measured-with]  # run uses the file by itself where all of these hold",
            *_rows(_measured_with(model, setting["backend"])),
            "",
        ]
    )


def _rows(values: dict[str, Any]) -> list[str]:
    return [f"{key} = {json.dumps(value)}" for key, value in values.items()]


def _measured_with(model: Path, backend: str) -> dict[str, Any]:
    """Returns what the times depend on beside the setting."""
    # Here, not at the top: a run without a tuning file need not wait for them.
    import cv2

    from edge_runtime.hardware.board import read_cpu
    from edge_runtime.inference.backends import installed_version

    cpu = read_cpu()
    return {
        "model": hashlib.sha256(read_model_bytes(model)).hexdigest(),
        "processor": cpu.name or platform.machine(),
        "cores": cpu.cores,
        "Python": platform.python_version(),
        "OpenCV": cv2.__version__,
        "library": installed_version(backend) or "",
    }


def apply_tuning(args: argparse.Namespace, model: Path) -> str:
    """Sets what is neither typed nor configured: as tuned, or else the default.

    Args:
        args: Of ``run``; those of ``TUNABLE`` are set where they are None.
        model: The model file that will run.

    Returns:
        A line for the user; empty where there is no tuning file.

    Raises:
        ConfigError: The tuning file is damaged.
        ModelError: The model cannot be read.
    """
    path, message, tuned = tuning_path(model), "", {}
    if path.is_file():
        from edge_runtime.cli.config_file import MEASURED_WITH, flag_values, read_toml

        tuned = flag_values(args.command_parser, path)
        measured = read_toml(path).get(MEASURED_WITH)
        current = _measured_with(model, str(tuned.get("backend", "")))
        if not isinstance(measured, dict):
            measured = {}
        changed = [key for key in current if measured.get(key) != current[key]]
        if changed:
            tuned = {}
            message = (
                f"{path.name} ignored: it was measured with another {changed[0]};"
                f" measure again with  python -m edge_runtime tune {model} --force"
            )
    for key, default in TUNABLE.items():
        if getattr(args, key) is None:
            setattr(args, key, tuned.get(key, default))
    if tuned:
        message = (
            f"tuned for this board: {path.name} (threads {args.threads},"
            f" {args.backend}, width {args.detect_width})"
        )
    return message
