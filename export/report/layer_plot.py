"""The picture of the layer debugger."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from export.analysis.debugger import IDEAL_ERROR_STEPS, LayerError
from train.run.figure import new_figure, save_png


def plot_layers(layers: Sequence[LayerError], path: Path, *, title: str) -> None:
    """Writes the errors of all layers, in the order in which they run, as a PNG.

    Args:
        layers: From ``export.analysis.debugger.measure_layers``.
        path: Where the picture is written.
        title: Shown above.
    """
    ordered = sorted(layers, key=lambda error: error.layer.position)
    size = (10, max(3.0, 1.5 + 0.24 * len(ordered)))
    figure, (left, right) = new_figure(size, columns=2)
    places = range(len(ordered))
    names = [f"{error.layer.label} ({error.layer.operator})" for error in ordered]
    left.plot([error.answer_snr_db for error in ordered], places, "o", label="answers")
    left.plot([error.own_snr_db for error in ordered], places, "x", label="own output")
    left.plot(
        [error.whole_snr_db for error in ordered], places, ".", label="whole model"
    )
    left.set_xlabel("signal over noise (dB); left is worse")
    left.set_yticks(places, names, parse_math=False)
    left.invert_yaxis()
    right.sharey(left)
    right.tick_params(labelleft=False)
    above = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "frameon": False}
    left.legend(**above, ncols=3)
    right.barh(places, [error.error_steps for error in ordered])
    right.axvline(IDEAL_ERROR_STEPS, color="black", linestyle=":", label="ideal 0.289")
    right.set_xlabel("error over step size")
    # Linear from 0 to 1, where a good layer lies.
    if max(error.error_steps for error in ordered) > 1:
        right.set_xscale("symlog", linthresh=1, subs=[2, 5])
    right.xaxis.set_major_formatter("{x:g}")
    right.xaxis.set_minor_formatter("{x:g}")
    right.legend(**above)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.suptitle(title, parse_math=False)
    save_png(figure, path)
