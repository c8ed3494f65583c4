"""Opens model files of others: what they do not say is given by flags, or asked for."""

from __future__ import annotations

import logging
from functools import cache

import numpy as np

from edge_runtime.errors import MetadataError, ModelError
from edge_runtime.inference.backends import Backend, open_backend
from edge_runtime.inference.tensors import Images, Logits
from edge_runtime.model_file.container import ModelFile
from edge_runtime.model_file.input_range import (
    INTEGERS,
    MOST_CLIPPED,
    count_steps,
    describe,
    is_alike,
    quantized_range,
)
from edge_runtime.model_file.metadata import (
    Given,
    ModelSpec,
    Output,
    check_labels,
)
from edge_runtime.model_file.pixels import RAW, SCALINGS, PixelScaling, in_order
from edge_runtime.model_file.statements import Statements, read_statements, resolve
from edge_runtime.preprocessing import Colour

logger = logging.getLogger(__name__)

TOLERANCE = 0.02  # of a sum of probabilities, and of their bounds 0 and 1
FAR_FROM_1 = 0.1  # of a sum of rounded probabilities
MOST_LOST = 64  # of 256 pixel values: a calibration may lack black or white


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
        ModelError: It is not a classifier of square images, or cannot be loaded.
    """
    # Before it is opened: libraries crash on a truncated file.
    stated = read_statements(file)
    order = given.colour or "rgb"
    labels, pixels, output, *_ = resolve(given, stated)
    if given.pixels is not None:
        _check_pixels(file.name, given.pixels, stated)
    inside = in_order(pixels or RAW, order)
    loaded = open_backend(file, backend, threads=threads, pixels=inside)
    size_px, colour = _square_input(file.name, loaded.input.shape)
    if colour == "grey" and order != "grey" and given.colour is not None:
        raise MetadataError(f"{file.name} takes one channel: leave out --colour")
    if order == "bgr":
        loaded = _BgrBackend(loaded)
    elif order == "grey" and colour == "rgb":
        loaded, colour = _GreyBackend(loaded), "grey"
    answers = _answers(loaded)
    output = output or _observed_output(answers)
    if labels is None or pixels is None or output is None:
        known = Given(labels, pixels, output)
        raise MetadataError(_request(file, known, stated.labels_error))
    names, fit = check_labels(labels), given.fit or "stretch"
    _check_output(file.name, answers.shape[1], len(names))
    _check_answers(file.name, answers, output)
    if output != stated.output:
        _warn_of_sums(file.name, answers, output)
    used = Given(names, pixels, output, order if colour == "rgb" else None, fit)
    _log_assumptions(file.name, given, stated, used)
    spec = ModelSpec(names, size_px, colour, fit=fit, pixels=pixels, output=output)
    return spec, loaded


class _BgrBackend:
    """A loaded model whose three channels are blue, green and red."""

    def __init__(self, backend: Backend) -> None:
        self.name, self.version = backend.name, backend.version
        self.input, self.output = backend.input, backend.output
        self._backend = backend

    def logits(self, images: Images) -> Logits:
        """Returns float32 (N, classes) for raw pixels uint8 (N, S, S, 3) in RGB."""
        return self._backend.logits(images[..., ::-1])


class _GreyBackend:
    """A loaded model whose three channels are one grey image, three times."""

    def __init__(self, backend: Backend) -> None:
        self.name, self.version = backend.name, backend.version
        self.input = backend.input._replace(shape=(*backend.input.shape[:3], 1))
        self.output = backend.output
        self._backend = backend

    def logits(self, images: Images) -> Logits:
        """Returns float32 (N, classes) for raw pixels uint8 (N, S, S, 1)."""
        return self._backend.logits(np.repeat(images, 3, axis=3))


def _check_pixels(name: str, pixels: PixelScaling, stated: Statements) -> None:
    """Refuses pixels that a quantized input cannot hold: all would be black or white.

    Raises:
        MetadataError: Many of them are beyond its range, and it does not say itself
            that they are meant.
    """
    tensor = stated.quantized
    if tensor is None or tensor.dtype not in INTEGERS:
        return
    with np.errstate(all="ignore"):  # scales of damaged files
        clipped, _ = count_steps(tensor, pixels)
        low, high = quantized_range(tensor)
        fitting = [
            name
            for name, scaling in SCALINGS.items()
            if count_steps(tensor, scaling)[0] <= MOST_CLIPPED
        ]
    if stated.pixels is not None and is_alike(pixels, stated.pixels):
        return
    found = (
        f"{clipped} of 256 pixel values as {describe(pixels)} are beyond its input,"
        f" which holds {low:.4g}..{high:.4g}"
    )
    if clipped > MOST_LOST:
        way_out = f"of the named scalings fit {', '.join(fitting) or 'none'}"
        if stated.pixels is not None:
            way_out = f"leave --pixels out: it takes {describe(stated.pixels)}"
        raise MetadataError(f"{name}: {found}; {way_out}")
    if clipped > MOST_CLIPPED:
        _warn_once(f"{name}: {found}")


def _request(file: ModelFile, known: Given, labels_error: str) -> str:
    """Returns the message that asks for what is not known of a file."""
    unread = f"{labels_error}: " if labels_error else ""
    parts = {
        f"what its classes are called ({unread}give --labels cat,dog or a file)": (
            known.labels
        ),
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
    if given.colour is None and used.colour is not None:
        parts.append(f"its channels are taken as {used.colour.upper()}")
    if parts:
        if given.fit is None:
            parts.insert(0, "images that are not square are stretched")
        _warn_once(
            f"{name} has no metadata of fer-edge: {', '.join(parts)}; --labels,"
            " --pixels, --model-output, --colour and --fit say otherwise"
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
    if len(shape) == 4 and 0 in shape[1:3]:
        raise ModelError(
            f"{name}: expected a square image input (N, S, S, 1 or 3), got {shown}, of"
            " any size: export it with one (of ONNX: python -m"
            " onnxruntime.tools.make_dynamic_shape_fixed --input_name NAME"
            " --input_shape 1,224,224,3 OLD NEW)"
        )
    square = len(shape) == 4 and shape[1] == shape[2]
    if not square or shape[3] not in (1, 3):
        raise ModelError(
            f"{name}: expected a square image input (N, S, S, 1 or 3), got {shown};"
            " put a layer in front of it that makes its own shape of such (Reshape or"
            " Resizing), and export it again"
        )
    if shape[0] > 1:
        raise ModelError(
            f"{name} takes {shape[0]} images at once: expected one, or a free number;"
            " export it with a batch size of 1"
        )
    return shape[1], "grey" if shape[3] == 1 else "rgb"


def _check_output(name: str, outputs: int, labels: int) -> None:
    """Refuses an output that is not one number a label, or one for two labels."""
    if outputs != labels and not (labels == 2 and outputs == 1):
        hint = ": is its first class one for the background?"
        raise ModelError(
            f"{name}: expected one output per label ({labels}), got {outputs}"
            f"{hint if outputs == labels + 1 else ''}"
        )


def _answers(backend: Backend) -> Logits:
    """Returns a network's answers to two images of noise, float32 (2, classes)."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, *backend.input.shape[1:]), dtype=np.uint8)
    # One at a time: a softmax along the images is right for none.
    return np.concatenate([backend.logits(image[np.newaxis]) for image in images])


def _observed_output(answers: Logits) -> Output | None:
    """Returns what a network gives by its answers; None: it may be both.

    This finds a softmax in a form that the graph's operators do not show.
    """
    if answers.min() < -TOLERANCE or answers.max() > 1 + TOLERANCE:
        return "logits"
    sums = answers.sum(axis=1)
    return "probabilities" if np.abs(sums - 1).max() < TOLERANCE else None


def _check_answers(name: str, answers: Logits, output: Output) -> None:
    """Refuses answers that are not numbers, or neither logits nor probabilities."""
    if not np.isfinite(answers).all():
        raise ModelError(
            f"{name} answers with {answers[~np.isfinite(answers)][0]}, which is"
            " not a number: give its --pixels, or export it again"
        )
    low, high = float(answers.min()), float(answers.max())
    if low >= 0 and np.abs(answers.sum(axis=1) - 100).max() < 1:
        raise ModelError(
            f"{name} answers in percent (they sum to 100): export it without that"
        )
    ones = np.abs(answers - 1).max() < TOLERANCE
    if output == "probabilities" and answers.shape[1] > 1 and ones:
        raise ModelError(
            f"{name} answers 1 for every class: its softmax is not along the classes"
        )
    if output == "probabilities" and (low < -TOLERANCE or high > 1 + TOLERANCE):
        raise ModelError(
            f"{name}: expected probabilities, got answers of {low:.3g}..{high:.3g}:"
            " give --model-output logits"
        )


def _warn_of_sums(name: str, answers: Logits, output: Output) -> None:
    """Warns of probabilities, by what was given alone, that do not sum to 1."""
    sums = answers.sum(axis=1)
    far = answers.shape[1] > 1 and np.abs(sums - 1).max() > FAR_FROM_1
    if output == "probabilities" and far:
        _warn_once(
            f"{name}: its answers sum to {sums[0]:.3g} and not to 1, as probabilities"
            " of a softmax do: if they are logits, give --model-output logits"
        )
