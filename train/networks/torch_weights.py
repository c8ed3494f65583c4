"""Reads the weights of a PyTorch ``.pth`` file of the legacy format, without PyTorch.

Such a file is a series of pickles (a magic number, a protocol, the writer's types, the
dictionary of tensors, the keys of their storages) and then the storages' bytes. The
unpickler here knows the four names that a plain dictionary of weights needs and refuses
any other, so that a file cannot run code.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import RunError
from edge_runtime.untrusted import require_regular

# torch/serialization.py: what a file of the legacy format begins with.
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_LARGEST_BYTES = 1 << 30
_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}

Weights = dict[str, npt.NDArray[Any]]


class _Storage(NamedTuple):
    """A block of numbers that tensors are views of."""

    key: str
    dtype: np.dtype[Any]
    elements: int


class _Tensor(NamedTuple):
    """A view of a storage; offset and strides count elements, not bytes."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch_weights(path: Path) -> Weights:
    """Returns the tensors of a legacy ``.pth`` file by name, float32 or int64.

    Args:
        path: A dictionary of tensors, as ``torch.save(model.state_dict(), path)`` wrote
            it before PyTorch 1.6.

    Raises:
        RunError: It cannot be read, is damaged, or holds something else.
    """
    try:
        require_regular(path)
        if path.stat().st_size > _LARGEST_BYTES:
            raise ValueError(f"it has more than {_LARGEST_BYTES >> 20} MiB")
        with path.open("rb") as file:
            return _read(file)
    except Exception as error:  # a damaged pickle raises whatever it likes
        raise RunError(
            f"expected PyTorch weights of the legacy .pth format, cannot read"
            f" {str(path)!r}: {error}"
        ) from error


def _read(file: IO[bytes]) -> Weights:
    def unpickle() -> Any:
        return _Unpickler(file).load()

    if unpickle() != _MAGIC_NUMBER or unpickle() != _PROTOCOL:
        raise ValueError("it begins with another magic number")
    if not unpickle().get("little_endian"):
        raise ValueError("it is not little-endian")
    tensors = unpickle()
    storages = {
        storage.key: storage
        for storage in (tensor.storage for tensor in tensors.values())
    }
    values = {}
    for key in unpickle():
        dtype = storages[key].dtype
        count = int(np.frombuffer(file.read(8), "<i8")[0])
        content = file.read(count * dtype.itemsize)
        values[key] = np.frombuffer(content, dtype, count)
    return {name: _view(tensor, values) for name, tensor in tensors.items()}


def _view(tensor: _Tensor, values: Weights) -> npt.NDArray[Any]:
    """Returns a tensor's numbers in its own order, contiguous."""
    flat = values[tensor.storage.key]
    index = np.full(tensor.shape, tensor.offset)
    for axis, (size, stride) in enumerate(
        zip(tensor.shape, tensor.strides, strict=True)
    ):
        along = [1] * len(tensor.shape)
        along[axis] = size
        index += np.arange(size).reshape(along) * stride
    # By index, not by as_strided: an index outside of the storage is an error.
    view: npt.NDArray[Any] = flat[index]
    return view


def _rebuild_tensor(
    storage: _Storage,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    *_: Any,
) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


class _Unpickler(pickle.Unpickler):
    """Knows the four names of a dictionary of weights."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, count, *_ = pid
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError(f"it refers to {kind!r}")
        return _Storage(str(key), dtype, int(count))
