"""Several image sets as one: how often the images of each are drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from train.data.splits import Split

# Without --data-weights: each further set fills a fifth of an epoch, if no image of it
# has to come more than ten times for that.
LEAST_SHARE = 0.2
MOST_TIMES = 10.0

Floats = npt.NDArray[np.float64]


def times_by_source(
    split: Split, weights: Sequence[float] = (), sets: int = 1
) -> list[float]:
    """Returns how often the images of each set are drawn in an epoch.

    Args:
        split: The training images.
        weights: One number for each set; empty: 1 for the first one, and for each
            further one what makes it a fifth of an epoch, from 1 to 10.
        sets: Number of sets at least: the last ones may have no training images.
    """
    if weights:
        return list(weights)
    if split.sources is None:
        return [1.0]
    counts = np.bincount(split.sources, minlength=sets)
    wanted = LEAST_SHARE / (1 - LEAST_SHARE) * counts[0]
    more = [min(MOST_TIMES, max(1.0, wanted / max(1, n))) for n in counts[1:]]
    return [1.0, *more]


def times_drawn(split: Split, weights: Sequence[float] = ()) -> Floats | None:
    """Returns how often each image is drawn in an epoch; None: each once.

    Args:
        split: The training images.
        weights: As for ``times_by_source``.

    Returns:
        float64 (N,), above 0.
    """
    times = times_by_source(split, weights)
    if all(each == 1 for each in times):
        return None
    sources = split.sources
    chosen = np.zeros(len(split), np.int64) if sources is None else sources
    return np.array(times)[chosen]


def draw(times: Floats, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Returns the positions of an epoch's images, in random order.

    Each occurs as often as said, rounded up or down at random (systematic sampling: the
    number of images is the same in every epoch).

    Args:
        times: float64 (N,), above 0.
        rng: Decides.
    """
    order = rng.permutation(len(times))
    ends = np.cumsum(times[order])
    total = epoch_length(times)
    points = (np.arange(total) + rng.random()) * (ends[-1] / total)
    picked = order[np.minimum(np.searchsorted(ends, points, "right"), len(order) - 1)]
    return rng.permutation(picked).astype(np.int64)


def epoch_length(times: Floats) -> int:
    """Returns the number of images in an epoch, at least one."""
    return max(1, round(float(times.sum())))


def describe_sources(
    names: Sequence[str],
    split: Split,
    weights: Sequence[float],
    match_appearance: float,
) -> list[str]:
    """Returns lines on several image sets: how many, how often, and what changes.

    Args:
        names: Of the sets.
        split: The training images.
        weights: As for ``times_by_source``.
        match_appearance: How far the first set's images take on the others' appearance.
    """
    if split.sources is None:
        return []
    counts = np.bincount(split.sources, minlength=len(names))
    times = times_by_source(split, weights, len(names))
    each = zip(names, counts, times, strict=True)
    lines = [
        f"  from {name}: {count:,} training images, each drawn {times:.3g} times"
        for name, count, times in each
    ]
    if match_appearance and counts[0] and counts[1:].any():
        lines.append(
            f"  those from {names[0]} take on light, colour cast and sharpness of the"
            " others by random amounts (--match-appearance 0: not)"
        )
    return lines
