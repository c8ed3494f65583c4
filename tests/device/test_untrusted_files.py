"""Files that others put there end soon: whatever they are, however long and deep."""

import errno
import os
import subprocess
import sys
import threading
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_runtime.__main__ import main
from edge_runtime.errors import FerEdgeError
from edge_runtime.untrusted import (
    MAX_JSON_DEPTH,
    open_regular,
    parse_json,
    read_bounded,
    read_json,
)
from train.data.listing.zip_source import open_zip


def test_file_up_to_its_bound_is_read(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("a")
    assert read_bounded(tmp_path / "a", 5) == b"12345"
    assert read_bounded(tmp_path / "link", 5) == b"12345"
    with pytest.raises(OSError, match="at most 4 bytes, got 5"):
        read_bounded(tmp_path / "a", 4)


def test_sparse_terabyte_is_refused_unread(tmp_path):
    with (tmp_path / "a").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(OSError, match="at most"):
        read_bounded(tmp_path / "a", 1000)


@pytest.mark.timeout(5)
@pytest.mark.parametrize("linked", [False, True], ids=["itself", "behind a link"])
def test_pipe_is_refused_and_not_waited_for(tmp_path, linked):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    with pytest.raises(OSError, match="not a regular file"):
        read_bounded(tmp_path / ("link" if linked else "pipe"), 1000)


@pytest.mark.timeout(5)
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/full", "/dev/tty"])
def test_device_is_refused(tmp_path, device):
    (tmp_path / "link").symlink_to(device)
    with pytest.raises(OSError, match="not a regular file"):
        read_bounded(tmp_path / "link", 1000)


def test_folder_and_missing_file_keep_the_systems_reason(tmp_path):
    with pytest.raises(IsADirectoryError):
        read_bounded(tmp_path, 1000)
    with pytest.raises(FileNotFoundError) as raised:
        read_bounded(tmp_path / "no", 1000)
    assert raised.value.errno == errno.ENOENT


def test_file_of_the_kernel_that_claims_no_size_is_read():
    assert b"Linux" in read_bounded(Path("/proc/version"), 10_000)


def test_file_of_the_kernel_beyond_its_bound_is_too_large():
    with pytest.raises(OSError, match="at most 5 bytes, got 6"):
        read_bounded(Path("/proc/version"), 5)


@contextmanager
def peak_bytes():
    """Yields a function that returns the most memory taken since."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_empty_file_takes_no_memory(tmp_path):
    (tmp_path / "a").touch()
    with peak_bytes() as peak:
        assert read_bounded(tmp_path / "a", 2**29) == b""
        assert peak() < 2**20


def test_descriptor_of_the_caller_takes_as_much_memory_as_comes():
    reading, writing = os.pipe()
    os.write(writing, b"x" * 1000)
    os.close(writing)
    with peak_bytes() as peak:
        assert len(read_bounded(Path(f"/dev/fd/{reading}"), 2**29)) == 1000
        assert peak() < 2**20
    os.close(reading)


@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
def test_empty_model_is_refused_in_one_line_and_little_memory(tmp_path, capsys, suffix):
    path = tmp_path / f"empty.{suffix}"
    path.touch()
    with peak_bytes() as peak:
        assert main(["check", str(path)]) == 2
        assert peak() < 2**26
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.timeout(5)
@pytest.mark.parametrize("read", ["read_bounded", "open_regular", "open_zip"])
def test_pipe_that_takes_the_place_of_a_file_is_not_waited_for(
    tmp_path, monkeypatch, read
):
    """Between the look at what it is and its opening."""
    os.mkfifo(tmp_path / "now.zip")
    (tmp_path / "before").touch()
    before = (tmp_path / "before").stat()
    monkeypatch.setattr(Path, "stat", lambda *_, **__: before)
    with pytest.raises((OSError, FerEdgeError), match="not a regular file"):
        if read == "read_bounded":
            read_bounded(tmp_path / "now.zip", 1000)
        elif read == "open_regular":
            open_regular(tmp_path / "now.zip")
        else:
            with open_zip(tmp_path / "now.zip"):
                pass


WINDOWS = """
import os, signal, sys
for module, names in (
    (os, ("O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY")), (signal, ("SIGHUP", "SIGPIPE"))
):
    for name in names:
        delattr(module, name)
from edge_runtime.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_what_only_posix_has_is_not_needed_to_run_a_model(tmp_path):
    command = [sys.executable, "-c", WINDOWS, "run", "--source", "fake:scene"]
    command += ["--faces", "none", "--max-frames", "2", "--csv", str(tmp_path / "a")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a").read_text().count("\n") == 3


@pytest.mark.timeout(20)
def test_descriptor_that_the_caller_passes_may_be_a_pipe():
    """As of ``--token-file <(pass show camera)``: the writer may take its time."""
    reading, writing = os.pipe()
    try:
        timer = threading.Timer(
            0.2, lambda: (os.write(writing, b"x"), os.close(writing))
        )
        timer.start()
        assert read_bounded(Path(f"/dev/fd/{reading}"), 1000) == b"x"
        timer.join()
    finally:
        os.close(reading)


@pytest.mark.parametrize(
    "text",
    ["[" * 60_000, '{"a":' * 60_000, "[" * 500 + "]" * 500, '{"a":[' * 40 + "]}" * 40],
    ids=["lists", "objects", "lists that end", "both"],
)
def test_deep_document_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError):
        read_json(tmp_path / "a.json", 2**20)


def test_large_document_is_refused_unparsed(tmp_path):
    (tmp_path / "a.json").write_bytes(b"[" + b"[]," * 500 + b"[]]")
    with pytest.raises(OSError, match="at most 1000 bytes"):
        read_json(tmp_path / "a.json", 1000)


def test_document_as_deep_as_allowed_is_read():
    depth = MAX_JSON_DEPTH
    assert parse_json("[" * depth + "]" * depth)
    with pytest.raises(ValueError, match="levels deep"):
        parse_json("[" * (depth + 1) + "]" * (depth + 1))


# --- wherever a file is named ---------------------------------------------------------

PLANTED = ("a pipe", "60 kB of [", "a folder", "too large", "no text")


def plant(path, kind):
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "too large":
        with path.open("wb") as file:
            file.truncate(2**33)  # sparse
    else:
        path.write_bytes(b"[" * 60_000 if kind == "60 kB of [" else b"\xff\xfe\x00" * 9)
    return str(path)


# Each is given the planted path.
READERS = {
    "model": ["run", "{}.tflite"],
    "onnx model": ["run", "{}.onnx"],
    "check": ["check", "{}.tflite"],
    "public key": ["run", "--require-signature", "{}.pem"],
    "configuration": ["run", "--config", "{}.toml"],
    "service": ["install-service", "--config", "{}.toml"],
    "token": ["run", "--serve", "0", "--token-file", "{}.txt"],
    "password": [
        *("run", "--source", "fake:scene", "--max-frames", "1", "--mqtt"),
        *("mqtt://me@127.0.0.1:9/x", "--mqtt-password-file", "{}.txt"),
    ],
    "certificates": [
        *("run", "--source", "fake:scene", "--max-frames", "1", "--mqtt"),
        *("mqtts://127.0.0.1:9/x", "--mqtt-ca", "{}.pem"),
    ],
    "detector": ["run", "--source", "fake:scene", "--detector-model", "{}.onnx"],
    "labels": ["run", "--source", "fake:scene", "--labels", "{}.txt"],
    "pixels": ["run", "--source", "fake:scene", "--pixels", "{}.json"],
    "picture": ["run", "--faces", "none", "--source", "{}.png"],
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", PLANTED)
@pytest.mark.parametrize("reader", READERS)
def test_planted_file_is_one_line_and_ends_soon(tmp_path, capsys, reader, kind):
    suffix = READERS[reader][-1].removeprefix("{}")
    if reader in ("picture",) and kind == "a folder":
        pytest.skip("a folder of pictures is a source")
    path = plant(tmp_path / f"planted{suffix}", kind).removesuffix(suffix)
    if reader == "public key":
        pytest.importorskip("cryptography", reason="cryptography is not installed")
    if reader in ("password", "certificates"):
        pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    try:
        code = main([word.format(path) for word in READERS[reader]])
    except SystemExit as error:  # the value of a flag
        code = error.code
    assert code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", PLANTED)
def test_planted_memory_of_trials_ends_no_start(tmp_path, kind):
    """``--watch`` reads it before the first frame."""
    plant(tmp_path / ".on-trial.json", kind)
    command = [sys.executable, "-m", "edge_runtime", "run", "--source", "fake:scene"]
    command += ["--faces", "none", "--watch", str(tmp_path), "--max-frames", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", PLANTED)
@pytest.mark.parametrize("name", ["images.zip", "fer2013.csv", "list.csv"])
def test_planted_image_set_is_one_line(tmp_path, name, kind):
    from edge_runtime.errors import DatasetError
    from train.data import dataset

    plant(tmp_path / name, kind)
    with pytest.raises(DatasetError):
        dataset.load(tmp_path / name)
