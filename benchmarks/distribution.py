"""How often each latency occurs, in few enough numbers to keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 60
SHOWN_PERCENTILE = 99.5  # what lies above is one count


def histogram(times_ms: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Returns counts in bins of equal width from the shortest time on, JSON-ready.

    Args:
        times_ms: float64 (runs,), milliseconds.

    Returns:
        from_ms and to_ms of the bins, their counts, and how many runs took longer.
    """
    low = float(times_ms.min())
    high = max(float(np.percentile(times_ms, SHOWN_PERCENTILE)), low * (1 + 1e-6))
    counts, _ = np.histogram(times_ms, bins=BINS, range=(low, high))
    return {
        "from_ms": low,
        "to_ms": high,
        "counts": counts.tolist(),
        "longer": int((times_ms > high).sum()),
    }
