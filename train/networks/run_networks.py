"""The networks of a run: one is trained, one is validated, one is saved."""

from __future__ import annotations

from typing import NamedTuple

import keras


class RunNetworks(NamedTuple):
    """The networks of a run.

    Attributes:
        trained: Gets the steps, in the arithmetic of the run.
        validated: Gets its weights after each epoch; computes in float32.
        saved: Has the weights of ``validated``, and is mostly the same.
        ranges: Of simulated int8, by the names of layers; None without.
    """

    trained: keras.Model
    validated: keras.Model
    saved: keras.Model
    ranges: dict[str, tuple[float, float]] | None = None
