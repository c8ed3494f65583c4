"""Pictures of a run: learning curves and confusion matrices."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import missing_in_checkout
from edge_runtime.utils.files import replacing

MOST_NUMBERED = 25  # beyond, figures would be smaller than anyone can read
LONGEST_LABEL = 24
INCHES_PER_CLASS, INCHES_PER_SMALL_CLASS = 0.62, 0.13


def _figure(columns: int, size: tuple[float, float], rows: int = 1) -> Any:
    try:
        from matplotlib.figure import Figure  # no pyplot: no global state, no screen
    except ImportError as error:
        raise missing_in_checkout("matplotlib", "bench") from error
    figure = Figure(figsize=size, layout="constrained", dpi=120)
    return figure, figure.subplots(rows, columns, squeeze=False).ravel()


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
        axes.plot(epochs, [row[name] for row in history], marker=".", label="training")
        axes.plot(
            epochs,
            [row[f"val_{name}"] for row in history],
            marker=".",
            label="validation",
        )
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
    side = _panel_inches(labels)
    titles = [textwrap.fill(title, int(8 * side)) for title in matrices]
    height = side + 0.2 * max(title.count("\n") for title in titles)
    figure, all_axes = _figure(len(matrices), (side * len(matrices), height))
    for axes, title, matrix in zip(all_axes, titles, matrices.values(), strict=True):
        _draw_matrix(axes, title, matrix, labels)
    all_axes[0].set_ylabel("true")
    _save(figure, path)


def plot_matrix_differences(
    matrices: Mapping[str, npt.NDArray[np.int64]], labels: Sequence[str], path: Path
) -> None:
    """Writes confusion matrices with their difference from the first one as a PNG.

    Two matrices give one row of three panels; more give a row of matrices with the
    differences below.

    Args:
        matrices: As for ``plot_confusion_matrices``, of the same images; two or more.
        labels: Class names in order.
        path: Where the picture is written.
    """
    side = _panel_inches(labels)
    titles = [textwrap.fill(title, int(8 * side)) for title in matrices]
    (first, *others), count = list(matrices.values()), len(matrices)
    rows, columns = (1, 3) if count == 2 else (2, count)
    figure, all_axes = _figure(columns, (side * columns, (side + 0.4) * rows), rows)
    for axes, title, matrix in zip(all_axes, titles, matrices.values(), strict=False):
        _draw_matrix(axes, title, matrix, labels)
    for axes, title, matrix in zip(
        all_axes[-len(others) :], titles[1:], others, strict=True
    ):
        _draw_difference(axes, f"{title} - {titles[0]}", matrix, first, labels)
    if rows == 2:
        all_axes[count].set_axis_off()
    all_axes[0].set_ylabel("true")
    _save(figure, path)


def row_shares(matrix: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Returns a confusion matrix's counts as shares of their row, 0 where it is empty.

    Args:
        matrix: int64 (classes, classes), rows true.
    """
    return np.asarray(matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True)))


def _panel_inches(labels: Sequence[str]) -> float:
    names = 0.08 * max(len(_short(label)) for label in labels)
    small = len(labels) > MOST_NUMBERED
    each = INCHES_PER_SMALL_CLASS if small else INCHES_PER_CLASS
    return max(4.2, each * len(labels) + 1.2 + names)


def _short(label: str) -> str:
    if len(label) <= LONGEST_LABEL:
        return label
    tail = LONGEST_LABEL // 3  # names that are alike often differ at the end
    return label[: LONGEST_LABEL - 1 - tail] + "…" + label[-tail:]


def _draw_matrix(
    axes: Any, title: str, matrix: npt.NDArray[np.int64], labels: Sequence[str]
) -> None:
    shares = row_shares(matrix)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    _name_classes(axes, labels)
    share = np.trace(matrix) / max(1, matrix.sum())
    # A dollar sign in a file or class name is no formula.
    axes.set_title(f"{title}\naccuracy {share:.2%}", parse_math=False)
    texts = [[f"{one:.2f}".removeprefix("0") for one in row] for row in shares]
    _write_cells(axes, texts, shares > 0.5)


def _draw_difference(
    axes: Any,
    title: str,
    matrix: npt.NDArray[np.int64],
    first: npt.NDArray[np.int64],
    labels: Sequence[str],
) -> None:
    points = 100 * (row_shares(matrix) - row_shares(first))
    limit = max(1.0, float(np.abs(points).max()))
    axes.imshow(points, cmap="PuOr", vmin=-limit, vmax=limit)
    _name_classes(axes, labels)
    axes.set_title(
        f"{title}\npoints of the row; orange less, purple more often",
        parse_math=False,
        fontsize="medium",
    )
    texts = [
        [f"{one:+.1f}" if abs(one) >= 0.05 else "" for one in row] for row in points
    ]
    _write_cells(axes, texts, np.abs(points) > 0.6 * limit)


def _name_classes(axes: Any, labels: Sequence[str]) -> None:
    ticks, names = range(len(labels)), [_short(label) for label in labels]
    size = "medium" if len(labels) <= MOST_NUMBERED else 7
    axes.set_xticks(
        ticks, names, rotation=45, ha="right", parse_math=False, fontsize=size
    )
    axes.set_yticks(ticks, names, parse_math=False, fontsize=size)
    axes.set_xlabel("predicted")


def _write_cells(
    axes: Any, texts: Sequence[Sequence[str]], dark: npt.NDArray[np.bool_]
) -> None:
    if len(texts) > MOST_NUMBERED:
        return
    for row, cells in enumerate(texts):
        for column, text in enumerate(cells):
            shade = "white" if dark[row, column] else "black"
            axes.text(column, row, text, ha="center", va="center", color=shade)
