"""Opens the model of a run: one file, or one that is updated while it runs."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from edge_runtime.cli.given import given
from edge_runtime.errors import ModelError
from edge_runtime.inference.classifier import Classifier

if TYPE_CHECKING:
    from edge_runtime.model_update.updating_classifier import UpdatingClassifier

logger = logging.getLogger(__name__)


@runtime_checkable
class Updatable(Protocol):
    """A classifier whose model may be replaced between two calls."""

    def update_state(self) -> dict[str, Any]:
        """Returns the state of the update, JSON-ready; see ``UpdatingClassifier``."""


@contextmanager
def open_classifier(
    args: argparse.Namespace,
) -> Iterator[Classifier | UpdatingClassifier]:
    """Yields the model that the flags name; with ``--watch`` it can be updated.

    Raises:
        ModelError: The model cannot be loaded, or the watched folder does not exist.
    """
    classifier = load_classifier(args)
    if args.watch is None:
        yield classifier
        return
    check_watched(args.watch)
    # Here: other runs need not wait for these imports.
    from edge_runtime.model_update.policy import UpdatePolicy
    from edge_runtime.model_update.updating_classifier import UpdatingClassifier
    from edge_runtime.model_update.watch_folder import ModelFolder, watching

    policy = UpdatePolicy(
        threads=args.threads,
        backend=args.backend,
        public_key=args.require_signature,
        frames=args.watch_frames,
        min_agreement=args.watch_agreement,
        max_slowdown=args.watch_slowdown,
    )
    updating = UpdatingClassifier(classifier, policy)
    # Shows what becomes of each file, on a terminal too.
    logging.getLogger("edge_runtime.model_update").setLevel(logging.INFO)
    with watching(updating, ModelFolder(args.watch)):
        yield updating


def load_classifier(args: argparse.Namespace) -> Classifier:
    """Returns the model that the flags name, or the released one.

    Raises:
        ModelError: It cannot be loaded.
    """
    return Classifier.load(
        args.model,
        num_threads=args.threads,
        backend=args.backend,
        **given(args)._asdict(),
        public_key=args.require_signature,
    )


def check_watched(folder: Path) -> None:
    """Refuses a path that is not a folder; warns if every user may write to it.

    Raises:
        ModelError: It does not exist, or is a file.
    """
    if folder.is_dir():
        if os.name == "posix" and folder.stat().st_mode & stat.S_IWOTH:
            logger.warning(
                "--watch %s can be written by every user of this machine: run  chmod"
                " o-w, or sign the models (--require-signature)",
                folder,
            )
        return
    hint = ", which is a file"
    if not folder.exists():
        hint = f": make it with mkdir -p {shlex.quote(str(folder))}"
    raise ModelError(f"expected a folder to watch, got {str(folder)!r}{hint}")
