"""Signatures: an ed25519 signature beside a model file, checked before it is parsed.

``MODEL.sig`` contains the 64 bytes of the signature of the whole file and nothing else,
so that any ed25519 tool can check it. ``cryptography`` is imported where it is needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.errors import SignatureError, missing
from edge_runtime.untrusted import read_bounded
from edge_runtime.utils.files import warn_if_public, write_bytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

SUFFIX = ".sig"
SIGNATURE_BYTES = 64
LARGEST_KEY_BYTES = 16_384
LARGEST_SIGNED_BYTES = 512 * 2**20


def signature_path(model: Path) -> Path:
    """Returns the path of a model file's signature, as ``fer2013.int8.tflite.sig``."""
    return model.with_name(model.name + SUFFIX)


def sign(data: bytes, private_key: Path) -> bytes:
    """Returns the ed25519 signature of some bytes, 64 bytes (RFC 8032).

    Args:
        data: A whole model file, with its metadata.
        private_key: PEM file without a password, as ``edge_runtime keygen`` writes it.

    Raises:
        SignatureError: The key file is missing or not an ed25519 private key.
        MissingDependencyError: ``cryptography`` is not installed.
    """
    return _private_key(private_key).sign(data)


def sign_file(model: Path, private_key: Path) -> Path:
    """Signs a model file and returns the path of the signature, written beside it.

    Args:
        model: The finished file.
        private_key: As for ``sign``.

    Raises:
        SignatureError: The model or the key cannot be read.
        MissingDependencyError: ``cryptography`` is not installed.
        OutputError: The signature cannot be written.
    """
    data = _read(model, LARGEST_SIGNED_BYTES, "expected a model file to sign, got")
    path = signature_path(model)
    write_bytes(path, sign(data, private_key))
    return path


def read_signature(model: Path) -> bytes:
    """Returns the signature beside a model file, 64 bytes.

    Raises:
        SignatureError: There is none, or it has another size.
    """
    path = signature_path(model)
    expected = (
        f"{model.name} is not signed (python -m export --sign KEY does): expected"
    )
    data = _read(path, LARGEST_KEY_BYTES, expected)
    if len(data) != SIGNATURE_BYTES:
        raise SignatureError(
            f"expected {SIGNATURE_BYTES} bytes of signature in {path.name}, got"
            f" {len(data)}"
        )
    return data


def verify(data: bytes, signature: bytes, public_key: Path) -> None:
    """Raises an error unless these bytes were signed with a key.

    Args:
        data: A whole model file: the bytes that are used afterwards, not read again.
        signature: 64 bytes, from ``read_signature`` or ``sign``.
        public_key: PEM file.

    Raises:
        SignatureError: They were altered, or signed with another key; or the key file
            is missing or not an ed25519 public key.
        MissingDependencyError: ``cryptography`` is not installed.
    """
    key = _public_key(public_key)
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, data)
    except InvalidSignature as error:
        raise SignatureError(
            "the model does not match its signature: it was altered, or signed with"
            f" another key than that of {str(public_key)!r}; get model and signature"
            " again from where they were made"
        ) from error


def new_key_pair() -> tuple[bytes, bytes]:
    """Returns a new private key (PKCS 8) and its public key, both as PEM.

    Raises:
        MissingDependencyError: ``cryptography`` is not installed.
    """
    _require_cryptography()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private, public


def _private_key(path: Path) -> Ed25519PrivateKey:
    _require_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    expected = "expected an ed25519 private key (PEM, no password)"
    data = _read(path, LARGEST_KEY_BYTES, expected)
    try:
        key = load_pem_private_key(data, password=None)
    except Exception as error:  # ValueError, TypeError, and some of its own
        raise SignatureError(f"{expected}, got {str(path)!r}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SignatureError(f"{expected}, got another kind of key in {str(path)!r}")
    warn_if_public(path, "the private key")
    return key


def _public_key(path: Path) -> Ed25519PublicKey:
    _require_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    expected = "expected an ed25519 public key (PEM)"
    data = _read(path, LARGEST_KEY_BYTES, expected)
    if b"PRIVATE KEY" in data:
        raise SignatureError(
            f"{expected}, got the private one in {str(path)!r}: keep that one secret"
        )
    try:
        key = load_pem_public_key(data)
    except Exception as error:  # ValueError, TypeError, and some of its own
        raise SignatureError(f"{expected}, got {str(path)!r}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise SignatureError(f"{expected}, got another kind of key in {str(path)!r}")
    return key


def _read(path: Path, limit: int, expected: str) -> bytes:
    """Returns a small file's bytes.

    Args:
        path: The file.
        limit: Its largest size, in bytes.
        expected: Start of the error message: what the file should be.
    """
    try:
        return read_bounded(path, limit)
    except OSError as error:
        raise SignatureError(f"{expected} {str(path)!r}: {error.strerror}") from error


def _require_cryptography() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise missing("cryptography", "signature", error) from error
