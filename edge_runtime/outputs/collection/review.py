"""People's labels for collected crops: each crop is asked of one, and answered once."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from edge_runtime.outputs.collection.crop_folder import CropFolder
from edge_runtime.outputs.collection.kept_crop import KeptCrop
from edge_runtime.outputs.documents import utc_now

LEASE_S = 120.0  # for so long nobody else is asked about a crop
MOST_AT_ONCE = 64
SHOWN_PROBABILITIES = 5
MOST_UNDONE = 20  # keys that a crop remembers


class AlreadyReviewedError(Exception):
    """Somebody else has answered about this crop."""


class Review:
    """Hands out crops, and takes answers; safe in any thread.

    Each answer has a key, which the one who answers makes up. The same answer again,
    after a connection that broke, changes nothing; nor does one that was taken back.
    """

    def __init__(
        self,
        folder: CropFolder,
        labels: Callable[[], Sequence[str]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts with what is in the folder.

        Args:
            folder: The crops.
            labels: Returns those of the model in use: a label must be one of them.
            clock: Seconds, for leases.
        """
        self.folder, self.labels, self._clock = folder, labels, clock
        self._lock = threading.Lock()
        self._leases: dict[str, tuple[str, float]] = {}  # client and end, by name

    def next(self, client: str, count: int) -> list[dict[str, Any]]:
        """Returns crops for one person, JSON-ready, those with most to learn first.

        Nobody else is asked about them for two minutes.

        Args:
            client: Identifies the person's page.
            count: How many, at most 64.

        Raises:
            OSError: The folder cannot be read.
        """
        now_s, found = self._clock(), list[dict[str, Any]]()
        with self._lock:
            self._leases = {
                name: lease for name, lease in self._leases.items() if lease[1] > now_s
            }
            for crop in review_order(self.folder.crops()):
                if len(found) >= min(count, MOST_AT_ONCE):
                    break
                holder = self._leases.get(crop.name, (client, 0.0))[0]
                if holder != client:
                    continue
                try:
                    document = self.folder.document(crop.name)
                except (OSError, ValueError, KeyError):
                    continue  # removed or damaged since
                self._leases[crop.name] = client, now_s + LEASE_S
                found.append(_shown(crop, document))
        return found

    def answer(self, name: str, label: str | None, key: str) -> None:
        """Notes a person's label; None discards the crop.

        Raises:
            AlreadyReviewedError: Another answer was there before.
            KeyError: There is no such crop (any more).
            ValueError: It is not a label of the model, or the crop is damaged.
            OSError: It cannot be written.
        """
        if label is not None and label not in self.labels():
            raise ValueError(f"expected a label of the model, got {label[:80]!r}")
        with self._lock:
            document = self.folder.document(name)
            before = document.get("review")
            if before is not None:
                if before.get("key") == key:
                    return
                raise AlreadyReviewedError(name)
            if key in _undone(document):
                return  # late: it was taken back before it arrived
            review = {"label": label, "utc": utc_now(), "key": key}
            self.folder.replace_document(name, {**document, "review": review})
            self._leases.pop(name, None)

    def undo(self, name: str, key: str, client: str) -> None:
        """Takes an answer back; the crop is shown to the same person again.

        Args:
            name: Of the crop.
            key: Of the answer.
            client: Identifies the person's page.

        Raises:
            AlreadyReviewedError: There is an answer with another key.
            KeyError, ValueError, OSError: As for ``answer``.
        """
        with self._lock:
            document = self.folder.document(name)
            before = document.get("review")
            if before is not None and before.get("key") != key:
                raise AlreadyReviewedError(name)
            undone = _undone(document)
            if key not in undone:
                more = {"review": None, "undone": [*undone, key][-MOST_UNDONE:]}
                self.folder.replace_document(name, {**document, **more})
            self._leases[name] = client, self._clock() + LEASE_S

    def progress(self) -> dict[str, Any]:
        """Returns how many crops wait, are labelled and discarded, JSON-ready.

        ``full``: labelled ones fill the folder, and nothing more is collected.

        Raises:
            OSError: The folder cannot be read.
        """
        crops = self.folder.crops()
        labelled = [crop for crop in crops if crop.labelled]
        size, limits = sum(crop.size for crop in labelled), self.folder.limits
        return {
            "waiting": sum(not crop.reviewed for crop in crops),
            "labelled": len(labelled),
            "discarded": sum(crop.discarded for crop in crops),
            "full": len(labelled) >= limits.max_crops
            or size >= 0.99 * limits.max_megabytes * 10**6,
        }


def review_order(crops: Sequence[KeptCrop]) -> Iterator[KeptCrop]:
    """Yields the crops that wait: the highest score first, random ones in between.

    At any time their share of the crops that a person has seen is their share of all.
    """
    waiting = [crop for crop in crops if not crop.reviewed]
    at_random = deque(crop for crop in waiting if crop.random)
    chosen = deque(
        sorted((crop for crop in waiting if not crop.random), key=lambda c: -c.score)
    )
    all_at_random = sum(crop.random for crop in crops)
    seen = len(crops) - len(waiting)
    seen_at_random = sum(crop.random and crop.reviewed for crop in crops)
    for number in range(seen + 1, len(crops) + 1):
        due = number * all_at_random // len(crops)
        if at_random and (seen_at_random < due or not chosen):
            seen_at_random += 1
            yield at_random.popleft()
        else:
            yield chosen.popleft()


def _undone(document: dict[str, Any]) -> list[Any]:
    """Returns the keys of the answers to a crop that were taken back."""
    undone = document.get("undone")
    return undone if isinstance(undone, list) else []


def _shown(crop: KeptCrop, document: dict[str, Any]) -> dict[str, Any]:
    shares = document.get("probabilities") or {}
    best = sorted(shares.items(), key=lambda item: -item[1])[:SHOWN_PROBABILITIES]
    return {
        "name": crop.name,
        "label": crop.label,
        "reason": document.get("reason"),
        "utc": document.get("utc"),
        "region": document.get("region"),
        "track": document.get("track"),
        "probabilities": dict(best),
    }
