"""The picture of the layer debugger."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_runtime.errors import missing_in_checkout
from edge_runtime.utils.files import replacing
from export.analysis.debugger import IDEAL_ERROR_STEPS, LayerError


def plot_layers(layers: Sequence[LayerError], path: Path, *, title: str) -> None:
    """Writes the errors of all layers, in the order in which they run, as a PNG.

    Args:
        layers: From ``export.analysis.debugger.measure_layers``.
        path: Where the picture is written.
        title: Shown above.
    """
    try:
        from matplotlib.figure import Figure  # no pyplot: no global state, no screen
    except ImportError as error:
        raise missing_in_checkout("matplotlib", "bench") from error
    ordered = sorted(layers, key=lambda one: one.layer.position)
    size = (10, max(3.0, 1.5 + 0.24 * len(ordered)))
    figure = Figure(figsize=size, layout="constrained", dpi=120)
    left, right = figure.subplots(1, 2, sharey=True)
    places = range(len(ordered))
    names = [f"{one.layer.label} ({one.layer.operator})" for one in ordered]
    left.plot([one.answer_snr_db for one in ordered], places, "o", label="answers")
    left.plot([one.own_snr_db for one in ordered], places, "x", label="own output")
    left.plot([one.whole_snr_db for one in ordered], places, ".", label="whole model")
    left.set_xlabel("signal over noise (dB); left is worse")
    left.set_yticks(places, names, parse_math=False)
    left.invert_yaxis()
    left.legend()
    right.barh(places, [one.error_steps for one in ordered])
    right.axvline(IDEAL_ERROR_STEPS, color="black", linestyle=":", label="ideal 0.289")
    right.set_xlabel("error over step size")
    right.set_xscale("symlog", linthresh=1)  # linear from 0 to 1, where it belongs
    right.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.suptitle(title, parse_math=False)
    with replacing(path) as temporary:
        # No creation date or version: the same figures give the same file.
        figure.savefig(temporary, metadata={"Software": None})
