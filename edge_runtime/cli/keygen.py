"""``python -m edge_runtime keygen``: creates keys to sign model files with."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from edge_runtime.errors import OutputError
from edge_runtime.model_file.signature import new_key_pair
from edge_runtime.utils import flags
from edge_runtime.utils.argparser import add_command, invocation

EXAMPLES = """\
examples:
  python -m edge_runtime keygen signing.pem              and signing.pub.pem beside it
  python -m export --int8 --sign signing.pem
  python -m edge_runtime run MODEL --require-signature signing.pub.pem
"""


def add_keygen(commands: Any) -> None:
    """Adds ``keygen`` to the commands."""
    text = "create a pair of keys to sign model files with"
    parser = add_command(commands, "keygen", keygen, text, EXAMPLES)
    parser.add_argument(
        "private",
        type=flags.path,
        metavar="KEY",
        help="private key file to write (.pem)",
    )


def keygen(args: argparse.Namespace) -> int:
    """Writes a private key, for its owner alone, and the public key beside it."""
    public: Path = args.private.with_suffix(".pub.pem")
    existing = [str(path) for path in (args.private, public) if path.exists()]
    if existing:
        raise OutputError(f"{', '.join(existing)} exists: keys are never replaced")
    private_pem, public_pem = new_key_pair()
    _write_new(args.private, private_pem, mode=0o600)
    _write_new(public, public_pem, mode=0o644)
    print(f"{args.private}  private: keep it off the devices")
    print(f"{public}  public: copy it to the devices")
    print(
        f"\nnext:\n  python -m export --int8 --sign {args.private}   # in the checkout"
    )
    print(f"  {invocation()} run MODEL --require-signature {public}")
    return 0


def _write_new(path: Path, data: bytes, *, mode: int) -> None:
    """Writes a file that must not exist yet; other users can at no time read it."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
    except OSError as error:
        raise OutputError(f"cannot write {str(path)!r}: {error.strerror}") from error
