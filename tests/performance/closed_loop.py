"""Does what ``run --collect`` chose make a better model? Real images, an oracle.

    python -m tests.performance.closed_loop --set ferplus --json closed_loop.json

A model meets another light and a blurred lens: a stream of images, darker and blurred.
The collector and the folder keep crops, an oracle labels the 50 that the review page
would show first, and the model learns them beside what it had; three rounds. Beside it
as many images of the same streams, taken at random. Measured is the accuracy on other
images, darker and blurred in the same way.

Collector, folder and order of the page are the product's. With ``--learn all`` so is
the training: ``python -m train --data base --data new --from before``, no more words.
With ``--learn last`` the network below its last layer stays as it is, so that each
image is computed once and five seeds take a minute; the last layer is fitted as recipe
``transfer`` begins.

Needs ../shared/fer2013 or ../shared/trashnet beside the checkout, or --data.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import cv2
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


class Parts(NamedTuple):
    """Something for each part of a task's images.

    Attributes:
        base: Of those that are there from the beginning.
        stream: Of those that the device meets, as it sees them.
        test: Of those that measure, as the device sees them.
        plain: Of those that measure, as they are.
    """

    base: Any
    stream: Any
    test: Any
    plain: Any


def images_of(task: Task) -> Parts:
    """Returns the images of each part."""
    stream = [task.shifted(image) for image in task.stream[0]]
    test = [task.shifted(image) for image in task.test[0]]
    return Parts(task.base[0], stream, test, task.test[0])


class LastLayer:
    """Learns the last layer alone; a model is float64 (features + 1, N)."""

    learns = "the last layer"

    def __init__(self, name: str, task: Task, images: Parts, _: Path) -> None:
        """Computes the features of all images."""
        from train.networks.backend import start_keras

        start_keras()
        import keras

        model = _network(name, len(task.labels))
        below = keras.Model(model.inputs[0], model.layers[-1].input)
        self._features = Parts(*(predict(below, part) for part in images))
        self._task = task
        self.first = self.learn(None, [])

    def learn(self, before: Floats | None, chosen: list[int]) -> Floats:
        """Returns the model for the base and some images of the stream."""
        from train.data.sources import times_drawn
        from train.data.splits import Split
        from train.optimization.head import fit_softmax

        base = np.array(self._task.base[1])
        more = np.array([self._task.stream[1][i] for i in chosen], np.int64)
        labels = np.concatenate([base, more]).astype(np.int64)
        features = self._features
        rows = np.concatenate([features.base, features.stream[chosen]])
        sources = np.repeat([0, 1], [len(base), len(more)]) if chosen else None
        names = tuple(map(str, range(len(labels))))
        split = Split(
            np.empty((len(labels), 1, 1, 1), np.uint8), labels, names, sources
        )
        targets = np.eye(len(self._task.labels))[labels]
        return fit_softmax(rows, targets, times_drawn(split))

    def answers(self, layer: Floats, part: str) -> Floats:
        """Returns logits, float64 (N, classes)."""
        features: Floats = getattr(self._features, part)
        return np.asarray(features @ layer[:-1] + layer[-1])


class AllLayers:
    """Learns by the command ``train``; a model is the folder of its run."""

    learns = "all layers: python -m train --data base --data new --from before"

    def __init__(self, name: str, task: Task, images: Parts, folder: Path) -> None:
        """Trains the first model, where none is released."""
        self._task, self._images, self._folder = task, images, folder
        self._runs = 0
        self.first = ROOT / "train" / "released" / name
        write_classes(folder / "base", task, task.base[0], task.base[1])
        if not self.first.is_dir():
            self.first = self._train("--arch", "efficientnet_lite0", "--size", "96")

    def learn(self, before: Path, chosen: list[int]) -> Path:
        """Returns the next run: the base again, and some images of the stream."""
        more: list[object] = []
        if chosen:
            new = self._folder / f"new{self._runs}"
            labels = [self._task.stream[1][i] for i in chosen]
            write_classes(
                new, self._task, [self._images.stream[i] for i in chosen], labels
            )
            more = ["--data", new]
        return self._train(*more, "--from", before)

    def _train(self, *words: object) -> Path:
        from train.__main__ import main as train

        self._runs += 1
        run = self._folder / f"run{self._runs}"
        arguments = ["--data", self._folder / "base", "--name", run, *words]
        with (self._folder / "log.txt").open("a") as log, redirect_stdout(log):
            if train([str(word) for word in arguments]):
                raise SystemExit(f"train failed: {arguments}")
        return run

    def answers(self, run: Path, part: str) -> Floats:
        """Returns logits, float64 (N, classes)."""
        import keras

        model = keras.models.load_model(run / "model.keras", safe_mode=True)
        return predict(model, getattr(self._images, part))


def predict(model: Any, images: Images) -> Floats:
    """Returns what a network says to images, float64 (N, values)."""
    from train.run.results import predict_logits

    _, size, _, channels = model.inputs[0].shape
    colour: Any = "grey" if channels == 1 else "rgb"
    batch = np.stack([to_model_input(image, size, colour) for image in images])
    return predict_logits(model, batch).astype(np.float64)


def write_classes(folder: Path, task: Task, images: Images, labels: list[int]) -> None:
    """Writes images into a folder for each class."""
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / task.labels[label] / f"{number:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image)


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


LEARNERS: dict[str, Any] = {"last": LastLayer, "all": AllLayers}


class Loop:
    """Of one kind of learning: what the device chooses, and how good a model is."""

    def __init__(
        self, task: Task, images: Parts, learner: Any, random_frac: float
    ) -> None:
        """Takes what all seeds share, and the share of crops taken at random."""
        self.task, self.images, self.learner = task, images, learner
        self.random_frac = random_frac

    def accuracy(self, model: Any, part: str = "test") -> float:
        """Returns the share of the test's images that a model has right."""
        logits = self.learner.answers(model, part)
        right = logits.argmax(axis=1) == np.array(self.task.test[1])
        return round(float(right.mean()), 4)

    def collect(self, model: Any, part: list[int], seed: int) -> list[int]:
        """Returns the images of the stream that the page would show first."""
        shares = softmax(self.learner.answers(model, "stream")[part], axis=1)
        with tempfile.TemporaryDirectory() as folder:
            crops = CropFolder(Path(folder), CollectLimits())
            self._fill(crops, part, shares, seed)
            asked = Review(crops, lambda: self.task.labels).next("oracle", PER_ROUND)
            found = [part[crops.document(one["name"])["frame"]] for one in asked]
            crops.close()
        return found

    def _fill(
        self, crops: CropFolder, part: list[int], shares: Floats, seed: int
    ) -> None:
        queue: WorkQueue[TakenCrop] = WorkQueue(
            "--collect", crops.store, capacity=QueueCapacity(frames=4), lossless=True
        )
        spec: Any = SimpleNamespace(crop_margin_frac=0.0, size_px=48)
        collector = Collector(
            queue,
            CollectLimits(every_s=SLOT_S, random_frac=self.random_frac),
            spec=lambda: spec,
            model=dict,
            whole=True,
            live=False,
            seed=seed,
        )
        for number, (at, row) in enumerate(zip(part, shares, strict=True)):
            image = self.images.stream[at]
            time_s = number * FRAME_S
            frame = Frame(image, number, time_s, "stream")
            collector.write(frame, self._result(image, number, time_s, row))
        collector.finish()
        queue.close()

    def _result(
        self, image: Any, number: int, time_s: float, row: Floats
    ) -> FrameResult:
        best, (height, width) = int(row.argmax()), image.shape[:2]
        shares = dict(zip(self.task.labels, row.tolist(), strict=True))
        label = self.task.labels[best]
        box = (0, 0, width, height)
        face = FaceResult(box, 1.0, label, float(row[best]), shares, 1, None, time_s)
        return FrameResult(number, time_s, "stream", (face,), 0.0, 0.0)


def measure_seed(loop: Loop, seed: int) -> dict[str, Any]:
    """Returns the accuracies after each round, and with as many random labels."""
    task, learner = loop.task, loop.learner
    rng = np.random.default_rng([seed, 7])
    order = rng.permutation(len(task.stream[0])).tolist()
    third = min(MOST_PER_ROUND, len(order) // ROUNDS)
    chosen, at_random = list[int](), list[int]()
    collected, beside = [], []
    model = other = learner.first
    for number in range(ROUNDS):
        part = order[number * third : (number + 1) * third]
        chosen += loop.collect(model, part, seed)
        at_random += rng.choice(part, PER_ROUND, replace=False).tolist()
        model = learner.learn(model, chosen)
        other = learner.learn(other, at_random)
        collected.append(loop.accuracy(model))
        beside.append(loop.accuracy(other))
    return {
        "seed": seed,
        "labels": len(chosen),
        "collected": collected,
        "random": beside,
    }


def without_labels(loop: Loop) -> list[float]:
    """Returns the accuracies after rounds of the same training, with the base alone."""
    model, found = loop.learner.first, []
    for _ in range(ROUNDS):
        model = loop.learner.learn(model, [])
        found.append(loop.accuracy(model))
    return found


def interval(values: Sequence[float]) -> list[float]:
    """Returns mean and 95 % interval by Student's t, as shares."""
    from scipy.stats import t

    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return [round(mean, 4)]
    half = float(t.ppf(0.975, count - 1) * np.std(values, ddof=1) / np.sqrt(count))
    return [round(mean, 4), round(mean - half, 4), round(mean + half, 4)]


def record_of(
    loop: Loop, first: dict[str, Any], seeds: list[dict[str, Any]]
) -> dict[str, Any]:
    """Returns the record of some seeds."""
    task, none = loop.task, first["no_labels"]
    over = [each["collected"][-1] - each["random"][-1] for each in seeds]
    return {
        "schema": "fer-edge/closed-loop/3",
        "learns": loop.learner.learns,
        "shift": {"brightness": task.brightness, "blur_px": task.blur_px},
        "images": {
            "base": len(task.base[0]),
            "stream_per_round": min(MOST_PER_ROUND, len(task.stream[0]) // ROUNDS),
            "test": len(task.test[0]),
        },
        "labels_per_round": PER_ROUND,
        "collect_random": loop.random_frac,
        **first,
        "seeds": seeds,
        "gain_over_no_labels": interval(
            [each["collected"][-1] - none for each in seeds]
        ),
        "gain_of_random": interval([each["random"][-1] - none for each in seeds]),
        "gain_over_random": interval(over),
        "seeds_at_least_as_good_as_random": sum(each >= 0 for each in over),
    }


def main() -> int:
    """Measures all seeds of one set; the record is written after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--set", choices=TASKS, default="ferplus")
    parser.add_argument("--learn", choices=LEARNERS, default="last")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--collect-random", type=float, default=CollectLimits().random_frac
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    shared, make = TASKS[options.set]
    task = make(options.data or SHARED / shared)
    images = images_of(task)
    seeds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        learner = LEARNERS[options.learn](options.set, task, images, Path(folder))
        loop = Loop(task, images, learner, options.collect_random)
        first = {
            "set": options.set,
            "not_shifted": loop.accuracy(learner.first, "plain"),
            "no_labels": loop.accuracy(learner.first),
            "trained_on_without_labels": without_labels(loop),
        }
        print(json.dumps(first), flush=True)
        for seed in range(1, options.seeds + 1):
            seeds.append(measure_seed(loop, seed))
            print(json.dumps(seeds[-1]), flush=True)
            record = record_of(loop, first, seeds)
            options.json.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
