"""``python -m tests.performance.large_set``: a set that does not fit in memory.

Draws pictures whose decoded size is 3 GiB into a temporary folder, and measures what
``train`` does with them: decoding with one and two processes, the second start, the
feed with one and two processes, and the memory of a training. What is compared is
measured in turns, so that the ratios hold where the figures do not.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.common.documents import check_writable, now, save_result
from edge_runtime.hardware.board import read_cpu
from edge_runtime.utils import flags
from edge_runtime.utils.argparser import CommandLine, exit_code_of
from tests.performance.pictures import CLASSES, PICTURE_WH, draw_set
from train.data.image_cache import FOLDER_VARIABLE
from train.data.workers import Workers, available_cores

SCHEMA = "fer-edge/large-set/1"
SIZE_PX = 224
BATCH, BATCHES_PER_TURN = 16, 24
DECODED_PER_TURN = 384
EXAMPLES = """\
examples:
  python -m tests.performance.large_set                       an hour on two cores
  python -m tests.performance.large_set --images 2000 --json small.json
"""


def in_turns(measures: dict[str, Callable[[int], float]], turns: int) -> dict[str, Any]:
    """Returns the median rate of each, and their ratios to the first, turn by turn."""
    rates: dict[str, list[float]] = {name: [] for name in measures}
    for turn in range(turns):
        for name, measure in measures.items():
            rates[name].append(measure(turn))
    first = next(iter(rates.values()))
    return {
        name: {
            "images_per_second": round(float(np.median(rate)), 1),
            "to_first": [round(x, 2) for x in np.divide(rate, first).tolist()],
            "to_first_median": round(float(np.median(np.divide(rate, first))), 2),
        }
        for name, rate in rates.items()
    }


def measure_decoding(folder: Path, turns: int) -> dict[str, Any]:
    """Returns images decoded per second with one process and with two."""
    from train.data.decoding import prepare
    from train.data.image_formats import ImageFormat

    form = ImageFormat(SIZE_PX, "rgb", "crop")
    paths = sorted(folder.glob("*/*.jpg"))

    def decoding(workers: Workers) -> Callable[[int], float]:
        def measure(turn: int) -> float:
            start = turn * DECODED_PER_TURN % max(1, len(paths) - DECODED_PER_TURN)
            chosen = paths[start : start + DECODED_PER_TURN]
            before = time.perf_counter()
            chunks = (chosen[i : i + 32] for i in range(0, len(chosen), 32))
            calls = (
                ([path.read_bytes() for path in each], form, True) for each in chunks
            )
            done = sum(len(images) for images in workers.map(prepare, calls))
            return done / (time.perf_counter() - before)

        measure(0)
        return measure

    with Workers(1) as one, Workers(2) as two:
        return in_turns({"1": decoding(one), "2": decoding(two)}, turns)


def measure_feed(folder: Path, turns: int) -> dict[str, Any]:
    """Returns augmented images per second with one process and with two."""
    from train.data.augment import PHOTO_AUGMENTATION
    from train.data.dataset import load
    from train.data.decoding import Decoder
    from train.feed import TrainingFeed

    split = load(folder, size_px=SIZE_PX, fit="crop", decoder=Decoder("disk")).train
    targets = np.eye(len(CLASSES), dtype=np.float32)[split.labels]

    def feeding(workers: Workers | None) -> Callable[[int], float]:
        feed = TrainingFeed(
            split,
            BATCH,
            targets=targets,
            augmentation=PHOTO_AUGMENTATION,
            seed=1,
            workers=workers,
        )

        def measure(turn: int) -> float:
            before = time.perf_counter()
            for index in range(BATCHES_PER_TURN):
                feed[turn * BATCHES_PER_TURN + index]
            return BATCH * BATCHES_PER_TURN / (time.perf_counter() - before)

        measure(0)
        return measure

    with Workers(2) as two:
        return in_turns({"1": feeding(None), "2": feeding(two)}, turns)


def measure_start(folder: Path) -> dict[str, Any]:
    """Returns the seconds in which a process of its own has the images at hand."""
    code = (
        "import sys, time; start = time.perf_counter()\n"
        "from train.data.dataset import load\n"
        f"data = load(sys.argv[1], size_px={SIZE_PX}, fit='crop')\n"
        "print(time.perf_counter() - start, len(data.train), data.fingerprint)\n"
    )
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, images, fingerprint = done.stdout.split()
    return {
        "seconds": round(float(seconds), 2),
        "training_images": int(images),
        "fingerprint": fingerprint,
    }


def measure_training(folder: Path, runs: Path, more: Sequence[str]) -> dict[str, Any]:
    """Returns the highest resident memory of a training and of its processes."""
    command = [
        *(sys.executable, "-m", "train", "--data", str(folder), "--fit", "crop"),
        *("--size", str(SIZE_PX), "--epochs", "1", "--name", str(runs / "run")),
        *more,
    ]
    before = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peaks: dict[int, int] = {}
    to_first_step = None
    while process.poll() is None:
        for pid in [process.pid, *_children(process.pid)]:
            peaks[pid] = max(peaks.get(pid, 0), _peak_bytes(pid))
        if to_first_step is None and (runs / "run" / "calibration.json").exists():
            to_first_step = round(time.perf_counter() - before, 1)
        time.sleep(0.2)
    out = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise SystemExit(out)
    others = sorted((size for pid, size in peaks.items() if pid != process.pid))
    return {
        "command": " ".join(["python", *command[1:]]).replace(str(folder), "DATA"),
        "seconds": round(time.perf_counter() - before, 1),
        "seconds_to_the_first_step": to_first_step,
        "peak_mib": peaks[process.pid] // 2**20,
        "peak_mib_of_each_worker": [size // 2**20 for size in others],
        "output": out.splitlines()[-6:],
    }


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(each) for each in text.split()]


def _peak_bytes(pid: int) -> int:
    """Returns the kernel's high-water mark, mapped files included."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return 1024 * int(found[1]) if found else 0


@contextmanager
def _scratch(parent: Path | None) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="fer-edge-large-set-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _run(options: argparse.Namespace) -> int:
    check_writable([options.json], force=options.force)
    cv2.setNumThreads(1)  # as in the processes
    with _scratch(options.folder) as scratch:
        folder = scratch / "pictures"
        os.environ[FOLDER_VARIABLE] = str(scratch / "cache")
        bytes_of_files = draw_set(folder, options.images)
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "created": now(),
            "cpu": read_cpu().name,
            "cores": available_cores(),
            "note": options.note,
            "images": len(list(folder.glob("*/*.jpg"))),
            "picture": f"JPEG {PICTURE_WH[0]}x{PICTURE_WH[1]} to {SIZE_PX}x{SIZE_PX}",
            "bytes_of_files": bytes_of_files,
            "bytes_decoded": options.images * SIZE_PX**2 * 3,
            "load_average": list(os.getloadavg()),
            "decoding": measure_decoding(folder, options.turns),
            "first_start": measure_start(folder),
            "second_start": measure_start(folder),
        }
        print(document, flush=True)
        document["training"] = measure_training(folder, scratch, options.train.split())
        document["feed"] = measure_feed(folder, options.turns)
    print(document)
    save_result(document, options.json)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = CommandLine(
        prog="python -m tests.performance.large_set",
        description="Measures training on a set that does not fit in memory.",
        epilog=EXAMPLES,
    )
    add = parser.add_argument
    add("--images", type=flags.positive, default=21_440, metavar="N", help="(3 GiB)")
    add("--turns", type=flags.positive, default=15, metavar="N", help="of each (15)")
    add("--folder", type=Path, help="where the temporary folder is made")
    add(
        "--train",
        default="--recipe transfer --arch mobilenet_v2_035 --pretrained none"
        " --workers 2",
        help="flags of the training",
    )
    add("--note", default="", help="what else the machine did")
    add("--json", type=Path, metavar="FILE", help="keep the result as JSON")
    add("--force", action="store_true", help="replace an existing file")
    options = parser.parse_args(argv)
    return exit_code_of(lambda: _run(options))


if __name__ == "__main__":
    sys.exit(main())
