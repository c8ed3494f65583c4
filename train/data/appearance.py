"""Images of the first set with the light, colour cast and sharpness of another one.

A board's camera sees another light through another lens than the photos that were there
before, and a few of its images cannot teach that alone. So each spatial frequency of an
image of the first set is multiplied by the ratio of its amplitudes in both sets to a
random power: 0 leaves the image as it is, 1 shows it as the other camera would.

After Yang and Soatto, "FDA: Fourier domain adaptation for semantic segmentation", 2020.
There one image gives its low frequencies; here a set's root mean square gives all of
them, alike in all directions. The cosine transform has no seam at the borders.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.fft import dctn, idctn

from edge_runtime.utils.stderr import progress_counter
from train.data.splits import Split, balanced_indices
from train.data.stored_images import Images

MOST_IMAGES = 200  # of a set, to measure it
AT_ONCE = 50
GAINS = (0.05, 1.5)  # above it there would be white areas and noise
UNSURE_IMAGES = 5  # with so many a set's ratios count half
Floats = npt.NDArray[np.float32]


class Appearances:
    """How the further sets of a split look, beside the first."""

    def __init__(self, split: Split, most: float) -> None:
        """Measures each set by up to 200 of its images.

        A further set is compared with the first by the classes that both have, in the
        shares that these have in the further one: what glass looks like is not light.

        Args:
            split: Training images of several sets.
            most: Largest power, 0..1.
        """
        self._sources = _sources(split)
        self._most = most
        counts = np.bincount(self._sources)
        self._log_gains = list[Floats]()
        self._shares = list[int]()
        for number in range(1, len(counts)):
            log_gains = _log_ratio(split, self._sources, number)
            if log_gains is not None:
                sure = counts[number] / (counts[number] + UNSURE_IMAGES)
                self._log_gains.append((sure * log_gains).astype(np.float32))
                self._shares.append(int(counts[number]))

    def draw(
        self, chosen: npt.NDArray[np.int64], rng: np.random.Generator
    ) -> list[Floats | None]:
        """Returns the logarithm of each image's gains, None for an image as it is.

        Args:
            chosen: Positions in the split.
            rng: Decides how much, and after which set: each as often as it has images.

        Returns:
            For each image float32 (radial frequencies, C).
        """
        if not self._log_gains:
            return [None] * len(chosen)
        power = self._most * rng.random(len(chosen), np.float32)
        shares = np.array(self._shares) / sum(self._shares)
        kind = rng.choice(len(shares), len(chosen), p=shares)
        changed = self._sources[chosen] == 0
        return [
            self._log_gains[kind[i]] * power[i] if changed[i] else None
            for i in range(len(chosen))
        ]


class Filtered:
    """Gives images with gains; it can be sent to another process."""

    def __init__(
        self, images: Callable[[], Images], log_gains: list[Floats | None]
    ) -> None:
        """Reads nothing yet.

        Args:
            images: Gives uint8 (n, S, S, C), 0..255.
            log_gains: For each image float32 (radial frequencies, C), or None.
        """
        self._images, self._log_gains = images, log_gains

    def __call__(self) -> Images:
        """Returns uint8 (n, S, S, C), 0..255."""
        images = self._images().copy()
        for image, log_gains in zip(images, self._log_gains, strict=True):
            if log_gains is not None:
                gains = np.exp(log_gains)[_radius(len(image))]
                filtered = idctn(_spectrum(image) * gains, axes=(0, 1), norm="ortho")
                image[...] = np.rint(filtered).clip(0, 255)
        return images


def match_appearance(split: Split, most: float) -> Appearances | None:
    """Returns how the further sets look; None where no image is to be changed.

    Args:
        split: The training images.
        most: Largest power, 0..1.
    """
    if not most or len(np.unique(_sources(split))) < 2:
        return None
    return Appearances(split, most)


def _sources(split: Split) -> npt.NDArray[np.int64]:
    """Returns the number of the set that each image is from, int64 (N,)."""
    return np.zeros(len(split), np.int64) if split.sources is None else split.sources


def _log_ratio(
    split: Split, sources: npt.NDArray[np.int64], number: int
) -> npt.NDArray[np.float64] | None:
    """Returns the logarithm of a set's amplitudes over the first's, (frequencies, C).

    None: they have no class in common.
    """
    of_set, of_first = sources == number, sources == 0
    both = np.intersect1d(split.labels[of_set], split.labels[of_first])
    if not len(both):
        return None
    known = np.isin(split.labels, both)
    rows = np.flatnonzero(of_set & known)
    rows = np.sort(np.random.default_rng(0).permutation(rows)[:MOST_IMAGES])
    first = np.flatnonzero(of_first & known)
    first = first[balanced_indices(split.labels[first], MOST_IMAGES, 0)]
    powers = _powers(split, rows, both), _powers(split, first, both)
    labels, counts = np.unique(split.labels[rows], return_counts=True)
    mixture = dict(zip(labels.tolist(), counts.tolist(), strict=True))
    there, before = (
        sum(mixture[label] * power[label] for label in mixture) for power in powers
    )
    return np.asarray(np.log(np.sqrt(there / before).clip(*GAINS)))


def _powers(
    split: Split, rows: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]
) -> dict[int, npt.NDArray[np.float64]]:
    """Returns the mean square of each radial frequency by class, (frequencies, C)."""
    total = {label: np.zeros(1) for label in labels.tolist()}
    with progress_counter(len(rows), "appearance", unit="image") as step:
        for start in range(0, len(rows), AT_ONCE):
            part = rows[start : start + AT_ONCE]
            of_part = split.labels[part].tolist()
            for image, label in zip(split.images[part], of_part, strict=True):
                total[label] = total[label] + _power(image)
            step(len(part))
    counts = np.bincount(split.labels[rows], minlength=labels.max() + 1)
    # Of black images, too, something can be divided.
    return {label: total[label] / max(1, counts[label]) + 1 for label in total}


def _power(image: Images) -> npt.NDArray[np.float64]:
    """Returns the mean square of each radial frequency, (frequencies, C)."""
    radius = _radius(len(image)).ravel()
    square = np.square(_spectrum(image)).reshape(len(radius), -1)
    total = np.stack([np.bincount(radius, each) for each in square.T], axis=1)
    return np.asarray(total / np.bincount(radius)[:, None])


def _spectrum(image: Images) -> Floats:
    """Returns cosine amplitudes, float32 (S, S, C)."""
    spectrum = dctn(image.astype(np.float32), axes=(0, 1), norm="ortho")
    return np.asarray(spectrum, np.float32)


@cache
def _radius(side: int) -> npt.NDArray[np.int64]:
    """Returns the radial frequency of each amplitude, int64 (side, side)."""
    along = np.arange(side)
    return np.rint(np.hypot(along[:, None], along[None])).astype(np.int64)
