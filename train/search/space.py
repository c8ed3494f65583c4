"""What a search proposes: a network, its scale and input size, and how it learns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from train.options.config import SCALABLE_NAMES, SMALLEST_SIZE_PX
from train.options.defaults import PRETRAINED_SIZE_PX
from train.options.recipes import RECIPES
from train.options.steps import fit_to_count

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

EPOCHS = 10
PHOTO_SIZE_PX = 64  # larger images in colour are photos
PHOTO_RECIPE = "transfer"  # the only one with published weights
WIDTH_STEP, AUGMENTATION_STEP = 0.05, 0.25


class Range(NamedTuple):
    """Both ends of what is searched; equal ends are one value."""

    low: float
    high: float


@dataclass(frozen=True)
class Network:
    """A network with its scale and input.

    Attributes:
        arch: One of ``train.options.config.ARCHITECTURE_NAMES``.
        width: Factor of its filters.
        depth: Factor of its number of blocks.
        size_px: Side of the input in pixels.
    """

    arch: str
    width: float
    depth: int
    size_px: int

    def __str__(self) -> str:
        """Returns it in words."""
        scale = f" width {self.width:g} depth {self.depth}"
        scaled = self.arch in SCALABLE_NAMES
        return f"{self.arch}{scale if scaled else ''} {self.size_px} px"


@dataclass(frozen=True)
class Candidate:
    """A proposal: what one trial trains.

    Attributes:
        network: The network.
        recipe: One of ``RECIPES``.
        augmentation: Factor of the strength of the recipe's augmentation.
        learning_rate: Peak learning rate, with two significant digits.
        epochs: Epochs of the trial.
    """

    network: Network
    recipe: str
    augmentation: float
    learning_rate: float
    epochs: int

    def flags(self, *, epochs: bool = True) -> list[str]:
        """Returns the flags of ``python -m train`` that say all of it.

        Args:
            epochs: Also the epochs; without them a run has those of its recipe.
        """
        network = self.network
        values: dict[str, object] = {"arch": network.arch}
        if network.arch in SCALABLE_NAMES:
            values |= {"width": f"{network.width:g}", "depth": network.depth}
        values |= {
            "size": network.size_px,
            "recipe": self.recipe,
            "augmentation": f"{self.augmentation:g}",
            "learning-rate": f"{self.learning_rate:g}",
        }
        if epochs:
            values["epochs"] = self.epochs
        return [word for name, value in values.items() for word in _flag(name, value)]


def _flag(name: str, value: object) -> tuple[str, str]:
    return f"--{name}", str(value)


@dataclass(frozen=True)
class Space:
    """All that a search may propose.

    Attributes:
        archs: Networks.
        width: Factors of filters; only of networks that are scalable.
        depth: Factors of numbers of blocks; of the same.
        sizes_px: Sides of the input in pixels.
        recipes: Recipes; networks with published weights have their own.
        augmentation: Factors of the recipe's augmentation.
        learning_rate: Factors of the recipe's learning rate.
        epochs: Epochs of a trial.
        images: Number of training images, which batches and rates depend on.
    """

    archs: tuple[str, ...]
    width: Range
    depth: Range
    sizes_px: tuple[int, ...]
    recipes: tuple[str, ...]
    augmentation: Range
    learning_rate: Range
    epochs: int
    images: int

    def propose(self, trial: BaseTrial) -> Candidate:
        """Returns the trial's proposal."""
        arch = str(trial.suggest_categorical("arch", self.archs))
        size_px = int(trial.suggest_categorical("size", self.sizes_px))
        width, depth = 1.0, 1
        if arch in SCALABLE_NAMES:
            width = round(trial.suggest_float("width", *self.width, step=WIDTH_STEP), 2)
            low, high = map(int, self.depth)
            depth = trial.suggest_int("depth", low, high)
        recipe = PHOTO_RECIPE
        if arch not in PRETRAINED_SIZE_PX:
            recipe = str(trial.suggest_categorical("recipe", self.recipes))
        strength = trial.suggest_float(
            "augmentation", *self.augmentation, step=AUGMENTATION_STEP
        )
        factor = trial.suggest_float("learning_rate", *self.learning_rate, log=True)
        base = fit_to_count(RECIPES[recipe].config, self.images).learning_rate
        return Candidate(
            Network(arch, width, depth, size_px),
            recipe,
            round(strength, 2),
            float(f"{base * factor:.2g}"),
            self.epochs,
        )

    def smallest(self) -> list[Network]:
        """Returns the smallest network of each architecture."""
        return [
            Network(arch, self.width.low, int(self.depth.low), min(self.sizes_px))
            if arch in SCALABLE_NAMES
            else Network(arch, 1.0, 1, min(self.sizes_px))
            for arch in self.archs
        ]

    def to_document(self) -> dict[str, Any]:
        """Returns the space, JSON-ready."""
        return asdict(self)


def choose_space(
    given: Mapping[str, Any], *, size_px: int, colour: str, images: int, weights: bool
) -> Space:
    """Returns what is searched: what was given, else what suits the images.

    Args:
        given: Values of the command line by attribute; None where not given.
        size_px: Side of the images in pixels.
        colour: ``"grey"`` or ``"rgb"``.
        images: Number of training images.
        weights: Published weights for photos are installed.
    """
    photos = weights and colour == "rgb" and size_px > PHOTO_SIZE_PX
    standard = RECIPES["standard"].config
    space = Space(
        archs=("efficientnet_lite0", "efficientnet_lite1")
        if photos
        else ("fer_resnet", "fer_plain", "fer_lowres", "mini_xception"),
        width=Range(0.25, 1.25),
        depth=Range(1, 2),
        sizes_px=default_sizes(size_px),
        recipes=("quick", "standard"),
        augmentation=Range(0.25, 1.5),
        learning_rate=Range(0.3, 3.0),
        epochs=fit_to_count(replace(standard, epochs=EPOCHS), images).epochs,
        images=images,
    )
    return replace(space, **{k: v for k, v in given.items() if v is not None})


def default_sizes(size_px: int) -> tuple[int, ...]:
    """Returns 2/3, 5/6 and all of a side, in multiples of 8 pixels."""
    parts: Sequence[float] = (2 / 3, 5 / 6)
    smaller = {8 * math.floor(part * size_px / 8) for part in parts}
    return (*sorted(s for s in smaller if s >= SMALLEST_SIZE_PX), size_px)
