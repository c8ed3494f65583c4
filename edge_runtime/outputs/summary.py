"""What a run saw, in numbers."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

from edge_runtime.results import FrameResult

# A service runs for months: medians are those of the last frames.
MOST_TIMES = 10_000


class Summary:
    """What a run saw, in numbers; its memory is bounded."""

    def __init__(self) -> None:
        """Starts at zero."""
        self.frames = self._classified = 0
        self.labels: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self._detect_ms: deque[float] = deque(maxlen=MOST_TIMES)
        self._classify_ms: deque[float] = deque(maxlen=MOST_TIMES)

    def add(self, result: FrameResult) -> None:
        """Counts one frame."""
        self.frames += 1
        self._classified += result.classified
        for face in result.faces:
            self.labels[face.decision.label if face.decision else face.label] += 1
        for event in result.events:
            self.events[event.kind] += 1
        if result.detected:
            self._detect_ms.append(result.detect_ms)
        if result.faces:
            self._classify_ms.append(result.classify_ms)

    def table(
        self, seconds: float, *, skipped: int = 0, dropped: int = 0, reopened: int = 0
    ) -> str:
        """Returns a table for people.

        Args:
            seconds: Wall time of the run.
            skipped: Frames that could not be read.
            dropped: Frames passed over because a newer one was there.
            reopened: How often the source was lost and came back.
        """
        faces = self.labels.total()
        beside = [
            f"{count} {what}"
            for count, what in (
                (skipped, "unreadable"),
                (dropped, "passed over for newer ones"),
            )
            if count
        ]
        rows = [("frames", f"{self.frames}" + f" ({', '.join(beside)})" * bool(beside))]
        if reopened:
            often = "once" if reopened == 1 else f"{reopened} times"
            rows.append(("lost and back", often))
        kept = faces - self._classified
        also = f"  ({kept} with an earlier answer: they take turns)" if kept else ""
        rows += [("faces", f"{faces}{also}")]
        rows += [
            (f"  {label}", f"{count}  ({100 * count / faces:.0f} %)")
            for label, count in self.labels.most_common()
        ]
        rows += [
            (kind.replace("_", " "), str(count)) for kind, count in self.events.items()
        ]
        rows += [
            ("detect", _median_text(self._detect_ms, "a frame it ran on")),
            ("classify", _median_text(self._classify_ms, "a frame with faces")),
            ("rate", f"{self.frames / seconds:.1f} frames/s" if seconds else "-"),
        ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _median_text(values_ms: Iterable[float], per: str) -> str:
    ordered = sorted(values_ms)  # the statistics module takes 6 ms to import
    return f"{ordered[len(ordered) // 2]:.2f} ms {per} (median)" if ordered else "-"
