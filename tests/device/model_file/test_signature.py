"""Signatures: only the right file by the right owner gets past them."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from edge_runtime import Classifier
from edge_runtime.__main__ import main
from edge_runtime.errors import MissingDependencyError, SignatureError
from edge_runtime.inference import backends
from edge_runtime.model_file import container
from edge_runtime.model_file.signature import (
    new_key_pair,
    read_signature,
    sign,
    sign_file,
    signature_path,
    verify,
)

DATA = Path(__file__).resolve().parents[2] / "data"


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    pytest.importorskip(
        "cryptography",
        reason="the signature extra is not installed here; the host tests run these",
    )
    return write_keys(tmp_path, "own")


def write_keys(folder: Path, name: str) -> tuple[Path, Path]:
    paths = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    for path, content in zip(paths, new_key_pair(), strict=True):
        path.write_bytes(content)
    return paths


@pytest.fixture
def signed(tmp_path: Path, keys: tuple[Path, Path]) -> Path:
    path = tmp_path / "tiny.int8.tflite"
    shutil.copy(DATA / path.name, path)
    sign_file(path, keys[0])
    return path


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def test_signed_model_loads(signed: Path, keys: tuple[Path, Path]) -> None:
    assert len(Classifier.load(signed, public_key=keys[1]).spec.labels) == 7


def test_signature_is_64_bytes_and_always_the_same(
    signed: Path, keys: tuple[Path, Path]
) -> None:
    assert len(read_signature(signed)) == 64
    assert sign(signed.read_bytes(), keys[0]) == read_signature(signed)


def test_signed_model_runs_without_asking_for_it(signed: Path) -> None:
    Classifier.load(signed)


@pytest.mark.parametrize("command", ["check", "run"])
def test_commands_accept_a_signed_and_refuse_an_unsigned_model(
    command: str,
    signed: Path,
    keys: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import cv2
    import numpy as np

    picture = tmp_path / "grey.png"
    cv2.imwrite(str(picture), np.full((48, 48), 99, np.uint8))
    more = ["--source", str(picture), "--faces", "none"] if command == "run" else []
    arguments = [command, str(signed), *more, "--require-signature", str(keys[1])]
    assert main(arguments) == 0
    signature_path(signed).unlink()
    assert main(arguments) == 2
    assert "is not signed" in capsys.readouterr().err


# --- what is refused ----------------------------------------------------------------


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test if anything in the file is looked at."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the file was parsed before its signature was checked")

    for name in ("_kind", "_split_zip", "_split_protobuf", "parse_document"):
        monkeypatch.setattr(container, name, refuse)
    monkeypatch.setattr(backends, "BACKENDS", dict.fromkeys(backends.BACKENDS, refuse))


@pytest.mark.usefixtures("untouched")
def test_unsigned_model_is_refused(signed: Path, keys: tuple[Path, Path]) -> None:
    signature_path(signed).unlink()
    with pytest.raises(SignatureError, match="not signed"):
        Classifier.load(signed, public_key=keys[1])


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("place", [8, 2000, -300, -1], ids=str)
def test_altered_byte_in_model_or_metadata_is_refused(
    signed: Path, keys: tuple[Path, Path], place: int
) -> None:
    flip(signed, place)
    with pytest.raises(SignatureError, match="altered"):
        Classifier.load(signed, public_key=keys[1])


@pytest.mark.usefixtures("untouched")
def test_appended_byte_is_refused(signed: Path, keys: tuple[Path, Path]) -> None:
    signed.write_bytes(signed.read_bytes() + b"\0")
    with pytest.raises(SignatureError, match="altered"):
        Classifier.load(signed, public_key=keys[1])


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("place", [0, 31, 32, 63])
def test_altered_signature_is_refused(
    signed: Path, keys: tuple[Path, Path], place: int
) -> None:
    flip(signature_path(signed), place)
    with pytest.raises(SignatureError, match="altered"):
        Classifier.load(signed, public_key=keys[1])


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("content", [b"", b"x" * 63, b"x" * 65, b"x" * 10_000])
def test_signature_of_another_length_is_refused(
    signed: Path, keys: tuple[Path, Path], content: bytes
) -> None:
    signature_path(signed).write_bytes(content)
    with pytest.raises(SignatureError, match="expected 64 bytes"):
        Classifier.load(signed, public_key=keys[1])


def test_named_pipe_in_the_place_of_a_signature_is_not_waited_for(
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "new.tflite.sig")
    with pytest.raises(SignatureError, match="not a regular file"):
        read_signature(tmp_path / "new.tflite")


def test_folder_in_the_place_of_a_signature_leaves_no_descriptor(
    tmp_path: Path,
) -> None:
    (tmp_path / "new.tflite.sig").mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(SignatureError):
            read_signature(tmp_path / "new.tflite")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_key_may_come_through_a_pipe(signed: Path, keys: tuple[Path, Path]) -> None:
    """As of a shell's <(...)."""
    reading, writing = os.pipe()
    os.write(writing, keys[1].read_bytes())
    os.close(writing)
    Classifier.load(signed, public_key=Path(f"/proc/self/fd/{reading}"))
    os.close(reading)


@pytest.mark.usefixtures("untouched")
def test_signature_of_another_file_is_refused(
    signed: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    other = tmp_path / "other.tflite"
    shutil.copy(DATA / "tiny.float32.tflite", other)
    sign_file(other, keys[0])
    shutil.copy(signature_path(other), signature_path(signed))
    with pytest.raises(SignatureError, match="altered"):
        Classifier.load(signed, public_key=keys[1])


@pytest.mark.usefixtures("untouched")
def test_signature_by_another_key_is_refused(signed: Path, tmp_path: Path) -> None:
    _, stranger = write_keys(tmp_path, "stranger")
    with pytest.raises(SignatureError, match="another key"):
        Classifier.load(signed, public_key=stranger)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("content", [None, b"", b"no key", b"\x00" * 100_000])
def test_key_that_is_no_key_is_refused(
    signed: Path, tmp_path: Path, content: bytes | None
) -> None:
    key = tmp_path / "strange.pem"
    if content is not None:
        key.write_bytes(content)
    with pytest.raises(SignatureError, match="expected an ed25519 public key"):
        Classifier.load(signed, public_key=key)


def test_private_key_is_not_taken_for_a_public_one(
    signed: Path, keys: tuple[Path, Path]
) -> None:
    with pytest.raises(SignatureError, match="got the private one"):
        Classifier.load(signed, public_key=keys[0])
    with pytest.raises(SignatureError, match="private key"):
        sign(b"data", keys[1])


def test_key_of_another_kind_is_refused(signed: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    path = tmp_path / "ec.pem"
    path.write_bytes(
        public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    with pytest.raises(SignatureError, match="another kind of key"):
        Classifier.load(signed, public_key=path)


def test_altered_model_is_never_read_again(
    signed: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is checked is what is used: the file is replaced right after the check."""

    def verify_and_replace(data: bytes, signature: bytes, key: Path) -> None:
        verify(data, signature, key)
        signed.write_bytes(b"something else")

    monkeypatch.setattr(container.signature, "verify", verify_and_replace)
    Classifier.load(signed, public_key=keys[1])
    assert signed.read_bytes() == b"something else"


def test_without_cryptography_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tiny.int8.tflite"
    shutil.copy(DATA / path.name, path)
    signature_path(path).write_bytes(bytes(64))
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(MissingDependencyError, match=r"fer-edge\[signature\]"):
        Classifier.load(path, public_key=tmp_path / "any.pem")


# --- keygen -------------------------------------------------------------------------


def test_keygen_writes_a_pair_that_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(
        "cryptography",
        reason="the signature extra is not installed here; the host tests run these",
    )
    key = tmp_path / "release.pem"
    assert main(["keygen", str(key)]) == 0
    assert "release.pub.pem" in capsys.readouterr().out
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    verify(b"data", sign(b"data", key), tmp_path / "release.pub.pem")


@pytest.mark.parametrize("taken", ["release.pem", "release.pub.pem"])
def test_keygen_replaces_nothing(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_text("mine")
    assert main(["keygen", str(tmp_path / "release.pem")]) == 2
    assert (tmp_path / taken).read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1
