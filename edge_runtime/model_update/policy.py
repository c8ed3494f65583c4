"""What a new model must keep to before and after it is swapped in."""

from __future__ import annotations

from typing import NamedTuple

# Beside a factor, a face: below it, models of a few microseconds would be judged by
# noise.
SLACK_MS = 1.0


class Limits(NamedTuple):
    """What a new model must keep to.

    Attributes:
        frames: Frames with faces in the shadow, and again on probation.
        least_agreement: Share of faces with the same answer as the old model's.
        most_slowdown: Time of a face, in times the old model's.
    """

    frames: int = 100
    least_agreement: float = 0.5
    most_slowdown: float = 3.0

    def too_slow(self, new_ms: float, old_ms: float) -> str | None:
        """Returns what to say about a median time that is far over the old one's.

        Args:
            new_ms: Of a face, in ms.
            old_ms: The same.
        """
        if new_ms <= self.most_slowdown * old_ms + SLACK_MS:
            return None
        return (
            f"expected at most {self.most_slowdown:g} times the present model's"
            f" {old_ms:.2f} ms a face, got {new_ms:.2f} ms"
        )
