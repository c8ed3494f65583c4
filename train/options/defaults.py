"""What suits the images, where no flag says it: photos, or small pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from train.data.drawn_faces import DRAWN
from train.data.listing.image_files import open_listing
from train.data.probing import probe_kind
from train.options.recipes import RECIPES

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
CHOICES = ("recipe", "arch", "start_from", "pretrained")


def choose(
    options: Mapping[str, Any], *, has_weights: bool, released: tuple[str, list[str]]
) -> dict[str, Any]:
    """Returns flags that suit the images, where the user gave none.

    Photos in colour are learnt with published weights; small or grey images begin with
    the released network, unless their classes are its classes. All but small ones are
    cropped to a square.

    Args:
        options: The flags that were given.
        has_weights: The weights of the recipe for photos are installed.
        released: Name and classes of the released network.

    Raises:
        DatasetError: The images cannot be listed.
    """
    chosen: dict[str, Any] = {}
    data = options.get("data", DRAWN)
    free = not any(name in options for name in CHOICES)
    if data != DRAWN:
        with open_listing(Path(data)) as listing:
            labels = {entry.label for entry in listing.entries}
            large, colour = probe_kind(listing.entries)
        if large:
            chosen["fit"] = "crop"
        if large and colour:
            if free and has_weights:
                chosen["recipe"] = "transfer"
        elif free and labels != set(released[1]):
            chosen["start_from"] = released[0]
    if options.get("arch") in PRETRAINED_SIZE_PX:
        chosen["recipe"] = "transfer"
    recipe = {**chosen, **options}.get("recipe", "standard")
    arch = options.get("arch", RECIPES[recipe].config.arch)
    if arch in PRETRAINED_SIZE_PX:
        chosen["size_px"] = PRETRAINED_SIZE_PX[arch]
    return {name: value for name, value in chosen.items() if name not in options}


def describe(chosen: Mapping[str, Any], *, has_weights: bool, command: str) -> str:
    """Returns what was chosen, and which flags choose otherwise; nothing for nothing.

    Args:
        chosen: As ``choose`` returned it.
        has_weights: As there.
        command: Installs the weights.
    """
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
