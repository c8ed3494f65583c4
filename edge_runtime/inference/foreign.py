"""Opens model files of others: what they do not say is given by flags, or asked for."""

from __future__ import annotations

import logging
from functools import cache

import numpy as np

from edge_runtime.errors import MetadataError, ModelError
from edge_runtime.inference.backends import Backend, open_backend
from edge_runtime.model_file.container import ModelFile
from edge_runtime.model_file.input_range import describe
from edge_runtime.model_file.labels import usable_labels
from edge_runtime.model_file.metadata import Given, ModelSpec, Output, check_labels
from edge_runtime.model_file.pixels import RAW
from edge_runtime.model_file.statements import Statements, read_statements
from edge_runtime.preprocessing import Colour

logger = logging.getLogger(__name__)

TOLERANCE = 0.02  # of a sum of probabilities, and of their bounds 0 and 1


def open_foreign(
    file: ModelFile, given: Given, backend: str, threads: int
) -> tuple[ModelSpec, Backend]:
    """Returns what is known of a model file without our metadata, and opens it.

    What was given decides, then what the file says itself. What was taken from the file
    is logged.

    Args:
        file: As ``read_model_file`` returned it.
        given: By the user.
        backend: See ``open_backend``.
        threads: CPU threads.

    Raises:
        MetadataError: Labels or pixels are neither given nor said by the file.
        ModelError: It is no classifier of square images, or cannot be loaded.
    """
    # Before it is opened: libraries crash on a truncated file.
    stated = read_statements(file)
    labels, pixels = given.labels, given.pixels or stated.pixels
    if labels is None and stated.labels:
        labels = usable_labels(stated.labels)
    loaded = open_backend(file, backend, threads=threads, pixels=pixels or RAW)
    size_px, colour = _square_input(file.name, loaded.input.shape)
    output = given.output or stated.output or _observed_output(loaded)
    if labels is None or pixels is None or output is None:
        raise MetadataError(_request(file, Given(labels, pixels, output)))
    names = check_labels(labels)
    _check_output(file.name, loaded.output.shape, len(names))
    _log_assumptions(file.name, given, stated, Given(names, pixels, output))
    return ModelSpec(names, size_px, colour, pixels=pixels, output=output), loaded


def _request(file: ModelFile, known: Given) -> str:
    """Returns the message that asks for what is not known of a file."""
    parts = {
        "what its classes are called (give --labels cat,dog or a file)": known.labels,
        "what its network takes for pixels (give --pixels raw: 0..255, unit: 0..1,"
        " signed: -1..1, imagenet, or a JSON file with mean and std)": known.pixels,
        "whether it gives logits or probabilities (give --model-output)": known.output,
    }
    unknown = [part for part, value in parts.items() if value is None]
    hint = ""
    if file.kind == "onnx" and known.labels is not None and not _is_installed("onnx"):
        hint = "; its graph may say it: pip install 'fer-edge[onnx-check]'"
    return (
        f"{file.name} has no metadata and does not say {', nor '.join(unknown)}{hint}"
    )


def _is_installed(library: str) -> bool:
    from importlib.util import find_spec

    return find_spec(library) is not None


def _log_assumptions(name: str, given: Given, stated: Statements, used: Given) -> None:
    """Logs what was taken from a file because it was not given."""
    parts = []
    if given.labels is None:
        parts.append(f"labels are those of its {stated.labels_source}")
    if given.pixels is None and used.pixels is not None:
        parts.append(
            f"pixels are taken as {describe(used.pixels)} by {stated.pixels_source}"
        )
    if given.output is None:
        source = stated.output_source or "its answers show it"
        parts.append(f"it gives {used.output} ({source})")
    if parts:
        _warn_once(
            f"{name} has no metadata of fer-edge: {', '.join(parts)}; --labels,"
            " --pixels and --model-output say otherwise"
        )


@cache
def _warn_once(message: str) -> None:
    """Logs it; benchmarks open a file many times."""
    logger.warning("%s", message)


def _square_input(name: str, shape: tuple[int, ...]) -> tuple[int, Colour]:
    """Returns side and colour of a model's square input."""
    shown = f"({', '.join(str(size) if size else 'free' for size in shape)})"
    if len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3):
        raise ModelError(
            f"{name} takes channels first, {shown}, as PyTorch writes it: expected"
            " (N, S, S, 1 or 3); convert it to channels last, with onnx2tf for example"
        )
    square = len(shape) == 4 and shape[1] == shape[2] and shape[1] > 0
    if not square or shape[3] not in (1, 3):
        raise ModelError(
            f"{name}: expected a square image input (N, S, S, 1 or 3), got {shown}"
        )
    if shape[0] > 1:
        raise ModelError(
            f"{name} takes {shape[0]} images at once: expected one, or a free number;"
            " export it with a batch size of 1"
        )
    return shape[1], "grey" if shape[3] == 1 else "rgb"


def _check_output(name: str, shape: tuple[int, ...], labels: int) -> None:
    """Refuses an output that is not one number a label, or one for two labels."""
    if shape[1:] != (labels,) and not (labels == 2 and shape[1:] == (1,)):
        raise ModelError(
            f"{name}: expected one output per label ({labels}), got an output of shape"
            f" {shape}"
        )


def _observed_output(backend: Backend) -> Output | None:
    """Returns what a network gives by its answers to two images; None: it may be both.

    This finds a softmax in a form that the graph's operators do not show.
    """
    rng = np.random.default_rng(0)
    shape = (2, *backend.input.shape[1:])
    values = backend.logits(rng.integers(0, 256, shape, dtype=np.uint8))
    if values.min() < -TOLERANCE or values.max() > 1 + TOLERANCE:
        return "logits"
    sums = values.reshape(len(values), -1).sum(axis=1)
    return "probabilities" if np.abs(sums - 1).max() < TOLERANCE else None
