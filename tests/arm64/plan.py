"""What is run on which board."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tests.arm64.cache import ROOT
from tests.arm64.cores import A72, A76, CORES, Core
from tests.arm64.parity import IMAGES
from tests.arm64.wheels import LITERT, PYTHON_313, TFLITE_RUNTIME, Environment

Place = tuple[Environment, Core]

TINY = ROOT / "tests" / "data" / "tiny.int8.tflite"
RELEASED = ROOT / "edge_runtime" / "models" / "fer2013.int8.tflite"
RESULTS = ROOT / "benchmarks" / "results"
# Where the instructions of each stand on record.
RECORDS = {
    TINY: RESULTS / "instruction_counts_tiny.json",
    RELEASED: RESULTS / "instruction_counts.json",
}


def models() -> list[Path]:
    """Returns the int8 files: tiny, released, those in FER_EDGE_ARM64_MODELS."""
    named = os.environ.get("FER_EDGE_ARM64_MODELS", "").split()
    return [path for path in (TINY, RELEASED, *map(Path, named)) if path.exists()]


REPLAYS: tuple[Place, ...] = (
    (TFLITE_RUNTIME, A72),
    (LITERT, A72),
    (LITERT, A76),
    (TFLITE_RUNTIME, A76),
    (PYTHON_313, A76),
)
# A real network takes half a minute each. tflite-runtime executes the same instructions
# on both cores, and Python 3.13 has the same library as 3.11: the tiny one is enough.
LONG_REPLAYS = REPLAYS[:3]


def replays() -> list[tuple[Place, Path]]:
    """Returns which model is replayed where."""
    return [
        (place, model)
        for model in models()
        for place in (REPLAYS if model == TINY else LONG_REPLAYS)
    ]


def images_of(environment: Environment, model: Path) -> int:
    """Returns how many images a model is given.

    Fewer where logits are allowed to differ anyway: emulation takes a sixth of a second
    for each of a real network.
    """
    return 50 if environment == TFLITE_RUNTIME and model != TINY else IMAGES


COUNTS: tuple[Place, ...] = tuple(
    (environment, core) for environment in (LITERT, TFLITE_RUNTIME) for core in CORES
)


def gated() -> list[Path]:
    """Returns the models whose instructions may not become more."""
    return [path for path in RECORDS if path.exists()]


@dataclass(frozen=True)
class DeviceTests:
    """Device tests on a board.

    Attributes:
        place: Which board.
        modules: Paths in ``tests/device``, without their ``.py``.
        without: Tests left out, as pytest's ``-k`` names them.
    """

    place: Place
    modules: tuple[str, ...]
    without: str

    @property
    def id(self) -> str:
        """What pytest calls it."""
        environment, core = self.place
        return f"{environment.name}-{core.name}"


# What touches the processor's own arithmetic or compiled code. Modules in pure Python
# (spec, signature, reports, readers) do the same there as here and take ten times as
# long; so do those that flip and cut every byte of a file.
PURE_PYTHON = "not (round_trip or flipped or cut_at or canonical)"
PREPROCESSING, BACKENDS = "test_preprocessing", "inference/test_backends"
DEVICE_TESTS = (
    DeviceTests(
        (LITERT, A76),
        (
            PREPROCESSING,
            "inference/test_tensors",
            "model_file/test_container",
            "inference/test_classifier",
            BACKENDS,
        ),
        PURE_PYTHON,
    ),
    DeviceTests((TFLITE_RUNTIME, A72), (PREPROCESSING, BACKENDS), "not printed"),
    DeviceTests((PYTHON_313, A76), (PREPROCESSING, BACKENDS), "not printed"),
)
