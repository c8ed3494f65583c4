"""The flags of ``run``: model, camera, faces, decisions, configuration, update."""

from __future__ import annotations

import argparse
from functools import partial

from edge_runtime.cli.given import GIVEN_FLAGS
from edge_runtime.cli.output_options import add_output_options
from edge_runtime.cli.region_options import add_roi
from edge_runtime.detection.base import (
    AUTO_WIDTHS_PX,
    DETECT_EVERY,
    DETECT_WIDTH_PX,
    DetectWidth,
)
from edge_runtime.detection.yunet import YUNET_SMALLEST_PX
from edge_runtime.inference.backends import BACKENDS
from edge_runtime.model_update.policy import UpdatePolicy
from edge_runtime.pipeline.decisions import DecisionConfig
from edge_runtime.sources.base import PIXEL_FORMATS, CameraSettings
from edge_runtime.utils import flags
from edge_runtime.utils.argparser import InvalidValue

# What ``tune`` measures, with the defaults where no tuning file applies.
TUNABLE = {"threads": 1, "backend": "auto", "detect_width": DETECT_WIDTH_PX}


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Adds all flags of ``run``; parsed arguments keep the parser, for ``--config``."""
    add_model_options(parser, output_is_free=False)
    add_source_options(parser)
    _add_face_options(parser)
    _add_decision_options(parser)
    add_output_options(parser)
    _add_config_options(parser)
    _add_update_options(parser)
    # None until ``apply_tuning`` sets them: as tuned for the board, or the default.
    parser.set_defaults(command_parser=parser, **dict.fromkeys(TUNABLE))


def add_model_options(
    parser: argparse.ArgumentParser, *, output_is_free: bool = True
) -> None:
    """Adds the model file and how it is run; ``check`` has these, too."""
    add_model(parser, output_is_free=output_is_free)
    add = parser.add_argument
    add(
        "--backend",
        choices=("auto", *BACKENDS),
        default="auto",
        help="inference library (auto: the first that is installed)",
    )
    add(
        "--require-signature",
        type=flags.path,
        metavar="PUBKEY",
        help="refuse a model that this public key (PEM) did not sign: see MODEL.sig",
    )
    add("--threads", type=flags.threads, default=1, metavar="N", help="CPU threads (1)")


def add_model(parser: argparse.ArgumentParser, *, output_is_free: bool = True) -> None:
    """Adds the model file and the flags for one without metadata; also of ``tune``."""
    parser.add_argument(
        "model",
        nargs="?",
        type=flags.path,
        help=".tflite or .onnx file, or the name of a released model (default: the"
        " released one)",
    )
    for names, settings in GIVEN_FLAGS:
        parser.add_argument(*(names if output_is_free else names[:1]), **settings)


def add_detector_model(parser: argparse._ActionsContainer) -> None:
    """Adds the face detector's file; ``tune`` has it, too."""
    parser.add_argument(
        "--detector-model",
        type=flags.path,
        metavar="FILE",
        help="face_detection_yunet_*.onnx",
    )


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that choose a source and set up a camera."""
    default = CameraSettings()
    seconds = partial(flags.number, low=0.1, high=3600)
    add = parser.add_argument_group("source").add_argument
    add(
        "--source",
        default="0",
        metavar="SOURCE",
        help="camera number or /dev/video path, picamera2, video, picture, folder,"
        " 'pattern*.jpg', rtsp:// or http:// address, - (JPEG pictures on stdin) or"
        " fake:scene (default: 0)",
    )
    add(
        "--size",
        type=flags.size_wh,
        metavar="WxH",
        help="request this size from the camera",
    )
    add(
        "--fps",
        type=partial(flags.number, low=0.1, high=1000),
        metavar="N",
        help="request this frame rate from the camera; the rate of pictures on stdin",
    )
    add(
        "--pixel-format",
        choices=PIXEL_FORMATS,
        default=default.pixel_format,
        help="mjpg or yuyv of a USB camera; grey or bgr of picamera2 (auto: what the"
        " model needs)",
    )
    add(
        "--every",
        type=flags.positive,
        default=1,
        metavar="N",
        help="use each n-th frame (1)",
    )
    flags.add_orientation(add)
    add_roi(add)
    add("--max-frames", type=flags.positive, metavar="N", help="stop after N frames")
    add(
        "--stall-after",
        type=seconds,
        default=default.stall_s,
        metavar="S",
        help=f"reopen the camera after S seconds without a frame ({default.stall_s:g})",
    )
    add(
        "--frozen-after",
        type=partial(flags.number, low=0, high=3600),
        default=default.frozen_s,
        metavar="S",
        help="reopen it after S seconds of the same picture; 0: never"
        f" ({default.frozen_s:g})",
    )
    add(
        "--reopen-limit",
        type=partial(flags.whole_number, low=0, high=1000),
        default=default.reopen_limit,
        metavar="N",
        help="give up after N failures within ten minutes; 0: never"
        f" ({default.reopen_limit})",
    )


def _detect_width(text: str) -> DetectWidth:
    """Returns a width in pixels or ``"auto"``, for argparse."""
    if text == "auto":
        return "auto"
    try:
        return flags.positive(text)
    except InvalidValue as error:
        expected = str(error).removeprefix("expected ")
        raise InvalidValue(f"expected auto or {expected}") from error


def _add_face_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("faces")
    add = group.add_argument
    add(
        "--faces",
        choices=("auto", "yunet", "haar", "none"),
        default="auto",
        help="detector; none: classify the whole frame (default: yunet with"
        " fer-edge[yunet], --detector-model or after fetch-detector, else haar)",
    )
    add_detector_model(group)
    add(
        "--detect-width",
        type=_detect_width,
        default=DETECT_WIDTH_PX,
        metavar="PX",
        help="shrink frames to this width for the detector, where yunet finds faces of"
        f" about {YUNET_SMALLEST_PX} pixels; auto: half of the frame's, from"
        f" {AUTO_WIDTHS_PX[0]} to {AUTO_WIDTHS_PX[1]} ({DETECT_WIDTH_PX})",
    )
    add(
        "--detect-every",
        type=flags.positive,
        metavar="N",
        help="detect on each n-th frame and track the faces in between"
        f" (default: {DETECT_EVERY}; 1 with --privacy blur)",
    )
    add(
        "--detect-waits",
        action="store_true",
        help="let each camera frame wait for the detector, as frames of files do (by"
        " default only where there is time before the next frame)",
    )


def _add_decision_options(parser: argparse.ArgumentParser) -> None:
    default = DecisionConfig()
    seconds = partial(flags.number, low=0, high=3600)
    probability = partial(flags.number, low=0, high=1)
    add = parser.add_argument_group("decisions (videos and cameras)").add_argument
    add(
        "--half-life",
        type=partial(flags.number, low=0.001, high=3600),
        default=default.half_life_s,
        metavar="S",
        help=f"age in seconds at which a frame counts half ({default.half_life_s})",
    )
    add(
        "--margin",
        type=probability,
        default=default.margin,
        metavar="P",
        help=f"probability by which a new label must lead the old ({default.margin})",
    )
    add(
        "--dwell",
        type=seconds,
        default=default.dwell_s,
        metavar="S",
        help=f"seconds for which it must lead ({default.dwell_s})",
    )
    add(
        "--uncertain-below",
        type=probability,
        default=default.uncertain_below,
        metavar="P",
        help="confidence threshold: below it the label is 'uncertain'"
        f" ({default.uncertain_below})",
    )
    add(
        "--drift",
        choices=("auto", "on", "off"),
        default="auto",
        help="report when pictures or answers have changed (auto: with --serve or"
        " --mqtt)",
    )


def _add_config_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("configuration").add_argument
    add(
        "--config",
        type=flags.path,
        metavar="FILE",
        help="TOML file whose keys are the names of these flags; typed flags take"
        " precedence",
    )
    add(
        "--print-config",
        action="store_true",
        help="print all values as such a file, and end",
    )


def _add_update_options(parser: argparse.ArgumentParser) -> None:
    default = UpdatePolicy()
    add = parser.add_argument_group("model update").add_argument
    add(
        "--watch",
        type=flags.path,
        metavar="DIR",
        help="load a better model from this folder while running: it is verified,"
        " compared with the present one, swapped in, and rolled back when it fails",
    )
    add(
        "--watch-frames",
        type=flags.positive,
        default=default.frames,
        metavar="N",
        help="frames with faces to compare both models on before the swap, and to keep"
        f" the old one for after it ({default.frames})",
    )
    add(
        "--watch-agreement",
        type=partial(flags.number, low=0, high=1),
        default=default.min_agreement,
        metavar="FRAC",
        help="least share of faces with the same label, 0 to 1"
        f" ({default.min_agreement:g})",
    )
    add(
        "--watch-slowdown",
        type=partial(flags.number, low=1, high=1000),
        default=default.max_slowdown,
        metavar="X",
        help="longest time per face, as a multiple of the present model's"
        f" ({default.max_slowdown:g})",
    )
