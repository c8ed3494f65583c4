"""The list of released models, and models that are named instead of a file."""

import hashlib
import json

import pytest

from edge_runtime import Classifier
from edge_runtime.errors import ModelError
from edge_runtime.inference.classifier import model_path
from edge_runtime.model_file import released
from edge_runtime.model_file.container import read_model_file
from edge_runtime.model_file.released import find_released, released_models

EACH = pytest.mark.parametrize(
    "model", released_models().values(), ids=lambda m: m.name
)


@EACH
def test_list_says_what_the_file_is(model):
    assert hashlib.sha256(model.path.read_bytes()).hexdigest() == model.sha256
    assert read_model_file(model.path).document["labels"] == list(model.labels)
    assert model.labels_of
    assert model.licence


@EACH
def test_released_model_is_loaded_by_its_name(model):
    classifier = Classifier.load(model.name)
    assert classifier.spec.labels == model.labels
    golden, backend = classifier.spec.golden, classifier.backend
    if (backend.name, backend.version) == (golden.runtime, golden.version):
        # Not one step of the quantized logits (0.04 or more) off: what is left is the
        # rounding of the recorded decimals.
        assert classifier.golden_difference < 1e-5


def test_list_names_every_file_and_no_other():
    files = {path.name for path in released.MODELS.glob("*.tflite")}
    assert files == {model.path.name for model in released_models().values()}


def test_default_is_loaded_where_none_is_named():
    assert Classifier.load().file.name == find_released().path.name


@pytest.mark.parametrize("name", ["fer2014", "", "photos/", "FER2013"])
def test_unknown_name_is_answered_with_the_known_ones(name):
    with pytest.raises(
        ModelError, match=r"released model \(.*fer2013.*\) or a \.tflite"
    ):
        model_path(name)


def test_path_is_left_alone(tmp_path):
    assert model_path(tmp_path / "gone.tflite") == tmp_path / "gone.tflite"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(released, "MODELS", tmp_path)
    monkeypatch.setattr(released_models, "__defaults__", (tmp_path,))
    return tmp_path


def test_installation_without_models_says_how_to_make_one(folder):
    with pytest.raises(ModelError, match="python -m export"):
        find_released()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"default": "a", "models": {}}', '{"default": "a", "models": 1}'],
)
def test_damaged_list_is_a_model_error(folder, text):
    (folder / "released.json").write_text(text)
    with pytest.raises(ModelError, match=r"released\.json is damaged"):
        find_released()


def test_missing_file_is_a_model_error(folder):
    entry = {
        "file": "a.tflite",
        "sha256": "",
        "labels": ["x", "y"],
        "labels_of": "",
        "licence": "",
    }
    document = {"default": "a", "models": {"a": entry}}
    (folder / "released.json").write_text(json.dumps(document))
    with pytest.raises(
        ModelError, match=r"a\.tflite is missing: install fer-edge again"
    ):
        find_released("a")
