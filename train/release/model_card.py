"""``python -m train.release.model_card``: the cards of the released models.

One template, ``model-card.md.jinja``; the figures come from the release's
``metrics.json`` and ``benchmarks/results/<name>_accuracy.json``, the texts from its
``card.toml``. Written to ``docs/background/models/<name>.md``.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_runtime.errors import RunError, require_in_checkout
from edge_runtime.model_file.released import (
    ReleasedModel,
    find_released,
    released_models,
)
from edge_runtime.utils.argparser import CommandLine, exit_code_of
from edge_runtime.utils.files import write_text
from train.metrics import wilson_interval

ROOT = Path(__file__).parents[2]
TEMPLATE = Path(__file__).with_name("model-card.md.jinja")
EXAMPLES = """\
examples:
  python -m train.release.model_card              the cards of all released models
  python -m train.release.model_card ferplus
"""
Document = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 2 the user's error."""
    parser = CommandLine(
        prog="python -m train.release.model_card",
        description="Writes the model cards of released models.",
        epilog=EXAMPLES,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="(all of them)")
    names = parser.parse_args(argv).names
    return exit_code_of(lambda: _write_cards(names))


def _write_cards(names: Sequence[str]) -> int:
    require_in_checkout("jinja2", group="bench")
    for name in names or released_models():
        path = card_path(name)
        write_text(path, render_card(find_released(name)))
        print(f"wrote {path}")
    return 0


def card_path(name: str) -> Path:
    """Returns where the card of a released model is."""
    return ROOT / "docs" / "background" / "models" / f"{name}.md"


def render_card(model: ReleasedModel) -> str:
    """Returns the card of a released model, Markdown.

    Raises:
        RunError: Its texts, its metrics or its measured accuracy are missing, or the
            accuracy is that of another file.
    """
    import jinja2

    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = lambda share: f"{100 * share:.1f} %"
    folder = ROOT / "train" / "released" / model.name
    source = ROOT / "benchmarks" / "results" / f"{model.name}_accuracy.json"
    accuracy = _read(source, json.loads)
    by_hash = {each["sha256"]: each for each in accuracy["models"]}
    if model.sha256 not in by_hash:
        raise RunError(
            f"{source} is not of {model.path.name} as it is now: measure it again,"
            f" python -m benchmarks accuracy FLOAT {model.name} --json {source} --force"
        )
    int8 = by_hash[model.sha256]
    try:
        return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
            model=model,
            megabytes=model.path.stat().st_size / 1e6,
            metrics=_read(folder / "metrics.json", json.loads),
            card=_read(folder / "card.toml", tomllib.loads),
            data=accuracy["data"],
            source=source.name,
            float32=accuracy["models"][0],
            int8=int8,
            compared=accuracy["comparisons"][0],
            classes=_classes(int8, accuracy["models"][0]),
        )
    except jinja2.UndefinedError as error:
        raise RunError(f"the card of {model.name} lacks a value: {error}") from error


def _read(path: Path, parse: Any) -> Document:
    try:
        document: Document = parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"expected a file for the model card: {error}") from error
    return document


def _classes(int8: Document, float32: Document) -> list[Document]:
    """Returns one row for each class: images, recall, its interval, predictions."""
    rows = []
    for index, (label, counts) in enumerate(
        zip(int8["recall"], int8["confusion_matrix"], strict=True)
    ):
        low, high = wilson_interval(counts[index], sum(counts))
        rows.append(
            {
                "label": label,
                "images": sum(counts),
                "float32": float32["recall"][label],
                "int8": int8["recall"][label],
                "low": 100 * low,
                "high": 100 * high,
                "counts": counts,
            }
        )
    return rows


if __name__ == "__main__":
    sys.exit(main())
