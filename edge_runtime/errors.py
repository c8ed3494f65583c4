"""Every expected error, in one tree.

FerEdgeError
├── ModelError               the model file is missing, damaged or unusable
│   ├── MetadataError        its metadata is missing, malformed or too new
│   ├── GoldenVectorError    its logits are not those of its export
│   └── SignatureError       its signature is missing, wrong, or by another key
├── ConfigError              a configuration file cannot be read or is not valid
├── SourceError              a camera, video, image or stream cannot be read
├── DatasetError             an image set cannot be read or is not valid
├── RunError                 a training run folder is missing or unusable
├── MissingDependencyError   an optional library is not installed
├── OutputError              a result cannot be written
├── GateError                a quality gate failed (exit code 3)
└── MeasurementError         a measurement is not valid (exit code 4)
"""

from __future__ import annotations

from typing import ClassVar

INTERRUPTED_EXIT_CODE = 130  # 128 + SIGINT, what shells expect


# Of the dynamic loader, where it can map no more.
_TOO_LITTLE_MEMORY = ("failed to map segment", "annot allocate memory in", "of memory")


class FerEdgeError(Exception):
    """Base of all expected errors; the message is one line that says what to do."""

    exit_code: ClassVar[int] = 2


class ModelError(FerEdgeError):
    """The model file is missing, damaged or not a classifier that can be run."""


class MetadataError(ModelError):
    """The metadata in a model file is missing, malformed or too new."""


class GoldenVectorError(ModelError):
    """The model gives other logits for its golden vectors than when it was exported."""


class SignatureError(ModelError):
    """A required signature is missing, wrong, or by another key."""


class ConfigError(FerEdgeError):
    """A configuration file cannot be read, or has a value that no flag takes."""


class SourceError(FerEdgeError):
    """A camera, video, image or folder cannot be read."""


class DatasetError(FerEdgeError):
    """An image set cannot be read or lacks what training needs."""


class RunError(FerEdgeError):
    """A training run folder is missing, incomplete or has another configuration."""


class MissingDependencyError(FerEdgeError):
    """A library is not installed, or cannot be loaded; the message says which."""


class OutputError(FerEdgeError):
    """A result cannot be written, or would overwrite an older one."""


class GateError(FerEdgeError):
    """A quality gate failed: the work was done, the result is not good enough."""

    exit_code: ClassVar[int] = 3


class MeasurementError(FerEdgeError):
    """A measurement is not valid under the conditions it was taken in."""

    exit_code: ClassVar[int] = 4


def missing(
    library: str, extra: str, error: ImportError | None = None
) -> MissingDependencyError:
    """Returns the error for an optional library, with the command that installs it.

    Args:
        library: The name of the package that could not be imported.
        extra: The extra of the ``fer-edge`` distribution that contains it.
        error: What its import raised.
    """
    return _missing(library, error, f"run  pip install 'fer-edge[{extra}]'")


def missing_in_checkout(
    library: str, group: str, error: ImportError | None = None
) -> MissingDependencyError:
    """Returns the error for a library of the workstation, with the command to install.

    Args:
        library: The name of the package that could not be imported.
        group: The dependency group in ``pyproject.toml`` that contains it.
        error: What its import raised.
    """
    remedy = f"in the checkout run  make setup  (or  pip install --group {group})"
    return _missing(library, error, remedy)


def _missing(
    library: str, error: ImportError | None, remedy: str
) -> MissingDependencyError:
    reason = why_not_loaded(error)
    if not reason:
        return MissingDependencyError(f"{library} is not installed: {remedy}")
    return MissingDependencyError(f"{library} cannot be loaded: {reason}")


def why_not_loaded(error: ImportError | None) -> str:
    """Returns why a library that is installed cannot be imported; empty if it is not.

    Args:
        error: What its import raised.
    """
    if error is None or isinstance(error, ModuleNotFoundError):
        return ""
    reason = (str(error).strip().splitlines() or [repr(error)])[0][:300]
    if any(words in str(error) for words in _TOO_LITTLE_MEMORY):
        return f"too little memory, or a limit such as ulimit -v ({reason})"
    return f"{reason}; install it again, with what it needs"


def require_in_checkout(*libraries: str, group: str) -> None:
    """Raises ``missing_in_checkout`` for a missing one, before hours of work."""
    from importlib.util import find_spec

    for library in libraries:
        if find_spec(library) is None:
            raise missing_in_checkout(library, group)
