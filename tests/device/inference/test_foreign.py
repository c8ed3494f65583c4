"""Files of others give what their own interpreter says, or the command asks."""

import json
import logging

import cv2
import numpy as np
import pytest

from edge_runtime import Classifier
from edge_runtime.__main__ import main
from edge_runtime.errors import MetadataError, ModelError
from edge_runtime.inference import foreign
from edge_runtime.model_file.pixels import SCALINGS, normalized
from edge_runtime.preprocessing import to_model_input
from tests.foreign_models import (
    SIZE,
    Quantization,
    float_model,
    interpreter_outputs,
    official_metadata,
    quantized_model,
    with_files,
    with_last_operator,
)

LABELS = ("red", "green", "blue")
UNIT = [("MUL", 1 / 255)]
CUSTOM = {"builtinCode": 32, "deprecatedBuiltinCode": 32}


@pytest.fixture(scope="module")
def images():
    """Raw pixels: noise, black, white, and one bright channel each."""
    rng = np.random.default_rng(2)
    noise = rng.integers(0, 256, (6, SIZE, SIZE, 3), dtype=np.uint8)
    flat = np.zeros((5, SIZE, SIZE, 3), np.uint8)
    flat[1] = 255
    for channel in range(3):
        flat[2 + channel, ..., channel] = 250
    return np.concatenate([noise, flat])


@pytest.fixture(autouse=True)
def nothing_said_yet():
    foreign._warn_once.cache_clear()


@pytest.fixture
def save(tmp_path):
    def write(model, name="m.tflite"):
        path = tmp_path / name
        path.write_bytes(model)
        return path

    return write


def scaled(images, scale, offset):
    return (np.asarray(scale) * images + np.asarray(offset)).astype(np.float32)


# --- the end of the graph: probabilities are not made probabilities again ----------


@pytest.mark.parametrize(
    "end",
    ["softmax", "reshaped softmax", "exponentials", "flat softmax", "deep softmax"],
)
def test_probabilities_of_a_softmax_are_those_of_the_interpreter(save, images, end):
    model = float_model(first=UNIT, end=end)
    classifier = Classifier.load(save(model), labels=LABELS)
    expected = interpreter_outputs(model, images.astype(np.float32))
    assert expected.max() > 0.9
    assert np.allclose(classifier.probabilities(images), expected, atol=1e-6)
    assert classifier.spec.output == "probabilities"


def test_log_softmax_becomes_the_probabilities_that_it_is_of(save, images):
    model = float_model(first=UNIT, end="log softmax")
    classifier = Classifier.load(save(model), labels=LABELS)
    expected = np.exp(interpreter_outputs(model, images.astype(np.float32)))
    assert np.allclose(classifier.probabilities(images), expected, atol=1e-6)


def test_sigmoids_are_left_as_they_are(save, images):
    model = float_model(first=UNIT, end="sigmoid")
    classifier = Classifier.load(save(model), labels=LABELS)
    expected = interpreter_outputs(model, images.astype(np.float32))
    assert np.allclose(classifier.probabilities(images), expected, atol=1e-6)


@pytest.mark.parametrize("end", ["sigmoid", ""], ids=["sigmoid", "logit"])
def test_one_number_for_two_classes_is_that_of_the_second(save, images, end):
    model = float_model(classes=1, first=[("MUL", 1 / 255), ("SUB", 0.4)], end=end)
    path = save(model)
    output = None if end else "logits"
    probabilities = Classifier.load(
        path, labels=["cat", "dog"], output=output
    ).probabilities(images)
    second = interpreter_outputs(model, images.astype(np.float32))[:, 0]
    expected = second if end else 1 / (1 + np.exp(-second))
    assert np.allclose(probabilities[:, 1], expected, atol=1e-6)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_logits_still_get_a_softmax(save, images):
    model = float_model(first=UNIT)
    classifier = Classifier.load(save(model), labels=LABELS)
    exponents = np.exp(interpreter_outputs(model, images.astype(np.float32)))
    expected = exponents / exponents.sum(axis=1, keepdims=True)
    assert np.allclose(classifier.probabilities(images), expected, atol=1e-6)


@pytest.mark.parametrize("count", [10, 300])
def test_int8_softmax_of_many_classes_is_shown_as_it_is(save, images, count):
    source = Quantization("int8", 1.0, -128)
    model = quantized_model(source, classes=count, gain=0.004)
    labels = [f"class {n}" for n in range(count)]
    classifier = Classifier.load(save(model), labels=labels)
    expected = interpreter_outputs(model, (images.astype(int) - 128).astype(np.int8))
    assert np.allclose(classifier.probabilities(images), expected, atol=1e-6)


def test_logits_of_a_file_of_probabilities_are_their_logarithms(save, images):
    model = float_model(first=UNIT, end="softmax")
    classifier = Classifier.load(save(model), labels=LABELS)
    expected = np.log(interpreter_outputs(model, images.astype(np.float32)))
    assert np.allclose(classifier.logits(images), expected, atol=1e-4)


@pytest.mark.parametrize("output", ["logits", "probabilities"])
def test_what_is_given_overrides_the_file(save, images, output):
    model = float_model(first=UNIT, end="softmax")
    given = Classifier.load(save(model), labels=LABELS, output=output)
    own = interpreter_outputs(model, images.astype(np.float32))
    exponents = np.exp(own)
    twice = exponents / exponents.sum(axis=1, keepdims=True)
    expected = twice if output == "logits" else own
    assert np.allclose(given.probabilities(images), expected, atol=1e-6)


@pytest.mark.parametrize("gain", [4.0, -4.0], ids=["above 1", "below 0"])
def test_answers_beyond_0_to_1_are_no_probabilities(save, gain):
    path = save(float_model(first=UNIT, gain=gain))
    with pytest.raises(ModelError, match="give --model-output logits"):
        Classifier.load(path, labels=LABELS, output="probabilities")


def test_probabilities_that_do_not_sum_to_1_are_a_warning(save, caplog):
    path = save(float_model(first=UNIT, gain=0.001))
    Classifier.load(path, labels=LABELS, output="probabilities")
    assert "and not to 1" in caplog.text
    caplog.clear()
    path = save(float_model(first=UNIT, end="sigmoid", gain=0.001))
    Classifier.load(path, labels=LABELS, output="probabilities")
    assert "and not to 1" not in caplog.text


@pytest.mark.parametrize(
    ("end", "reason"), [("percent", "in percent"), ("argmax", "argmax")]
)
def test_answers_that_are_neither_logits_nor_probabilities_are_refused(
    save, end, reason
):
    path = save(float_model(first=UNIT, end=end))
    with pytest.raises(ModelError, match=reason):
        Classifier.load(path, labels=LABELS)


@pytest.mark.parametrize(
    ("change", "helps"),
    [
        ({"version": 99}, "install a newer one"),
        (
            {**CUSTOM, "customCode": b"edgetpu-custom-op"},
            "compiled for a Coral Edge TPU",
        ),
        ({**CUSTOM, "customCode": b"FlexRelu"}, "without SELECT_TF_OPS"),
    ],
    ids=["newer", "edge-tpu", "tensorflow"],
)
def test_file_that_cannot_be_loaded_says_what_helps(save, change, helps):
    model = with_last_operator(float_model(first=UNIT), change)
    with pytest.raises(ModelError, match=helps):
        Classifier.load(save(model), labels=LABELS)


def test_labels_without_the_background_are_named(save):
    path = save(float_model(classes=4, first=UNIT))
    with pytest.raises(ModelError, match=r"\(3\), got 4: .* background"):
        Classifier.load(path, labels=LABELS)
    with pytest.raises(ModelError, match=r"\(2\), got 4$"):
        Classifier.load(path, labels=LABELS[:2])


def test_images_of_any_size_are_not_taken_for_one_pixel(save):
    path = save(float_model(first=UNIT, end="softmax", free_size=True))
    with pytest.raises(ModelError, match=r"\(1, free, free, 3\), of any size"):
        Classifier.load(path, labels=LABELS)


@pytest.mark.parametrize("end", ["", "softmax", "sigmoid"])
def test_answers_that_are_no_numbers_are_refused(save, end):
    path = save(float_model(first=UNIT, gain=float("nan"), end=end))
    with pytest.raises(ModelError, match="which is not a number"):
        Classifier.load(path, labels=LABELS)


# --- 8-bit inputs: a pixel is one step ---------------------------------------------

INPUTS = {
    "Coral": (Quantization("uint8", 1 / 128, 128), "-1..1"),
    "Coral 127": (Quantization("uint8", 1 / 128, 127), "-1..1"),
    "127.5": (Quantization("uint8", 1 / 127.5, 127), "-1..1"),
    "signed int8": (Quantization("int8", 1 / 128, 0), "-1..1"),
    "signed int8, 127.5": (Quantization("int8", 1 / 127.5, -1), "-1..1"),
    "signed int8, 127.5 and 0": (Quantization("int8", 1 / 127.5, 0), "-1..1"),
    "MLPerf Tiny, person": (Quantization("int8", 1 / 255, -128), "0..1 (unit)"),
    "unit uint8": (Quantization("uint8", 1 / 256, 0), "0..0.9961 (unit)"),
    "MLPerf Tiny, CIFAR": (Quantization("int8", 1.0, -128), "0..255 (raw)"),
}


@pytest.mark.parametrize(("source", "words"), INPUTS.values(), ids=INPUTS)
def test_pixels_go_in_as_the_quantization_says(save, images, caplog, source, words):
    gain = 0.02 if source.scale == 1 else 4.0
    model = quantized_model(source, gain=gain)
    classifier = Classifier.load(save(model), labels=LABELS)
    shift = 128 if source.dtype == "int8" else 0
    own = (images.astype(int) - shift).astype(source.dtype)
    expected = interpreter_outputs(model, own)
    assert np.ptp(expected) > 0.5
    assert np.allclose(classifier.probabilities(images), expected, atol=1e-6)
    assert "by the quantization of its input" in caplog.text


def test_calibration_without_black_or_white_is_still_raw(save, images):
    source = Quantization("int8", 230 / 255, -128)
    model = quantized_model(source, gain=0.02)
    classifier = Classifier.load(save(model), labels=LABELS)
    own = np.clip(np.rint(images * (255 / 230) - 128), -128, 127).astype(np.int8)
    expected = interpreter_outputs(model, own)
    assert np.allclose(classifier.probabilities(images), expected, atol=1e-6)


def test_imagenet_range_is_told_by_the_quantization(save, images):
    source = Quantization("int8", (2.64 + 2.118) / 255, -15)
    model = quantized_model(source, gain=1.0)
    classifier = Classifier.load(save(model), labels=LABELS)
    values = scaled(images, *SCALINGS["imagenet"])
    own = np.clip(np.rint(values / source.scale - 15), -128, 127).astype(np.int8)
    expected = interpreter_outputs(model, own)
    assert np.allclose(classifier.probabilities(images), expected, atol=1e-6)


@pytest.mark.parametrize(
    "source",
    [
        Quantization("int8", 0.05, 10),
        Quantization("uint8", 0.0002, 128),
        # Symmetric: the range is -1..1, and the pixels may be 0..1.
        Quantization("int8", 1 / 127, 0),
        Quantization("int8", 0.98 / 127, 0),
        Quantization("uint8", 1 / 127, 128),
        # Of mean and deviation: CIFAR's, CLIP's, and 0.5 taken off.
        Quantization("int8", 4.12 / 255, -5),
        Quantization("int8", 3.94 / 255, -12),
        Quantization("uint8", 1 / 255, 127),
    ],
    ids=[
        *("strange", "tiny", "symmetric", "symmetric without white", "symmetric uint8"),
        *("CIFAR", "CLIP", "half"),
    ],
)
def test_strange_quantization_is_asked_about(save, source):
    with pytest.raises(MetadataError, match=r"--pixels raw: 0\.\.255, unit"):
        Classifier.load(save(quantized_model(source)), labels=LABELS)


@pytest.mark.parametrize(
    ("source", "name", "way_out"),
    [
        (INPUTS["Coral"][0], "raw", "leave --pixels out: it takes -1..0.9922 (signed)"),
        (INPUTS["MLPerf Tiny, person"][0], "raw", "it takes 0..1 (unit)"),
        (INPUTS["MLPerf Tiny, person"][0], "signed", "it takes 0..1 (unit)"),
        (INPUTS["signed int8"][0], "imagenet", "it takes -1..0.9922 (signed)"),
        (Quantization("int8", 1 / 127, 0), "raw", "scalings fit unit, signed"),
    ],
    ids=["Coral", "unit", "half", "imagenet", "symmetric"],
)
def test_pixels_that_the_input_cannot_hold_are_refused(save, source, name, way_out):
    path = save(quantized_model(source))
    with pytest.raises(MetadataError, match="of 256 pixel values as") as raised:
        Classifier.load(path, labels=LABELS, pixels=SCALINGS[name])
    assert way_out in str(raised.value)


@pytest.mark.parametrize(
    ("source", "name", "said"),
    [
        (Quantization("int8", 140 / 255, -128), "raw", False),
        (Quantization("int8", 4.12 / 255, -5), "imagenet", True),
        (INPUTS["Coral"][0], "signed", False),
        (INPUTS["Coral"][0], "unit", False),
    ],
    ids=["no white", "CIFAR", "same", "half of it"],
)
def test_pixels_that_it_mostly_holds_are_taken(save, caplog, source, name, said):
    path = save(quantized_model(source))
    Classifier.load(path, labels=LABELS, pixels=SCALINGS[name])
    assert ("are beyond its input" in caplog.text) == said


@pytest.mark.parametrize(
    ("scale", "zero_point", "expected"),
    [
        (0.0128, -95, ([0.1307 * 255], [0.3081 * 255])),  # MNIST's range
        (1 / 127, 0, ([0], [255])),
        (1 / 255, -128, None),  # says itself what it takes
    ],
    ids=["MNIST", "symmetric", "said"],
)
def test_official_normalization_where_the_quantization_says_nothing(
    save, scale, zero_point, expected
):
    metadata = official_metadata(mean=[33.3285], std=[78.5655])
    if expected == ([0], [255]):
        metadata = official_metadata(mean=[0], std=[255])
    source = Quantization("int8", scale, zero_point)
    path = save(quantized_model(source, metadata=metadata))
    pixels = Classifier.load(path, labels=LABELS).spec.pixels
    wanted = normalized(*expected) if expected else SCALINGS["unit"]
    assert pixels.scale == pytest.approx(wanted.scale, rel=1e-3)
    assert pixels.offset == pytest.approx(wanted.offset, rel=1e-3, abs=1e-6)


# --- float inputs: scaled inside the model, told by metadata, or asked for ---------

SCALED_INSIDE = {
    "Rescaling": ([("MUL", 1 / 255)], "raw"),
    "MobileNetV2": ([("DIV", 127.5), ("SUB", 1.0)], "raw"),
    "Rescaling with offset": ([("MUL", 1 / 127.5), ("ADD", -1.0)], "raw"),
    "Normalization": (
        [("SUB", [120.0, 115.0, 100.0]), ("MUL", [1 / 60, 1 / 58, 1 / 57])],
        "raw",
    ),
    "Caffe": ([("SUB", [103.9, 116.8, 123.7])], "raw"),
    "of 0..1": (
        [("SUB", [0.485, 0.456, 0.406]), ("DIV", [0.229, 0.224, 0.225])],
        "unit",
    ),
    "0..1 to -1..1": ([("MUL", 2.0), ("SUB", 1.0)], "unit"),
    "0..1 to 0..255": ([("MUL", 255.0)], "unit"),
    "-1..1 to 0..255": ([("MUL", 127.5), ("ADD", 127.5)], "signed"),
    "-1..1 to 0..1": ([("ADD", 1.0), ("MUL", 0.5)], "signed"),
    "of 256": ([("MUL", 1 / 256)], "raw"),
    "less a half": ([("MUL", 1 / 255), ("SUB", 0.5)], "raw"),
}


@pytest.mark.parametrize(("first", "name"), SCALED_INSIDE.values(), ids=SCALED_INSIDE)
def test_scaling_inside_the_model_says_what_it_takes(save, images, first, name):
    gain = 0.01 if name != "raw" and first[0][1] in (255.0, 127.5) else 0.5
    model = float_model(first=first, end="softmax", gain=gain)
    classifier = Classifier.load(save(model), labels=LABELS)
    own = scaled(images, *SCALINGS[name])
    expected = interpreter_outputs(model, own)
    assert np.allclose(classifier.probabilities(images), expected, atol=1e-5)


def test_channels_in_another_order_come_before_the_scaling(save, images):
    first = [("ADD", [-103.9, -116.8, -123.7])]  # Caffe's, of blue, green and red
    model = float_model(first=first, end="softmax", gain=0.02, swapped=True)
    classifier = Classifier.load(save(model), labels=LABELS)
    expected = interpreter_outputs(model, images.astype(np.float32))
    assert np.allclose(classifier.probabilities(images), expected, atol=1e-5)


NOT_SAID = {
    "none": [],
    "large": [("MUL", 1000.0)],
    "small": [("ADD", 3.0)],
    # Learnt, as a BatchNorm on the input is: of 0..1 or of -1..1.
    "learnt of -1..1": [("MUL", [1.8, 1.9, 2.1]), ("ADD", [-0.1, 0.0, 0.1])],
    "learnt of dark 0..1": [("MUL", 3.3), ("SUB", 0.4)],
    "CIFAR of 0..1": [("SUB", [0.491, 0.482, 0.447]), ("DIV", [0.247, 0.243, 0.262])],
    "doubled": [("MUL", 2.0)],
    "nothing": [("MUL", 1.0)],
}


@pytest.mark.parametrize("first", NOT_SAID.values(), ids=NOT_SAID)
def test_file_that_does_not_say_its_pixels_is_asked_about(save, capsys, first):
    path = save(float_model(first=first, end="softmax"))
    arguments = ["run", str(path), "--labels", "a,b,c", "--source", "x.png"]
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: m.tflite has no metadata and does not say what")
    assert "--pixels raw: 0..255, unit: 0..1, signed: -1..1, imagenet" in line


@pytest.mark.parametrize("name", ["unit", "signed", "imagenet", "raw"])
def test_given_pixels_are_what_the_network_gets(save, images, name):
    gain = 0.02 if name == "raw" else 4.0
    model = float_model(end="softmax", gain=gain)
    classifier = Classifier.load(save(model), labels=LABELS, pixels=SCALINGS[name])
    expected = interpreter_outputs(model, scaled(images, *SCALINGS[name]))
    assert np.allclose(classifier.probabilities(images), expected, atol=1e-5)


def test_pixels_of_three_channels_do_not_fit_a_grey_model(tiny_float_path, save):
    from edge_runtime.model_file.container import read_model_file

    path = save(read_model_file(tiny_float_path).model)
    labels = [str(n) for n in range(7)]
    with pytest.raises(ModelError, match="each of 1 channels"):
        Classifier.load(path, labels=labels, pixels=SCALINGS["imagenet"])


@pytest.mark.parametrize(
    ("mean", "std"),
    [([127.5], [127.5]), ([0], [255]), ([0, 0, 0], [1, 1, 1]), ([90, 100, 110], [50])],
    ids=["signed", "unit", "raw", "channels"],
)
def test_official_metadata_say_the_normalization(save, images, caplog, mean, std):
    metadata = official_metadata(mean=mean, std=std)
    gain = 0.02 if std == [1, 1, 1] else 4.0
    model = float_model(end="softmax", gain=gain, metadata=metadata)
    classifier = Classifier.load(save(model), labels=LABELS)
    expected = interpreter_outputs(model, scaled(images, *normalized(mean, std)))
    assert np.allclose(classifier.probabilities(images), expected, atol=1e-5)
    assert "by its TFLite metadata" in caplog.text


def test_official_metadata_bring_the_labels(save, images, caplog):
    metadata = official_metadata(mean=[0], std=[255], label_file="labels.txt")
    model = float_model(end="softmax", metadata=metadata)
    path = save(with_files(model, {"labels.txt": "red\ngreen thing\nblue\n"}))
    classifier = Classifier.load(path)
    assert classifier.spec.labels == ("red", "green thing", "blue")
    assert "labels are those of its labels.txt" in caplog.text
    assert Classifier.load(path, labels=LABELS).spec.labels == LABELS


@pytest.mark.parametrize(
    "files",
    [{}, {"others.txt": "a"}, {"labels.txt": "a\n" * 2_000_000}],
    ids=["no-archive", "other", "huge"],
)
def test_labels_that_cannot_be_read_are_an_error_of_one_line(save, capsys, files):
    metadata = official_metadata(mean=[0], std=[255], label_file="labels.txt")
    path = save(with_files(float_model(metadata=metadata), files))
    assert main(["run", str(path), "--source", "x.png"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "its list of labels 'labels.txt'" in line
    assert "give --labels cat,dog" in line
    assert Classifier.load(path, labels=LABELS, output="logits").spec.labels == LABELS


def test_everything_missing_is_asked_for_at_once(save, capsys):
    assert main(["run", str(save(float_model())), "--source", "x.png"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--labels cat,dog" in line
    assert "--pixels raw" in line


# --- the commands ------------------------------------------------------------------


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "red.png"
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[..., 2] = 250
    cv2.imwrite(str(path), image)
    return path


def probabilities_of_run(capsys, *arguments):
    capsys.readouterr()
    assert main(["run", *map(str, arguments), "--faces", "none", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    return list(document["objects"][0]["probabilities"].values())


def test_run_takes_the_flags(save, picture, capsys):
    model = float_model(end="softmax")
    common = [save(model), "--labels", "red,green,blue", "--source", picture]
    value = np.zeros((1, SIZE, SIZE, 3), np.float32)
    value[..., 0] = 250 / 255
    (expected,) = interpreter_outputs(model, value)
    found = probabilities_of_run(capsys, *common, "--pixels", "unit")
    assert found == pytest.approx(expected, abs=1e-5)
    flags = ("--pixels", "unit", "--model-output", "logits")
    assert max(probabilities_of_run(capsys, *common, *flags)) < max(found) - 0.2
    # Other commands call the flag --output, which is a file here.
    flags = ("--pixels", "unit", "--output", "logits")
    assert max(probabilities_of_run(capsys, *common, *flags)) < max(found) - 0.2


@pytest.mark.parametrize("fit", ["", "stretch", "crop", "pad"])
def test_run_takes_how_images_become_square(save, tmp_path, capsys, fit):
    image = np.random.default_rng(5).integers(0, 256, (SIZE, 3 * SIZE, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "wide.png"), image)
    model = float_model(end="softmax")
    common = [save(model), "--labels", "red,green,blue", "--pixels", "unit"]
    flags = ["--fit", fit] if fit else []
    found = probabilities_of_run(
        capsys, *common, *flags, "--source", tmp_path / "wide.png"
    )
    square = to_model_input(image, SIZE, "rgb", fit or "stretch")
    (expected,) = interpreter_outputs(model, scaled(square[np.newaxis], 1 / 255, 0))
    assert found == pytest.approx(expected, abs=1e-5)


def test_configuration_file_takes_them_alike(save, picture, capsys, tmp_path):
    config = tmp_path / "run.toml"
    config.write_text(
        f'model = "{save(float_model(end="softmax"))}"\nsource = "{picture}"\n'
        'labels = ["red", "green", "blue"]\npixels = "unit"\nmodel-output = "logits"\n'
    )
    found = probabilities_of_run(capsys, "--config", config)
    assert max(found) < 0.7
    config.write_text(config.read_text().replace("model-output", "output"))
    assert probabilities_of_run(capsys, "--config", config) == found
    config.write_text(config.read_text().replace("unit", "sined"))
    assert main(["run", "--config", str(config)]) == 2
    assert "pixels: expected raw, unit, signed, imagenet" in capsys.readouterr().err


def test_file_with_metadata_refuses_other_pixels(tiny_model_path, capsys):
    for flags in (["--pixels", "unit"], ["--model-output", "probabilities"]):
        assert main(["run", str(tiny_model_path), *flags, "--source", "x.png"]) == 2
        assert "leave out --pixels and --model-output" in capsys.readouterr().err
    with pytest.raises(MetadataError, match="its fit is stretch; leave out --fit"):
        Classifier.load(tiny_model_path, fit="crop")
    assert Classifier.load(tiny_model_path, pixels=SCALINGS["raw"], output="logits")


def test_what_was_taken_from_the_file_is_said_once(save, caplog):
    path = save(float_model(first=UNIT, end="softmax"))
    with caplog.at_level(logging.WARNING):
        Classifier.load(path, labels=LABELS)
        Classifier.load(path, labels=LABELS)
    (record,) = caplog.records
    assert (
        "pixels are taken as 0..255 (raw) by its first operators (MUL)"
        in record.message
    )
    assert "it gives probabilities (it ends in a softmax)" in record.message
    caplog.clear()
    path = save(float_model(end="softmax"))
    said = {"pixels": SCALINGS["unit"], "output": "probabilities"}
    Classifier.load(path, labels=LABELS, **said, colour="rgb")
    assert not caplog.records
    Classifier.load(path, labels=LABELS, **said)
    assert "its channels are taken as RGB; " in caplog.text


# --- the order of the channels -----------------------------------------------------


@pytest.mark.parametrize("name", ["unit", "signed", "imagenet"])
def test_bgr_networks_get_blue_first(save, images, name):
    model = float_model(end="softmax")
    own = scaled(images, *SCALINGS[name])[..., ::-1]
    expected = interpreter_outputs(model, own)
    said = {"labels": LABELS, "pixels": SCALINGS[name]}
    found = Classifier.load(save(model), **said, colour="bgr").probabilities(images)
    assert np.allclose(found, expected, atol=1e-5)
    rgb = Classifier.load(save(model), **said).probabilities(images)
    assert np.abs(rgb - expected).max() > 0.2


def test_bgr_networks_with_8_bit_input_get_blue_first(save, images):
    model = quantized_model(INPUTS["Coral"][0])
    classifier = Classifier.load(save(model), labels=LABELS, colour="bgr")
    expected = interpreter_outputs(model, images[..., ::-1])
    assert np.allclose(classifier.probabilities(images), expected, atol=1e-6)


def test_normalization_in_a_bgr_file_is_in_the_order_of_its_channels(save, images):
    mean, std = [104, 117, 124], [57, 58, 59]
    metadata = official_metadata(mean=mean, std=std)
    model = float_model(end="softmax", metadata=metadata, gain=0.5)
    classifier = Classifier.load(save(model), labels=LABELS, colour="bgr")
    own = scaled(images[..., ::-1], *normalized(mean, std))
    expected = interpreter_outputs(model, own)
    assert np.allclose(classifier.probabilities(images), expected, atol=1e-5)


def test_grey_networks_of_three_channels_get_the_grey_image_three_times(save, images):
    model = float_model(end="softmax", gain=0.5)
    said = {"labels": LABELS, "pixels": SCALINGS["imagenet"], "colour": "grey"}
    classifier = Classifier.load(save(model), **said)
    grey = np.repeat(images[..., :1], 3, axis=3)
    expected = interpreter_outputs(model, scaled(grey, *SCALINGS["imagenet"]))
    assert classifier.spec.colour == "grey"
    found = classifier.probabilities(images[..., :1])
    assert np.allclose(found, expected, atol=1e-5)
    assert np.allclose(classifier.predict(images[0, ..., 0]).probabilities, expected[0])


@pytest.mark.parametrize(
    "said",
    [
        {"labels": "rgb"},
        {"pixels": "sined"},
        {"pixels": 1 / 255},
        {"output": "softmax"},
        {"colour": "RGB"},
        {"fit": "squash"},
        {"num_threads": "2"},
        {"num_threads": 2.0},
    ],
    ids=str,
)
def test_programs_that_give_something_else_are_told_what_is_expected(save, said):
    path = save(float_model(end="softmax"))
    with pytest.raises(ValueError, match=r"expected .*, got"):
        Classifier.load(path, **{"labels": LABELS, "pixels": "unit", **said})


def test_programs_may_give_the_name_of_a_scaling(save, images):
    classifier = Classifier.load(
        save(float_model(end="softmax")), labels=LABELS, pixels="unit"
    )
    assert classifier.spec.pixels == SCALINGS["unit"]


def test_run_takes_the_order_of_channels(save, picture, capsys):
    model = float_model(end="softmax")
    common = [save(model), "--labels", "red,green,blue", "--source", picture]
    value = np.zeros((1, SIZE, SIZE, 3), np.float32)
    value[..., 2] = 250 / 255
    (expected,) = interpreter_outputs(model, value)
    found = probabilities_of_run(capsys, *common, "--pixels", "unit", "--colour", "bgr")
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("own", [True, False], ids=["with metadata", "without"])
def test_order_of_channels_is_refused_where_there_is_one(tiny_float_path, save, own):
    from edge_runtime.model_file.container import read_model_file

    path = tiny_float_path if own else save(read_model_file(tiny_float_path).model)
    said = {} if own else {"labels": list("abcdefg"), "pixels": SCALINGS["raw"]}
    said |= {} if own else {"output": "logits"}
    with pytest.raises(MetadataError, match="leave out --colour"):
        Classifier.load(path, **said, colour="bgr")
