"""What suits the images, where no flag says it: photos, or small pictures."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from edge_runtime.sources.fake.face import LABELS
from train.data.drawn_faces import DRAWN
from train.data.listing.image_files import open_listing
from train.data.probing import probe_kind
from train.options.config import TrainConfig
from train.options.recipes import RECIPES

logger = logging.getLogger(__name__)

# Side of the input in pixels that the published weights were trained for.
PRETRAINED_SIZE_PX = {
    "efficientnet_lite0": 224,
    "efficientnet_lite1": 240,
    "efficientnet_lite2": 260,
    "mobilenet_v2": 224,
    "mobilenet_v2_075": 224,
    "mobilenet_v2_050": 224,
    "mobilenet_v2_035": 224,
}
WIDE = 2.0  # as 16:9 is not
# Of a network that is trained already: small steps, and few.
FINE_TUNING = {"learning_rate": 0.01, "epochs": 10}
FLAGS = {
    "size_px": "size",
    "learning_rate": "learning-rate",
    "labels_are": "labels-are",
    "crop_margin_frac": "crop-margin",
}
CHOICES = ("arch", "start_from", "pretrained")  # of the network and its weights


class Start(NamedTuple):
    """The run that a training begins with.

    Attributes:
        labels: Its classes.
        flags: What makes another run one like it: network, size, colour and so on.
    """

    labels: Sequence[str]
    flags: dict[str, Any]


def start_of(run: TrainConfig, metrics: Mapping[str, Any]) -> Start:
    """Returns what a training that goes on with a run takes over from it.

    Args:
        run: Its configuration.
        metrics: Its ``metrics.json``.
    """
    taken = ("arch", "width", "depth", "subject", "labels_are", "crop_margin_frac")
    default = TrainConfig()
    flags = {name: getattr(run, name) for name in taken}
    flags = {
        name: value
        for name, value in flags.items()
        if name == "arch" or value != getattr(default, name)
    }
    shown = metrics["input"]
    flags |= {"size_px": shown["size_px"], "colour": shown["colour"], "fit": run.fit}
    return Start(metrics["labels"], flags)


def choose(
    options: Mapping[str, Any],
    *,
    has_weights: bool,
    released: tuple[str, list[str]],
    start: Start | None = None,
) -> dict[str, Any]:
    """Returns flags that suit the images, where the user gave none.

    Photos in colour are learnt with published weights; small or grey images begin with
    the released network, unless their classes are its classes or the recipe has another
    network. All but small ones are
    cropped to a square.

    Args:
        options: The flags that were given.
        has_weights: The weights of the recipe for photos are installed.
        released: Name and classes of the released network.
        start: The run that the weights are from, if they are from one.

    Raises:
        DatasetError: The images cannot be listed.
    """
    chosen: dict[str, Any] = {}
    data = options.get("data", DRAWN)
    labels = set(LABELS)  # of the drawn faces
    free = not any(name in options for name in CHOICES)
    of_recipe = RECIPES[options.get("recipe", "standard")].config.arch
    if data != DRAWN:
        with open_listing(Path(data)) as listing:
            labels = {entry.label for entry in listing.entries}
            large, colour, aspect = probe_kind(listing.entries)
        if large:
            chosen["fit"] = "crop"
            if aspect > WIDE and "fit" not in options:
                logger.warning(
                    "the pictures' longer side is %.1f times the shorter one: --fit"
                    " crop keeps %.0f %% of a picture, --fit pad all of it",
                    aspect,
                    100 / aspect,
                )
        if large and colour:
            if free and has_weights and "recipe" not in options:
                chosen["recipe"] = "transfer"
        elif free and of_recipe == TrainConfig().arch and labels != set(released[1]):
            chosen["start_from"] = released[0]
    if start is not None and labels == set(start.labels):
        chosen |= start.flags
        if "recipe" not in options and chosen["arch"] not in PRETRAINED_SIZE_PX:
            chosen |= FINE_TUNING
    wanted = {**chosen, **options}
    if wanted.get("arch") in PRETRAINED_SIZE_PX:
        chosen["recipe"] = "transfer"
    recipe = {**chosen, **options}.get("recipe", "standard")
    arch = wanted.get("arch", RECIPES[recipe].config.arch)
    if arch in PRETRAINED_SIZE_PX:
        chosen.setdefault("size_px", PRETRAINED_SIZE_PX[arch])
    return {name: value for name, value in chosen.items() if name not in options}


def describe(chosen: Mapping[str, Any], *, has_weights: bool, command: str) -> str:
    """Returns what was chosen, and which flags choose otherwise; nothing for nothing.

    Args:
        chosen: As ``choose`` returned it.
        has_weights: As there.
        command: Installs the weights.
    """
    if "arch" in chosen or "colour" in chosen:
        flags = [f"--{FLAGS.get(name, name)} {chosen[name]}" for name in chosen]
        return (
            f"chosen to go on with that run: {' '.join(flags)} (your own flags take"
            " precedence)"
        )
    if "start_from" in chosen:
        return (
            f"chosen: initial weights of the released {chosen['start_from']}"
            " (--pretrained none: random ones)"
        )
    if chosen.get("recipe") == "transfer":
        flags = [f"--{name.removesuffix('_px')} {chosen[name]}" for name in chosen]
        return f"chosen for photos: {' '.join(flags)} (your own flags take precedence)"
    if "fit" in chosen and not has_weights:
        return (
            "photos are learnt best with published weights, which are not installed:"
            f" run  {command}  for them"
        )
    return ""
