"""What a model file may say about itself, and what is refused."""

import base64
import copy
import dataclasses
import hashlib
import json
import time
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import MetadataError
from edge_runtime.model_file.container import read_model_file
from edge_runtime.model_file.metadata import (
    LARGEST_SIZE_PX,
    LONGEST_LABEL,
    MOST_LABELS,
    SCHEMA,
    GoldenVectors,
    ModelSpec,
    check_labels,
    golden_patterns,
)

printable = st.text(
    st.characters(categories=("L", "N", "P", "S"), exclude_characters="/\\"),
    min_size=1,
    max_size=LONGEST_LABEL,
).filter(lambda text: text not in (".", ".."))
small_text = st.text(max_size=LONGEST_LABEL)
documents = st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8))


@st.composite
def specs(draw, *, golden=True):
    labels = draw(st.lists(printable, min_size=2, max_size=9, unique=True))
    spec = ModelSpec(
        labels=tuple(labels),
        size_px=draw(st.integers(1, 32)),
        colour=draw(st.sampled_from(["grey", "rgb"])),
        crop_margin_frac=draw(st.floats(-0.4, 2.0)),
        temperature=draw(st.floats(0.01, 100.0)),
        format=draw(small_text),
        architecture=draw(small_text),
        origin=draw(documents),
        accuracy=draw(documents),
    )
    if not golden:
        return spec
    seed, count = draw(st.integers(0, 2**32)), draw(st.integers(1, 4))
    rng = np.random.default_rng(seed)
    vectors = GoldenVectors(
        inputs=rng.integers(0, 256, (count, *spec.input_shape), dtype=np.uint8),
        logits=rng.normal(0, 5, (count, len(labels))).astype(np.float32),
        runtime=draw(small_text),
        version=draw(small_text),
        tolerance=draw(st.floats(0, 10)),
        tolerance_elsewhere=draw(st.floats(0, 10)),
    )
    return dataclasses.replace(spec, golden=vectors)


@pytest.fixture(scope="module")
def document(data_folder):
    return read_model_file(data_folder / "tiny.int8.tflite").document


def changed(document, path, value):
    """The document with one value replaced; ``...`` removes it."""
    result = copy.deepcopy(document)
    *parents, last = path.split(".")
    place = result
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return result


# --- there and back ----------------------------------------------------------------


@given(specs(golden=False))
def test_spec_survives_its_document(spec):
    written = json.loads(json.dumps(spec.to_document()))
    assert ModelSpec.from_document(written) == spec


@given(specs())
def test_golden_vectors_survive_their_document(spec):
    written = json.loads(json.dumps(spec.to_document()))
    golden = ModelSpec.from_document(written).golden
    assert np.array_equal(golden.inputs, spec.golden.inputs)
    # Written with six decimals.
    assert np.allclose(golden.logits, spec.golden.logits, rtol=1e-6, atol=1e-6)
    for name in ("runtime", "version", "tolerance", "tolerance_elsewhere"):
        assert getattr(golden, name) == getattr(spec.golden, name)


@pytest.mark.parametrize(("colour", "channels"), [("grey", 1), ("rgb", 3)])
def test_input_shape_is_height_width_channels(colour, channels):
    assert ModelSpec(("a", "b"), 32, colour).input_shape == (32, 32, channels)


# --- refusals ----------------------------------------------------------------------

NO_TEXT = [None, 7, True, ["x"], {"x": 1}]
NO_NUMBER = [None, "1", True, [1], {"x": 1}]
NO_LIST = [None, "ab", 7, {"0": "a"}]
NO_OBJECT = [None, "x", 7, [1]]
WRONG = {
    "schema": [*NO_NUMBER, 1.0, 0, -1, SCHEMA + 1, 10**400],
    "labels": [*NO_LIST, [], ["a"], ["a", "a"], ["a", 7], ["a", ""], ["a", None]],
    "input": NO_OBJECT,
    "input.size_px": [*NO_NUMBER, 48.0, 0, -1, LARGEST_SIZE_PX + 1, 10**400],
    "input.colour": [*NO_TEXT, "gray", "bgr", ""],
    "crop_margin_frac": [*NO_NUMBER, -0.5, 2.5, 10**400, float("nan")],
    "temperature": [*NO_NUMBER, 0, -1, 1000, float("nan"), float("inf")],
    "format": NO_TEXT,
    "architecture": NO_TEXT,
    "origin": NO_OBJECT,
    "accuracy": NO_OBJECT,
    "golden": ["x", 7, [1], {}],
    "golden.count": [*NO_NUMBER, 0, -1, 3, 5, 65, 10**400],
    "golden.inputs": [*NO_TEXT, "", "no base64!", "AAAA"],
    "golden.logits": [
        *NO_LIST,
        [],
        [[0.0] * 7] * 3,
        [[0.0] * 6] * 4,
        [[0.0] * 7] * 3 + [[0.0]],
        [[[0.0]] * 7] * 4,
        [[None] * 7] * 4,
        [["x"] * 7] * 4,
        [[1e300] * 7] * 4,
        [[10**400] * 7] * 4,
    ],
    "golden.runtime": NO_TEXT,
    "golden.version": NO_TEXT,
    "golden.tolerance": [*NO_NUMBER, -1, 1e9, float("nan")],
    "golden.tolerance_elsewhere": [*NO_NUMBER, -1, 1e9],
}
CASES = [(path, value) for path, values in WRONG.items() for value in values]


@pytest.mark.parametrize(
    ("path", "value"), CASES, ids=[f"{p}={str(v)[:20]}" for p, v in CASES]
)
def test_wrong_value_is_refused(document, path, value):
    with pytest.raises(MetadataError):
        ModelSpec.from_document(changed(document, path, value))


@pytest.mark.parametrize("path", [path for path in WRONG if path != "golden"])
def test_missing_value_is_refused(document, path):
    with pytest.raises(MetadataError):
        ModelSpec.from_document(changed(document, path, ...))


def test_a_document_without_golden_vectors_is_read(document):
    assert ModelSpec.from_document(changed(document, "golden", None)).golden is None


def test_schema_from_the_future_says_what_to_do(document):
    newer = changed(document, "schema", SCHEMA + 1)
    with pytest.raises(MetadataError, match="pip install -U fer-edge"):
        ModelSpec.from_document(newer)


@given(
    st.dictionaries(
        st.sampled_from([path for path in WRONG if "." not in path]),
        st.none() | st.integers() | st.text() | st.lists(st.integers()),
    )
)
def test_no_document_raises_anything_but_metadata_error(document):
    with pytest.raises(MetadataError):
        ModelSpec.from_document(document)


@pytest.mark.parametrize(
    "label",
    [
        "../../etc/passwd",
        "/",
        "a/b",
        "C:\\x",
        "..",
        ".",
        "a\nb",
        "\x1b[31m",
        "",
        "\u202e",
    ],
    ids=repr,
)
def test_label_like_a_path_or_an_escape_is_refused(label):
    with pytest.raises(MetadataError):
        check_labels(["good", label])


@pytest.mark.parametrize(
    "label",
    ["\u0628\u06cc\u200c\u0637\u0631\u0641", "a\u00a0b", "\U0001f468\u200d\U0001f469"],
    ids=ascii,
)
def test_label_of_any_script_is_taken(label):
    assert check_labels(["good", label])[1] == label


def test_label_at_the_longest_is_taken_and_one_more_is_refused():
    assert check_labels(["a", "b" * LONGEST_LABEL])[1] == "b" * LONGEST_LABEL
    with pytest.raises(MetadataError):
        check_labels(["a", "b" * (LONGEST_LABEL + 1)])


def test_too_many_labels_are_refused():
    with pytest.raises(MetadataError, match=str(MOST_LABELS + 1)):
        check_labels([str(number) for number in range(MOST_LABELS + 1)])


# --- golden vectors ----------------------------------------------------------------


def test_golden_vectors_that_unpack_to_more_than_the_input_are_refused_quickly(
    document,
):
    bomb = base64.b64encode(zlib.compress(bytes(2**29), 9)).decode()
    started = time.process_time()
    with pytest.raises(MetadataError, match="do not fit"):
        ModelSpec.from_document(changed(document, "golden.inputs", bomb))
    assert time.process_time() - started < 1 + 10 * _seconds_to_decode(bomb)


def _seconds_to_decode(text):
    started = time.process_time()
    base64.b64decode(text, validate=True)
    return time.process_time() - started


def test_golden_vectors_of_huge_inputs_are_refused(document):
    large = changed(document, "input.size_px", LARGEST_SIZE_PX)
    large = changed(large, "golden.count", 64)
    with pytest.raises(MetadataError, match="golden"):
        ModelSpec.from_document(large)


def test_golden_patterns_of_the_exported_file_are_the_generated_ones(document):
    spec = ModelSpec.from_document(document)
    assert np.array_equal(spec.golden.inputs, golden_patterns(spec))


# The same on every machine: integers only.
PATTERNS = {
    (48, "grey"): "ab8f1aacdffd1075",
    (48, "rgb"): "090bc46115a65e9a",
    (32, "grey"): "435abe0bc8e258f4",
    (224, "rgb"): "f81b904893e9cf20",
}


@pytest.mark.parametrize(
    ("size_px", "colour"), PATTERNS, ids=[f"{s}-{c}" for s, c in PATTERNS]
)
def test_golden_patterns_never_change(size_px, colour):
    patterns = golden_patterns(ModelSpec(("a", "b"), size_px, colour))
    digest = hashlib.sha256(patterns.tobytes()).hexdigest()[:16]
    assert digest == PATTERNS[size_px, colour]


@pytest.mark.parametrize("pair", [(0, 1), (0, 2), (1, 2)], ids=["rg", "rb", "gb"])
def test_every_channel_of_golden_patterns_differs_from_the_others(pair):
    """In the set as a whole: swapped channels must change some answer."""
    patterns = golden_patterns(ModelSpec(("a", "b"), 48, "rgb"))
    one, other = (patterns[..., channel] for channel in pair)
    differing = [not np.array_equal(a, b) for a, b in zip(one, other, strict=True)]
    assert sum(differing) >= 2


def test_golden_patterns_use_the_whole_pixel_range():
    patterns = golden_patterns(ModelSpec(("a", "b"), 48, "grey"))
    assert (patterns.min(), patterns.max()) == (0, 255)
