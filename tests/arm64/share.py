"""What share of a loop's instructions neither detector nor network takes.

    python -m tests.arm64.share [--detector-model YUNET.onnx] [--frames N] [--force]

The loop of ``run`` over the drawn clip of the pipeline benchmark, with the released
model, on emulated Cortex-A53, A72 and A76. Written to
``benchmarks/results/pipeline_instructions.json``; YuNet is counted where its file is
named.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.common.documents import Document, check_writable, now, write_json
from edge_runtime.errors import FerEdgeError, MissingDependencyError
from edge_runtime.inference.classifier import model_path
from edge_runtime.model_file.container import read_model_file
from edge_runtime.utils.argparser import exit_code_of
from tests.arm64.cache import UnavailableError
from tests.arm64.cores import CORES
from tests.arm64.counting import build_plugin, conditions
from tests.arm64.emulator import Board, make_boards
from tests.arm64.plan import RESULTS
from tests.arm64.wheels import LITERT
from tests.performance.clip import write_clip

SCHEMA = "fer-edge/pipeline-instructions/1"
RECORD = RESULTS / "pipeline_instructions.json"
SCRIPT = Path(__file__).resolve().parent / "guest" / "share.py"
FRAMES = 60
MOST_AROUND = 0.10
PARTS = {"1": "around", "2": "detector", "3": "network"}  # as guest/share.py marks them


def count_loop(
    board: Board, plugin: Path, clip: Path, detector: Sequence[str | Path]
) -> Document:
    """Returns what a loop over a clip executes on a board, on one thread.

    Args:
        board: Its processor and its library.
        plugin: As ``build_plugin`` returned it.
        clip: A video.
        detector: ``["haar"]``, or ``["yunet", FILE]``.

    Returns:
        core, detector, frames, faces, detections; instructions: of ``around``,
        ``detector`` and ``network``, millions a frame; around_share, 0..1.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "counts"
        watched = {"QEMU_PLUGIN": f"{plugin},out={out}"}
        done = board.run(SCRIPT, clip.resolve(), *detector, extra=watched)
        if done.returncode:
            raise RuntimeError(f"{board.name}: {detector}: {done.stderr[-2000:]}")
        counted = json.loads(done.stdout)
        parts = read_parts(out.read_text(encoding="ascii"))
    return {
        "core": board.core.name,
        "detector": str(detector[0]),
        **counted,
        "instructions": {
            name: round(parts[name] / counted["frames"] / 1e6, 3)
            for name in PARTS.values()
        },
        "around_share": round(parts["around"] / parts.total(), 4),
    }


def read_parts(text: str) -> Counter[str]:
    """Returns the instructions of each part in a plugin's report."""
    parts: Counter[str] = Counter()
    for line in text.splitlines():
        _, number, *rest = line.split()
        if number in PARTS:
            parts[PARTS[number]] += int(rest[rest.index("instructions") + 1])
    return parts


def count_all(frames: int, yunet: Path | None) -> Document:
    """Returns the record: every core, with Haar and where it is named with YuNet.

    Raises:
        MissingDependencyError: The emulation needs what this machine has not.
    """
    detectors: list[list[str | Path]] = [["haar"]]
    if yunet is not None:
        detectors.append(["yunet", yunet.resolve()])
    places = [(LITERT, core) for core in CORES]
    with (
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        try:
            boards = list(make_boards(places, Path(folder)).values())
            plugin = build_plugin()
        except UnavailableError as reason:
            raise MissingDependencyError(f"no arm64 emulation here: {reason}") from None
        clip = Path(folder) / "clip.avi"
        write_clip(clip, frames)
        loops = list(
            pool.map(
                lambda one: count_loop(one[0], plugin, clip, one[1]),
                [(board, detector) for detector in detectors for board in boards],
            )
        )
        return _document(loops, conditions(boards))


def _document(loops: list[Document], seen: dict[str, Any]) -> Document:
    model = read_model_file(model_path("fer2013"))
    return {
        "schema": SCHEMA,
        "created": now(),
        "model": {"name": model.name, "sha256": model.sha256},
        "clip": "drawn, as of make bench; decoding is not counted",
        **seen,
        "most_around": MOST_AROUND,
        "loops": loops,
    }


def table(document: Document) -> str:
    """Returns the record as a Markdown table; millions of instructions a frame."""
    lines: list[Sequence[str]] = [
        ("detector", "core", "detector", "network", "around", "share around"),
        ("---", "---", "--:", "--:", "--:", "--:"),
    ]
    for loop in document["loops"]:
        parts = loop["instructions"]
        cells = [f"{parts[key]:.2f}" for key in ("detector", "network", "around")]
        share = f"{loop['around_share']:.1%}"
        lines.append((loop["detector"], loop["core"], *cells, share))
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def main() -> int:
    """Counts, writes and prints."""
    parser = argparse.ArgumentParser(prog="python -m tests.arm64.share")
    parser.add_argument("--detector-model", type=Path, metavar="FILE", help="YuNet's")
    parser.add_argument("--frames", type=int, default=FRAMES, metavar="N")
    parser.add_argument("--output", type=Path, default=RECORD)
    parser.add_argument("--force", action="store_true", help="replace the record")
    wanted = parser.parse_args()
    if wanted.detector_model and not wanted.detector_model.is_file():
        raise FerEdgeError(f"expected YuNet's file, got {str(wanted.detector_model)!r}")
    check_writable([wanted.output], force=wanted.force)
    document = count_all(wanted.frames, wanted.detector_model)
    write_json(wanted.output, document)
    print(table(document))
    print(f"\nmillions of instructions a frame: not a time\nwritten: {wanted.output}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
