"""Every flag of ``run``, and the checks that need nothing opened."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from edge_runtime.detection.base import (
    DETECT_EVERY,
    DETECT_WIDTH_PX,
)
from edge_runtime.errors import OutputError
from edge_runtime.model_update.policy import UpdatePolicy
from edge_runtime.outputs.base import RecordLimits
from edge_runtime.pipeline.smoothing import SmoothingConfig
from edge_runtime.sources.base import (
    PIXEL_FORMATS,
    CameraSettings,
    Source,
    Waiting,
    wait_on,
)
from edge_runtime.sources.factory import open_source
from edge_runtime.utils import argparser as flags

STDOUT = "-"


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of all outputs."""
    _add_lines(parser)
    _add_pictures(parser)
    _add_mqtt(parser)
    _add_page(parser)


def _add_lines(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("results").add_argument
    add("--json", action="store_true", help="one JSON document per frame, on stdout")
    add(
        "--events",
        nargs="?",
        const=STDOUT,
        metavar="FILE",
        help="one JSON document per event, at the end of FILE (default: on stdout)",
    )
    add(
        "--csv", type=flags.path, metavar="FILE", help="one row per face, at FILE's end"
    )
    add("--force", action="store_true", help="replace existing files")


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    default = RecordLimits()
    add = parser.add_argument_group("pictures").add_argument
    add(
        "--output",
        type=flags.path,
        metavar="FILE",
        help="annotated .mp4, .avi, .png or .jpg",
    )
    add("--display", action="store_true", help="show a window (q ends)")
    add(
        "--record",
        type=flags.path,
        metavar="DIR",
        help="keep pictures of events and, now and then, of faces",
    )
    add(
        "--record-most",
        type=flags.positive,
        default=default.max_images,
        metavar="N",
        help=f"most pictures kept; the oldest goes first ({default.max_images})",
    )
    add(
        "--record-mb",
        type=flags.positive,
        default=default.max_megabytes,
        metavar="MB",
        help=f"most megabytes kept ({default.max_megabytes})",
    )
    add(
        "--privacy",
        choices=("none", "blur"),
        default="none",
        help="blur: faces are made unrecognizable in every picture (none)",
    )


def _add_mqtt(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("MQTT").add_argument
    add("--mqtt", metavar="URL", help="mqtt://[USER@]HOST[:PORT][/PREFIX], or mqtts://")
    add(
        "--mqtt-password-file",
        type=flags.path,
        metavar="FILE",
        help="its first line is the password",
    )
    add(
        "--mqtt-ca",
        type=flags.path,
        metavar="FILE",
        help="trust these certificates (PEM) instead of the system's",
    )
    add(
        "--mqtt-discovery",
        default="homeassistant",
        metavar="PREFIX",
        help="Home Assistant's prefix; none: do not announce (homeassistant)",
    )


def _add_page(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("web page").add_argument
    add(
        "--serve",
        metavar="[HOST:]PORT",
        help="web page, /metrics, /healthz, /api/state (HOST: 127.0.0.1)",
    )
    add(
        "--token-file",
        type=flags.path,
        metavar="FILE",
        help="its first line lets people in; required with any other HOST",
    )


def check_outputs(args: argparse.Namespace) -> None:
    """Refuses outputs that cannot be wanted, before anything is opened.

    Raises:
        OutputError: With what was expected, what was got and what to do.
    """
    if args.output:
        from edge_runtime.outputs.video import check_output

        check_output(args.output, args.source, force=args.force)
    if args.json and args.events == STDOUT:
        raise OutputError(
            "--json and --events would both write to stdout: give --events FILE, or"
            " take the events out of --json's documents"
        )
    _check_files_differ(args)
    for path in (args.csv, _events_file(args)):
        if path is not None:
            _check_appendable(path)
    _check_only_with("mqtt", args, "mqtt_password_file", "mqtt_ca")
    if args.mqtt:
        _check_broker(args)
    if args.serve:
        from edge_runtime.web.address import parse_address, read_token

        read_token(parse_address(args.serve), args.token_file)
    _check_only_with("serve", args, "token_file")


def _check_broker(args: argparse.Namespace) -> None:
    from edge_runtime.outputs.mqtt_topics import parse_broker

    broker = parse_broker(args.mqtt)
    if args.mqtt_ca is not None and not broker.tls:
        raise OutputError(
            "--mqtt-ca does nothing without encryption: give --mqtt mqtts://..."
        )
    if args.mqtt_password_file is not None and not broker.user:
        raise OutputError(
            "--mqtt-password-file does nothing without a user:"
            " give --mqtt mqtts://USER@HOST"
        )


def _events_file(args: argparse.Namespace) -> Path | None:
    return None if args.events in (None, STDOUT) else Path(args.events)


def _check_files_differ(args: argparse.Namespace) -> None:
    paths = [args.output, args.csv, _events_file(args), Path(args.source)]
    resolved = [path.resolve() for path in paths if path is not None]
    if len(set(resolved)) < len(resolved):
        raise OutputError("--source, --output, --csv and --events must be four files")


def _check_appendable(path: Path) -> None:
    if path.is_dir():
        raise OutputError(f"expected a file to write, got the folder {str(path)!r}")
    if not path.parent.is_dir():
        raise OutputError(
            f"expected a file in a folder that exists, got {str(path)!r}:"
            f" run  mkdir -p {str(path.parent)!r}"
        )
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise OutputError(f"no permission to write {str(path)!r}")


def _check_only_with(flag: str, args: argparse.Namespace, *others: str) -> None:
    for other in others:
        if getattr(args, other) is not None and not getattr(args, flag):
            name = other.replace("_", "-")
            raise OutputError(f"--{name} does nothing without --{flag}")


def add_face_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what says how faces are found."""
    add = parser.add_argument_group("faces").add_argument
    add(
        "--faces",
        choices=("auto", "yunet", "haar", "none"),
        default="auto",
        help="detector; none: each frame is a face (default: yunet with"
        " --detector-model or after fetch-detector, else haar)",
    )
    add(
        "--detector-model",
        type=flags.path,
        metavar="FILE",
        help="face_detection_yunet_*.onnx",
    )
    add(
        "--detect-width",
        type=flags.positive,
        default=DETECT_WIDTH_PX,
        metavar="PX",
        help=f"detect on frames this wide (default: {DETECT_WIDTH_PX})",
    )
    add(
        "--detect-every",
        type=flags.positive,
        metavar="N",
        help="detect on each n-th frame and follow the faces in between"
        f" (default: {DETECT_EVERY}; 1 with --privacy blur)",
    )
    add(
        "--detect-waits",
        action="store_true",
        help="each frame of a camera waits for the detector, as those of files and with"
        " --privacy blur; else only where the next frame is far off",
    )


def detect_every(args: argparse.Namespace) -> int:
    """Returns how many frames it is from one run of the detector to the next.

    Args:
        args: With ``detect_every`` and ``privacy``.

    Raises:
        OutputError: Faces are to be blurred, and frames in which nobody looks for them
            were asked for: a new face would be shown in those.
    """
    if args.privacy != "blur":
        return args.detect_every or DETECT_EVERY
    if args.detect_every not in (None, 1):
        raise OutputError(
            "--privacy blur needs the detector on every frame, got --detect-every"
            f" {args.detect_every}: leave it out"
        )
    return 1


def frames_wait(args: argparse.Namespace, *, live: bool) -> bool:
    """Returns whether every frame waits for the detector.

    Frames of files do, so that their answers do not depend on its speed, and frames in
    which faces are to be blurred.

    Args:
        args: With ``detect_waits`` and ``privacy``.
        live: The frames come whether or not anyone takes them.
    """
    return args.detect_waits or args.privacy == "blur" or not live


def add_decision_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what says how decisions are made."""
    default = SmoothingConfig()
    add = parser.add_argument_group("decisions (videos and cameras)").add_argument
    add(
        "--half-life",
        type=partial(flags.number, low=0.001, high=3600),
        default=default.half_life_s,
        metavar="S",
        help=f"age at which a frame counts half ({default.half_life_s} s)",
    )
    add(
        "--margin",
        type=partial(flags.number, low=0, high=1),
        default=default.margin,
        metavar="P",
        help=f"a new label's lead over the old one ({default.margin})",
    )
    add(
        "--dwell",
        type=partial(flags.number, low=0, high=3600),
        default=default.dwell_s,
        metavar="S",
        help=f"how long it must lead ({default.dwell_s} s)",
    )
    add(
        "--uncertain-below",
        type=partial(flags.number, low=0, high=1),
        default=default.uncertain_below,
        metavar="P",
        help=f"probability under which no label is given ({default.uncertain_below})",
    )


def rules_of(args: argparse.Namespace) -> SmoothingConfig:
    """Returns the rules that the command line asks for."""
    return SmoothingConfig(
        args.half_life, args.margin, args.dwell, args.uncertain_below
    )


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that choose a source."""
    default = CameraSettings()
    add = parser.add_argument_group("source").add_argument
    add(
        "--source",
        default="0",
        metavar="SOURCE",
        help="camera number or /dev/video path, picamera2, video, picture, folder,"
        " 'pattern*.jpg', rtsp:// or http:// address, - (JPEG pictures on stdin) or"
        " fake:scene (default: 0); see docs/sources.md",
    )
    add("--size", type=size_wh, metavar="WxH", help="ask the camera for this size")
    add(
        "--fps",
        type=rate,
        metavar="N",
        help="ask the camera for this rate; what is sent on stdin has it",
    )
    add(
        "--pixel-format",
        choices=PIXEL_FORMATS,
        default=default.pixel_format,
        help="mjpg or yuyv of a USB camera; grey or bgr of picamera2 (auto: what the"
        " model takes)",
    )
    add(
        "--every",
        type=flags.positive,
        default=1,
        metavar="N",
        help="take each n-th frame",
    )
    add("--max-frames", type=flags.positive, metavar="N", help="stop after N frames")
    add(
        "--stall-after",
        type=seconds,
        default=default.stall_s,
        metavar="S",
        help="open the camera again after S seconds without a picture"
        f" ({default.stall_s:g})",
    )
    add(
        "--frozen-after",
        type=seconds_or_never,
        default=default.frozen_s,
        metavar="S",
        help="open it again after S seconds of the same picture; 0: never"
        f" ({default.frozen_s:g})",
    )
    add(
        "--reopen-limit",
        type=lambda text: flags.whole_number(text, 0, 1000),
        default=default.reopen_limit,
        metavar="N",
        help="give it up after N failures within ten minutes; 0: never"
        f" ({default.reopen_limit})",
    )


@contextmanager
def open_source_for(
    args: argparse.Namespace, *, colour: bool = False, waiting: Waiting = wait_on
) -> Iterator[Source]:
    """Yields the source that the flags choose, open, and closes it afterwards.

    Args:
        args: Parsed with ``add_source_arguments``.
        colour: Whether the model takes colour.
        waiting: Called while a live source gives no frame; see ``Waiting``.

    Raises:
        SourceError: There is no such thing, or nothing can be read from it.
    """
    settings = CameraSettings(
        size_wh=args.size,
        fps=args.fps,
        pixel_format=args.pixel_format,
        colour=colour,
        stall_s=args.stall_after,
        frozen_s=args.frozen_after,
        reopen_limit=args.reopen_limit,
    )
    with open_source(
        args.source, every=args.every, settings=settings, waiting=waiting
    ) as source:
        yield source


def size_wh(text: str) -> tuple[int, int]:
    """Returns width and height of ``640x480``, for argparse."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None or not int(match[1]) * int(match[2]):
        raise argparse.ArgumentTypeError(
            f"expected a size such as 640x480, got {text[:40]!r}"
        )
    return int(match[1]), int(match[2])


def rate(text: str) -> float:
    """Returns frames per second, 0.1 to 1000, for argparse."""
    return flags.number(text, 0.1, 1000)


def seconds(text: str) -> float:
    """Returns seconds, 0.1 to 3600, for argparse."""
    return flags.number(text, 0.1, 3600)


def seconds_or_never(text: str) -> float:
    """Returns seconds, 0 to 3600, for argparse."""
    return flags.number(text, 0, 3600)


def add_service_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--config``, ``--print-config`` and the flags of the model update.

    Args:
        parser: Of the command ``run``; it is remembered in the parsed arguments as
            ``command_parser``, for the configuration file.
    """
    parser.set_defaults(command_parser=parser)
    _add_configuration(parser)
    _add_model_update(parser)


def _add_configuration(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("configuration").add_argument
    add(
        "--config",
        type=flags.path,
        metavar="FILE",
        help="TOML file whose keys are the names of these flags; what is typed here"
        " counts more",
    )
    add(
        "--print-config",
        action="store_true",
        help="write all values as such a file to stdout, and end",
    )


def _add_model_update(parser: argparse.ArgumentParser) -> None:
    default = UpdatePolicy()
    add = parser.add_argument_group("model update").add_argument
    add(
        "--watch",
        type=flags.path,
        metavar="DIR",
        help="take a better model from here while running: verified, compared with"
        " the present one, swapped in, rolled back when it errs",
    )
    add(
        "--watch-frames",
        type=flags.positive,
        default=default.frames,
        metavar="N",
        help="frames with faces that both models answer before the swap, and that the"
        f" old one is kept after it (default: {default.frames})",
    )
    add(
        "--watch-agreement",
        type=_fraction,
        default=default.min_agreement,
        metavar="FRAC",
        help="least share of faces with the same answer, 0 to 1"
        f" (default: {default.min_agreement:g})",
    )
    add(
        "--watch-slowdown",
        type=_factor,
        default=default.max_slowdown,
        metavar="X",
        help="most time it may take, in times the present model's"
        f" (default: {default.max_slowdown:g})",
    )


def _fraction(text: str) -> float:
    return flags.number(text, 0.0, 1.0)


def _factor(text: str) -> float:
    return flags.number(text, 1.0, 1000.0)
