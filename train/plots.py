"""Pictures of a run: learning curves and confusion matrices."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import missing
from edge_runtime.files import replacing


def _figure(columns: int, size: tuple[float, float]) -> Any:
    try:
        from matplotlib.figure import Figure  # no pyplot: no global state, no screen
    except ImportError as error:
        raise missing("matplotlib", "bench") from error
    figure = Figure(figsize=size, layout="constrained", dpi=120)
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def _save(figure: Any, path: Path) -> None:
    with replacing(path) as temporary:
        # No creation date or version: the same figures give the same file.
        # Tight, because square matrices with long names outgrow the layout.
        figure.savefig(
            temporary, metadata={"Software": None}, bbox_inches="tight", pad_inches=0.1
        )


def plot_curves(
    history: Sequence[Mapping[str, float]], path: Path, *, title: str
) -> None:
    """Writes loss and accuracy over the epochs as a PNG.

    Args:
        history: One row an epoch with epoch, loss, accuracy, val_loss, val_accuracy.
        path: Where the picture is written.
        title: Shown above.
    """
    figure, (losses, accuracies) = _figure(2, (10, 4))
    epochs = [row["epoch"] for row in history]
    for axes, name in ((losses, "loss"), (accuracies, "accuracy")):
        axes.plot(epochs, [row[name] for row in history], label="training")
        axes.plot(epochs, [row[f"val_{name}"] for row in history], label="validation")
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_title(name)
        axes.grid(alpha=0.3)
        axes.legend()
    losses.set_ylabel("cross-entropy (nats)")
    figure.suptitle(f"{title}   (training figures are on augmented images)")
    _save(figure, path)


def plot_confusion_matrices(
    matrices: Mapping[str, npt.NDArray[np.int64]], labels: Sequence[str], path: Path
) -> None:
    """Writes confusion matrices side by side as a PNG, normalised by true class.

    Args:
        matrices: int64 (classes, classes) counts by title; rows true, columns
            predicted.
        labels: Class names in order.
        path: Where the picture is written.
    """
    names = 0.08 * max(len(label) for label in labels)  # inches that they need
    side = max(4.2, 0.62 * len(labels) + 1.2 + names)
    titles = [textwrap.fill(title, int(8 * side)) for title in matrices]
    height = side + 0.2 * max(title.count("\n") for title in titles)
    figure, all_axes = _figure(len(matrices), (side * len(matrices), height))
    for axes, title, matrix in zip(all_axes, titles, matrices.values(), strict=True):
        _draw_matrix(axes, matrix, labels)
        share = np.trace(matrix) / max(1, matrix.sum())
        # A dollar sign in a file or class name is no formula.
        axes.set_title(f"{title}\naccuracy {share:.2%}", parse_math=False)
    all_axes[0].set_ylabel("true")
    _save(figure, path)


def _draw_matrix(
    axes: Any, matrix: npt.NDArray[np.int64], labels: Sequence[str]
) -> None:
    shares = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(labels))
    axes.set_xticks(ticks, labels, rotation=45, ha="right", parse_math=False)
    axes.set_yticks(ticks, labels, parse_math=False)
    axes.set_xlabel("predicted")
    if len(labels) > 25:  # figures would be smaller than anyone can read
        return
    for row in ticks:
        for column in ticks:
            shade = "white" if shares[row, column] > 0.5 else "black"
            text = f"{shares[row, column]:.2f}".removeprefix("0")
            axes.text(column, row, text, ha="center", va="center", color=shade)
