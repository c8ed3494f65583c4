"""The document fer-edge/accuracy/1 as docs/reference describes it."""

import json
import re
import time
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.accuracy import measure as accuracy
from benchmarks.accuracy.gate import with_gate
from benchmarks.accuracy.measure import Images
from benchmarks.accuracy.table import accuracy_table
from benchmarks.common.documents import machine_card, model_record
from benchmarks.report.accuracy_page import render_accuracy
from edge_runtime import Classifier, ModelSpec
from train.data.splits import Split

drawing = pytest.mark.skipif(
    not (find_spec("jinja2") and find_spec("matplotlib")),
    reason="draws pages: jinja2 and matplotlib are not installed",
)
DOCUMENTED = Path(__file__).parents[3] / "docs" / "reference" / "accuracy-report.md"
FER_LABELS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


def noise(count, labels, seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, 48, 48, 1), dtype=np.uint8)
    names = tuple(f"test/{i}.png" for i in range(count))
    split = Split(pixels, rng.integers(0, len(labels), count), names)
    return Images("noise", "test", False, {(48, "grey", "stretch"): split})


def answering(path, seed, images):
    """A loaded model that gives prepared answers, in no time."""
    real = Classifier.load(path)
    count = len(images.in_format_of(real))
    rng = np.random.default_rng(seed)
    prepared = rng.normal(size=(count, len(real.spec.labels))).astype(np.float32)
    position = 0

    def logits(batch):
        nonlocal position
        position += len(batch)
        return prepared[position - len(batch) : position]

    return SimpleNamespace(
        spec=real.spec, backend=real.backend, file=real.file, logits=logits
    )


def document_of(path, count):
    images = noise(count, FER_LABELS)
    models = [answering(path, seed, images) for seed in (1, 2)]
    return measured(path, models, images)


def measured(path, models, images):
    document = accuracy.measure_accuracy([path, path], models, images)
    return {**document, "machine": machine_card()}


def key_paths(value, path=""):
    """Yields the paths of all leaves; lists of objects as [], lists of values whole."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from key_paths(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for inner in value:
            yield from key_paths(inner, f"{path}[]")
    else:
        yield path


def general(path):
    """Returns a path with class and package names replaced by what they are."""
    path = re.sub(rf"\.({'|'.join(FER_LABELS)})$", ".<label>", path)
    return re.sub(r"^machine\.versions\..*", "machine.versions.<package>", path)


@pytest.fixture
def document(tiny_model_path):
    gated = with_gate(document_of(tiny_model_path, 60), 1.0)
    timed = accuracy.with_seconds(gated, time.perf_counter(), 0.0)
    return json.loads(json.dumps(timed, allow_nan=False))


def documented_keys():
    rows = re.findall(r"^\| `([^`]+)` \|", DOCUMENTED.read_text("utf-8"), re.M)
    assert len(rows) == len(set(rows))
    return set(rows)


def test_every_key_is_documented_and_every_documented_key_exists(document):
    found = {general(path) for path in key_paths(document)}
    # null without --max-drop, the parts below with it
    assert found | {"gate"} == documented_keys()


def test_gate_is_null_without_one(tiny_model_path):
    assert document_of(tiny_model_path, 10)["gate"] is None


def test_flips_agree_with_the_list_of_flipped_images(document):
    (comparison,) = document["comparisons"]
    kinds = [one["kind"] for one in comparison["flipped_images"]]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == comparison["flips"]
    assert comparison["agreement"] == pytest.approx(1 - len(kinds) / 60)


def test_document_holds_no_pixels_and_no_paths(document, tiny_model_path):
    text = json.dumps(document)
    assert str(tiny_model_path.parent) not in text
    assert "base64" not in text
    assert len(text) < 60_000


def test_machine_card_is_the_documented_one():
    documented = {key.split(".")[1] for key in documented_keys() if "machine." in key}
    assert set(machine_card()) == documented


@drawing
def test_report_on_3589_images_costs_little_beside_inference(tiny_model_path):
    """Statistics, table, page and JSON of two files, with every other answer changed.

    Half a second is 20 % of the inference that two files of 0.35 ms an image need: a
    small int8 network on one core of a workstation, and 10 to 100 times less than on a
    board. Processor time, so that a busy machine does not fail it.
    """
    document_of(tiny_model_path, 10)  # first calls load libraries
    used = []
    for _ in range(2):
        images = noise(3589, FER_LABELS)
        models = [answering(tiny_model_path, seed, images) for seed in (1, 2)]
        before = time.process_time()
        gated = with_gate(measured(tiny_model_path, models, images), 0.5)
        accuracy_table(gated)
        pixels = images.in_format_of(models[0]).images
        render_accuracy(gated, pixels=pixels)
        json.dumps(gated, indent=1)
        used.append(time.process_time() - before)
    assert min(used) < 0.5


@drawing
def test_models_without_flips_have_an_empty_list(tiny_model_path):
    images = noise(12, FER_LABELS)
    models = [answering(tiny_model_path, 1, images) for _ in range(2)]
    document = measured(tiny_model_path, models, images)
    assert document["comparisons"][0]["flipped_images"] == []
    assert "No image got another answer" in render_accuracy(document)


def test_class_without_images_has_no_recall_and_no_interval():
    spec = ModelSpec(("a", "b"), 8, "grey")
    split = SimpleNamespace(
        labels=np.array([0]), images=np.zeros((1, 8, 8, 1), np.uint8)
    )
    figures = accuracy.figures(np.array([[1, 0]], np.float32), split, spec)
    assert figures["recall"]["b"] is None


def test_hash_is_that_of_the_measured_file_also_where_it_was_replaced(
    tmp_path, tiny_model_path
):
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_model_path.read_bytes())
    classifier = Classifier.load(path)
    path.write_bytes(b"another")
    record = model_record("a", classifier, 1)
    assert record["sha256"] == sha256(tiny_model_path.read_bytes()).hexdigest()
    assert record["bytes"] == tiny_model_path.stat().st_size
