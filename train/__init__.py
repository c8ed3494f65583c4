"""From an image set to a run folder: ``python -m train``, or ``train.fit``.

Needs what the dependency group ``train`` brings; imported when asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from train.data.augment import Augmentation
    from train.options.config import TrainConfig
    from train.options.recipes import RECIPES
    from train.session import fit, resume

_MODULES = {
    "Augmentation": "data.augment",
    "RECIPES": "options.recipes",
    "TrainConfig": "options.config",
    "fit": "session",
    "resume": "session",
}

__all__ = ["RECIPES", "Augmentation", "TrainConfig", "fit", "resume"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
