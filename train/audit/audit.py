"""Looks at all images of a set and returns what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edge_runtime.errors import missing_in_checkout, require_in_checkout
from train.audit.copies import CopyPair, find_copies
from train.audit.findings import KINDS, ImageFault, collect
from train.audit.labels import FEWEST, LabelReport, check_labels
from train.audit.network import PHOTO_ARCH, FeatureNetwork, open_network
from train.audit.reading import Measured, measure
from train.data.listing.entries import Entry
from train.data.listing.image_files import ImageListing, order_labels
from train.data.listing.stored_files import shorten
from train.data.probing import probe_kind
from train.networks.pretrained import GROUP, PACKAGED


@dataclass(frozen=True)
class Audit:
    """What is wrong with an image set.

    Attributes:
        name: Of the set.
        labels: Class names in order.
        entries: The readable images, in the order of ``report`` and ``copies``.
        findings: By kind in the order of ``KINDS``, the worst first.
        copies: Pairs of near copies.
        report: About the labels; None without a network.
        network: Name of the network that gave the features, or ``""``.
        notes: What was not looked at, and why.
    """

    name: str
    labels: tuple[str, ...]
    entries: list[Entry]
    findings: list[ImageFault]
    copies: list[CopyPair]
    report: LabelReport | None
    network: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """Number of findings of each kind."""
        counts = Counter(each.kind for each in self.findings)
        return {kind: counts[kind] for kind in KINDS}


def audit(listing: ImageListing, *, seed: int = 0, threads: int | None = None) -> Audit:
    """Returns what is wrong with a set.

    Args:
        listing: The images; open.
        seed: Decides the folds of the look at the labels.
        threads: CPU threads of the network; None for its default.

    Raises:
        DatasetError: There are fewer than two classes, or no readable image.
        MissingDependencyError: A library of the group ``audit`` is not installed.
    """
    require_in_checkout("cleanlab", "jinja2", "scipy", group="audit")
    labels = order_labels(listing, None)
    large, colour, _ = probe_kind(listing.entries)
    network = open_network(large=large, colour=colour, threads=threads)
    measured = measure(listing.entries, network)
    return judge(measured, listing.name, labels, network, seed)


def judge(
    measured: Measured,
    name: str,
    labels: tuple[str, ...],
    network: FeatureNetwork | None,
    seed: int = 0,
) -> Audit:
    """Returns what is wrong with images that have been measured.

    Args:
        measured: The images.
        name: Of the set.
        labels: Class names in order.
        network: It gave the features; None without one.
        seed: Decides the folds of the look at the labels.
    """
    copies = find_copies(measured.thumbs, measured.features)
    report = None
    if measured.features is not None:
        index = {label: number for number, label in enumerate(labels)}
        classes = np.array([index[each.label] for each in measured.entries], np.int64)
        report = check_labels(measured.features, classes, len(labels), copies, seed)
    return Audit(
        name=name,
        labels=labels,
        entries=measured.entries,
        findings=collect(measured, copies, report, labels),
        copies=copies,
        report=report,
        network=network.name if network else "",
        notes=_notes(network, measured.entries, labels),
    )


def _notes(
    network: FeatureNetwork | None, entries: Sequence[Entry], labels: Sequence[str]
) -> list[str]:
    if network is None:
        package = PACKAGED[PHOTO_ARCH].distribution
        error = missing_in_checkout(f"{package}, the weights,", GROUP)
        return [f"labels and classes were not looked at: {error}"]
    counts = Counter(entry.label for entry in entries)
    few = [f"{label} ({counts[label]})" for label in labels if counts[label] < FEWEST]
    if few:
        return [
            f"labels were not looked at in classes with fewer than {FEWEST} images:"
            f" {shorten(few)}"
        ]
    return []
