"""Activation ranges for a subject: recorded ones, or measured and recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge_runtime.errors import DatasetError, RunError
from export.calibration.ranges import Calibration, sha256_of
from export.calibration.record import (
    Representative,
    chosen_by_run,
    chosen_from,
    refuse_leaks,
    refuse_unusable,
    warnings_about,
)
from export.convert import onnx_model, tflite
from export.trained_model import TrainedModel
from train.data import dataset
from train.data.dataset import Dataset
from train.data.splits import Split

Say = Callable[[str], None]

DEFAULT_COUNT, DEFAULT_SEED = 420, 1


@dataclass(frozen=True)
class CalibrationInputs:
    """What is to be exported, and the images that are at hand.

    Attributes:
        subject: The trained model.
        data: The images it was trained on; None where they are not here.
        own: The images of ``--calibration-data``; None without.
        representative: The images to calibrate with; None where there are none.
        compared: With how many evaluation images those were compared.
        figures: The recorded figures of every file; None where they are measured.
    """

    subject: TrainedModel
    data: Dataset | None
    own: Dataset | None = None
    representative: Representative | None = None
    compared: int = 0
    figures: dict[str, Any] | None = None

    @property
    def measured_on(self) -> Dataset | None:
        """Whose validation images are measured: the run's, else the user's; or None."""
        return self.data or self.own

    @property
    def evaluation(self) -> Split | None:
        """Those validation images, or None."""
        source = self.measured_on
        return source.validation if source is not None else None


def gather(
    subject: TrainedModel, data: Dataset | None, calibration_data: str | None
) -> CalibrationInputs:
    """Returns the images to calibrate with, checked, as far as they are here.

    Args:
        subject: The trained model.
        data: The images it was trained on, or None.
        calibration_data: A user's own images, or None.

    Raises:
        DatasetError: They are no raw pixels, or are evaluation images.
    """
    spec = subject.spec
    if calibration_data:
        own = dataset.load(
            calibration_data,
            size_px=spec.size_px,
            colour=spec.colour,
            labels=spec.labels,
        )
        chosen = chosen_from(own, DEFAULT_COUNT, DEFAULT_SEED)
        refuse_unusable(chosen)
        compared = refuse_leaks(chosen, own, *([data] if data else []))
        return CalibrationInputs(subject, data, own, chosen, compared)
    if data is None or subject.run is None:
        return CalibrationInputs(subject, data)
    chosen = chosen_by_run(subject.run, data)
    return CalibrationInputs(subject, data, None, chosen, refuse_leaks(chosen, data))


def recorded(subject: TrainedModel) -> Calibration | None:
    """Returns the ranges and figures of an earlier export, or None without one.

    Raises:
        RunError: The record is damaged.
    """
    run = subject.run
    return Calibration.load(run.ranges, subject.path) if run else None


def calibrate(
    material: CalibrationInputs, floats: tuple[bytes, bytes], say: Say
) -> Calibration:
    """Returns recorded activation ranges, or measures and records them.

    Args:
        material: Model and images.
        floats: The float32 TFLite and ONNX models.
        say: Called with a line about each step.

    Raises:
        DatasetError: There are neither ranges nor images.
        RunError: The recorded ranges come from other images than the run's.
    """
    subject, images = material.subject, material.representative
    run = subject.run if material.own is None else None
    known = recorded(subject) if run else None
    if run and known:
        say(f"activation ranges: recorded in {run.ranges}")
        if images and known.images.get("sha256") != images.record["sha256"]:
            raise RunError(
                f"{run.ranges} was measured on other images than the run chose:"
                " delete it, and export again"
            )
        return known
    if images is None:
        found = "they are not here"
        if run and run.ranges.exists():
            found += f" ({run.ranges} is of an earlier version or of another model)"
        raise DatasetError(
            f"int8 needs training images of {subject.name} once, and {found}: name them"
            " with --calibration-data PATH"
        )
    count = len(images.images)
    say(f"measuring activation ranges on {count} images of {images.record['source']}")
    for warning in warnings_about(images):
        say(f"warning: {warning}")
    record = Calibration(
        model_sha256=sha256_of(subject.path),
        images=images.record,
        tflite=tflite.measure_ranges(floats[0], images.images),
        onnx=onnx_model.measure_ranges(floats[1], images.images),
        accuracy={},
    )
    if run:
        record.save(run.ranges)
    return record
