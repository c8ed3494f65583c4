"""What an export shall do beyond the usual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from export.convert.recipes import Io
from export.trained_model import Pixels


@dataclass(frozen=True)
class ExportOptions:
    """What an export shall do beyond the usual.

    Attributes:
        formats: Names of ``export.convert.formats.FORMATS``; None takes the usual ones.
        io: Type of the ends of the int8 TFLite file.
        pixels: How a bare ``.keras`` file takes pixels.
        audit: Measure the int8 accuracy over five calibration seeds.
        debug_layers: Rank the layers by the error that int8 adds.
        max_drop: Largest drop of the accuracy in points, for which layers are kept in
            float; None does not ask.
        float_layers: Most layers kept in float for it.
    """

    formats: Sequence[str] | None = None
    io: Io = "int8"
    pixels: Pixels = "raw"
    audit: bool = False
    debug_layers: bool = False
    max_drop: float | None = None
    float_layers: int = 8

    @property
    def studies(self) -> bool:
        """True where the int8 model itself is looked into."""
        return self.audit or self.debug_layers or self.max_drop is not None
