"""The flag or command that was meant by one that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

CLOSE = 0.75  # similarity of mistyped words; words of another meaning stay below
# What other programs call it: the first flag that the command has.
_OTHER_NAMES = {
    "batch": "batch-size",
    "batchsize": "batch-size",
    "broker": "mqtt",
    "bs": "batch-size",
    "camera": "source",
    "cameras": "source",
    "checkpoint": "resume from",
    "classes": "labels",
    "color": "colour",
    "conf": "uncertain-below",
    "confidence": "uncertain-below",
    "cores": "threads",
    "cpus": "threads",
    "crop": "roi",
    "data": "calibration-data",
    "dataset": "data calibration-data",
    "data-dir": "data calibration-data",
    "delegate": "backend",
    "device": "source",
    "dtype": "precision",
    "epoch": "epochs",
    "flip": "hflip",
    "gray": "colour",
    "grayscale": "colour",
    "height": "size",
    "host": "serve",
    "imgsz": "size",
    "img-size": "size",
    "image-size": "size",
    "images": "data calibration-data source",
    "init-weights": "from",
    "input": "source",
    "input-size": "size",
    "iterations": "runs",
    "jobs": "threads",
    "label": "labels",
    "lr": "learning-rate",
    "max-epochs": "epochs",
    "model": "arch from",
    "network": "arch",
    "n-epochs": "epochs",
    "normalize": "pixels",
    "num-epochs": "epochs",
    "num-threads": "threads",
    "num-workers": "threads",
    "out": "output name",
    "out-dir": "out name",
    "output": "out name",
    "output-dir": "out name",
    "port": "serve",
    "predict": "run",
    "pretrained": "from",
    "project": "name",
    "quantize": "int8",
    "representative-data": "calibration-data",
    "resolution": "size",
    "rgb": "colour",
    "run-name": "name",
    "save": "output",
    "save-dir": "out name",
    "show": "display",
    "start": "run",
    "target-size": "size",
    "threshold": "uncertain-below",
    "topic": "mqtt",
    "train-dir": "data",
    "val": "validation",
    "val-split": "validation-frac",
    "validation-split": "validation-frac",
    "video": "source",
    "wd": "weight-decay",
    "webcam": "source",
    "width": "size",
    "weights": "pretrained from",
    "workers": "threads",
    "zone": "roi",
}


def nearest(word: str, known: Iterable[str]) -> str:
    """Returns ``": did you mean X?"`` with the known word that was meant, or ``""``.

    That is the same word spelled otherwise, what other programs call it, its longer
    form, or the most similar one. What follows an ``=`` in the word is ignored.
    """
    by_name = {each.lstrip("-"): each for each in known}
    name = word.split("=")[0].lstrip("-").replace("_", "-").lower()
    longer = [each for each in by_name if each.startswith(f"{name}-")]
    candidates = (
        name,
        *_OTHER_NAMES.get(name, "").split(),
        *(longer if len(longer) == 1 else ()),
        *difflib.get_close_matches(name, by_name, n=1, cutoff=CLOSE),
    )
    meant = next((each for each in candidates if each in by_name), None)
    return f": did you mean {by_name[meant]}?" if meant else ""
