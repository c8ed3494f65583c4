"""What a network costs: operations, bytes and time, before it is trained.

Time and bytes are those of its int8 file: of the untrained network first, since they do
not depend on the weights, and of the trained one in the end.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from edge_runtime.errors import FerEdgeError
from edge_runtime.inference.classifier import Classifier
from edge_runtime.preprocessing import CHANNELS
from edge_runtime.untrusted import read_json
from train.run.folder import MAX_JSON_BYTES
from train.search.command import run_export
from train.search.images import ImageSummary
from train.search.space import Network

BLOCKS, WARM_UP_RUNS, BLOCK_S, BLOCK_RUNS = 5, 20, 0.1, 40
PICTURES = 16
UNITS = {"macs": (1e6, "MMACs"), "latency": (1, "ms"), "bytes": (1e3, "kB")}


@dataclass(frozen=True)
class Cost:
    """What a network costs; None where nothing asked for it.

    Attributes:
        macs: Multiply-accumulates of one image.
        parameters: Number of weights.
        latency: CPU time of one image in milliseconds, int8, one thread, here or on a
            board.
        bytes: Size of the int8 file.
    """

    macs: int
    parameters: int
    latency: float | None = None
    bytes: int | None = None

    def excess(self, limits: Mapping[str, float]) -> dict[str, float]:
        """Returns by how much of a limit each cost is above it; negative below."""
        return {name: getattr(self, name) / limit - 1 for name, limit in limits.items()}


def describe(name: str, value: float) -> str:
    """Returns a cost with its unit."""
    scale, unit = UNITS[name]
    return f"{value / scale:,.4g} {unit}"


class Costs:
    """Measures networks, each once."""

    def __init__(
        self,
        images: ImageSummary,
        wanted: Sequence[str],
        *,
        log: Path,
        environment: Any,
        board_ratio: float = 1.0,
    ) -> None:
        """Takes what is measured: some of macs, latency and bytes.

        Args:
            images: What the networks see.
            wanted: Some of macs, latency and bytes.
            log: File for what the exports print.
            environment: Of the exports.
            board_ratio: How many times as long as this machine the board takes.
        """
        self._board_ratio = board_ratio
        self._images, self._wanted = images, wanted
        self._log, self._environment = log, environment
        self._known: dict[Network, Cost] = {}

    @property
    def needs_file(self) -> bool:
        """Whether the int8 file is needed."""
        return bool({"latency", "bytes"} & set(self._wanted))

    def of(self, network: Network) -> Cost:
        """Returns the cost of an untrained network.

        Raises:
            FerEdgeError: The network cannot be built, or its export failed.
        """
        if network not in self._known:
            self._known[network] = self._measure(network)
        return self._known[network]

    def _measure(self, network: Network) -> Cost:
        from train.networks.architectures import build_model, count_macs
        from train.networks.blocks import Scale

        try:
            model = build_model(
                network.arch,
                size_px=network.size_px,
                channels=CHANNELS[self._images.colour],
                classes=len(self._images.labels),
                scale=Scale(network.width, network.depth),
            )
        except ValueError as error:  # Keras: nothing is left of so small an input
            raise FerEdgeError(f"{network}: {error}") from error
        cost = Cost(count_macs(model), model.count_params())
        if not self.needs_file:
            return cost
        with tempfile.TemporaryDirectory() as folder:
            saved = Path(folder) / "untrained.keras"
            model.save(saved)
            names = Path(folder) / "labels.txt"
            names.write_text("\n".join(self._images.labels), encoding="utf-8")
            pictures = self._draw(Path(folder) / "pictures", network.size_px)
            words = [str(saved), "--labels", str(names)]
            words += ["--calibration-data", str(pictures)]
            return self._with_file(cost, words, Path(folder) / "export")

    def _draw(self, folder: Path, size_px: int) -> Path:
        """Returns a folder of noise, which takes as long as any other picture."""
        folder.mkdir()
        rng = np.random.default_rng(0)
        for number in range(PICTURES):
            noise = rng.integers(0, 256, (size_px, size_px, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / f"{number}.png"), noise)
        return folder

    def of_trained(self, run: Path, cost: Cost) -> Cost:
        """Returns the cost with time and bytes of a run's own int8 file, if needed."""
        if not self.needs_file:
            return cost
        return self._with_file(cost, [str(run), "--force"], run / "export")

    def _with_file(self, cost: Cost, words: Sequence[str], folder: Path) -> Cost:
        figures = folder / "export.json"
        more = ["--formats", "int8", "--out", str(folder), "--json", str(figures)]
        run_export([*words, *more], log=self._log, environment=self._environment)
        name = read_json(figures, MAX_JSON_BYTES)["files"][0]["file"]
        file = folder / name
        latency = round(self._board_ratio * measure_latency_ms(file), 4)
        return Cost(cost.macs, cost.parameters, latency, file.stat().st_size)


def measure_latency_ms(file: Path) -> float:
    """Returns the CPU time of one image through ``edge_runtime``, on one thread.

    On an idle machine it is the time that passes; where other workers train at the same
    time, their turns are not counted. The median of each of five blocks is taken, and
    of those the lowest.

    Args:
        file: A model file.
    """
    classifier = Classifier.load(file, num_threads=1)
    rng = np.random.default_rng(0)
    shape = (1, *classifier.spec.input_shape)
    image = rng.integers(0, 256, shape, dtype=np.uint8)
    for _ in range(WARM_UP_RUNS):
        classifier.logits(image)
    return round(min(_block_ms(classifier, image) for _ in range(BLOCKS)), 4)


def _block_ms(classifier: Classifier, image: Any) -> float:
    times_s: list[float] = []
    while len(times_s) < BLOCK_RUNS or math.fsum(times_s) < BLOCK_S:
        start = time.thread_time()
        classifier.logits(image)
        times_s.append(time.thread_time() - start)
    return 1e3 * median(times_s)
