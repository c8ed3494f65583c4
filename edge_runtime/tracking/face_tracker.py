"""The faces of a frame: those that can be seen, and where the others may be."""

from __future__ import annotations

from collections.abc import Sequence

from edge_runtime.detection.base import Face
from edge_runtime.detection.boxes import clip_box
from edge_runtime.preprocessing import Image
from edge_runtime.results import Box
from edge_runtime.tracking.tracker import REACH_SIDES_PER_S, Track


def hidden_regions(
    tracks: Sequence[Track], now_s: float, image: Image
) -> tuple[Box, ...]:
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


def visible_faces(
    tracks: Sequence[Track], image: Image
) -> tuple[list[Track], list[Face]]:
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
