"""A frame between the two steps of the loop: its faces are found, not yet answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edge_runtime.boxes import clip_box
from edge_runtime.faces import Face
from edge_runtime.looking import Look
from edge_runtime.preprocess import Image
from edge_runtime.results import Box
from edge_runtime.sources import Frame
from edge_runtime.tracking import REACH_SIDES_PER_S, Track


class Located(NamedTuple):
    """A frame whose faces were found and wait for the network.

    Attributes:
        frame: It.
        faces: Those that can be seen, largest first.
        tracks: Number of each, and whether it is surely a face.
        turn: Places in ``faces`` of those that are classified in this frame; None for
            all of them.
        batch: uint8 (those, S, S, C), as the network takes them.
        gone: Numbers of the faces that will not come back.
        unseen: Where those may be that cannot be seen just now and may come back.
        look: What the detector saw, if it has just seen it.
        prepare_s: Time for cropping and resizing them, in seconds.
        follow_s: Time for following them, without the detector's, in seconds.
    """

    frame: Frame
    faces: list[Face]
    tracks: list[tuple[int, bool]]
    turn: list[int] | None
    batch: npt.NDArray[np.uint8]
    gone: list[int]
    unseen: tuple[Box, ...]
    look: Look | None
    prepare_s: float
    follow_s: float


def unseen(tracks: Sequence[Track], now_s: float, image: Image) -> tuple[Box, ...]:
    """Returns boxes that should contain the faces that cannot be seen in an image.

    Args:
        tracks: The faces that are followed.
        now_s: The frame's time.
        image: uint8 (H, W, 3) BGR or (H, W) grey.
    """
    frame_wh = (image.shape[1], image.shape[0])
    boxes = []
    for track in tracks:
        if track.visible:
            continue
        x, y, width, height = track.box
        more = REACH_SIDES_PER_S * max(0.0, now_s - track.seen_s) * max(width, height)
        grown = (x - more, y - more, width + 2 * more, height + 2 * more)
        box = clip_box(grown, frame_wh)
        if box is not None:
            boxes.append(box)
    return tuple(boxes)


def visible(tracks: Sequence[Track], image: Image) -> tuple[list[Track], list[Face]]:
    """Returns the tracks that can be seen in an image and their faces, largest first.

    Args:
        tracks: The faces that are followed.
        image: uint8 (H, W, 3) BGR or (H, W) grey.
    """
    frame_wh = (image.shape[1], image.shape[0])
    pairs = []
    for track in tracks:
        box = clip_box(track.box, frame_wh) if track.visible else None
        if box is not None:
            pairs.append((track, Face(box, track.score, track.whole)))
    pairs.sort(key=lambda pair: -pair[1].box_xywh[2] * pair[1].box_xywh[3])
    return [track for track, _ in pairs], [face for _, face in pairs]
