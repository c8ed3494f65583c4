"""The report of ``check`` for people: tables and the verdict."""

from __future__ import annotations

import json
from typing import Any

from edge_runtime.inspection.document import Document
from edge_runtime.untrusted import one_line
from edge_runtime.utils.text_table import align

LARGEST_LAYERS = 8

Row = tuple[str, str]


def format_report(document: Document) -> str:
    """Returns the tables and the verdict of a check's document, many lines."""
    parts = [_facts(document)]
    if document["layers"] is not None:
        parts += [_operators(document), _layers(document)]
    return "\n\n".join([*parts, _verdict(document)])


def _facts(document: Document) -> str:
    inputs_and_outputs, contents = _graph(document)
    rows = [
        ("file", f"{document['file']}  ({document['size_bytes']:,} bytes)"),
        ("sha256", document["sha256"]),
        *_metadata(document),
        *inputs_and_outputs,
        ("golden vectors", _golden(document)),
        ("signature", document["signature"]),
        *contents,
    ]
    return align(rows, left=2)


def _graph(document: Document) -> tuple[list[Row], list[Row]]:
    """Returns the rows about input and output, and those about what is computed."""
    weights, macs = document["weights"], document["macs"]
    if macs is None:
        return [], [("graph", "not read: a library is missing, see below")]
    share = weights["int8_per_channel_share"]
    return [
        ("input", _tensor(document["input"])),
        ("output", _tensor(document["output"])),
    ], [
        ("MACs", f"{macs['total']:,}, {100 * macs['int8_share']:.1f} % in int8"),
        ("weights", ", ".join(f"{n:,} {t}" for t, n in weights["elements"].items())),
        ("per channel", "-" if share is None else f"{100 * share:.1f} % of int8"),
        ("float islands", _islands(document["float_islands"])),
        ("custom operators", ", ".join(document["custom_operators"]) or "none"),
        ("unfolded BatchNorm", str(len(document["unfolded_batchnorm"]) or "none")),
    ]


def _metadata(document: Document) -> list[Row]:
    if not document["metadata"]:
        return _stated(document["stated"], document["kind"])
    rows = [
        ("format", document["format"]),
        ("architecture", document["architecture"] or "-"),
        ("labels", ", ".join(document["labels"])),
        *_words(document),
        ("image", "{size_px} px, {colour}, {fit}".format(**document["image"])),
        ("crop margin", f"{100 * document['crop_margin_frac']:g} %"),
        ("temperature", f"{document['temperature']:.4g}"),
        ("drift reference", _reference(document["reference"])),
    ]
    for group in ("accuracy", "origin"):
        rows += [(f"{group}: {k}", _value(v)) for k, v in document[group].items()]
    return rows


def _reference(reference: Document | None) -> str:
    if reference is None:
        return "none: exported by an earlier version, or without images"
    if "error" in reference:
        return f"not usable: {reference['error']}"
    brightness, sharpness, confidence = (
        "{:.4g} to {:.4g}".format(*reference[name])
        for name in ("brightness", "sharpness", "confidence")
    )
    return (
        f"{reference['images']:,} validation images, 98 % of them with brightness"
        f" {brightness}, sharpness {sharpness}, confidence {confidence}"
    )


def _words(document: Document) -> list[Row]:
    """Returns the row with the subject and the kind of labels, if the file has them."""
    if document["subject"] is None:
        return []
    return [("looks at", f"{document['subject']}; labels: {document['labels_are']}")]


def _stated(stated: Document, kind: str) -> list[Row]:
    """Returns the rows about a file without our metadata."""
    official = stated["tflite_metadata"]
    rows = [("metadata", f"none in this .{kind} file")]
    if official is not None:
        named = ", ".join(value for value in official.values() if value)
        rows = [("metadata", f"official TFLite metadata: {named or 'without a name'}")]
    if stated["label_count"]:
        names = ", ".join(stated["labels"])
        more = ", ..." if stated["label_count"] > len(stated["labels"]) else ""
        count = f"{stated['label_count']} in its {stated['labels_by']}"
        rows.append(("labels", f"{count}: {names}{more}"))
    pixels, output = stated["pixels"], stated["output"]
    said = f"{pixels['values']}, by {stated['pixels_by']}" if pixels else "not said"
    rows.append(("pixels", said))
    rows.append(
        ("answer", f"{output}: {stated['output_by']}" if output else "not said")
    )
    return rows


def _value(value: Any) -> str:
    """Returns one value of the metadata, which may be anything, in short."""
    try:
        low, high = (f"{100 * end:.2f}" for end in value["accuracy_95"])
        share, count = value["accuracy"], value["count"]
        text = f"{100 * share:.2f} % ({low} to {high}) of {count:,} images"
        return text + f", macro-F1 {value['macro_f1']:.3f}"
    except (KeyError, TypeError, ValueError, OverflowError):
        return _short(value)


def _operators(document: Document) -> str:
    rows = [("operator", "type", "count", "MACs", "share")]
    for operator in document["operators"]:
        share = f"{100 * operator['share']:.1f} %"
        count, macs = f"{operator['count']}", f"{operator['macs']:,}"
        rows.append((operator["operator"], operator["dtype"], count, macs, share))
    return align(rows, left=2)


def _layers(document: Document) -> str:
    layers = sorted(document["layers"], key=lambda layer: -layer["bytes"])
    rows = [("largest layers", "operator", "weights", "MACs", "bytes")]
    for layer in layers[:LARGEST_LAYERS]:
        name, dtype = _short(layer["name"], 44), layer["weights"] or layer["dtype"]
        macs, size = f"{layer['macs'] or 0:,}", f"{layer['bytes']:,}"
        rows.append((name, layer["operator"], dtype, macs, size))
    if rest := layers[LARGEST_LAYERS:]:
        macs = f"{sum(layer['macs'] or 0 for layer in rest):,}"
        size = f"{sum(layer['bytes'] for layer in rest):,}"
        rows.append((f"{len(rest)} others", "", "", macs, size))
    return align(rows, left=3)


def _verdict(document: Document) -> str:
    verdict = document["verdict"]
    format, judge = verdict["format"], verdict["judged_by"]
    judge = judge if judge == "--expect" else f"its {judge}"
    claim = f"as {judge} says"
    lines = [f"note: {note}" for note in verdict["notes"]]
    if format is None:
        lines.append(
            "verdict: not judged: it has no metadata, and no format such as .int8. in"
            " its name (--expect FORMAT names one)"
        )
    elif verdict["passed"] is None:
        lines.append(f"verdict: not known whether it is {format}, {claim}")
    elif verdict["passed"]:
        replayed = (document["golden"] or {}).get("error") is None
        rest = "" if replayed else ", but it could not be run here"
        lines.append(f"verdict: is {format}, {claim}{rest}")
    else:
        lines.append(f"verdict: is NOT {format}, contrary to {judge}")
    for violation in verdict["violations"]:
        rule = violation["rule"]
        lines.append(f"  {rule}: expected {violation['expected']}")
        lines.append(f"  {' ' * len(rule)}  found    {violation['found']}")
    return "\n".join(map(one_line, lines))


def _islands(islands: list[Document]) -> str:
    if not islands:
        return "none"
    count = sum(len(island["operators"]) for island in islands)
    macs = sum(island["macs"] for island in islands)
    return f"{len(islands)} with {count} operators, {macs:,} MACs"


def _tensor(tensor: Document | None) -> str:
    if tensor is None:
        return "none"
    text = f"{tensor['dtype']} {tuple(tensor['shape'] or ())}"
    if tensor["scale"] is not None:
        text += f", scale {tensor['scale']:.6g}, zero point {tensor['zero_point']}"
    inside = tensor["quantized_inside"]
    return f"{text}, quantized inside to {_tensor(inside)}" if inside else text


def _golden(document: Document) -> str:
    golden, backend = document["golden"], document["backend"]
    if golden is None:
        return "none in the file: a broken export or library would not be noticed"
    if golden["error"] is not None or backend is None:
        return "not replayed, or not with the same answers: see below"
    return (
        f"{golden['count']} replayed with {backend['name']} {backend['version']},"
        f" largest difference {golden['largest_difference']:g}"
        f" (exported with {golden['exported_with']})"
    )


def _short(value: Any, limit: int = 100) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    if len(text) <= limit:
        return text
    return text[: limit - 3] + "..." if limit > 60 else ".." + text[2 - limit :]
