"""Images that are read when they are asked for: a set need not fit in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]


class Pixels(Protocol):
    """What arrays and stored images have in common: images by position, in batches."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, S, S, C)."""
        ...

    def __len__(self) -> int:
        """Returns N."""
        ...

    def __getitem__(self, key: Any, /) -> Any:
        """Returns uint8 (S, S, C) at a position, (n, S, S, C) at a slice or several."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Yields each uint8 (S, S, C)."""
        ...


class Store(Protocol):
    """Where stored images are."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        ...

    @property
    def hashes(self) -> Sequence[str]:
        """``train.data.splits.pixel_hash`` of each row."""
        ...

    @property
    def place(self) -> str:
        """Where they are, for people."""
        ...

    def batch(self, rows: Rows) -> Callable[[], Images]:
        """Returns what gives uint8 (n, S, S, C); it can be sent to another process."""
        ...


class InMemory:
    """A batch that is in memory already."""

    def __init__(self, images: Images) -> None:
        """Keeps uint8 (n, S, S, C)."""
        self._images = images

    def __call__(self) -> Images:
        """Returns them."""
        return self._images


class StoredImages:
    """Some images of a store, in an order; read-only."""

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, store: Store, rows: Rows) -> None:
        """Reads nothing yet.

        Args:
            store: Where they are.
            rows: Their rows there.
        """
        self.store, self._rows = store, rows

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, S, S, C)."""
        return (len(self._rows), *self.store.shape)

    @property
    def hashes(self) -> list[str]:
        """Hash of each image's pixels, as ``train.data.splits.pixel_hash``."""
        return [self.store.hashes[row] for row in self._rows.tolist()]

    def __len__(self) -> int:
        """Returns N."""
        return len(self._rows)

    def __getitem__(self, key: Any) -> Images:
        """Returns uint8 (S, S, C) at a position, (n, S, S, C) at a slice or several."""
        rows = self._rows[key]
        if np.ndim(rows) == 0:
            (image,) = self.store.batch(np.array([rows], np.int64))()
            return np.asarray(image, np.uint8)
        return self.store.batch(rows)()

    def __iter__(self) -> Iterator[Images]:
        """Yields each image."""
        return (self[index] for index in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Images:
        """Returns all images; they must fit in memory."""
        images: Images = self[:]
        return images if dtype is None else np.asarray(images, dtype)

    def view(self, indices: Rows) -> StoredImages:
        """Returns the images at these positions, in this order; reads none."""
        return StoredImages(self.store, self._rows[indices])

    def batch(self, indices: Rows) -> Callable[[], Images]:
        """Returns what gives the images there; it can be sent to another process."""
        return self.store.batch(self._rows[indices])


def batch_of(images: Pixels, indices: Rows) -> Callable[[], Images]:
    """Returns what gives the images at these positions, in a process or another."""
    if isinstance(images, StoredImages):
        return images.batch(indices)
    return InMemory(images[indices])
