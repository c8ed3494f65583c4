"""A latency document as text."""

from __future__ import annotations

from benchmarks.common.documents import Document, columns, describe

NOISY_SPREAD = 1.5
LATENCY_TIMES = ("p50", "p90", "p99")
LATENCY_HEADINGS = (
    *("model", "load", "first", *LATENCY_TIMES),
    *("face p50", "p90", "p99", "runs", "x first model"),
)
WINDOW_HEADINGS = ("model", "windows", "p50 between", "p99 between", "per second")
LATENCY_LEGEND = (
    "p50, p90, p99: one image through the network; face: a 96x96 colour crop to a",
    "prediction; x first model: p50 over that of the first (5 % to 95 % of rounds);",
    "between: lowest and highest window; per second: inferences, median of windows",
)


def latency_table(document: Document) -> str:
    """Returns a latency document as text."""
    parts = [describe(document["machine"])]
    for threads in dict.fromkeys(row["threads"] for row in document["results"]):
        rows = [row for row in document["results"] if row["threads"] == threads]
        parts += ["", f"{threads} thread{'s' if threads > 1 else ''}, milliseconds:"]
        parts += columns(LATENCY_HEADINGS, [_latency_row(row) for row in rows])
        parts += ["", *columns(WINDOW_HEADINGS, [_window_row(row) for row in rows])]
    parts += ["", *LATENCY_LEGEND, "", "in a new process:", *_fresh_process(document)]
    noisiest = max(result["spread"] for result in document["results"])
    if noisiest > NOISY_SPREAD:
        parts += [
            "",
            f"note: a noisy machine, slow blocks took {noisiest:.1f} times as long as"
            " fast ones:\nrely on the ratios, not on the milliseconds",
        ]
    if document["sustained"]:
        parts += ["", *_sustained(document["sustained"])]
    return "\n".join(parts)


def _latency_row(result: Document) -> list[str]:
    logits, predict = result["logits_ms"], result["predict_ms"]
    ratio = "1"
    if result["ratio_to_first"] is not None:
        to_first = result["ratio_to_first"]["logits"]
        median, low, high = (to_first[key] for key in ("median", "p5", "p95"))
        ratio = f"{median:.3f} ({low:.3f} to {high:.3f})"
    return [
        result["model"],
        f"{result['load_ms']:.1f}",
        f"{result['first_ms']:.2f}",
        *(f"{logits[key]:.3f}" for key in LATENCY_TIMES),
        *(f"{predict[key]:.3f}" for key in LATENCY_TIMES),
        f"{logits['runs']:,}",
        ratio,
    ]


def _window_row(result: Document) -> list[str]:
    between = result["between_windows"]
    return [
        result["model"],
        f"{len(result['windows'])}",
        *(f"{between[key][0]:.3f} to {between[key][2]:.3f}" for key in ("p50", "p99")),
        f"{between['per_second'][1]:,.1f}",
    ]


def _sustained(rows: list[Document]) -> list[str]:
    cells = [
        [
            row["model"],
            f"{row['seconds']:g}",
            f"{row['first_p50_ms']:.3f}",
            f"{row['steady_p50_ms']:.3f}",
            f"{row['steady_to_first']:.3f}",
        ]
        for row in rows
    ]
    first_s = rows[0]["first_seconds"]
    headings = ["model", "seconds", f"p50, first {first_s:g} s", "last third", "ratio"]
    return ["without a pause:", *columns(headings, cells)]


def _fresh_process(document: Document) -> list[str]:
    sizes = {model["name"]: model["bytes"] for model in document["models"]}
    rows = [
        [
            fresh["model"],
            f"{sizes[fresh['model']] / 1024:,.0f}",
            f"{fresh['peak_memory_mb']:.0f}",
            f"{fresh['steady_memory_mb']:.0f}",
            f"{fresh['loaded_ms']:.0f}",
            f"{fresh['answered_ms']:.0f}",
        ]
        for fresh in document["fresh_process"]
    ]
    headings = [
        "model",
        "file KiB",
        "peak MiB",
        "steady MiB",
        "ms to load",
        "to answer",
    ]
    return columns(headings, rows)
