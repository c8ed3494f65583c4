"""A network of the user's own: ``--arch module:function``.

The function is what a network of ``train.networks.architectures`` is: it takes pixels,
float32 (N, H, W, C) in [0, 1], and returns features, float32 (N, features). Scaling the
pixels, and the layer of the classes, are added to it.

Nothing of the module is needed later: a resumed run, an export and ``--from`` read the
network from the run folder. So it consists of layers and operations of Keras.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from edge_runtime.errors import RunError
from edge_runtime.utils.suggestions import nearest
from train.networks.blocks import Tensor, leaf_layers

ADDED = "the layer of the classes is added to it"
TERMINAL_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def load_function(arch: str) -> Callable[[Tensor], Any]:
    """Returns the user's function.

    Args:
        arch: ``"module:function"`` or ``"path/to/file.py:function"``.

    Raises:
        RunError: There is none, it cannot be imported, or takes other arguments.
    """
    source, _, name = arch.rpartition(":")
    module = _import(source)
    function = getattr(module, name, None)
    if not callable(function):
        known = [each for each, _ in inspect.getmembers(module, inspect.isroutine)]
        raise RunError(
            f"expected a function {name} for --arch {arch}:"
            f" {getattr(module, '__file__', None) or source} has none"
            f"{nearest(name, known)}"
        )
    try:
        inspect.signature(function).bind(None)
    except (TypeError, ValueError) as error:
        raise RunError(
            f"{arch}: expected a function of one argument, the pixels, that returns"
            f" their features: {error}"
        ) from error
    return function  # type: ignore[no-any-return]


def own_features(arch: str) -> Callable[[Tensor], Tensor]:
    """Returns the user's function, with checks around it.

    What is returned raises RunError if the function fails, or gives no features made of
    the pixels by layers of Keras.

    Raises:
        RunError: As ``load_function``.
    """
    before = _settings()
    function = load_function(arch)
    file = getattr(inspect.getmodule(function), "__file__", None) or arch

    def features(x: Tensor) -> Tensor:
        try:
            made = function(x)
        except (Exception, SystemExit) as error:  # it is the user's code
            shape = "x".join(map(str, x.shape[1:]))
            raise RunError(
                f"{arch} fails on images of {shape}{_line_in(file, error)}:"
                f" {_reason(error)}"
            ) from error
        _check_features(arch, made)
        try:
            part = keras.Model(x, made)
        except ValueError as error:
            raise RunError(
                f"{arch}: expected features that are made of the pixels it is given,"
                f" got some that are not: {_reason(error)}"
            ) from error
        _check_layers(arch, part)
        if before != _settings():
            raise RunError(
                f"{arch} changes settings of Keras (from {before} to {_settings()}):"
                " leave that out; --precision chooses the arithmetic"
            )
        return made

    return features


def require_same_twice(arch: str, first: keras.Model, second: keras.Model) -> None:
    """Raises RunError unless two calls of the function gave separate, equal networks.

    One is trained, the other one is validated and saved.
    """
    shared = {id(layer) for layer in leaf_layers(first)} & {
        id(layer) for layer in leaf_layers(second)
    }
    if shared:
        names = [x.name for x in leaf_layers(second) if id(x) in shared]
        raise RunError(
            f"{arch} gives the same layers at every call ({', '.join(names[:3])}): make"
            " them inside the function"
        )
    kinds = [
        [
            (type(each).__name__, [weight.shape for weight in each.weights])
            for each in leaf_layers(model)
        ]
        for model in (first, second)
    ]
    if kinds[0] != kinds[1]:
        raise RunError(
            f"{arch} gives another network at its second call: expected the same for"
            " the same input, without counters or random choices"
        )


def loads_weights(first: keras.Model, second: keras.Model) -> bool:
    """Returns whether two calls of the function gave a layer the same kernel.

    Random initial kernels are others at each call; those of a file are the same.
    """
    pairs = zip(_kernels(first), _kernels(second), strict=True)
    return any(np.ptp(one) > 0 and np.array_equal(one, other) for one, other in pairs)


def _kernels(model: keras.Model) -> list[npt.NDArray[Any]]:
    """Returns the kernels of all layers but the last, which is not part of it."""
    below = list(leaf_layers(model))[:-1]
    return [each for x in below for each in x.get_weights() if np.ndim(each) >= 2]


def _import(source: str) -> ModuleType:
    """Returns the module of a name, or of a path that ends in ``.py``."""
    path = Path(source)
    is_file = source.endswith(".py")
    if is_file and not path.is_file():
        raise RunError(f"expected a Python file for --arch, got {source!r}: no file")
    # As for a script: it may import what lies beside it.
    folder = str((path.parent if is_file else Path()).resolve())
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        if not is_file:
            return importlib.import_module(source)
        spec = importlib.util.spec_from_file_location(f"_own_{path.stem}", path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is not a module")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module.__name__] = module
        spec.loader.exec_module(module)
        return module
    except (Exception, SystemExit) as error:  # it is the user's code
        missing = getattr(error, "name", None)
        if isinstance(error, ModuleNotFoundError) and source.startswith(f"{missing}"):
            raise RunError(
                f"expected --arch as module:function, got the module {source!r}, which"
                " is neither installed nor in the current folder: a file is named with"
                " its path, as in  --arch path/to/file.py:function"
            ) from error
        file = str(path) if is_file else f"{source.replace('.', '/')}.py"
        raise RunError(
            f"{source} cannot be imported{_line_in(file, error)}: {_reason(error)}"
        ) from error


def _check_features(arch: str, made: Any) -> None:
    if isinstance(made, keras.Layer):
        raise RunError(
            f"{arch}: expected features, got a {type(made).__name__}: return what it"
            " makes of the pixels that the function is given, as in  return model(x)"
        )
    if not isinstance(made, keras.KerasTensor):
        raise RunError(
            f"{arch}: expected one tensor of features, got {_described(made)}"
        )
    if len(made.shape) != 2 or made.shape[1] is None:
        raise RunError(
            f"{arch}: expected features of the shape (None, N), got {made.shape}: end"
            " with GlobalAveragePooling2D() or Flatten()"
        )
    last = made._keras_history.operation
    activation = getattr(last, "activation", None)
    if "softmax" in (type(last).__name__.lower(), getattr(activation, "__name__", "")):
        raise RunError(
            f"{arch} ends in a softmax: return what stands before its last Dense layer;"
            f" {ADDED}"
        )


def _check_layers(arch: str, model: keras.Model) -> None:
    """Raises RunError if an operation is code that a ``.keras`` file does not hold."""
    for operation in (*leaf_layers(model), *model.operations):
        kind = type(operation)
        activation = getattr(operation, "activation", None) or keras.activations.relu
        if kind is layers.Lambda or not all(map(_is_of_keras, (kind, activation))):
            what = kind if _is_of_keras(activation) else activation
            raise RunError(
                f"{arch} has a {what.__name__} ({operation.name}), which is code that"
                " no model file holds: write it with layers of Keras and keras.ops"
            )


def _is_of_keras(kind: Any) -> bool:
    return str(kind.__module__).split(".")[0] == "keras"


def _settings() -> str:
    policy = keras.config.dtype_policy().name
    return ", ".join((keras.config.floatx(), keras.config.image_data_format(), policy))


def _reason(error: BaseException) -> str:
    """Returns an error in one line, without what Keras puts around it."""
    lines = TERMINAL_COLOURS.sub("", str(error)).splitlines()
    told = [
        line.strip()
        for line in lines
        if line.strip() and not line.startswith("Exception encountered")
    ]
    return f"{type(error).__name__}: {told[0][:300]}" if told else repr(error)


def _line_in(file: str, error: BaseException) -> str:
    """Returns the last line of a file on the way to an error, in words."""
    if isinstance(error, SyntaxError):
        return f" (line {error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    numbers = [one.lineno for one in frames if one.filename.endswith(file)]
    return f" (line {numbers[-1]})" if numbers else ""


def _described(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
