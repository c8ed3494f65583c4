"""The results of an audit as a CSV that is edited and as JSON."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from io import StringIO
from typing import Any

from edge_runtime.untrusted import spreadsheet_cell
from train.audit.audit import Audit
from train.audit.findings import ImageFault
from train.audit.labels import TOLD_APART
from train.data.left_out import ACTION, FILE, KEEP, LEAVE_OUT

SCHEMA = "fer-edge/audit/1"
COLUMNS = (ACTION, FILE, "split", "label", "problem", "severity", "likely", "why")


def by_image(findings: Iterable[ImageFault]) -> list[list[ImageFault]]:
    """Returns the findings of each image, in the order of the first of each."""
    found: dict[str, list[ImageFault]] = defaultdict(list)
    for each in findings:
        found[each.entry.name].append(each)
    return list(found.values())


def csv_rows(audit: Audit) -> list[list[str]]:
    """Returns the cells of a row for each image with a finding.

    Names cannot become formulas in a spreadsheet; ``train.data.left_out`` knows them as
    they are written here.
    """
    return [
        [
            spreadsheet_cell(cell)
            for cell in (
                LEAVE_OUT if any(each.leave_out for each in findings) else KEEP,
                findings[0].entry.name,
                findings[0].entry.split,
                findings[0].entry.label,
                ", ".join(each.kind for each in findings),
                f"{findings[0].severity:.4f}",
                findings[0].likely,
                "; ".join(each.why for each in findings),
            )
        ]
        for findings in by_image(audit.findings)
    ]


def csv_text(audit: Audit) -> str:
    """Returns the CSV for ``--leave-out``: ``COLUMNS``, then ``csv_rows``."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([COLUMNS, *csv_rows(audit)])
    return text.getvalue()


def document(audit: Audit) -> dict[str, Any]:
    """Returns the result, JSON-ready."""
    images = by_image(audit.findings)
    return {
        "schema": SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": {
            "name": audit.name,
            "labels": list(audit.labels),
            "readable": len(audit.entries),
        },
        "network": audit.network,
        "notes": audit.notes,
        "counts": audit.counts,
        "leave_out": sum(any(each.leave_out for each in image) for image in images),
        "label_accuracy": audit.report and round(audit.report.accuracy, 4),
        "classes": _classes(audit),
        "findings": [_finding(each) for each in audit.findings],
    }


def _classes(audit: Audit) -> list[dict[str, Any]]:
    return [
        {
            "classes": [audit.labels[pair.first], audit.labels[pair.second]],
            "told_apart": round(pair.told_apart, 4),
            "enough": pair.told_apart >= TOLD_APART,
        }
        for pair in (audit.report.pairs if audit.report else ())
    ]


def _finding(each: ImageFault) -> dict[str, Any]:
    return {
        "file": each.entry.name,
        "split": each.entry.split,
        "label": each.entry.label,
        "problem": each.kind,
        "severity": round(each.severity, 4),
        "why": each.why,
        "leave_out": each.leave_out,
        "likely": each.likely,
        "copy_of": each.copy_of.name if each.copy_of else "",
    }
