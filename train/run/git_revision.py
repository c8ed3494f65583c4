"""The revision of the code that is running."""

from __future__ import annotations

import os
import subprocess


def git_revision() -> str:
    """Returns the short revision of the checkout, with ``+`` if changed, or ``""``."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=12"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
