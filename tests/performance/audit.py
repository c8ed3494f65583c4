"""``python -m tests.performance.audit``: which planted faults an audit finds.

Wrong labels and changed copies are planted in an image set (``faults.py``), for each
seed anew. Every image is measured once; what is planted is measured for each seed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.documents import check_writable, now, save_result
from edge_runtime.utils import flags
from edge_runtime.utils.argparser import CommandLine, exit_code_of
from tests.performance.faults import CHANGES, PlantedCopy, plant_copies, plant_labels
from train.audit.audit import Audit, judge
from train.audit.copies import find_copies
from train.audit.network import FeatureNetwork, open_network
from train.audit.reading import Measured, measure
from train.data.listing.entries import Entry
from train.data.listing.image_files import open_listing, order_labels
from train.data.probing import probe_kind
from train.data.vote_labels import VoteSource, label_by_votes

SCHEMA = "fer-edge/audit-faults/1"
WRONG_SHARE = 0.03
COPIED_SHARE = 0.06
MOST_SUSPECTED = 0.05
EXAMPLES = """\
examples:
  python -m tests.performance.audit trashnet.zip --seeds 2 3 4 --json audit.json
  python -m tests.performance.audit fer2013.zip --split test --agreed ferplus_votes.csv
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    options = _parser().parse_args(argv)
    return exit_code_of(lambda: _run(options))


def measure_faults(
    measured: Measured,
    labels: tuple[str, ...],
    network: FeatureNetwork | None,
    seed: int,
) -> dict[str, Any]:
    """Returns which planted faults were found, JSON-ready.

    Args:
        measured: The images without faults.
        labels: Class names in order.
        network: That of the features.
        seed: Decides what is planted.
    """
    copies = plant_copies(measured.entries, COPIED_SHARE, seed)
    added = measure([copy.entry for copy in copies], network)
    entries, wrong = plant_labels(measured.entries, WRONG_SHARE, seed)
    label_of = {entry.name: entry.label for entry in entries}
    copied = [replace(copy.entry, label=label_of[copy.source]) for copy in copies]
    faulty = join(replace(measured, entries=entries), replace(added, entries=copied))
    result = judge(faulty, "planted", labels, network, seed)
    return {
        "seed": seed,
        "labels": _labels_found(result, wrong),
        "copies": _copies_found(result, copies),
        "copies_without_features": _copies_found(
            replace(result, copies=find_copies(faulty.thumbs, None)), copies
        ),
    }


def join(first: Measured, second: Measured) -> Measured:
    """Returns the images of both."""
    features = None
    if first.features is not None and second.features is not None:
        features = np.concatenate([first.features, second.features])
    return Measured(
        [*first.entries, *second.entries],
        [*first.quality, *second.quality],
        np.concatenate([first.thumbs, second.thumbs]),
        features,
        [*first.unreadable, *second.unreadable],
        [*first.damaged, *second.damaged],
    )


def _labels_found(result: Audit, wrong: frozenset[str]) -> dict[str, Any] | None:
    if result.report is None:
        return None
    is_wrong = np.array([entry.name in wrong for entry in result.entries])
    worst = np.argsort(result.report.quality, kind="stable")
    most = worst[: round(MOST_SUSPECTED * len(worst))]
    suspected, sure = result.report.suspected, result.report.sure
    return {
        "planted": int(is_wrong.sum()),
        "among_most_suspected": _share(is_wrong[most].sum(), is_wrong.sum()),
        "accuracy": round(result.report.accuracy, 4),
        "suspected": int(suspected.sum()),
        "suspected_found": _share((suspected & is_wrong).sum(), is_wrong.sum()),
        "suspected_planted": _share((suspected & is_wrong).sum(), suspected.sum()),
        "sure": int(sure.sum()),
        "sure_found": _share((sure & is_wrong).sum(), is_wrong.sum()),
        "sure_planted": _share((sure & is_wrong).sum(), sure.sum()),
    }


def _copies_found(result: Audit, copies: Sequence[PlantedCopy]) -> dict[str, Any]:
    names = [entry.name for entry in result.entries]
    pairs = {(names[pair.first], names[pair.second]) for pair in result.copies}
    source_of = {copy.entry.name: copy.source for copy in copies}
    found = {
        copy.entry.name for copy in copies if (copy.source, copy.entry.name) in pairs
    }
    # Of pairs between images that were there before, a copy counts as its source.
    others = {
        tuple(sorted(source_of.get(name, name) for name in pair)) for pair in pairs
    }
    others = {pair for pair in others if pair[0] != pair[1]}
    originals = len(names) - len(copies)
    return {
        "planted": len(copies),
        "found": _share(len(found), len(copies)),
        "found_by_change": {
            change: _share(
                sum(c.entry.name in found for c in copies if c.change == change),
                sum(c.change == change for c in copies),
            )
            for change in CHANGES
        },
        "other_pairs": sorted(map(list, others)),
        "other_images": _share(
            len({name for pair in others for name in pair}), originals
        ),
    }


def _share(part: int, whole: int) -> float | None:
    return round(float(part / whole), 4) if whole else None


def _agreed(entries: list[Entry], agreed: list[Entry]) -> list[Entry]:
    """Returns the images whose label is that of most raters."""
    voted = {entry.name: entry.label for entry in agreed}
    same = {"happiness": "happy", "sadness": "sad", "anger": "angry"}
    return [
        entry
        for entry in entries
        if (vote := voted.get(entry.name)) and same.get(vote, vote) == entry.label
    ]


def _run(options: argparse.Namespace) -> int:
    check_writable([options.json], force=options.force)
    started = time.monotonic()
    with open_listing(options.data) as listing:
        entries = listing.entries
        if options.split:
            entries = [entry for entry in entries if entry.split == options.split]
        if options.agreed:
            votes = VoteSource(str(options.agreed))
            agreed = label_by_votes(replace(listing, entries=entries), votes)
            entries = _agreed(entries, agreed.listing.entries)
        labels = order_labels(replace(listing, entries=entries), None)
        large, colour, _ = probe_kind(entries)
        network = open_network(large=large, colour=colour)
        measured = measure(entries, network)
        results = []
        for seed in options.seeds:
            results.append(measure_faults(measured, labels, network, seed))
            print("\n".join(_lines(results[-1])), flush=True)
    document = {
        "schema": SCHEMA,
        "created": now(),
        "data": listing.name,
        "split": options.split or "all",
        "agreed": options.agreed.name if options.agreed else "",
        "images": len(measured.entries),
        "classes": list(labels),
        "network": network.name if network else "",
        "wrong_share": WRONG_SHARE,
        "copied_share": COPIED_SHARE,
        "most_suspected": MOST_SUSPECTED,
        "seconds": round(time.monotonic() - started),
        "seeds": results,
    }
    save_result(document, options.json)
    return 0


def _lines(result: dict[str, Any]) -> list[str]:
    labels, copies = result["labels"], result["copies"]
    lines = [f"seed {result['seed']}"]
    if labels:
        lines.append(
            f"  wrong labels: {labels['among_most_suspected']:.1%} of"
            f" {labels['planted']} among the {MOST_SUSPECTED:.0%} most suspected;"
            f" {labels['sure']} surely wrong, {labels['sure_planted']} of them planted"
        )
    lines.append(
        f"  copies: {copies['found']:.1%} of {copies['planted']};"
        f" {len(copies['other_pairs'])} other pairs,"
        f" {copies['other_images']:.2%} of the images; {copies['found_by_change']}"
    )
    return lines


def _parser() -> argparse.ArgumentParser:
    parser = CommandLine(
        prog="python -m tests.performance.audit",
        description="Plants wrong labels and changed copies, and measures which of"
        " them an audit finds.",
        epilog=EXAMPLES,
    )
    add = parser.add_argument
    add("data", type=Path, metavar="DATA", help="folder, zip or CSV of images")
    add("--seeds", type=flags.seed, nargs="+", default=[2, 3, 4], metavar="N")
    add("--split", choices=("train", "validation", "test"), help="of this split alone")
    add(
        "--agreed",
        type=Path,
        metavar="CSV",
        help="only images whose label is that of most raters",
    )
    add("--json", type=Path, metavar="FILE", help="keep the result as JSON")
    add("--force", action="store_true", help="replace an existing file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
