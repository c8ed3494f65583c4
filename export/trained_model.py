"""The model to export: of a run folder, the released one, or a bare .keras file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from edge_runtime.errors import DatasetError, FerEdgeError, ModelError, RunError
from edge_runtime.model_file.metadata import ModelSpec, check_labels
from edge_runtime.model_file.pixels import RAW, PixelScaling
from edge_runtime.model_file.released import are_released_labels, find_released
from edge_runtime.preprocessing import Colour, Fit
from export.convert.keras_file import OTHER_KINDS, SUFFIXES
from export.convert.keras_model import load_classifier
from export.convert.pixel_scaling import first_values, scaled, scales_pixels
from train.data.dataset import Dataset
from train.data.drawn_faces import DRAWN
from train.data.probing import LARGEST_ICON_PX
from train.options.config import TrainConfig
from train.run.folder import RUNS, RunFolder, find_run, understood

# Of metrics.json, what a model file contains about its origin.
RECORDED = (
    "run",
    "git_revision",
    "data",
    "weights",
    "versions",
    "best_epoch",
    "averaged",
)


@dataclass(frozen=True)
class TrainedModel:
    """A trained model and what is known about it.

    Attributes:
        name: Name of the exported files.
        model: The Keras model, raw pixels in, logits out.
        path: Its ``.keras`` file.
        spec: Labels, input and origin; format and golden vectors are added later.
        run: The run folder; None for a bare ``.keras`` file.
        config: How it was trained; None for a bare ``.keras`` file.
    """

    name: str
    model: keras.Model
    path: Path
    spec: ModelSpec
    run: RunFolder | None
    config: TrainConfig | None


def find_trained_model(
    name: str | None,
    labels: Sequence[str] | None,
    pixels: PixelScaling | None = None,
    size_px: int | None = None,
    fit: Fit | None = None,
) -> TrainedModel:
    """Returns the model to export.

    Args:
        name: A run's name or path, a ``.keras`` or ``.h5`` file, or None for the newest
            run, or the released model where there is no run.
        labels: Class names in order, needed for a bare file.
        pixels: The values a bare file was trained on, where it does not scale pixels
            itself.
        size_px: Side of the input of a bare file that leaves it free.
        fit: How the images that a bare file was trained on became square; None for
            ``"stretch"``, as by most programs.

    Raises:
        FerEdgeError: There is none, or it cannot be used.
    """
    path = Path(name) if name is not None else None
    if path is not None and _is_model_file(path):
        if (path.parent / "config.json").exists() and path.name == "model.keras":
            _refuse_file_options(labels, pixels, size_px, fit)
            return _from_run(RunFolder(path.parent))
        return _from_file(path, labels, pixels, size_px, fit)
    _refuse_file_options(labels, pixels, size_px, fit)
    if name is None and not list(RUNS.glob("*/config.json")):
        return _from_run(find_run(find_released().name))
    return _from_run(find_run(name))


def with_words(
    trained: TrainedModel, subject: str | None, labels_are: str | None
) -> TrainedModel:
    """Returns the model with the words of its task: as given, else as in its run.

    Where neither says one, photos show objects, unless the labels are those of a
    released model; nothing is said of others, which devices take for faces.

    Args:
        trained: The model.
        subject: What it looks at, in one word.
        labels_are: What its labels are.
    """
    spec, config = trained.spec, trained.config
    subject = subject or (config.subject if config else "")
    labels_are = labels_are or (config.labels_are if config else "")
    photos = spec.colour == "rgb" and spec.size_px > LARGEST_ICON_PX
    known = photos and not are_released_labels(spec.labels)
    if not (subject or labels_are or known):
        return trained
    subject = subject or "object"
    labels_are = labels_are or ("expression" if subject == "face" else "label")
    spec = replace(spec, subject=subject, labels_are=labels_are)
    return replace(trained, spec=spec)


def describe_assumptions(trained: TrainedModel, fit: Fit | None) -> str:
    """Returns what no bare file says and was not given; empty for a run.

    Args:
        trained: The model.
        fit: As it was given.
    """
    parts = []
    if trained.run is None and fit is None:
        parts.append("images that are not square are stretched (change: --fit)")
    if trained.run is None and trained.spec.colour == "rgb":
        parts.append(
            "its channels are taken as RGB (where it was trained on BGR, as cv2.imread"
            " returns it, export  keras.Model(pixels, model(pixels[..., ::-1])))"
        )
    return "; ".join(parts)


def _is_model_file(path: Path) -> bool:
    """Returns whether a path is one of a model file, also one that is refused."""
    suffix = path.suffix.lower()
    saved_model = (path / "saved_model.pb").exists()
    return saved_model or suffix in SUFFIXES or suffix in OTHER_KINDS


def _refuse_file_options(
    labels: Sequence[str] | None,
    pixels: PixelScaling | None,
    size_px: int | None,
    fit: Fit | None,
) -> None:
    if pixels is not None:
        raise FerEdgeError("a run scales its pixels itself: leave out --pixels")
    if labels:
        raise FerEdgeError("a run knows its labels: leave out --labels")
    if size_px is not None:
        raise FerEdgeError("a run knows the size of its images: leave out --size")
    if fit is not None:
        raise FerEdgeError("a run knows how its images were cut: leave out --fit")


def load_run_data(trained: TrainedModel) -> Dataset | None:
    """Returns the images a run was trained on, or None where they are not here."""
    if trained.config is None:
        return None
    config = trained.config
    files = [config.data, *config.more_data, *config.tables]
    if not all(path == DRAWN or Path(path).exists() for path in files):
        return None
    spec = trained.spec
    data = replace(
        config, size_px=spec.size_px, colour=spec.colour, fit=spec.fit
    ).load_images()
    expected = spec.origin.get("data", {}).get("fingerprint")
    if expected != data.fingerprint:
        raise DatasetError(
            f"{' with '.join(files)} no longer gives the images that {trained.name} was"
            " trained on: restore them, or give others with --calibration-data"
        )
    return data


def _from_run(run: RunFolder) -> TrainedModel:
    config = run.read_config()
    if not run.metrics.exists():
        raise RunError(
            f"{run.path} is not finished: continue it with"
            f"  python -m train --resume {run.path}"
        )
    metrics = run.read_json(run.metrics)
    model = load_classifier(run.model)
    origin: dict[str, Any] = {key: metrics[key] for key in RECORDED if key in metrics}
    with understood(run.metrics):
        origin |= {key: metrics[key] for key in ("parameters", "macs")}
        spec = ModelSpec(
            labels=check_labels(metrics["labels"]),
            size_px=int(metrics["input"]["size_px"]),
            colour=metrics["input"]["colour"],
            fit=config.fit,
            crop_margin_frac=config.crop_margin_frac,
            temperature=float(metrics["temperature"]),
            architecture=str(metrics["arch"]),
            origin=origin,
        )
        _check_fit(spec, model, run.metrics)
    return TrainedModel(str(metrics["run"]), model, run.model, spec, run, config)


def _check_fit(spec: ModelSpec, model: keras.Model, metrics: Path) -> None:
    """Raises RunError unless a run's metadata are those of its model."""
    ModelSpec.from_document(spec.to_document())
    expected = (*model.inputs[0].shape[1:], model.outputs[0].shape[1])
    found = (*spec.input_shape, len(spec.labels))
    if found != expected:
        raise RunError(
            f"{metrics} is damaged: expected input and classes {expected} as in the"
            f" model, got {found}"
        )


def _from_file(
    path: Path,
    labels: Sequence[str] | None,
    pixels: PixelScaling | None,
    size_px: int | None,
    fit: Fit | None,
) -> TrainedModel:
    model = _with_raw_pixels(load_classifier(path, size_px), pixels, path.name)
    classes = model.outputs[0].shape[1]
    if labels is None:
        raise ModelError(
            f"{path.name} does not say what its classes are called: give their names"
            " in order, as in  --labels cat,dog"
        )
    names = check_labels(labels)
    if len(names) != classes:
        raise ModelError(
            f"{path.name} has {classes} classes, got {len(names)} labels (names that"
            " contain a comma: give a file with one on each line)"
        )
    shape = model.inputs[0].shape
    colour: Colour = "grey" if shape[3] == 1 else "rgb"
    origin: dict[str, Any] = {"parameters": model.count_params()}
    spec = ModelSpec(
        names,
        shape[1],
        colour,
        fit=fit or "stretch",
        architecture=str(model.name),
        origin=origin,
    )
    return TrainedModel(path.stem, model, path, spec, None, None)


def _with_raw_pixels(
    model: keras.Model, pixels: PixelScaling | None, name: str
) -> keras.Model:
    """Returns the model for pixels 0..255, whatever it was trained on.

    Raises:
        ModelError: It scales pixels itself and was told to, or does neither.
    """
    if pixels == RAW:
        return model
    low, high = first_values(model)
    sees = f"its first layer with weights sees {low:.3g} to {high:.3g} for 0 to 255"
    if scales_pixels(model):
        if pixels is None:
            return model
        raise ModelError(f"{name} scales pixels itself ({sees}): leave out --pixels")
    if pixels is None:
        raise ModelError(
            f"{name} does not say what values it was trained on ({sees}): give"
            "  --pixels raw (0..255), unit (0..1), signed (-1..1), imagenet, or a file"
            " with mean and std"
        )
    return scaled(model, pixels)
