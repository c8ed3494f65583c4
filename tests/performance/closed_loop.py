"""Does what ``run --collect`` chose make a better model? Real images, an oracle.

    python -m tests.performance.closed_loop --set ferplus --json closed_loop.json

A model meets another light and a blurred lens: a stream of images, darker and blurred.
The collector and the folder keep crops, an oracle labels the 50 that the review page
would show first, and the model learns them beside what it had; three rounds. Beside it
as many images of the same streams, taken at random. Measured is the accuracy on other
images, darker and blurred in the same way.

Collector, folder, order of the page and weights of the sets are the product's. The
network below its last layer stays as it is, so that each image is computed once and
five seeds take a minute; the last layer is fitted as recipe ``transfer`` begins.

Needs ../shared/fer2013 or ../shared/trashnet beside the checkout, or --data.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from edge_runtime.outputs.base import CollectLimits
from edge_runtime.outputs.collection.collector import Collector
from edge_runtime.outputs.collection.crop_folder import CropFolder, TakenCrop
from edge_runtime.outputs.collection.review import Review
from edge_runtime.outputs.work_queue import QueueCapacity, WorkQueue
from edge_runtime.preprocessing import to_model_input
from edge_runtime.results import FaceResult, FrameResult
from edge_runtime.sources import Frame
from tests.performance.closed_loop_sets import TASKS, Images, Task

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
ROUNDS, PER_ROUND = 3, 50
FRAME_S, SLOT_S = 0.4, 1.2  # one crop of three images
MOST_PER_ROUND = 400

Floats = npt.NDArray[np.float64]


class Features:
    """Features of a task's images below the last layer, float64 (N, features)."""

    def __init__(self, name: str, task: Task) -> None:
        """Computes all of them."""
        from train.networks.backend import start_keras

        start_keras()
        import keras

        model = _network(name, len(task.labels))
        self._below = keras.Model(model.inputs[0], model.layers[-1].input)
        shift = [task.shifted(image) for image in task.stream[0]]
        self.base = self._of(task.base[0])
        self.stream = self._of(shift)
        self.test = self._of([task.shifted(image) for image in task.test[0]])
        self.plain = self._of(task.test[0])
        self.shifted_images = shift

    def _of(self, images: Images) -> Floats:
        from train.run.results import predict_logits

        _, size, _, channels = self._below.inputs[0].shape
        colour: Any = "grey" if channels == 1 else "rgb"
        batch = np.stack([to_model_input(image, size, colour) for image in images])
        return predict_logits(self._below, batch).astype(np.float64)


def _network(name: str, classes: int) -> Any:
    import keras

    if name == "ferplus":
        path = ROOT / "train" / "released" / "ferplus" / "model.keras"
        return keras.models.load_model(path, safe_mode=True)
    from train.networks import pretrained
    from train.networks.architectures import build_model
    from train.networks.blocks import Scale

    arch = "efficientnet_lite0"
    model = build_model(
        arch, size_px=96, channels=3, classes=classes, scale=Scale(1.0, 1)
    )
    pretrained.load_weights(model, arch, pretrained.IMAGENET)
    return model


class Loop:
    """One seed: the last layer, and what was labelled so far."""

    def __init__(self, task: Task, features: Features) -> None:
        """Begins with the base alone."""
        self.task, self.features = task, features
        self.layer = self.fit([])

    def fit(self, chosen: list[int]) -> Floats:
        """Returns the last layer for the base and some images of the stream."""
        from train.data.sources import times_drawn
        from train.data.splits import Split
        from train.optimization.head import fit_softmax

        base = np.array(self.task.base[1])
        more = np.array([self.task.stream[1][i] for i in chosen], np.int64)
        labels = np.concatenate([base, more]).astype(np.int64)
        rows = np.concatenate([self.features.base, self.features.stream[chosen]])
        sources = np.repeat([0, 1], [len(base), len(more)]) if chosen else None
        names = tuple(map(str, range(len(labels))))
        split = Split(
            np.empty((len(labels), 1, 1, 1), np.uint8), labels, names, sources
        )
        targets = np.eye(len(self.task.labels))[labels]
        return fit_softmax(rows, targets, times_drawn(split))

    def accuracy(self, layer: Floats, features: Floats | None = None) -> float:
        """Returns the share of the test's images that a layer has right."""
        rows = self.features.test if features is None else features
        right = answers(layer, rows).argmax(axis=1) == np.array(self.task.test[1])
        return round(float(right.mean()), 4)

    def collect(self, part: list[int], folder: Path, seed: int) -> list[int]:
        """Returns the images of the stream that were chosen to be labelled."""
        crops = CropFolder(folder, CollectLimits())
        queue: WorkQueue[TakenCrop] = WorkQueue(
            "--collect", crops.store, capacity=QueueCapacity(frames=4), lossless=True
        )
        spec: Any = SimpleNamespace(crop_margin_frac=0.0, size_px=48)
        collector = Collector(
            queue,
            CollectLimits(every_s=SLOT_S),
            spec=lambda: spec,
            model=dict,
            whole=True,
            live=False,
            seed=seed,
        )
        shares = answers(self.layer, self.features.stream[part])
        for number, (at, row) in enumerate(zip(part, shares, strict=True)):
            image = self.features.shifted_images[at]
            time_s = number * FRAME_S
            frame = Frame(image, number, time_s, "stream")
            collector.write(frame, self._result(image, number, time_s, row))
        collector.finish()
        queue.close()
        review = Review(crops, lambda: self.task.labels)
        asked = review.next("oracle", PER_ROUND)
        found = [part[crops.document(one["name"])["frame"]] for one in asked]
        crops.close()
        return found

    def _result(
        self, image: Any, number: int, time_s: float, row: Floats
    ) -> FrameResult:
        best, (height, width) = int(row.argmax()), image.shape[:2]
        shares = dict(zip(self.task.labels, row.tolist(), strict=True))
        label = self.task.labels[best]
        box = (0, 0, width, height)
        face = FaceResult(box, 1.0, label, float(row[best]), shares, 1, None, time_s)
        return FrameResult(number, time_s, "stream", (face,), 0.0, 0.0)


def answers(layer: Floats, features: Floats) -> Floats:
    """Returns probabilities, float64 (N, classes)."""
    return np.asarray(softmax(features @ layer[:-1] + layer[-1], axis=1))


def measure_seed(task: Task, features: Features, seed: int) -> dict[str, Any]:
    """Returns the accuracies after each round, and with as many random labels."""
    rng = np.random.default_rng([seed, 7])
    order = rng.permutation(len(task.stream[0])).tolist()
    third = min(MOST_PER_ROUND, len(order) // ROUNDS)
    loop, chosen, at_random = Loop(task, features), list[int](), list[int]()
    collected, beside = [], []
    for number in range(ROUNDS):
        part = order[number * third : (number + 1) * third]
        with tempfile.TemporaryDirectory() as folder:
            chosen += loop.collect(part, Path(folder), seed)
        at_random += rng.choice(part, PER_ROUND, replace=False).tolist()
        loop.layer = loop.fit(chosen)
        collected.append(loop.accuracy(loop.layer))
        beside.append(loop.accuracy(loop.fit(at_random)))
    return {
        "seed": seed,
        "labels": len(chosen),
        "collected": collected,
        "random": beside,
    }


def interval(values: Sequence[float]) -> list[float]:
    """Returns mean and 95 % interval by Student's t, as shares."""
    from scipy.stats import t

    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return [round(mean, 4)]
    half = float(t.ppf(0.975, count - 1) * np.std(values, ddof=1) / np.sqrt(count))
    return [round(mean, 4), round(mean - half, 4), round(mean + half, 4)]


def main() -> int:
    """Measures all seeds of one set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--set", choices=TASKS, default="ferplus")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    shared, make = TASKS[options.set]
    task = make(options.data or SHARED / shared)
    features = Features(options.set, task)
    loop = Loop(task, features)
    none = loop.accuracy(loop.layer)
    seeds = [measure_seed(task, features, seed) for seed in range(1, options.seeds + 1)]
    over = [each["collected"][-1] - each["random"][-1] for each in seeds]
    record = {
        "schema": "fer-edge/closed-loop/1",
        "set": options.set,
        "learns": "the last layer",
        "shift": {"brightness": task.brightness, "blur_px": task.blur_px},
        "images": {
            "base": len(task.base[0]),
            "stream_per_round": min(MOST_PER_ROUND, len(task.stream[0]) // ROUNDS),
            "test": len(task.test[0]),
        },
        "labels_per_round": PER_ROUND,
        "not_shifted": loop.accuracy(loop.layer, features.plain),
        "no_labels": none,
        "seeds": seeds,
        "gain_over_no_labels": interval(
            [each["collected"][-1] - none for each in seeds]
        ),
        "gain_of_random": interval([each["random"][-1] - none for each in seeds]),
        "gain_over_random": interval(over),
        "seeds_at_least_as_good_as_random": sum(each >= 0 for each in over),
    }
    options.json.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
