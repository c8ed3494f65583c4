import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.accuracy import comparison
from benchmarks.accuracy import measure as accuracy
from benchmarks.accuracy.measure import load_images
from benchmarks.accuracy.table import accuracy_table
from benchmarks.common.documents import unique_names
from edge_runtime import Classifier, ModelSpec
from edge_runtime.errors import DatasetError, MeasurementError, ModelError
from edge_runtime.model_file.container import attach, read_model_file
from tests.console import one_error_line
from tests.onnx_runtime import require_onnxruntime

LABELS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
PER_CLASS = 5


def write_images(folder, labels=LABELS, count=PER_CLASS, size=48):
    rng = np.random.default_rng(0)
    for label in labels:
        (folder / label).mkdir(parents=True)
        for index in range(count):
            image = rng.integers(0, 256, (size, size), dtype=np.uint8)
            cv2.imwrite(str(folder / label / f"{index}.png"), image)
    return folder


@pytest.fixture
def data(tmp_path):
    """Noise: what it shows does not matter, that it is read does."""
    write_images(tmp_path / "images" / "train", count=2)
    write_images(tmp_path / "images" / "test")
    return tmp_path / "images"


@pytest.fixture
def other_labels_path(tiny_model_path, tmp_path):
    file = read_model_file(tiny_model_path)
    document = {**file.document, "labels": list(reversed(LABELS)), "golden": None}
    path = tmp_path / "reversed.tflite"
    path.write_bytes(attach(file.model, document, file.kind))
    return path


# --- documents -------------------------------------------------------------------


def test_figures_of_known_answers():
    spec = ModelSpec(("a", "b"), 8, "grey")
    y_true = np.array([0, 0, 0, 1])
    logits = np.eye(2, dtype=np.float32)[[0, 0, 1, 1]]
    images = SimpleNamespace(labels=y_true, images=np.zeros((4, 8, 8, 1), np.uint8))
    result = accuracy.figures(logits, images, spec)
    assert result["confusion_matrix"] == [[2, 1], [0, 1]]
    assert result["right"] == 3
    assert result["accuracy"] == pytest.approx(0.75)
    assert result["recall"] == pytest.approx({"a": 2 / 3, "b": 1})
    assert result["accuracy_95"] == pytest.approx([0.3006, 0.9544], abs=1e-4)


def test_recall_of_a_class_without_images_is_null():
    spec = ModelSpec(("a", "b"), 8, "grey")
    logits = np.array([[1, 0]], np.float32)
    images = SimpleNamespace(
        labels=np.array([0]), images=np.zeros((1, 8, 8, 1), np.uint8)
    )
    assert accuracy.figures(logits, images, spec)["recall"] == {"a": 1.0, "b": None}


def test_nan_answers_are_no_measurement(data, tiny_model_path):
    classifier = Classifier.load(tiny_model_path)
    images = load_images(str(data), [classifier])
    nan = np.full((len(LABELS) * PER_CLASS, len(LABELS)), np.nan, np.float32)
    classifier.logits = lambda batch: nan[: len(batch)]
    with pytest.raises(MeasurementError, match="NaN"):
        accuracy.measure_accuracy([tiny_model_path], [classifier], images)


def test_accuracy_is_that_of_predicting_every_image(data, tiny_model_path):
    classifier = Classifier.load(tiny_model_path)
    images = load_images(str(data), [classifier])
    document = accuracy.measure_accuracy([tiny_model_path], [classifier], images)
    split = images.in_format_of(classifier)
    right = sum(
        classifier.predict(image).label == LABELS[label]
        for image, label in zip(split.images, split.labels, strict=True)
    )
    assert document["models"][0]["right"] == right


def test_equal_file_names_are_numbered(tmp_path):
    paths = [tmp_path / "a" / "m.onnx", tmp_path / "b" / "m.onnx", tmp_path / "n.onnx"]
    assert unique_names(paths) == ["m.onnx", "m.onnx #2", "n.onnx"]


# --- images ----------------------------------------------------------------------


def stand_in(size_px, colour, labels=LABELS):
    spec = ModelSpec(labels, size_px, colour)
    return SimpleNamespace(spec=spec, file=SimpleNamespace(name="m.tflite"))


def test_models_of_other_size_and_colour_get_the_same_images(data):
    small, large = stand_in(24, "grey"), stand_in(64, "rgb")
    images = load_images(str(data), [small, large, small])
    assert len(images.formats) == 2
    assert images.in_format_of(small).images.shape == (35, 24, 24, 1)
    assert images.in_format_of(large).images.shape == (35, 64, 64, 3)
    assert images.in_format_of(small).names == images.in_format_of(large).names


def test_test_split_is_taken_where_there_is_one(data):
    images = load_images(str(data), [stand_in(48, "grey")])
    assert (images.name, images.split, images.whole_source) == ("images", "test", False)


def test_source_without_splits_is_measured_whole_with_a_note(data, tiny_model_path):
    classifier = Classifier.load(tiny_model_path)
    images = load_images(str(data / "test"), [classifier])
    document = accuracy.measure_accuracy([tiny_model_path], [classifier], images)
    assert document["data"]["whole_source"] is True
    assert document["data"]["may_include_training_images"] is True
    assert "its accuracy is too high" in accuracy_table(document)


def test_training_split_is_marked(data):
    images = load_images(str(data), [stand_in(48, "grey")], split="train")
    assert (images.split, images.whole_source) == ("train", False)


@pytest.mark.parametrize(
    ("origin", "split", "said"),
    [
        pytest.param("test", "test", True, id="validated on the test split"),
        pytest.param("train", "test", False, id="validated on training images"),
        pytest.param("train", "train", False, id="training images are another note"),
    ],
)
def test_images_that_chose_the_model_are_announced(
    origin, split, said, data, tiny_model_path, tmp_path
):
    file = read_model_file(tiny_model_path)
    trained_on = {"data": {"name": "images", "validation_from": origin}}
    path = tmp_path / "model.tflite"
    path.write_bytes(
        attach(file.model, {**file.document, "origin": trained_on}, file.kind)
    )
    classifier = Classifier.load(path)
    images = load_images(str(data), [classifier], split=split)
    document = accuracy.measure_accuracy([path], [classifier], images)
    assert document["data"]["may_have_chosen_a_model"] is said
    assert ("were chosen on these images" in accuracy_table(document)) is said


def test_limit_keeps_every_class_and_is_repeatable(data):
    first, second = (
        load_images(str(data), [stand_in(48, "grey")], limit=14) for _ in range(2)
    )
    split = first.in_format_of(stand_in(48, "grey"))
    assert np.bincount(split.labels).tolist() == [2] * 7
    assert split.names == second.in_format_of(stand_in(48, "grey")).names


def test_different_labels_are_refused(data):
    models = [stand_in(48, "grey"), stand_in(48, "grey", tuple(reversed(LABELS)))]
    with pytest.raises(ModelError, match="same labels in the same order"):
        load_images(str(data), models)


def test_unknown_classes_are_refused(tmp_path):
    folder = write_images(tmp_path / "more", ("angry", "bored"), 1)
    with pytest.raises(DatasetError, match="bored"):
        load_images(str(folder), [stand_in(48, "grey")])


def test_labels_of_votes_are_what_is_measured(data, tiny_model_path, tmp_path, capsys):
    """Every test image is voted happy, half of them without a majority."""
    lines = ["file," + ",".join((*LABELS, "NF"))]
    for number, path in enumerate(sorted(data.glob("*/*/*.png"))):
        votes = (
            {"happy": 6, "sad": 4} if number % 2 else {"happy": 4, "sad": 4, "NF": 2}
        )
        row = ",".join(str(votes.get(label, 0)) for label in (*LABELS, "NF"))
        lines.append(f"{path.relative_to(data)},{row}")
    votes_path, out = tmp_path / "votes.csv", tmp_path / "out.json"
    votes_path.write_text("\n".join(lines))
    argv = ["accuracy", str(tiny_model_path), "--data", str(data), "--json", str(out)]
    assert main([*argv, "--labels-from", str(votes_path)]) == 0
    document = json.loads(out.read_text())
    assert document["data"]["name"] == "images + votes.csv"
    assert document["data"]["count"] in (17, 18)
    matrix = np.array(document["models"][0]["confusion_matrix"])
    assert matrix[LABELS.index("happy")].sum() == document["data"]["count"]
    assert "images + votes.csv, split test" in capsys.readouterr().out


def test_category_to_drop_needs_votes(data, tiny_model_path, capsys):
    argv = ["accuracy", str(tiny_model_path), "--data", str(data)]
    assert main([*argv, "--drop-category", "NF"]) == 2
    assert "--labels-from" in one_error_line(capsys)


# --- command ---------------------------------------------------------------------


def test_command_writes_a_document_with_all_keys(
    data, tiny_float_path, tiny_model_path, tmp_path, capsys
):
    out = tmp_path / "out.json"
    argv = ["accuracy", str(tiny_float_path), str(tiny_model_path)]
    assert main([*argv, "--data", str(data), "--json", str(out)]) == 0
    document = json.loads(out.read_text())
    assert document["schema"] == "fer-edge/accuracy/1"
    assert set(document) >= {"created", "data", "labels", "models", "comparisons"}
    assert set(document) >= {"gate", "machine"}
    assert document["data"]["count"] == 35
    assert document["data"]["split"] == "test"
    for model in document["models"]:
        assert set(model) >= {"name", "sha256", "bytes", "format", "architecture"}
        assert set(model) >= {"backend", "threads", "git_revision", "data_fingerprint"}
        assert np.sum(model["confusion_matrix"]) == 35
    assert str(tmp_path) not in out.read_text()
    shown = capsys.readouterr().out
    assert "same prediction" in shown
    assert "next:" in shown


def test_onnx_model_is_compared_with_a_tflite_model(
    data, tiny_float_path, tiny_onnx_path, tmp_path
):
    require_onnxruntime()
    out = tmp_path / "out.json"
    argv = ["accuracy", str(tiny_float_path), str(tiny_onnx_path)]
    assert main([*argv, "--data", str(data), "--json", str(out)]) == 0
    models = json.loads(out.read_text())["models"]
    assert [one["backend"]["name"] == "onnxruntime" for one in models] == [False, True]
    assert models[0]["data_fingerprint"] == models[1]["data_fingerprint"]


def test_two_matrices_stand_side_by_side(data, tiny_model_path, tmp_path, capsys):
    model = str(tiny_model_path)
    assert main(["accuracy", model, model, "--data", str(data)]) == 0
    rows = [s for s in capsys.readouterr().out.splitlines() if s.startswith("angry")]
    assert rows[0].count("angry") == 2


def test_too_few_images_pass_no_gate_though_nothing_flipped(
    data, tiny_model_path, capsys
):
    model = str(tiny_model_path)
    argv = ["accuracy", model, model, "--data", str(data), "--max-drop"]
    assert main([*argv, "1"]) == 3
    assert "35 images cannot show that" in one_error_line(capsys)
    assert main([*argv, "10"]) == 0  # z^2 / (35 + z^2) is 9.89 points


def test_command_fails_the_gate_with_3_and_keeps_the_result(
    data, tiny_model_path, tmp_path, capsys
):
    out = tmp_path / "out.json"
    argv = ["accuracy", str(tiny_model_path), str(tiny_model_path), "--data", str(data)]
    assert main([*argv, "--max-drop", "9.8", "--json", str(out)]) == 3
    gate = json.loads(out.read_text())["gate"]
    assert gate["passed"] is False
    assert gate["models"][0]["drop_points_upper"] == pytest.approx(9.89, abs=0.005)
    assert "up to 9.90" in one_error_line(capsys)


def test_gate_of_zero_points_is_refused(data, tiny_model_path, capsys):
    model = str(tiny_model_path)
    with pytest.raises(SystemExit) as stopped:
        main(["accuracy", model, model, "--data", str(data), "--max-drop", "0"])
    assert stopped.value.code == 2
    assert "more than 0" in capsys.readouterr().err


def test_pictures_need_a_report(data, tiny_model_path, capsys):
    argv = ["accuracy", str(tiny_model_path), "--data", str(data), "--with-pictures"]
    assert main(argv) == 2
    assert "--report" in one_error_line(capsys)


@pytest.mark.parametrize(
    ("flags", "pictures"),
    [
        pytest.param([], False, id="without the flag"),
        pytest.param(["--with-pictures"], True, id="with the flag"),
    ],
)
def test_pictures_of_the_data_are_in_the_report_only_on_request(
    flags, pictures, data, tiny_float_path, tiny_model_path, tmp_path, monkeypatch
):
    guesses = iter([np.zeros(35, np.int64), np.ones(35, np.int64)])
    monkeypatch.setattr(
        accuracy.Predictions,
        "of",
        lambda *_: comparison.Predictions(next(guesses), np.full(35, 0.5)),
    )
    pytest.importorskip("jinja2", reason="writes pages")
    pytest.importorskip("matplotlib", reason="draws charts")
    page, out = tmp_path / "page.html", tmp_path / "out.json"
    models = [str(tiny_float_path), str(tiny_model_path)]
    argv = ["accuracy", *models, "--data", str(data), "--json", str(out)]
    assert main([*argv, "--report", str(page), *flags]) == 0
    assert json.loads(out.read_text())["comparisons"][0]["flipped_images"]
    assert ("data:image/png" in page.read_text()) is pictures
    assert ("photographs of people" in page.read_text()) is pictures
    assert "data:image" not in out.read_text()


def test_time_is_accounted_for(data, tiny_model_path, tmp_path, capsys):
    out = tmp_path / "out.json"
    argv = ["accuracy", str(tiny_model_path), "--data", str(data), "--json", str(out)]
    assert main(argv) == 0
    seconds = json.loads(out.read_text())["seconds"]
    assert all(value >= 0 for value in seconds.values())
    parts = seconds["reading_images"] + seconds["inference"] + seconds["other"]
    assert parts == pytest.approx(seconds["total"])
    assert "s inference" in capsys.readouterr().out


def test_missing_model_is_one_line(data, capsys):
    assert main(["accuracy", "nowhere.tflite", "--data", str(data)]) == 2
    assert "nowhere.tflite" in one_error_line(capsys)


def test_missing_data_is_one_line(tiny_model_path, capsys):
    assert main(["accuracy", str(tiny_model_path), "--data", "nowhere"]) == 2
    assert "nowhere" in one_error_line(capsys)


def test_models_with_other_labels_are_one_line(
    data, tiny_model_path, other_labels_path, capsys
):
    models = [str(tiny_model_path), str(other_labels_path)]
    assert main(["accuracy", *models, "--data", str(data)]) == 2
    assert "same labels" in one_error_line(capsys)


def test_missing_split_is_one_line(data, tiny_model_path, capsys):
    argv = ["accuracy", str(tiny_model_path), "--data", str(data)]
    assert main([*argv, "--split", "validation"]) == 2
    assert "no validation split" in one_error_line(capsys)


def test_gate_needs_two_models(data, tiny_model_path, capsys):
    argv = ["accuracy", str(tiny_model_path), "--data", str(data)]
    assert main([*argv, "--max-drop", "1"]) == 2
    assert "two models" in one_error_line(capsys)


def test_older_result_is_kept_unless_forced(data, tiny_model_path, tmp_path, capsys):
    out = tmp_path / "out.json"
    out.write_text("older")
    argv = ["accuracy", str(tiny_model_path), "--data", str(data), "--json", str(out)]
    assert main(argv) == 2
    assert "--force" in one_error_line(capsys)
    assert out.read_text() == "older"
    assert main([*argv, "--force"]) == 0
    assert json.loads(out.read_text())["schema"] == accuracy.SCHEMA


def picture_of(models, data, out):
    argv = ["accuracy", *map(str, models), "--data", str(data), "--picture", str(out)]
    assert main(argv) == 0
    return cv2.imread(str(out))


def test_picture_is_a_png(data, tiny_model_path, tmp_path):
    pytest.importorskip("matplotlib")
    assert picture_of([tiny_model_path], data, tmp_path / "a.png") is not None


def test_picture_of_two_models_has_a_third_panel_and_of_three_a_second_row(
    data, tiny_model_path, tmp_path
):
    pytest.importorskip("matplotlib")
    one, two, three = (
        picture_of([tiny_model_path] * count, data, tmp_path / f"{count}.png").shape
        for count in (1, 2, 3)
    )
    assert two[1] / one[1] == pytest.approx(3, abs=0.3)
    assert three[1] / two[1] == pytest.approx(1, abs=0.1)
    assert three[0] / two[0] == pytest.approx(2, abs=0.3)
