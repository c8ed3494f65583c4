"""``python -m tests.performance.photos``: what the commands make of photos.

For each seed the photos are split anew; then ``train``, ``export --int8`` and
``benchmarks accuracy`` run as a user types them. The test photos choose nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common.documents import check_writable, now, save_result
from edge_runtime.errors import FerEdgeError
from edge_runtime.utils import flags
from edge_runtime.utils.argparser import CommandLine, exit_code_of
from tests.conftest import ROOT

SCHEMA = "fer-edge/photos/1"
TEST_SHARE = 0.15
COMPARED = ("agreement", "accuracy_difference_points", "accuracy_difference_points_95")
EXAMPLES = """\
examples:
  python -m tests.performance.photos photos/ --work /tmp/photos --json photos.json
  python -m tests.performance.photos photos/ --work /tmp/few --few 20
  python -m tests.performance.photos photos/ --work /tmp/few-small --few 20 -- \\
      --arch fer_resnet --recipe standard --pretrained none
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    end = words.index("--") if "--" in words else len(words)
    options = _parser().parse_args(words[:end])
    options.more = words[end + 1 :]
    return exit_code_of(lambda: _run(options))


def split(photos: Path, seed: int, few: int | None = None) -> dict[str, list[Path]]:
    """Returns the photos of ``train`` and ``test``, drawn by class.

    Args:
        photos: Folder with a folder per class.
        seed: Decides which are for testing.
        few: Photos of a class to train with; None for all that are left.
    """
    by_class = defaultdict(list)
    for path in sorted(path for path in photos.glob("*/*") if path.is_file()):
        by_class[path.parent.name].append(path)
    generator = random.Random(seed)
    parts: dict[str, list[Path]] = {"train": [], "test": []}
    for names in by_class.values():
        generator.shuffle(names)
        count = round(TEST_SHARE * len(names))
        parts["test"] += names[:count]
        parts["train"] += names[count:][:few]
    return parts


def measure(
    photos: Path, folder: Path, seed: int, few: int | None, more: list[str]
) -> dict[str, Any]:
    """Trains, exports and compares in a folder; returns the figures, JSON-ready.

    What an earlier call has finished there is not done again.

    Raises:
        FerEdgeError: A command failed; its output is in the folder.
    """
    parts = split(photos, seed, few)
    data = folder / "photos"
    if not data.exists():
        for part, paths in parts.items():
            for path in paths:
                target = data / part / path.parent.name / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    seconds = {}
    files = [f"artifacts/a/a.{kind}.tflite" for kind in ("float32", "int8")]
    ordered = [*more, "--data", "photos", "--seed", str(seed), "--name", "a"]
    compared = ["--data", "photos", "--split", "test", "--json", "accuracy.json"]
    commands = {
        "train": (["train", *ordered], "runs/a/metrics.json"),
        "export": (["export", "a", "--int8"], files[1]),
        "accuracy": (["benchmarks", "accuracy", *files, *compared], "accuracy.json"),
    }
    for name, (words, result) in commands.items():
        stamp = folder / f"{name}.seconds"
        if not stamp.exists():
            (folder / result).unlink(missing_ok=True)
            again = name == "train" and (folder / "runs/a/checkpoint").exists()
            seconds[name] = _command(folder, ["train", "--resume"] if again else words)
            stamp.write_text(str(seconds[name]))
        seconds[name] = int(stamp.read_text())
    return {
        "seed": seed,
        "photos": {part: len(paths) for part, paths in parts.items()},
        "seconds": seconds,
        **_figures(folder),
    }


def _command(folder: Path, words: list[str]) -> int:
    """Returns the seconds that ``python -m WORDS`` takes."""
    started = time.monotonic()
    log = folder / "log.txt"
    print(f"{folder}: python -m {' '.join(words)}", flush=True)
    with log.open("a") as output:
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=output,
        )
    if done.returncode:
        last = log.read_text().strip().splitlines()[-1]
        raise FerEdgeError(f"python -m {words[0]}: {last} ({log})")
    return round(time.monotonic() - started)


def _figures(folder: Path) -> dict[str, Any]:
    document = json.loads((folder / "accuracy.json").read_text())
    metrics = json.loads((folder / "runs/a/metrics.json").read_text())
    config = json.loads((folder / "runs/a/config.json").read_text())["config"]
    (comparison,) = document["comparisons"]
    models = {}
    for kind, model in zip(("float32", "int8"), document["models"], strict=True):
        names = ("right", "count", "accuracy", "accuracy_95", "macro_f1", "bytes")
        models[kind] = {name: model[name] for name in names}
    return {
        "network": config["arch"],
        "epochs": metrics["epochs"],
        "best_epoch": metrics["best_epoch"],
        "validation": metrics["validation"]["accuracy"],
        **models,
        **{name: comparison[name] for name in COMPARED},
        "flips": comparison["flips"],
        "machine": document["machine"],
    }


def _run(options: argparse.Namespace) -> int:
    check_writable([options.json], force=options.force)
    work, seeds = options.work.resolve(), []
    for seed in options.seeds:
        folder = work / f"seed-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        photos = options.photos.resolve()
        one = measure(photos, folder, seed, options.few, options.more)
        print(
            f"seed {seed}: {one['network']}, float32 {one['float32']['accuracy']:.2%},"
            f" int8 {one['int8']['accuracy']:.2%} of {one['int8']['count']},"
            f" {sum(one['seconds'].values())} s",
            flush=True,
        )
        seeds.append(one)
    document = {
        "schema": SCHEMA,
        "created": now(),
        "data": options.photos.name,
        "test_share": TEST_SHARE,
        "few": options.few,
        "flags": options.more,
        "seeds": seeds,
    }
    save_result(document, options.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = CommandLine(
        prog="python -m tests.performance.photos",
        usage="%(prog)s PHOTOS --work DIR [options] [-- FLAGS OF TRAIN]",
        description="Trains on photos, split by seeds, and measures float32 and int8"
        " on those kept apart.",
        epilog=EXAMPLES,
    )
    add = parser.add_argument
    add("photos", type=Path, metavar="PHOTOS", help="folder with a folder per class")
    add("--work", type=Path, required=True, metavar="DIR", help="for runs; continued")
    add("--seeds", type=flags.seed, nargs="+", default=[1, 2, 3], metavar="N")
    add("--few", type=int, metavar="N", help="train with N photos of each class")
    add("--json", type=Path, metavar="FILE", help="keep the result as JSON")
    add("--force", action="store_true", help="replace an existing file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
