"""What is wrong with each image, the worst first, and which images to leave out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from train.audit.alignment import SAME
from train.audit.copies import CopyPair
from train.audit.labels import LabelReport
from train.audit.quality import find_flaws
from train.audit.reading import Measured
from train.data.listing.entries import Entry
from train.data.splits import TEST, TRAIN, VALIDATION

# The kinds, in the order of the page, and what they mean.
KINDS = {
    "unreadable": "Cannot be read",
    "label": "Likely wrong labels",
    "copy": "Near copies",
    "flat": "Nearly one colour",
    "dark": "Too dark",
    "blurred": "Blurred",
    "size": "Much smaller than the others",
    "aspect": "Odd shapes",
    "damaged": "Damaged, but read",
}
KEPT_FIRST = {TEST: 0, VALIDATION: 1, TRAIN: 2}  # of copies


@dataclass(frozen=True)
class ImageFault:
    """Something wrong with one image.

    Attributes:
        entry: The image.
        kind: One of ``KINDS``.
        severity: 0 to 1, 1 the worst; comparable within a kind.
        why: For people.
        leave_out: Proposed: what is sure to harm a training.
        likely: For a label: the class that the image looks like.
        copy_of: For a copy: the image that stays.
    """

    entry: Entry
    kind: str
    severity: float
    why: str
    leave_out: bool = False
    likely: str = ""
    copy_of: Entry | None = None


def collect(
    measured: Measured,
    copies: Sequence[CopyPair],
    report: LabelReport | None,
    labels: Sequence[str],
) -> list[ImageFault]:
    """Returns all findings, by kind in the order of the page, the worst first."""
    found = [
        ImageFault(entry, "unreadable", 1.0, reason, leave_out=True)
        for entry, reason in measured.unreadable
    ]
    if report is not None:
        found += _of_labels(measured.entries, report, labels)
    found += _of_copies(measured, copies, report)
    for entry, flaws in zip(
        measured.entries, find_flaws(measured.quality), strict=True
    ):
        found += [
            ImageFault(entry, each.kind, each.severity, each.why, each.kind == "flat")
            for each in flaws
        ]
    damaged = set(measured.damaged)
    found += [
        ImageFault(
            entry, "damaged", 0.0, "the decoder met bytes that do not belong there"
        )
        for entry in measured.entries
        if entry.name in damaged
    ]
    order = {kind: number for number, kind in enumerate(KINDS)}
    return sorted(found, key=lambda each: (order[each.kind], -each.severity))


def _of_labels(
    entries: Sequence[Entry], report: LabelReport, labels: Sequence[str]
) -> list[ImageFault]:
    found = []
    for row in np.flatnonzero(report.suspected).tolist():
        own, likely = report.quality[row], int(report.probabilities[row].argmax())
        why = (
            f"labelled {entries[row].label} ({own:.0%} likely), looks like"
            f" {labels[likely]} ({report.probabilities[row, likely]:.0%})"
        )
        found.append(
            ImageFault(
                entries[row],
                "label",
                float(1 - own),
                why,
                leave_out=bool(report.sure[row]),
                likely=labels[likely],
            )
        )
    return found


def _of_copies(
    measured: Measured, copies: Sequence[CopyPair], report: LabelReport | None
) -> list[ImageFault]:
    """Returns the images that are copies of an image that is kept.

    Images of evaluation splits stay rather than those to train on, then those whose
    label is more likely, then larger ones. From copy to copy the similarities are
    multiplied: of a hundred equal pictures one stays, of a slow video more than one.
    """
    entries = measured.entries
    partners: dict[int, dict[int, CopyPair]] = {}
    for pair in copies:
        partners.setdefault(pair.first, {})[pair.second] = pair
        partners.setdefault(pair.second, {})[pair.first] = pair

    def rank(row: int) -> tuple[int, float, int, int]:
        likely = 0.0 if report is None else float(round(report.quality[row], 1))
        width, height = measured.quality[row].size_wh
        return KEPT_FIRST[entries[row].split], -likely, -width * height, row

    # Of each image: the one that stays for it, how similar that is, and mirrored.
    stays: dict[int, CopyPair] = {}
    found = []
    for row in sorted(partners, key=rank):
        known = [
            _through(pair, row, stays[other])
            for other, pair in partners[row].items()
            if other in stays
        ]
        best = max(known, key=lambda pair: pair.similarity, default=None)
        if best is None or best.similarity < SAME:
            stays[row] = CopyPair(row, row, 1.0, False)
        else:
            stays[row] = best
            found.append(_copy(entries[row], entries[best.second], best))
    return found


def _through(pair: CopyPair, row: int, onwards: CopyPair) -> CopyPair:
    """Returns a row's likeness with what stays for the other image of a pair."""
    return CopyPair(
        row,
        onwards.second,
        pair.similarity * onwards.similarity,
        pair.mirrored != onwards.mirrored,
    )


def _copy(entry: Entry, kept: Entry, pair: CopyPair) -> ImageFault:
    what = "mirror image" if pair.mirrored else "copy"
    notes = []
    if kept.label != entry.label:
        notes.append(f"which is labelled {kept.label}, not {entry.label}")
    if kept.split != entry.split:
        notes.append(f"in the {kept.split} split")
    why = ", ".join([f"{what} of {kept.name}", *notes])
    # What contradicts itself, and what is seen before the test, comes first.
    severity = (pair.similarity + len(notes)) / 3
    return ImageFault(entry, "copy", severity, why, leave_out=True, copy_of=kept)
