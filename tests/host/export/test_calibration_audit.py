"""What is refused, warned of and measured about calibration images and ranges."""

import json

import cv2
import numpy as np
import pytest

from edge_runtime.errors import DatasetError, RunError
from edge_runtime.graph.tflite import read_tflite
from edge_runtime.model_file.container import read_model_file
from train.networks.backend import start_keras

start_keras()

import keras  # noqa: E402
from keras import layers  # noqa: E402

from export.__main__ import main  # noqa: E402
from export.calibration import audit, calibrate  # noqa: E402
from export.calibration.activations import tflite_reader  # noqa: E402
from export.calibration.measure import measure_ranges  # noqa: E402
from export.calibration.record import SCHEMA, CalibrationRecord  # noqa: E402
from export.calibration.representative import (  # noqa: E402
    Representative,
    check_usable,
    collect_warnings,
    select_run_images,
)
from export.convert import tflite  # noqa: E402
from export.convert.formats import FloatModels  # noqa: E402
from export.report.tables import describe_audit  # noqa: E402
from export.trained_model import find_trained_model, load_run_data  # noqa: E402
from train.__main__ import main as train_main  # noqa: E402

# The converters' own; nothing here depends on what they warn of.
pytestmark = pytest.mark.filterwarnings("ignore")

RECORD = {"source": "photos", "sha256": "0"}
rng = np.random.default_rng(1)
NOISE = rng.integers(0, 256, (120, 8, 8, 1)).astype(np.uint8)


def write_images(root, counts):
    for split, count in counts.items():
        for label in ("left", "right"):
            folder = root / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                image = rng.integers(0, 120, (16, 16)).astype(np.uint8)
                image[:, :8] += 100 * (label == "left")
                cv2.imwrite(str(folder / f"{i}.png"), image)
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose ranges are recorded, and what its first export wrote as JSON."""
    folder = tmp_path_factory.mktemp("audit")
    data = write_images(folder / "images", {"train": 61, "val": 30})
    rows = [f"leave out,{path.relative_to(data)}" for path in data.glob("train/*/60.*")]
    (folder / "audit.csv").write_text("\n".join(["action,file", *rows]))
    arguments = ["--data", str(data), "--name", str(folder / "tiny"), "--epochs", "1"]
    arguments += ["--leave-out", str(folder / "audit.csv")]
    assert train_main([*arguments, "--batch-size", "24", "--recipe", "demo"]) == 0
    arguments = ["--int8", "--audit", "--out", str(folder / "out")]
    arguments += ["--json", str(folder / "export.json")]
    assert main([str(folder / "tiny"), *arguments]) == 0
    return folder / "tiny"


@pytest.fixture(scope="module")
def document(run):
    return json.loads((run.parent / "export.json").read_text())


@pytest.mark.parametrize(
    ("images", "said"),
    [
        pytest.param(NOISE[:1], "2 different", id="one image"),
        pytest.param(np.repeat(NOISE[:1], 9, axis=0), "2 different", id="one, copied"),
        pytest.param(NOISE // 200, "raw pixels 0..255", id="scaled to 0..1"),
        pytest.param(
            np.arange(50, dtype=np.uint8).reshape(-1, 1, 1, 1)
            * np.ones_like(NOISE[:1]),
            "one value each",
            id="constant images",
        ),
    ],
)
def test_images_that_cannot_calibrate_are_refused(images, said):
    with pytest.raises(DatasetError, match=said):
        check_usable(Representative(images, RECORD))


def test_ordinary_images_are_not_refused():
    check_usable(Representative(NOISE, RECORD))


def test_dark_images_are_not_refused():
    check_usable(Representative(NOISE // 16, RECORD))


@pytest.mark.parametrize(
    ("images", "counts", "said"),
    [
        pytest.param(NOISE[:99], {}, "few", id="99 images"),
        pytest.param(np.concatenate([NOISE, NOISE]), {}, "different", id="copies"),
        pytest.param(NOISE, {"a": 100, "b": 20}, "unequal", id="classes"),
    ],
)
def test_doubtful_images_are_warned_of(images, counts, said):
    assert said in " ".join(collect_warnings(Representative(images, RECORD, counts)))


def test_good_images_are_not_warned_of():
    counts = {"a": 60, "b": 60}
    assert not collect_warnings(Representative(NOISE, RECORD, counts))


def test_scaled_pictures_are_refused_by_the_command(run, tmp_path, capsys):
    for split, label in (("train", "left"), ("train", "right")):
        folder = tmp_path / "dark" / split / label
        folder.mkdir(parents=True)
        for i in range(30):
            image = rng.integers(0, 2, (16, 16)).astype(np.uint8)
            cv2.imwrite(str(folder / f"{i}.png"), image)
    arguments = ["--int8", "--calibration-data", str(tmp_path / "dark")]
    assert main([str(run), *arguments, "--out", str(tmp_path / "out")]) == 2
    assert "scaled before they were saved" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_overlap_is_an_error_also_where_ranges_are_recorded(run):
    trained = find_trained_model(str(run), None)
    data = load_run_data(trained)
    data.validation.images[0] = select_run_images(trained.run, data).images[0]
    with pytest.raises(DatasetError, match="1 calibration images are validation"):
        calibrate.gather_inputs(trained, data, None)


def test_images_left_out_by_another_csv_are_named(run):
    trained = find_trained_model(str(run), None)
    table = run.parent / "audit.csv"
    kept = table.read_text()
    try:
        table.write_text(kept.replace("leave out", "keep"))
        with pytest.raises(DatasetError, match=r"images with .*audit\.csv no longer"):
            load_run_data(trained)
        table.unlink()
        assert load_run_data(trained) is None
    finally:
        table.write_text(kept)
    assert len(load_run_data(trained).marked) == 2


@pytest.mark.parametrize("version", [1, 2])
def test_ranges_of_earlier_schemas_are_measured_again(run, version):
    path = run / "calibration_ranges.json"
    kept = path.read_text()
    try:
        earlier = kept.replace(SCHEMA, f"fer-edge/ranges/{version}")
        assert earlier != kept
        path.write_text(earlier)
        assert CalibrationRecord.load(path, run / "model.keras") is None
    finally:
        path.write_text(kept)


def test_ranges_of_other_images_than_the_runs_are_refused(run):
    trained = find_trained_model(str(run), None)
    inputs = calibrate.gather_inputs(trained, load_run_data(trained), None)
    record = CalibrationRecord.load(
        run / "calibration_ranges.json", run / "model.keras"
    )
    other = {**record.images, "sha256": "0" * 64}
    kept = (run / "calibration_ranges.json").read_text()
    try:
        CalibrationRecord(
            record.model_sha256, other, record.tflite, record.onnx, {}
        ).save(run / "calibration_ranges.json")
        with pytest.raises(RunError, match="other images"):
            calibrate.calibrate(inputs, FloatModels(), ["tflite"], print)
    finally:
        (run / "calibration_ranges.json").write_text(kept)


def test_audit_names_the_balance_and_what_was_compared(document):
    images = document["audit"]["images"]
    assert images["class_counts"] == {"left": 60, "right": 60}
    assert images["overlap"] == 0
    assert images["compared_with"] == 60


def test_audit_measures_every_activation(run, document):
    tensors = document["audit"]["tensors"]
    file = read_model_file(run.parent / "out" / "tiny.float32.tflite")
    assert len(tensors) == len(read_tflite(file.model).operators)
    assert all(0 <= one["saturated"] < 0.05 and one["used"] > 0 for one in tensors)


def test_spread_has_the_figures_of_five_seeds(document):
    spread = document["spread"]
    assert len(spread["accuracy"]) == len(spread["seeds"]) == 5
    assert spread["min"] <= spread["mean"] <= spread["max"]
    assert spread["sd"] == pytest.approx(np.std(spread["accuracy"], ddof=1), abs=1e-5)


@pytest.fixture(scope="module")
def exact():
    """A small float model, images, and its true ranges."""
    keras.utils.set_random_seed(2)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
        ]
    )
    converted = tflite.to_tflite(model)
    return converted, measure_ranges(tflite_reader(converted), NOISE).whole


def test_true_ranges_saturate_nothing(exact):
    model, ranges = exact
    uses = audit.measure_use(model, ranges, NOISE)
    assert [one.saturated for one in uses] == [0.0] * len(uses)


def test_ranges_that_are_too_small_saturate(exact):
    model, ranges = exact
    half = {name: (low / 2, high / 2) for name, (low, high) in ranges.items()}
    assert audit.measure_use(model, half, NOISE)[0].saturated > 0.05


def test_ranges_that_are_too_large_are_hardly_used(exact):
    model, ranges = exact
    wide = {name: (20 * low, 20 * high) for name, (low, high) in ranges.items()}
    assert all(one.used < 0.1 for one in audit.measure_use(model, wide, NOISE))


def test_audit_without_images_says_so(exact):
    model, ranges = exact
    inputs = calibrate.CalibrationInputs(trained=None, run_data=None)
    lines = describe_audit(audit.audit(model, ranges, inputs))
    assert "no image was read" in lines[0]
    assert "not measured" in lines[1]
