"""The gate: a model passes if a larger loss of accuracy can be excluded."""

from __future__ import annotations

import math

from benchmarks.common.documents import Document
from edge_runtime.errors import GateError
from train.metrics import Z_95


def with_gate(document: Document, max_drop_points: float) -> Document:
    """Returns the document with a gate on the loss of accuracy, and its outcome.

    Every model is compared with the first, and all must pass. This needs no correction
    for the number of models (Berger, "Multiparameter hypothesis testing and acceptance
    sampling", 1982: an intersection-union test keeps its level).

    Args:
        document: An accuracy document with at least one comparison.
        max_drop_points: Allowed loss in percentage points, above 0.
    """
    models = []
    for comparison in document["comparisons"]:
        drop, bound = drop_points(comparison)
        models.append(
            {
                "model": comparison["model"],
                "drop_points": drop,
                "drop_points_upper": bound,
                "passed": bound <= max_drop_points,
            }
        )
    gate = {
        "max_drop_points": max_drop_points,
        "images_needed": images_needed(max_drop_points),
        "passed": all(model["passed"] for model in models),
        "models": models,
    }
    return {**document, "gate": gate}


def check_gate(document: Document) -> None:
    """Does nothing for a document whose gate passed, or without a gate.

    Raises:
        GateError: The upper 95 % bound of a loss exceeds the allowed points; every
            model that failed is named.
    """
    gate = document["gate"]
    if gate is None or gate["passed"]:
        return
    failed = [_line(model) for model in gate["models"] if not model["passed"]]
    reference = document["models"][0]["name"]
    raise GateError(
        f"against {reference} at most {gate['max_drop_points']:.2f} points of accuracy"
        f" may be lost: {'; '.join(failed)}{_too_few(document)}"
    )


def drop_points(comparison: Document) -> tuple[float, float]:
    """Returns the accuracy lost in points and its upper 95 % bound (+0.0, not -0.0).

    The bound is the lower end of the difference's interval, the wider of bootstrap
    and score interval.
    """
    drop = -comparison["accuracy_difference_points"]
    return drop + 0.0, -comparison["accuracy_difference_points_95"][0] + 0.0


def images_needed(points: float) -> int:
    """Returns the fewest images that can show a loss below some points.

    With fewer the score interval is too wide even when no prediction changed.

    Args:
        points: Percentage points, above 0.
    """
    share = points / 100
    return math.ceil(Z_95**2 * (1 - share) / share)


def up_to(bound: float) -> str:
    """Returns a bound in points with two digits, rounded up so that it holds."""
    return f"{math.ceil(round(100 * bound, 6)) / 100 + 0.0:.2f}"


def _line(model: Document) -> str:
    lost = model["drop_points"]
    measured = f"lost {lost:.2f}" if lost >= 0 else f"gained {-lost:.2f}"
    bound = up_to(model["drop_points_upper"])
    return f"{model['model']} {measured}, at 95 % it may have lost up to {bound}"


def _too_few(document: Document) -> str:
    count, needed = document["data"]["count"], document["gate"]["images_needed"]
    if count >= needed:
        return ""
    return (
        f"; {count:,} images cannot show that, without a single flip it takes"
        f" {needed:,}"
    )
