"""``python -m tests.performance.feed``: how fast training batches are made and used.

The training feed is compared with Keras' ``ImageDataGenerator``, set as in the origin
project's notebook: on one core in images per second of processor time (which a busy
machine changes little), on all cores in images per second of wall time. The feeds are
interleaved, so that their ratio holds where the figures do not.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.common.documents import (
    check_writable,
    now,
    save_result,
)
from edge_runtime.utils import flags
from edge_runtime.utils.argparser import CommandLine, exit_code_of
from train.networks.backend import start_keras
from train.options.config import ARCHITECTURE_NAMES, Precision

SCHEMA = "fer-edge/feed/1"
BATCH = 64
IMAGES = 2048
FACES = 256  # drawn; then they repeat
CLASSES = 7
SIZE_PX = 48
STEP_PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")  # as on a CPU
# Batches of one feed before the next one's: short, and enough to refill the caches.
FEED_BATCHES = 4
STEP_BATCHES = 3
MakeBatch = Callable[[int], Any]
EXAMPLES = """\
examples:
  python -m tests.performance.feed
  python -m tests.performance.feed --steps --arch fer_resnet --json feed.json

The images are drawn faces: JPEG takes longer for noise than for a face.
"""


@dataclass(frozen=True)
class Feed:
    """A maker of training batches.

    Attributes:
        name: Its name in the table.
        batch: Makes batch number n: ``BATCH`` images.
    """

    name: str
    batch: MakeBatch


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    options = _parser().parse_args(argv)
    return exit_code_of(lambda: _run(options))


def measure_feeds(feeds: Sequence[Feed], seconds: float) -> list[dict[str, Any]]:
    """Returns images per second of every feed, measured interleaved, JSON-ready.

    Args:
        feeds: The first is the reference of the ratios.
        seconds: Shortest time for each feed, on one core and again on all.

    Returns:
        per_core (images per second of processor time, one thread) and all_cores
        (images per second of wall time, a thread on each core), medians over the
        rounds, each with its ratio to the first feed's, round by round.
    """
    single = _interleaved([_one_thread(feed) for feed in feeds], seconds)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        parallel = _interleaved([_all_threads(feed, pool) for feed in feeds], seconds)
    return [
        {
            "feed": feed.name,
            "per_core": _median(single[index]),
            "per_core_to_first": _ratio(single[index], single[0]),
            "all_cores": _median(parallel[index]),
            "all_cores_to_first": _ratio(parallel[index], parallel[0]),
            "turns": len(single[index]),
        }
        for index, feed in enumerate(feeds)
    ]


def feeds() -> list[Feed]:
    """Returns the notebook's feed, ours augmenting as it does, and ours as it is."""
    from train.data.augment import NOTEBOOK_AUGMENTATION, Augmentation

    return [
        Feed("notebook's ImageDataGenerator", _notebook()),
        Feed("train.feed, the notebook's changes", _ours(NOTEBOOK_AUGMENTATION)),
        Feed("train.feed, its own changes", _ours(Augmentation())),
    ]


def measure_steps(
    arch: str, seconds: float, precisions: Sequence[Precision] = STEP_PRECISIONS
) -> list[dict[str, Any]]:
    """Returns images per second of whole training steps, interleaved, JSON-ready.

    Forward, backward and update on one prepared batch, without the feed.

    Args:
        arch: One of ``train.networks.architectures.ARCHITECTURES``.
        seconds: Shortest time for each precision.
        precisions: The first is the reference of the ratios.
    """
    steps = [_step(arch, precision) for precision in precisions]
    rates = _interleaved(steps, seconds)
    return [
        {
            "arch": arch,
            "precision": precision,
            "images_per_second": _median(rate),
            "to_first": _ratio(rate, rates[0]),
            "turns": len(rate),
        }
        for precision, rate in zip(precisions, rates, strict=True)
    ]


def _notebook() -> MakeBatch:
    import tensorflow

    images, targets = _data()
    generator = tensorflow.keras.preprocessing.image.ImageDataGenerator(
        rotation_range=20,
        width_shift_range=0.2,
        height_shift_range=0.2,
        shear_range=0.2,
        zoom_range=0.2,
        horizontal_flip=True,
        fill_mode="nearest",
    )
    flow = generator.flow(images, targets, batch_size=BATCH)
    return lambda number: flow[number % len(flow)]


def _ours(augmentation: Any) -> MakeBatch:
    from train.data.splits import Split
    from train.feed import TrainingFeed

    images, targets = _data()
    names = tuple(str(number) for number in range(IMAGES))
    split = Split(images, np.asarray(targets.argmax(axis=1), np.int64), names)
    feed = TrainingFeed(
        split, BATCH, targets=targets, augmentation=augmentation, seed=0
    )
    return lambda number: feed[number]


@functools.cache
def _data() -> tuple[Any, Any]:
    """Returns uint8 (N, S, S, 1) drawn faces and one-hot float32 (N, classes)."""
    from train.data.drawn_faces import drawn_faces

    faces, labels = drawn_faces(FACES, seed=0, size_px=SIZE_PX)
    images = np.tile(faces[..., np.newaxis], (IMAGES // FACES, 1, 1, 1))
    answers = np.tile(labels, IMAGES // FACES)
    return images, np.eye(CLASSES, dtype=np.float32)[answers]


def _one_thread(feed: Feed) -> Callable[[int], float]:
    """Returns a measurement: images per second of processor time."""

    def measure(number: int) -> float:
        before = time.process_time()
        for batch in range(number * FEED_BATCHES, (number + 1) * FEED_BATCHES):
            feed.batch(batch)
        return FEED_BATCHES * BATCH / max(1e-9, time.process_time() - before)

    return measure


def _all_threads(feed: Feed, pool: ThreadPoolExecutor) -> Callable[[int], float]:
    """Returns a measurement: images per second of wall time."""
    count = 2 * (os.cpu_count() or 1)

    def measure(number: int) -> float:
        before = time.perf_counter()
        list(pool.map(feed.batch, range(number * count, (number + 1) * count)))
        return count * BATCH / (time.perf_counter() - before)

    return measure


def _step(arch: str, precision: Precision) -> Callable[[int], float]:
    import keras

    from train.networks.architectures import build_model
    from train.optimization.initialization import POLICIES

    keras.mixed_precision.set_dtype_policy(POLICIES[precision])
    try:
        model = build_model(arch, size_px=SIZE_PX, channels=1, classes=CLASSES)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    model.compile(
        keras.optimizers.SGD(1e-3, momentum=0.9, nesterov=True),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    images, targets = (part[:BATCH] for part in _data())

    def measure(number: int) -> float:
        before = time.perf_counter()
        for _ in range(STEP_BATCHES):
            model.train_on_batch(images, targets)
        return STEP_BATCHES * BATCH / (time.perf_counter() - before)

    return measure


def _interleaved(
    measurements: Sequence[Callable[[int], float]], seconds: float
) -> list[list[float]]:
    """Returns the rates of every measurement, by round, until each had its time.

    The first call of each is left out: it builds, loads and fills caches.
    """
    rates: list[list[float]] = [[] for _ in measurements]
    for measure in measurements:
        measure(0)
    number, end = 1, time.perf_counter() + seconds * len(measurements)
    while time.perf_counter() < end or number <= 3:
        for measure, rate in zip(measurements, rates, strict=True):
            rate.append(measure(number))
        number += 1
    return rates


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))


def _ratio(values: Sequence[float], first: Sequence[float]) -> dict[str, float]:
    low, middle, high = np.percentile(np.divide(values, first), [5, 50, 95])
    return {"median": float(middle), "p5": float(low), "p95": float(high)}


def _run(options: argparse.Namespace) -> int:
    check_writable([options.json], force=options.force)
    cv2.setNumThreads(1)  # else OpenCV uses other cores for one image
    start_keras()
    from train.run.results import versions

    document = {
        "schema": SCHEMA,
        "created": now(),
        "cores": os.cpu_count(),
        "load_average": list(os.getloadavg()),
        "versions": versions(),
        "image": f"{SIZE_PX}x{SIZE_PX} grey, batches of {BATCH}",
        "feeds": measure_feeds(feeds(), options.seconds),
        "steps": measure_steps(options.arch, options.seconds) if options.steps else [],
    }
    print("\n".join(_lines(document)))
    save_result(document, options.json)
    return 0


def _lines(document: dict[str, Any]) -> list[str]:
    lines = [f"{document['image']}, {document['cores']} cores; images per second"]
    for feed in document["feeds"]:
        lines.append(
            f"  {feed['feed']:<36} {feed['per_core']:9,.0f} a core"
            f" (x {feed['per_core_to_first']['median']:.2f})"
            f" {feed['all_cores']:9,.0f} on all cores"
            f" (x {feed['all_cores_to_first']['median']:.2f})"
        )
    for step in document["steps"]:
        lines.append(
            f"  training step, {step['arch']}, {step['precision']}:"
            f" {step['images_per_second']:,.0f} (x {step['to_first']['median']:.2f})"
        )
    return lines


def _parser() -> argparse.ArgumentParser:
    parser = CommandLine(
        prog="python -m tests.performance.feed",
        description="Measures the training feed and that of the origin notebook.",
        epilog=EXAMPLES,
    )
    add = parser.add_argument
    add("--seconds", type=flags.positive, default=5, metavar="N", help="for each (5)")
    add("--steps", action="store_true", help="time whole training steps as well")
    add("--arch", choices=ARCHITECTURE_NAMES, default="fer_resnet")
    add("--json", type=Path, metavar="FILE", help="keep the result as JSON")
    add("--force", action="store_true", help="replace an existing file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
