"""The model that a run asks: one file, or one that is updated while it runs."""

from __future__ import annotations

import argparse
import logging
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from edge_runtime.errors import ModelError
from edge_runtime.inference.classifier import Classifier

if TYPE_CHECKING:
    from edge_runtime.model_update.updating_classifier import UpdatingClassifier


@runtime_checkable
class Updating(Protocol):
    """A classifier whose model may change while it is asked."""

    def update_state(self) -> dict[str, Any]:
        """Returns how the update stands, JSON-ready; see ``UpdatingClassifier``."""


@contextmanager
def open_classifier(
    args: argparse.Namespace,
) -> Iterator[Classifier | UpdatingClassifier]:
    """Yields the model that was asked for; with ``--watch`` one that can be updated.

    Args:
        args: ``model``, ``threads``, ``backend``, ``labels``, ``require_signature``,
            and those of ``add_service_arguments``.

    Raises:
        ModelError: The model cannot be loaded, or the folder is none.
    """
    classifier = load_classifier(args)
    if args.watch is None:
        yield classifier
        return
    check_watched(args.watch)
    # Only where it is wanted: every import delays the first label.
    from edge_runtime.model_update.policy import UpdatePolicy
    from edge_runtime.model_update.updating_classifier import UpdatingClassifier
    from edge_runtime.model_update.watch_folder import ModelFolder, watching

    threads, backend = _how(args)
    policy = UpdatePolicy(
        threads=threads,
        backend=backend,
        public_key=args.require_signature,
        frames=args.watch_frames,
        min_agreement=args.watch_agreement,
        max_slowdown=args.watch_slowdown,
    )
    updating = UpdatingClassifier(classifier, policy)
    # Whoever has put a file there wants to see what becomes of it, on a terminal too.
    logging.getLogger("edge_runtime.model_update").setLevel(logging.INFO)
    with watching(updating, ModelFolder(args.watch)):
        yield updating


def load_classifier(args: argparse.Namespace) -> Classifier:
    """Returns the model that was asked for, or the released one.

    Args:
        args: As for ``open_classifier``.

    Raises:
        ModelError: It cannot be loaded.
    """
    threads, backend = _how(args)
    return Classifier.load(
        args.model,
        num_threads=threads,
        backend=backend,
        labels=args.labels,
        public_key=args.require_signature,
    )


def check_watched(folder: Path) -> None:
    """Refuses what is no folder to watch.

    Raises:
        ModelError: It is none.
    """
    if not folder.is_dir():
        what = ", which is none"
        if not folder.exists():
            what = f": make it with mkdir -p {shlex.quote(str(folder))}"
        raise ModelError(f"expected a folder to watch, got {str(folder)!r}{what}")


def _how(args: argparse.Namespace) -> tuple[int, str]:
    return args.threads or 1, args.backend or "auto"  # where not tuned
