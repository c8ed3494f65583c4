"""What a new model must keep to. The command line imports this: it imports little."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

# Added to the slowdown factor: models of a few microseconds would be judged by noise.
SLACK_MS = 1.0


class UpdatePolicy(NamedTuple):
    """How new models are loaded and judged.

    Attributes:
        threads: CPU threads.
        backend: Inference library, or ``"auto"``.
        public_key: PEM file: a model must be signed with its private key. None: no
            signature is required.
        frames: Frames with faces in the shadow phase, and again on probation.
        min_agreement: Least share of faces with the old model's label, 0..1.
        max_slowdown: Most time per face, as a multiple of the old model's.
    """

    threads: int = 1
    backend: str = "auto"
    public_key: Path | None = None
    frames: int = 100
    min_agreement: float = 0.5
    max_slowdown: float = 3.0

    def check_speed(self, new_ms: float, old_ms: float) -> str | None:
        """Returns why the new model is too slow, or None.

        Args:
            new_ms: Its median time per face, in ms.
            old_ms: The old model's.
        """
        if new_ms <= self.max_slowdown * old_ms + SLACK_MS:
            return None
        return (
            f"expected at most {self.max_slowdown:g} times the present model's"
            f" {old_ms:.2f} ms a face, got {new_ms:.2f} ms"
        )
