"""The metadata of a model file: labels, input, temperature, origin, golden vectors."""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import MetadataError
from edge_runtime.model_file.container import Document
from edge_runtime.model_file.pixels import RAW, PixelScaling
from edge_runtime.preprocessing import CHANNELS, Colour, Fit
from edge_runtime.untrusted import has_control

Output = Literal["logits", "probabilities"]
ChannelOrder = Literal["rgb", "bgr", "grey"]
OUTPUTS: tuple[Output, ...] = ("logits", "probabilities")
CHANNEL_ORDERS: tuple[ChannelOrder, ...] = get_args(ChannelOrder)
SCHEMA = 1
LARGEST_SIZE_PX = 1024
CROP_MARGINS = (-0.4, 2.0)
MOST_LABELS = 10_000
LONGEST_LABEL = 100
LONGEST_WORD = 30
LARGEST_GOLDEN_BYTES = 4 * 2**20


class Given(NamedTuple):
    """What the user says of a model file that has no metadata; None: not said.

    Attributes:
        labels: Class names in order.
        pixels: What the network takes for pixels 0..255.
        output: What the network gives.
        colour: The order of its three channels.
        fit: How images that are not square become its input.
    """

    labels: Sequence[str] | None = None
    pixels: PixelScaling | None = None
    output: Output | None = None
    colour: ChannelOrder | None = None
    fit: Fit | None = None


NOTHING_GIVEN = Given()


@dataclass(frozen=True)
class GoldenVectors:
    """Inputs and the logits at the export, compared whenever the file is loaded.

    Attributes:
        inputs: uint8 (N, S, S, C), generated patterns, raw pixels 0..255.
        logits: float32 (N, classes).
        runtime: Library that computed the logits, such as ``"ai-edge-litert"``.
        version: Its version.
        tolerance: Largest allowed difference of a logit, in the same library and
            version.
        tolerance_elsewhere: The same in other libraries or versions.
    """

    inputs: npt.NDArray[np.uint8]
    logits: npt.NDArray[np.float32]
    runtime: str
    version: str
    tolerance: float
    tolerance_elsewhere: float


@dataclass(frozen=True)
class ModelSpec:
    """The metadata of a model file.

    Attributes:
        labels: Class names in the order of the logits.
        size_px: Side of the square input in pixels.
        colour: ``"grey"`` (one channel) or ``"rgb"``.
        fit: How an image that is not square becomes the input: ``"stretch"``,
            ``"crop"`` or ``"pad"``, see ``preprocessing.to_model_input``.
        crop_margin_frac: Margin to crop around a face box, so that the crop is like the
            training images: a fraction of the box's longer side.
        temperature: Divides the logits before the softmax; fitted on validation
            images.
        format: Format of the file, such as ``"tflite-int8"``.
        architecture: Name of the network.
        origin: Run, git revision, data, calibration and library versions: JSON-ready,
            to be read by people; nothing is computed from it.
        accuracy: Figures measured at export, JSON-ready.
        golden: Golden vectors, or None for a file without metadata.
        pixels: What the network takes for pixels 0..255. As ``output``, it is not part
            of the document: files with metadata take raw pixels and give logits.
        output: What the network gives: ``"logits"`` or ``"probabilities"``.
        subject: What it looks at, in one word such as ``"face"``; None where the file
            does not say, as those of version 0.1.
        labels_are: What its labels are, such as ``"expression"``; None as ``subject``.
        reference: Histograms of validation images, as ``reference.read_reference``
            takes them; empty where the file has none.
    """

    labels: tuple[str, ...]
    size_px: int
    colour: Colour
    crop_margin_frac: float = 0.0
    temperature: float = 1.0
    format: str = ""
    architecture: str = ""
    origin: Document = field(default_factory=dict)
    accuracy: Document = field(default_factory=dict)
    golden: GoldenVectors | None = None
    pixels: PixelScaling = RAW
    output: Output = "logits"
    fit: Fit = "stretch"
    subject: str | None = None
    labels_are: str | None = None
    reference: Document = field(default_factory=dict)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of one input image."""
        return self.size_px, self.size_px, CHANNELS[self.colour]

    def to_document(self) -> Document:
        """Returns these metadata as a document, JSON-ready."""
        golden = self.golden
        return {
            "schema": SCHEMA,
            "labels": list(self.labels),
            "input": self._input_document(),
            "crop_margin_frac": self.crop_margin_frac,
            "temperature": self.temperature,
            "format": self.format,
            "architecture": self.architecture,
            "origin": self.origin,
            "accuracy": self.accuracy,
            "golden": None if golden is None else _golden_document(golden),
            **self._words_document(),
            **({"reference": self.reference} if self.reference else {}),
        }

    def _words_document(self) -> Document:
        if self.subject is None:
            return {}
        return {"subject": self.subject, "labels_are": self.labels_are}

    def _input_document(self) -> Document:
        image: Document = {"size_px": self.size_px, "colour": self.colour}
        # Without "fit" an image is stretched, as in files of version 0.1.
        return image if self.fit == "stretch" else {**image, "fit": self.fit}

    @classmethod
    def from_document(cls, document: Document) -> ModelSpec:
        """Returns the metadata in a document.

        Raises:
            MetadataError: A value is missing, of a wrong type or out of bounds, or the
                schema is newer than this version of edge_runtime.
        """
        schema = _get(document, "schema", int)
        if not 1 <= schema <= SCHEMA:
            raise MetadataError(
                f"the model file's schema is {schema}, this version reads up to"
                f" {SCHEMA}: update edge_runtime (pip install -U fer-edge)"
            )
        labels = check_labels(_get(document, "labels", list))
        image = _get(document, "input", dict)
        size_px = _get(image, "size_px", int)
        colour = _get(image, "colour", str)
        if not 1 <= size_px <= LARGEST_SIZE_PX or colour not in get_args(Colour):
            raise MetadataError(
                f"expected an input of 1..{LARGEST_SIZE_PX} pixels in grey or rgb,"
                f" got {size_px!r} {colour!r}"
            )
        subject, labels_are = _words(document)
        spec = cls(
            labels=labels,
            fit=_fit(image),
            size_px=size_px,
            colour="grey" if colour == "grey" else "rgb",
            crop_margin_frac=_number(document, "crop_margin_frac", *CROP_MARGINS),
            temperature=_number(document, "temperature", 0.01, 100.0),
            format=_get(document, "format", str)[:LONGEST_LABEL],
            architecture=_get(document, "architecture", str)[:LONGEST_LABEL],
            origin=_get(document, "origin", dict),
            accuracy=_get(document, "accuracy", dict),
            subject=subject,
            labels_are=labels_are,
            reference=_get({"reference": {}, **document}, "reference", dict),
        )
        if document.get("golden") is None:
            return spec
        golden = _golden(_get(document, "golden", dict), spec)
        return cls(**{**spec.__dict__, "golden": golden})


def _words(document: Document) -> tuple[str, str] | tuple[None, None]:
    if "subject" not in document and "labels_are" not in document:
        return None, None
    subject, labels_are = (
        check_word(_get(document, key, str)) for key in ("subject", "labels_are")
    )
    return subject, labels_are


def check_word(text: str) -> str:
    """Returns a word for what a model looks at, or for what its labels are.

    Raises:
        MetadataError: It is not a word of small letters.
    """
    plain = text.replace("_", "").replace("-", "").replace(" ", "")
    if plain.isalpha() and text == text.lower() and len(text) <= LONGEST_WORD:
        return text
    raise MetadataError(
        f"expected a word of up to {LONGEST_WORD} small letters, such as face or"
        f" material, got {text[:40]!r}"
    )


def _fit(image: Document) -> Fit:
    if "fit" not in image:
        return "stretch"
    for fit in get_args(Fit):
        if image["fit"] == fit:
            known: Fit = fit
            return known
    raise MetadataError(
        f"expected a fit of {', '.join(get_args(Fit))} in the model file, got"
        f" {str(image['fit'])[:40]!r}: update edge_runtime (pip install -U fer-edge)"
    )


def check_labels(labels: Sequence[Any]) -> tuple[str, ...]:
    """Returns the labels as a tuple, if they are valid class names.

    Raises:
        MetadataError: There are fewer than two or too many; one is repeated, empty, too
            long, a path, or has control characters.
    """
    if not 2 <= len(labels) <= MOST_LABELS:
        raise MetadataError(f"expected 2 to {MOST_LABELS} labels, got {len(labels)}")
    for label in labels:
        valid = isinstance(label, str) and 0 < len(label) <= LONGEST_LABEL
        if not valid or has_control(label):
            raise MetadataError(
                f"expected a printable label of 1 to {LONGEST_LABEL} characters,"
                f" got {str(label)[:40]!r}"
            )
        # Labels may become names of folders or files.
        if set("/\\") & set(label) or label in (".", ".."):
            raise MetadataError(f"expected a class name, got a path: {label!r}")
    if len(set(labels)) != len(labels):
        raise MetadataError("expected labels that differ from each other")
    return tuple(labels)


def golden_patterns(spec: ModelSpec) -> npt.NDArray[np.uint8]:
    """Returns four generated images, uint8 (4, S, S, C), 0..255.

    A ramp, a checkerboard, rings and noise, computed in integers. They differ in each
    channel, so that swapped colours are noticed.
    """
    height, width, channels = spec.input_shape
    y, x, c = np.indices((height, width, channels), dtype=np.uint32)
    along = (c == 1) * y + (c != 1) * x  # in the green channel from top to bottom
    ramp = (along * 255) // max(1, width - 1)
    board = ((x // 6 + y // 6 + c) % 2) * 190 + 30
    centre = height // 2
    distance = (x - centre) ** 2 + (y - centre) ** 2
    rings = (distance * (3 + c)) // 4 % 256
    # Knuth's multiplicative hash: the same everywhere, unlike a library's generator.
    position = ((y * width + x) * channels + c + 1).astype(np.uint64)
    noise = (position * np.uint64(2654435761) % 2**32) >> np.uint64(24)
    return np.stack([ramp, board, rings, noise]).astype(np.uint8)


def _golden_document(golden: GoldenVectors) -> Document:
    pixels = zlib.compress(golden.inputs.tobytes(), 9)
    return {
        "count": len(golden.inputs),
        "inputs": base64.b64encode(pixels).decode("ascii"),
        "logits": [[round(float(v), 6) for v in row] for row in golden.logits],
        "runtime": golden.runtime,
        "version": golden.version,
        "tolerance": golden.tolerance,
        "tolerance_elsewhere": golden.tolerance_elsewhere,
    }


def _golden(document: Document, spec: ModelSpec) -> GoldenVectors:
    count = _get(document, "count", int)
    shape = (count, *spec.input_shape)
    size = math.prod(shape)
    if not 1 <= count <= 64 or size > LARGEST_GOLDEN_BYTES:
        raise MetadataError(f"expected 1 to 64 golden vectors, got {count}")
    try:
        packed = base64.b64decode(_get(document, "inputs", str), validate=True)
        # Bounded, so that a zip bomb ends here.
        pixels = zlib.decompressobj().decompress(packed, size + 1)
    except (binascii.Error, zlib.error) as error:
        raise MetadataError(f"the golden vectors are damaged: {error}") from error
    if len(pixels) != size:
        raise MetadataError("the golden vectors do not fit the model's input")
    try:
        with np.errstate(over="ignore"):  # becomes inf, which is refused below
            logits = np.array(_get(document, "logits", list), dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise MetadataError("the golden logits are not a table of numbers") from error
    if logits.shape != (count, len(spec.labels)) or not np.isfinite(logits).all():
        raise MetadataError("the golden logits do not fit the model's labels")
    return GoldenVectors(
        inputs=np.frombuffer(pixels, np.uint8).reshape(shape),
        logits=logits,
        runtime=_get(document, "runtime", str),
        version=_get(document, "version", str),
        tolerance=_number(document, "tolerance", 0.0, 1e6),
        tolerance_elsewhere=_number(document, "tolerance_elsewhere", 0.0, 1e6),
    )


def _get(document: Document, key: str, kind: type[Any]) -> Any:
    value = document.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise MetadataError(
            f"expected {key} to be of type {kind.__name__} in the model file,"
            f" got {str(value)[:40]!r}"
        )
    return value


def _number(document: Document, key: str, low: float, high: float) -> float:
    value = document.get(key)
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not low <= value <= high
    ):
        raise MetadataError(
            f"expected {key} in {low}..{high} in the model file,"
            f" got {str(value)[:40]!r}"
        )
    return float(value)
