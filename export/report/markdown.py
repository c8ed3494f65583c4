"""An export's document as a Markdown table, for a README."""

from __future__ import annotations

from export.report.document import Document

HEAD = (
    "file",
    "MB",
    "accuracy (95 % interval)",
    "same answer as float",
    "p50, ms",
    "MACs in int8",
)


def markdown_table(document: Document) -> str:
    """Returns all files as a table, and the conditions below it.

    Args:
        document: From ``export.report.document.to_document``.
    """
    rows = [HEAD, ("---",) * len(HEAD)]
    if document["keras"]:
        rows.append(("Keras model", "", _accuracy(document["keras"]), "", "", ""))
    rows += [_row(file) for file in document["files"]]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{table}\n\n{_caption(document)}\n"


def _row(file: Document) -> tuple[str, ...]:
    figures = file["figures"]
    same = f"{figures['agreement']:.2%}" if figures else "?"
    return (
        f"{file['format']}{' (diagnostic)' if file['diagnostic'] else ''}",
        f"{file['bytes'] / 1e6:.2f}",
        _accuracy(figures) if figures else "?",
        same.replace("%", " %"),
        f"{file['latency_ms']:.2f}",
        f"{100 * file['int8_share']:.0f} %",
    )


def _accuracy(figures: Document) -> str:
    low, high = figures["accuracy_95"]
    value = f"{100 * figures['accuracy']:.2f} %"
    return f"{value} ({100 * low:.2f} to {100 * high:.2f})"


def _caption(document: Document) -> str:
    """Returns the conditions: images, machine and versions."""
    conditions, reference = document["conditions"], document["keras"]
    count = f", {reference['count']:,} images" if reference else ""
    versions = ", ".join(f"{k} {v}" for k, v in conditions["libraries"].items())
    machine = conditions["machine"]
    return (
        f"`{document['run']}` on {document['images']}{count}. p50: one image, one"
        f" thread, the files in turns, on {machine['cpu'] or machine['architecture']}"
        f" (load {machine['load_average']:g} of {machine['cores']} cores); {versions}."
    )
