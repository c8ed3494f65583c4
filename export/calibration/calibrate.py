"""The activation ranges of a trained model: recorded, or measured and recorded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_runtime.errors import DatasetError, ModelError, RunError
from edge_runtime.model_file.container import Kind
from export.calibration.activations import (
    ActivationReader,
    onnx_reader,
    tflite_reader,
)
from export.calibration.measure import measure_ranges
from export.calibration.record import CalibrationRecord, sha256_of
from export.calibration.representative import (
    Representative,
    check_leaks,
    check_usable,
    collect_warnings,
    select_images,
    select_run_images,
    select_unlabelled,
)
from export.calibration.trained_ranges import with_trained_ranges
from export.convert.formats import FloatModels
from export.options import Log
from export.trained_model import TrainedModel
from train.data import dataset
from train.data.dataset import Dataset
from train.data.splits import Split
from train.quantization.ranges import MeasuredRanges, Ranges
from train.quantization.record import load_trained_ranges

logger = logging.getLogger(__name__)

DEFAULT_COUNT, DEFAULT_SEED = 420, 1
READERS: dict[Kind, Callable[[bytes], ActivationReader]] = {
    "tflite": tflite_reader,
    "onnx": onnx_reader,
}


@dataclass(frozen=True)
class CalibrationInputs:
    """A trained model and the images that are available.

    Attributes:
        trained: The trained model.
        run_data: The images it was trained on; None where they are not here.
        user_data: The images of ``--calibration-data``; None without.
        representative: The images to calibrate with; None where there are none.
        compared: Number of evaluation images that those were compared with.
        figures: The recorded figures of every file; None where they are measured.
    """

    trained: TrainedModel
    run_data: Dataset | None
    user_data: Dataset | None = None
    representative: Representative | None = None
    compared: int = 0
    figures: dict[str, Any] | None = None

    @property
    def evaluation_data(self) -> Dataset | None:
        """The image set whose validation split is measured; None without one."""
        return self.run_data or self.user_data

    @property
    def evaluation(self) -> Split | None:
        """That validation split; None without one."""
        data = self.evaluation_data
        return data.validation if data is not None else None


def gather_inputs(
    trained: TrainedModel, run_data: Dataset | None, calibration_data: str | None
) -> CalibrationInputs:
    """Returns the images to calibrate with, checked, as far as they are here.

    Args:
        trained: The trained model.
        run_data: The images it was trained on, or None.
        calibration_data: Path of a user's own images, or None.

    Raises:
        DatasetError: They are not raw pixels, or are evaluation images.
    """
    spec = trained.spec
    if calibration_data and trained.run is None:
        folder = Path(calibration_data)
        found = select_unlabelled(folder, spec, DEFAULT_COUNT, DEFAULT_SEED)
        if found is not None:
            check_usable(found)
            return CalibrationInputs(trained, None, None, found)
    if calibration_data:
        user_data = dataset.load(
            calibration_data,
            size_px=spec.size_px,
            colour=spec.colour,
            fit=spec.fit,
            labels=spec.labels,
        )
        images = select_images(user_data, DEFAULT_COUNT, DEFAULT_SEED)
        check_usable(images)
        compared = check_leaks(images, user_data, *([run_data] if run_data else []))
        return CalibrationInputs(trained, run_data, user_data, images, compared)
    if run_data is None or trained.run is None:
        return CalibrationInputs(trained, run_data)
    images = select_run_images(trained.run, run_data)
    compared = check_leaks(images, run_data)
    return CalibrationInputs(trained, run_data, None, images, compared)


def load_record(trained: TrainedModel) -> CalibrationRecord | None:
    """Returns the ranges and figures of an earlier export, or None without one.

    Raises:
        RunError: The record is damaged.
    """
    run, config = trained.run, trained.config
    if run is None or config is None:
        return None
    return CalibrationRecord.load(run.ranges, trained.path, is_only_copy=config.qat)


def calibrate(
    inputs: CalibrationInputs, floats: FloatModels, kinds: Sequence[Kind], log: Log
) -> CalibrationRecord:
    """Returns recorded activation ranges, or measures and records them.

    A kind of graph that cannot be converted has no ranges in it.

    Args:
        inputs: Model and images.
        floats: The float32 models.
        kinds: The graphs whose ranges are needed.
        log: Called with a line about each step.

    Raises:
        DatasetError: There are neither ranges nor images.
        RunError: The recorded ranges come from other images than the run's.
    """
    trained, images = inputs.trained, inputs.representative
    run = trained.run if inputs.user_data is None else None
    record = load_record(trained) if run else None
    trained_ranges = _trained_ranges(trained)
    if trained_ranges:
        log(
            "activation ranges of int8: those that the network was trained with (--qat)"
        )
    if run and record:
        log(f"activation ranges: recorded in {run.ranges}")
        if images and record.images.get("sha256") != images.record["sha256"]:
            raise RunError(
                f"{run.ranges} was measured on other images than the run chose:"
                " delete it, and export again"
            )
    missing = [
        kind for kind in kinds if record is None or not getattr(record, kind).whole
    ]
    if record is not None and not missing:
        return record
    if images is None:
        reason = "they are not here"
        if run and run.ranges.exists():
            reason += f" ({run.ranges} is of an earlier version or of another model)"
        raise DatasetError(
            f"int8 needs training images of {trained.name} once, and {reason}: name"
            " them with --calibration-data PATH"
        )
    count = len(images.images)
    log(f"measuring activation ranges on {count} images of {images.record['source']}")
    for warning in collect_warnings(images):
        log(f"warning: {warning}")
    nothing = MeasuredRanges()
    record = record or CalibrationRecord(
        sha256_of(trained.path), images.record, nothing, nothing, {}, trained_ranges
    )
    for kind in missing:
        try:
            reader = READERS[kind](floats.get(kind))
            measured = measure_ranges(reader, images.images)
            if trained_ranges:
                measured, lost = with_trained_ranges(
                    measured, trained_ranges, reader, trained.model, images.images
                )
                if lost:
                    log(f"warning: {kind} rounds nothing at {', '.join(lost)}")
            changed: dict[str, Any] = {kind: measured}
            record = replace(record, **changed)
        except ModelError as error:  # it is told where the format is made
            logger.debug("%s: %s", kind, error)
    if run:
        record.save(run.ranges)
    return record


def _trained_ranges(trained: TrainedModel) -> Ranges:
    """Returns the ranges of a network that was trained with some; else none."""
    if trained.run is None or trained.config is None or not trained.config.qat:
        return {}
    return load_trained_ranges(trained.run.ranges)
