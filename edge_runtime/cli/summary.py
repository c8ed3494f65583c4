"""What a run prints at its end: counts, losses, hints and the next commands."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from edge_runtime.cli.given import GIVEN_NAMES, NAMES_IN_RUN
from edge_runtime.detection.base import YUNET_INSTALL, WholeImage
from edge_runtime.detection.boxes import detect_width_px
from edge_runtime.detection.factory import smallest_face_px
from edge_runtime.pipeline.stats import Status
from edge_runtime.results import FACE_WORDS, Words
from edge_runtime.sources import CameraSettings, Source
from edge_runtime.utils.argparser import as_typed, invocation
from edge_runtime.utils.text_table import align

WIDER = 4  # times the detector's width, for small faces
# Outputs whose reader needs all of it; a page's needs the newest.
COMPLETE_OUTPUTS = ("json", "events", "csv", "output", "record", "mqtt")


def summary_table(status: Status, seconds: float) -> str:
    """Returns the counts and medians of a run of so many seconds as a table."""
    source, faces, words = status.source, status.faces, status.words
    counts = {
        "unreadable": source.skipped,
        "passed over for newer ones": source.dropped,
    }
    lost = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    rows = [("frames", f"{status.frames} ({lost})" if lost else f"{status.frames}")]
    if source.reopened:
        times = "once" if source.reopened == 1 else f"{source.reopened} times"
        rows.append(("lost and back", times))
    whole = status.detector == WholeImage.name
    kept = faces - status.classified
    turns = f"  ({kept} with an earlier answer: they take turns)" if kept else ""
    rows += [
        ("classified" if whole else words.subjects, f"{faces}{turns}"),
        *(
            (f"  {label}", f"{count}  ({100 * count / faces:.0f} %)")
            for label, count in status.labels.most_common()
        ),
    ]
    if whole:
        changed = status.words.event_kinds[1]
        changes = status.events.get(changed)
        what = "label" if words == FACE_WORDS else words.labels_are
        rows += [(f"{what} changed", f"{changes}")] if changes else []
    else:
        rows += [(_kind_text(kind, words), f"{n}") for kind, n in status.events.items()]
        rows.append(("detect", _median_text(status.detect_ms, "per detection")))
    per = "per frame" if whole else f"per frame with {words.subjects}"
    rows += [
        ("classify", _median_text(status.classify_ms, per)),
        ("rate", f"{status.frames / seconds:.1f} frames/s" if seconds else "-"),
    ]
    return align(rows, left=2)


def _kind_text(kind: str, words: Words) -> str:
    """Returns a kind of event for people, such as ``bottle appeared``."""
    what = words.labels_are if kind.endswith("changed") else words.subject
    return f"{what} {kind.rpartition('_')[2]}"


def _median_text(values_ms: Iterable[float], unit: str) -> str:
    ordered = sorted(values_ms)  # the statistics module takes 6 ms to import
    return f"{ordered[len(ordered) // 2]:.2f} ms {unit} (median)" if ordered else "-"


def losses(outputs: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yields a line for each output that should be complete and is not."""
    for name in COMPLETE_OUTPUTS:
        counts = outputs.get(name, {})
        frames, events = counts.get("dropped_frames"), counts.get("dropped_events")
        if frames or events:
            reason = f": {counts['error']}" if counts.get("error") else ""
            yield (
                f"--{name}: {frames} frames without an event and {events} with one were"
                f" not written{reason}"
            )


def hints(args: argparse.Namespace, status: Status) -> Iterator[str]:
    """Yields what may be unexpected, one line each."""
    source = status.source
    if status.frames and not status.labels and args.faces != "none":
        for hint in _face_hints(args, status):
            yield f"no face was found: {hint}"
    if source.kind == "pictures" and args.events:
        yield "--events is empty: faces come and go in videos, not in pictures"
    if flags := _flags_without_effect(args, source):
        fake = source.name.startswith("fake:")
        instead = "; use ?size= and ?fps= in its name" if fake else ""
        yield (
            f"{', '.join(flags)} had no effect: {source.name} is not such a camera"
            f"{instead}"
        )
    if args.serve and not source.live:
        yield (
            f"the page ended with the last frame of {source.name}: it stays for a"
            " camera, a stream or fake:scene"
        )


def _face_hints(args: argparse.Namespace, status: Status) -> Iterator[str]:
    """Yields what helps where no face was found in frames of the last one's size.

    A frame that is not larger than what the detector sees may be a face as a whole,
    and a model with labels of its own may be one for whole pictures.
    """
    from edge_runtime.model_file.released import are_released_labels

    width, height = frame_wh = status.looked_at_wh
    detector = status.detector
    shrunk_to = detect_width_px(args.detect_width, width)
    if width <= shrunk_to or not are_released_labels(status.model_labels):
        yield (
            "where each picture shows only what is to be classified, give --faces none"
        )
    if width > shrunk_to:
        side = smallest_face_px(detector, shrunk_to, frame_wh)
        wider = min(width, WIDER * shrunk_to)
        what = "regions" if status.regions else "frames"
        other = "" if detector == "yunet" else f", or YuNet: {YUNET_INSTALL}"
        yield (
            f"in {what} of {width}x{height} at --detect-width {shrunk_to} faces"
            f" below about {side} pixels are missed: try --detect-width {wider}"
            f"{other}"
        )


def _flags_without_effect(args: argparse.Namespace, source: Source) -> list[str]:
    """Returns the flags for a camera that were given with another source."""
    default, flags = CameraSettings(), []
    if source.kind != "camera" or source.name.startswith("fake:"):
        flags += [f"--{name}" for name in ("size", "fps") if getattr(args, name)]
    if source.kind != "camera":
        given = {
            "--stall-after": args.stall_after != default.stall_s,
            "--frozen-after": args.frozen_after != default.frozen_s,
            "--reopen-limit": args.reopen_limit != default.reopen_limit,
        }
        flags += [flag for flag in given if given[flag]]
    return flags


def next_steps(args: argparse.Namespace, source: Source) -> str:
    """Returns the commands to type next."""
    model = f" {shlex.quote(str(args.model))}" if args.model else ""
    model += as_typed(args.words, NAMES_IN_RUN if args.output else GIVEN_NAMES)
    check = f"\n  {invocation()} check{model}"
    if args.output:
        return f"\nnext:\n  look at {args.output}{check}"
    flags = f" --faces {args.faces}" if args.faces != "auto" else ""
    if args.detector_model and args.faces in ("auto", "yunet"):
        flags += f" --detector-model {shlex.quote(str(args.detector_model))}"
    if args.privacy == "blur":
        flags += " --privacy blur"  # else the next run would keep what this one hid
    values = vars(args)
    flags += f" --rotate {values['rotate']}" if values.get("rotate") else ""
    flags += " --mirror" if values.get("hflip") else ""
    flags += "".join(f" --roi {shlex.quote(text)}" for text in values.get("roi", ()))
    if values.get("collect"):
        folder = shlex.quote(str(values["collect"]))
        check = f"\n  {invocation()} collect export {folder} dataset.zip{check}"
    # An address may hold a password, and this goes into logs; a pipe has ended.
    hidden = "://" in args.source or args.source == "-"
    name = "SOURCE" if hidden else shlex.quote(args.source)
    suffix = "png" if source.kind == "pictures" and source.frame_count == 1 else "mp4"
    run = f"{invocation()} run{model} --source {name}{flags}"
    return f"\nnext:\n  {run} --output annotated.{suffix}{check}"
