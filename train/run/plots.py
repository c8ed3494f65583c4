"""Pictures of a run: learning curves and confusion matrices."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from train.run.figure import new_figure, printable, save_png

MAX_NUMBERED_CLASSES = 25  # with more, the figures would be too small to read
MAX_NAMED_CLASSES = 100  # with more, the names, too
MAX_LABEL_LENGTH = 24
LISTED_CONFUSIONS = 10
INCHES_PER_CLASS, INCHES_PER_UNNUMBERED_CLASS, UNNAMED_INCHES = 0.56, 0.13, 7.0

Matrix = npt.NDArray[np.int64]


def plot_curves(
    history: Sequence[Mapping[str, float]], path: Path, *, title: str
) -> None:
    """Writes loss and accuracy over the epochs as a PNG.

    Args:
        history: One row an epoch with epoch, loss, accuracy, val_loss, val_accuracy.
        path: Where the picture is written.
        title: Shown above.
    """
    figure, (losses, accuracies) = new_figure((10, 4), columns=2)
    epochs = [row["epoch"] for row in history]
    for axes, name in ((losses, "loss"), (accuracies, "accuracy")):
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            axes.plot(epochs, [row[key] for row in history], marker=".", label=label)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_title(name)
        axes.grid(alpha=0.3)
        axes.legend()
    losses.set_ylabel("cross-entropy (nats)")
    figure.suptitle(
        f"{title}   (training figures are on augmented images)", parse_math=False
    )
    save_png(figure, path)


def plot_confusion_matrices(
    matrices: Mapping[str, Matrix], labels: Sequence[str], path: Path
) -> None:
    """Writes confusion matrices, and their differences from the first one, as a PNG.

    Two matrices give one row of three panels; more give a row of matrices with the
    differences below.

    Args:
        matrices: int64 (classes, classes) counts by title; rows true, columns
            predicted. All of the same images.
        labels: Class names in order.
        path: Where the picture is written.
    """
    width, height = panel_inches(labels)
    titles = [_title(name, int(7 * width)) for name in matrices]
    first, *others = matrices.values()
    rows, columns = (2, len(matrices)) if len(others) > 1 else (1, 1 + 2 * len(others))
    height += 0.4 + 0.2 * max(title.count("\n") for title in titles)
    size = (width * columns, height * rows)
    figure, all_axes = new_figure(size, rows, columns)
    for axes, title, matrix in zip(all_axes, titles, matrices.values(), strict=False):
        draw_confusion_matrix(axes, matrix, labels)
        accuracy = np.trace(matrix) / max(1, matrix.sum())
        axes.set_title(
            f"{title}\naccuracy {accuracy:.2%}; cells in percent of the row",
            parse_math=False,
            fontsize="medium",
        )
    for axes, title, matrix in zip(
        all_axes[len(all_axes) - len(others) :], titles[1:], others, strict=True
    ):
        draw_confusion_matrix(axes, matrix, labels, reference=first)
        axes.set_title(
            f"{title} - {titles[0]}\nin points; orange: less often, purple: more often",
            parse_math=False,
            fontsize="medium",
        )
    if rows == 2:
        all_axes[columns].set_axis_off()
    save_png(figure, path)


def _title(name: str, width: int) -> str:
    lines = name.split("\n")
    return "\n".join(textwrap.fill(printable(line), width) for line in lines)


def draw_confusion_matrix(
    axes: Any, matrix: Matrix, labels: Sequence[str], reference: Matrix | None = None
) -> None:
    """Draws a confusion matrix in percent of its rows, or its change, in points.

    From 26 classes on the cells carry no figures and the largest confusions are listed
    below; from 101 on the classes have no names, and the picture does not grow.

    Args:
        axes: A matplotlib axes.
        matrix: int64 (classes, classes) counts; rows true, columns predicted.
        labels: Class names in order.
        reference: The matrix to compare with, of the same images.
    """
    cells, counts = 100 * row_shares(matrix), matrix
    colours, limits = "Blues", (0.0, 100.0)
    if reference is not None:
        cells, counts = cells - 100 * row_shares(reference), matrix - reference
        limit = max(1.0, float(np.abs(cells).max()))
        colours, limits = "PuOr", (-limit, limit)
    # Interpolated, cells that are smaller than a pixel are averaged.
    interpolation = "none" if len(labels) <= MAX_NAMED_CLASSES else "antialiased"
    axes.imshow(
        cells, cmap=colours, vmin=limits[0], vmax=limits[1], interpolation=interpolation
    )
    axes.set_ylabel("true")
    axes.set_xlabel("predicted")
    _name_classes(axes, labels)
    if len(labels) <= MAX_NUMBERED_CLASSES:
        _write_cells(axes, cells, limits[1], signed=reference is not None)
    else:
        largest = largest_confusions(counts, matrix.sum(axis=1), labels)
        sign = "" if reference is None else "changes of "
        lines = [f"predicted\n\nlargest {sign}confusions", *largest]
        axes.set_xlabel("\n".join(lines), parse_math=False)


def largest_confusions(
    counts: Matrix, row_totals: npt.NDArray[np.int64], labels: Sequence[str]
) -> list[str]:
    """Returns the largest cells off the diagonal as text, the largest first.

    Args:
        counts: int64 (classes, classes), a confusion matrix or a difference of two.
        row_totals: int64 (classes,), images of each true class.
        labels: Class names in order.
    """
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-np.abs(wrong), axis=None, kind="stable")[:LISTED_CONFUSIONS]
    sign = "+" if (counts < 0).any() else ""
    return [
        f"{_short(labels[true])} as {_short(labels[predicted])}:"
        f" {wrong[true, predicted]:{sign},} of {row_totals[true]:,}"
        for true, predicted in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[true, predicted]
    ]


def row_shares(matrix: Matrix) -> npt.NDArray[np.float64]:
    """Returns a confusion matrix's counts as shares of their row, 0 where it is empty.

    Args:
        matrix: int64 (classes, classes), rows true.
    """
    return np.asarray(matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True)))


def panel_inches(labels: Sequence[str]) -> tuple[float, float]:
    """Returns the width and height of a confusion matrix's panel in inches."""
    names = 0.5 + 0.08 * max(len(_short(label)) for label in labels)
    if len(labels) <= MAX_NUMBERED_CLASSES:
        side = max(3.2, INCHES_PER_CLASS * len(labels))
        return side + names, side + names
    if len(labels) <= MAX_NAMED_CLASSES:
        side = INCHES_PER_UNNUMBERED_CLASS * len(labels)
    else:
        side, names = UNNAMED_INCHES, 0.5
    return max(4.5, side + names), side + names + 0.3 + 0.18 * LISTED_CONFUSIONS


def _short(label: str) -> str:
    label = printable(label)
    if len(label) <= MAX_LABEL_LENGTH:
        return label
    tail = MAX_LABEL_LENGTH // 3  # similar names often differ at the end
    return label[: MAX_LABEL_LENGTH - 1 - tail] + "…" + label[-tail:]


def _name_classes(axes: Any, labels: Sequence[str]) -> None:
    if len(labels) > MAX_NAMED_CLASSES:
        return  # the ticks are class numbers
    ticks, names = range(len(labels)), [_short(label) for label in labels]
    numbered = len(labels) <= MAX_NUMBERED_CLASSES
    # A dollar sign in a class name is not a formula.
    style = {"parse_math": False, "fontsize": "medium" if numbered else 7}
    axes.set_xticks(ticks, names, rotation=45 if numbered else 90, **style)
    if numbered:
        for name in axes.get_xticklabels():
            name.set(ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, names, **style)


def _write_cells(
    axes: Any, cells: npt.NDArray[np.float64], limit: float, *, signed: bool
) -> None:
    form, smallest = ("{:+.1f}", 0.05) if signed else ("{:.0f}", 1e-9)
    for (row, column), value in np.ndenumerate(cells):
        if abs(value) >= smallest:
            colour = "white" if abs(value) > 0.6 * limit else "black"
            text = form.format(value)
            style = {"ha": "center", "va": "center", "color": colour}
            axes.text(column, row, text, **style, in_layout=False)
