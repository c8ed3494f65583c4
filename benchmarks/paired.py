"""Statistics of two classifiers that answered the same images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]

RESAMPLES = 2000
SEED = 0


@dataclass(frozen=True)
class Flips:
    """How many images got another answer from the second classifier.

    Attributes:
        right_to_wrong: The first was right, the second is wrong.
        wrong_to_right: The first was wrong, the second is right.
        wrong_to_other_wrong: Both are wrong, each in its own way.
        count: Images in all.
    """

    right_to_wrong: int
    wrong_to_right: int
    wrong_to_other_wrong: int
    count: int

    @property
    def agreement(self) -> float:
        """Share of images with the same answer from both, in [0, 1]."""
        changed = self.right_to_wrong + self.wrong_to_right + self.wrong_to_other_wrong
        return 1 - changed / self.count

    @property
    def accuracy_difference(self) -> float:
        """Accuracy of the second minus that of the first, in [-1, 1]."""
        return (self.wrong_to_right - self.right_to_wrong) / self.count


def count_flips(y_true: Labels, first: Labels, second: Labels) -> Flips:
    """Returns what changed between two classifiers' answers.

    Args:
        y_true: int64 (N,), N > 0.
        first: int64 (N,), answers of the reference.
        second: int64 (N,), answers of the other.
    """
    was_right, is_right = first == y_true, second == y_true
    return Flips(
        right_to_wrong=int(np.sum(was_right & ~is_right)),
        wrong_to_right=int(np.sum(~was_right & is_right)),
        wrong_to_other_wrong=int(np.sum(~was_right & ~is_right & (first != second))),
        count=len(y_true),
    )


def mcnemar_p(right_to_wrong: int, wrong_to_right: int) -> float:
    """Returns the exact two-sided p-value that both classifiers are equally accurate.

    Under that hypothesis an image that only one of them got right is a fair coin:
    McNemar, "Note on the sampling error of the difference between correlated
    proportions" (1947), with the binomial distribution instead of its approximation.
    Computed in integers, so that no count is too large to be exact.
    """
    flips = right_to_wrong + wrong_to_right
    term = tail = 1  # C(flips, 0)
    for k in range(min(right_to_wrong, wrong_to_right)):
        term = term * (flips - k) // (k + 1)
        tail += term
    # Not doubled where both tails meet: then the whole distribution is inside.
    return min(1.0, 2 * tail / (1 << flips))


def bootstrap_difference(
    flips: Flips, *, resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[float, float]:
    """Returns the 95 % interval of the accuracy difference, second minus first.

    Paired percentile bootstrap: images are drawn anew with both their answers. Only
    how many improve, worsen or stay decides a resample's difference, so drawing N
    images is one draw from a multinomial distribution over these three.

    Args:
        flips: What changed.
        resamples: Number of draws.
        seed: Decides them.
    """
    worse, better = flips.right_to_wrong, flips.wrong_to_right
    counts = np.array([worse, better, flips.count - worse - better])
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(flips.count, counts / flips.count, size=resamples)
    differences = (drawn[:, 1] - drawn[:, 0]) / flips.count
    low, high = np.percentile(differences, [2.5, 97.5])
    return float(low), float(high)
