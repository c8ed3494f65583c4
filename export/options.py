"""The options of an export."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_runtime.model_file.pixels import PixelScaling
from edge_runtime.preprocessing import Fit
from export.convert.onnx_model import OPSET
from export.convert.quantize_tflite import Io

Log = Callable[[str], None]  # called with a line about each step


@dataclass(frozen=True)
class ExportOptions:
    """The options of an export.

    Attributes:
        formats: Names of ``export.convert.formats.FORMATS``.
        io: Data type of the input and output of the int8 TFLite file.
        labels: Class names, for a bare ``.keras`` file.
        pixels: The values a bare ``.keras`` file was trained on; None where it scales
            pixels itself.
        size_px: Side of the input of a bare file that leaves it free.
        fit: How the images of a bare file became square; None for ``"stretch"``.
        subject: What the model looks at, in one word; None: as the run says.
        labels_are: What its labels are, in one word; None: as the run says.
        calibration_data: Images to measure activation ranges on, instead of the run's
            own choice.
        allow_float: Keep operators without an integer kernel in float32.
        opset: Version of the operators of ONNX files.
        audit: Measure the int8 accuracy over five calibration seeds.
        debug_layers: Rank the layers by the error that int8 adds.
        max_drop: Largest drop of the accuracy in points, for which layers are kept in
            float; None for no such limit.
        float_layers: Most layers kept in float for it.
    """

    formats: Sequence[str]
    io: Io = "int8"
    labels: Sequence[str] | None = None
    pixels: PixelScaling | None = None
    size_px: int | None = None
    fit: Fit | None = None
    subject: str | None = None
    labels_are: str | None = None
    calibration_data: str | None = None
    allow_float: bool = False
    opset: int = OPSET
    audit: bool = False
    debug_layers: bool = False
    max_drop: float | None = None
    float_layers: int = 8

    @property
    def analyzes_int8(self) -> bool:
        """True where the int8 model itself is examined."""
        return self.audit or self.debug_layers or self.max_drop is not None
