"""The metadata inside model files: written, read back, and never silently damaged."""

import functools
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime import Classifier
from edge_runtime.errors import MetadataError, ModelError
from edge_runtime.model_file.container import (
    LARGEST_METADATA_BYTES,
    MEMBER,
    attach,
    format_document,
    parse_document,
    parse_model_file,
    read_model_file,
)
from edge_runtime.model_file.onnx_entry import PROPERTY
from tests.onnx_runtime import require_onnxruntime

ROOT = Path(__file__).resolve().parents[3]
LABELS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
SPREAD = 220  # positions at which each region of a file is damaged
REFUSED_WITHIN_S = 2.0

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner)
    ),
    max_leaves=12,
)
documents = st.dictionaries(
    st.text(max_size=12).filter(lambda key: key not in ("sha256", "digest")),
    json_values,
    max_size=6,
)


@st.composite
def onnx_messages(draw):
    """A protobuf message of length-delimited fields, as an ONNX model is."""
    fields = draw(st.lists(st.tuples(st.integers(2, 13), st.binary(max_size=100))))
    parts = [b"\x08\x0a"]  # ir_version 10
    parts += [bytes([(n << 3) | 2, len(data)]) + data for n, data in fields]
    return b"".join(parts)


def read_bytes_as(name, data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        return read_model_file(path)


def without_hashes(document):
    return {k: v for k, v in document.items() if k not in ("sha256", "digest")}


def zipped(text, *, name=MEMBER, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr(name, text)
    return buffer.getvalue()


# --- there and back ----------------------------------------------------------------


@given(st.binary(max_size=300), documents)
def test_document_and_model_survive_the_round_trip_in_a_tflite_file(content, document):
    model = b"\x1c\x00\x00\x00TFL3" + content
    file = read_bytes_as("a.tflite", attach(model, document, "tflite"))
    assert file.model == model
    assert without_hashes(file.document) == document


@given(onnx_messages(), documents)
def test_document_and_model_survive_the_round_trip_in_an_onnx_file(model, document):
    file = read_bytes_as("a.onnx", attach(model, document, "onnx"))
    assert file.model == model
    assert without_hashes(file.document) == document


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_attach_gives_the_same_bytes_whatever_the_order_of_the_keys(kind):
    model = {"tflite": b"\x1c\x00\x00\x00TFL3", "onnx": b"\x08\x0a"}[kind]
    one, other = {"a": 1, "b": [2.5]}, {"b": [2.5], "a": 1}
    assert attach(model, one, kind) == attach(model, other, kind)


@given(documents)
def test_formatted_document_is_its_own_canonical_form(document):
    text = format_document(document)
    assert format_document(parse_document(text)) == text


@given(st.binary(max_size=200))
def test_no_bytes_are_taken_for_a_document_except_as_metadata_error(text):
    with pytest.raises(MetadataError):
        parse_document(text)


@pytest.mark.parametrize(
    "name",
    ["tiny.int8.tflite", "tiny.float32.tflite", "tiny.int8.onnx", "tiny.float32.onnx"],
)
def test_taking_a_file_apart_and_attaching_again_gives_the_same_file(data_folder, name):
    path = data_folder / name
    file = read_model_file(path)
    document = without_hashes(file.document)
    assert attach(file.model, document, file.kind) == path.read_bytes()


# --- readable by others ------------------------------------------------------------


def test_zipfile_reads_the_metadata_of_a_tflite_file(tiny_model_path):
    with zipfile.ZipFile(tiny_model_path) as archive:
        assert archive.testzip() is None
        document = json.loads(archive.read(MEMBER))
    assert document["labels"] == list(LABELS)


def test_onnxruntime_shows_the_metadata_of_an_onnx_file(tiny_onnx_path):
    session = require_onnxruntime().InferenceSession(
        str(tiny_onnx_path), providers=["CPUExecutionProvider"]
    )
    text = session.get_modelmeta().custom_metadata_map[PROPERTY]
    assert json.loads(text)["labels"] == list(LABELS)


def test_onnx_library_accepts_the_file_with_metadata(tiny_onnx_path):
    onnx = pytest.importorskip("onnx", reason="onnx is not in this environment")
    model = onnx.load(tiny_onnx_path)
    onnx.checker.check_model(model)
    assert [entry.key for entry in model.metadata_props] == [PROPERTY]


@pytest.mark.parametrize("name", ["tiny.int8.tflite", "tiny.float32.onnx"])
def test_metadata_is_far_below_its_limit(data_folder, name):
    file = read_model_file(data_folder / name)
    assert file.size - len(file.model) < LARGEST_METADATA_BYTES / 10


# --- damage ------------------------------------------------------------------------


def damaged_positions(data, model_size):
    """Spread over model and metadata each, and every byte that frames the metadata."""
    positions = set(range(0, model_size, model_size // SPREAD))
    metadata = len(data) - model_size
    positions |= set(range(model_size, len(data), max(1, metadata // SPREAD)))
    positions |= set(range(model_size - 4, model_size + 80))
    positions |= set(range(len(data) - 120, len(data)))
    return sorted(positions)


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF], ids="flip-{:#04x}".format)
@pytest.mark.parametrize("labels", [None, LABELS], ids=["plain", "labels-given"])
@pytest.mark.parametrize("name", ["tiny.int8.tflite", "tiny.float32.onnx"])
def test_one_flipped_byte_anywhere_is_refused(
    data_folder, tmp_path, name, labels, flip
):
    """Also where labels were given, so that a lost document cannot go unnoticed."""
    data = (data_folder / name).read_bytes()
    positions = damaged_positions(data, len(read_model_file(data_folder / name).model))
    path, silent = tmp_path / name, []
    for position in positions:
        damaged = bytearray(data)
        damaged[position] ^= flip
        path.write_bytes(damaged)
        try:
            Classifier.load(path, labels=labels)
        except ModelError:
            continue
        silent.append(position)
    assert len(positions) >= 500
    assert silent == []


CUT_SCRIPT = """
import sys
from pathlib import Path
from edge_runtime import Classifier
from edge_runtime.errors import ModelError

source, folder = Path(sys.argv[1]), Path(sys.argv[2])
data, path = source.read_bytes(), folder / source.name
for length in sorted({*range(0, len(data), 101), *range(len(data) - 130, len(data))}):
    path.write_bytes(data[:length])
    try:
        Classifier.load(path)
    except ModelError:
        continue
    print("loaded", length)
print("done")
"""


@pytest.mark.parametrize("name", ["tiny.int8.tflite", "tiny.float32.onnx"])
def test_file_cut_at_any_length_is_refused_without_a_crash(data_folder, tmp_path, name):
    """In a process of its own: tflite-runtime reads beyond the end of a cut file."""
    command = [sys.executable, "-c", CUT_SCRIPT, str(data_folder / name), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["done"], (done.returncode, done.stderr[-500:])


@pytest.mark.parametrize("name", ["tiny.int8.tflite", "tiny.float32.onnx"])
def test_an_altered_model_is_told_from_altered_metadata(data_folder, tmp_path, name):
    data = bytearray((data_folder / name).read_bytes())
    data[len(read_model_file(data_folder / name).model) // 2] ^= 1
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ModelError, match="the model was altered"):
        Classifier.load(path)


def test_bytes_behind_the_metadata_are_refused(tiny_model_path, tmp_path):
    path = tmp_path / "longer.tflite"
    path.write_bytes(tiny_model_path.read_bytes() + b"more")
    with pytest.raises(ModelError):
        Classifier.load(path)


def test_bytes_before_the_model_are_refused(tiny_model_path, tmp_path):
    path = tmp_path / "shifted.tflite"
    path.write_bytes(b"more" + tiny_model_path.read_bytes())
    with pytest.raises(ModelError):
        Classifier.load(path)


def test_metadata_of_another_model_are_refused(data_folder, tmp_path):
    int8 = read_model_file(data_folder / "tiny.int8.tflite")
    whole = (data_folder / "tiny.float32.tflite").read_bytes()
    tail = whole[len(read_model_file(data_folder / "tiny.float32.tflite").model) :]
    path = tmp_path / "mixed.tflite"
    path.write_bytes(int8.model + tail)
    with pytest.raises(ModelError):
        Classifier.load(path)


# --- wrong files -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("model.keras", b"PK", "python -m export"),
        ("model.bin", b"TFL3", ".tflite or .onnx"),
        ("clip.mp4", b"", "look at it: run --source"),
        ("model", b"", ".tflite or .onnx"),
        ("empty.tflite", b"", "not a TFLite model"),
        ("empty.onnx", b"", "not an ONNX model"),
        ("text.tflite", b"hello there, a text", "not a TFLite model"),
        ("text.onnx", b"hello there, a text", "not an ONNX model"),
        (
            "page.tflite",
            b"\n<!DOCTYPE html>",
            "not a TFLite model: text, such as a web",
        ),
        ("git.onnx", b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        ("converted_tflite.zip", b"PK", "unpack it first"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_a_file_that_is_no_model_is_refused(tmp_path, name, content, part):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=part.replace(".", r"\.")):
        Classifier.load(tmp_path / name)


@pytest.mark.parametrize("name", ["no.tflite", "no.onnx", "no/such/folder.tflite"])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(ModelError, match=name):
        Classifier.load(tmp_path / name)


def test_a_folder_is_no_model_file(tmp_path):
    (tmp_path / "folder.tflite").mkdir()
    with pytest.raises(ModelError, match="folder"):
        Classifier.load(tmp_path / "folder.tflite")


def test_a_pipe_is_no_model_file_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.tflite")
    with pytest.raises(ModelError, match=r"pipe\.tflite': it is not a regular file"):
        Classifier.load(tmp_path / "pipe.tflite")


def test_an_absurdly_large_file_is_refused_unread(tmp_path):
    path = tmp_path / "huge.tflite"
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse
    with pytest.raises(ModelError, match="at most"):
        Classifier.load(path)


# --- many small parts ----------------------------------------------------------------


def zip_of(count):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(count):
            archive.writestr(str(number), b"")
    return buffer.getvalue()


def zip_that_claims_fewer():
    """Returns an archive whose end says that there is one entry."""
    data = bytearray(zip_of(1000))
    data[-14:-10] = b"\x01\0\x01\0"
    return bytes(data)


def onnx_of_many_fields():
    return b"\x08\x07" * 10**6


MANY_PARTS = {
    "zip entries": lambda: b"\x1c\0\0\0TFL3" + zip_of(100_000),
    "zip entries, claimed fewer": lambda: b"\x1c\0\0\0TFL3" + zip_that_claims_fewer(),
    "ONNX fields": onnx_of_many_fields,
    "ONNX metadata": lambda: b"\x08\x07" + b"\x72\x04\x0a\0\x12\0" * 10**6,
    "flatbuffer of nothing": lambda: b"\x1c\0\0\0TFL3" + b"PK\x01\x02" * 10**6,
}


@pytest.mark.parametrize("kind", MANY_PARTS)
def test_file_of_a_million_small_parts_is_refused_without_their_memory(tmp_path, kind):
    suffix = "onnx" if "ONNX" in kind else "tflite"
    data = MANY_PARTS[kind]()
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(ModelError, match=r"more than|at most"):
        parse_model_file(tmp_path / f"a.{suffix}", data)
    seconds, peak = time.process_time() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 2**20
    assert seconds < 10  # traced, on any machine


def test_few_other_members_in_the_archive_are_no_reason_to_refuse(tiny_model_path):
    """As in files with the official metadata: labels, vocabularies."""
    model = read_model_file(tiny_model_path).model
    assert parse_model_file(Path("a.tflite"), model + zip_of(9)).document is None


# --- hostile metadata --------------------------------------------------------------


@functools.cache
def hostile_archives():
    deep = b"[" * 500_000 + b"]" * 500_000
    return {
        "zip-bomb": zipped(b"0" * 2**28, compression=zipfile.ZIP_DEFLATED),
        "too-large": zipped(b" " * (LARGEST_METADATA_BYTES + 1)),
        "compressed": zipped(format_document({}), compression=zipfile.ZIP_DEFLATED),
        "deep": zipped(deep),
        "no-object": zipped(b"[]"),
        "no-json": zipped(b"hello"),
        "empty": zipped(b""),
        "not-canonical": zipped(b'{ "digest": "" }'),
        "infinite": zipped(b'{"digest":"","temperature":Infinity}'),
        "huge-number": zipped(b'{"schema":' + b"9" * 10_000 + b"}"),
        "nothing-promised": zipped(format_document({})),
    }


@pytest.mark.parametrize("name", hostile_archives())
def test_hostile_archive_is_refused_quickly(tiny_model_path, tmp_path, name):
    path = tmp_path / "hostile.tflite"
    path.write_bytes(read_model_file(tiny_model_path).model + hostile_archives()[name])
    started = time.process_time()  # other programs' time is not ours
    with pytest.raises(MetadataError):
        Classifier.load(path, labels=LABELS)
    assert time.process_time() - started < REFUSED_WITHIN_S


@pytest.mark.parametrize("name", ["zip-bomb", "too-large", "compressed"])
def test_archive_that_we_did_not_write_is_not_unpacked(tiny_model_path, tmp_path, name):
    path = tmp_path / "hostile.tflite"
    path.write_bytes(read_model_file(tiny_model_path).model + hostile_archives()[name])
    with pytest.raises(MetadataError, match="not as we write it"):
        read_model_file(path)


def test_stored_member_that_claims_to_be_huge_is_refused(tiny_model_path, tmp_path):
    archive = bytearray(zipped(b"{}"))
    at = archive.index(b"PK\x01\x02") + 24  # uncompressed size in the directory
    archive[at : at + 4] = (2**31).to_bytes(4, "little")
    path = tmp_path / "hostile.tflite"
    path.write_bytes(read_model_file(tiny_model_path).model + bytes(archive))
    with pytest.raises(MetadataError):
        Classifier.load(path)


def test_archive_of_somebody_else_is_no_metadata(tiny_model_path, tmp_path):
    """Other tools append zips with label files: those models stay usable."""
    model = read_model_file(tiny_model_path).model
    path = tmp_path / "foreign.tflite"
    path.write_bytes(model + zipped(b"cat\ndog", name="labels.txt"))
    assert read_model_file(path).document is None


@given(st.binary(min_size=0, max_size=400))
def test_any_tail_is_read_or_refused_as_a_model_error(tail):
    try:
        file = read_bytes_as("a.tflite", b"\x1c\x00\x00\x00TFL3" + tail)
    except ModelError:
        return
    assert file.document is None


@given(st.binary(min_size=0, max_size=400))
def test_any_protobuf_is_read_or_refused_as_a_model_error(tail):
    try:
        file = read_bytes_as("a.onnx", b"\x08" + tail)
    except ModelError:
        return
    assert file.document is None
