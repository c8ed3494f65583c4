"""Passwords and tokens: read from files, never from the command line."""

from __future__ import annotations

from pathlib import Path

from edge_runtime.errors import OutputError

LONGEST = 1024


def read_secret(path: Path, flag: str, *, shortest: int = 1) -> str:
    """Returns the first line of a file.

    Args:
        path: UTF-8 text.
        flag: What asked for it, for messages.
        shortest: Least number of characters.

    Raises:
        OutputError: It cannot be read or is no such line; never with its content.
    """
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST + 2).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise OutputError(f"cannot read {flag} {str(path)!r}: {reason}") from None
    secret = (text.splitlines() or [""])[0].strip()
    if not shortest <= len(secret) <= LONGEST or not secret.isprintable():
        raise OutputError(
            f"expected {shortest} to {LONGEST} characters on the first line of"
            f" {flag} {str(path)!r}, got {len(secret)}: make one with  python -c"
            ' "import secrets; print(secrets.token_urlsafe(24))"'
        )
    return secret
