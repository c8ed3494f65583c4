"""Weights of legacy ``.pth`` files, read without PyTorch."""

import io
import pickle
import sys
from types import ModuleType

import numpy as np
import pytest

from edge_runtime.errors import RunError
from train.networks.torch_weights import read_torch_weights

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
SYSTEM = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {}}


class Tensor:
    """Pickled as PyTorch pickles a tensor: a view of a storage."""

    def __init__(self, key, shape, strides, offset=0, count=24):
        self.storage = Storage(key, count)
        self.shape, self.strides, self.offset = shape, strides, offset

    def __reduce__(self):
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        arguments = (self.storage, self.offset, self.shape, self.strides, False, {})
        return rebuild, arguments


class Storage:
    def __init__(self, key, count):
        self.key, self.count = key, count


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        kind = sys.modules["torch"].FloatStorage
        return "storage", kind, value.key, "cpu", value.count, None


@pytest.fixture
def torch_names(monkeypatch):
    """Modules under whose names the pickles' globals are written."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    torch._utils = utils

    class FloatStorage:
        pass

    def _rebuild_tensor_v2(*_):
        pass

    for module, value in ((torch, FloatStorage), (utils, _rebuild_tensor_v2)):
        value.__module__, value.__qualname__ = module.__name__, value.__name__
        setattr(module, value.__name__, value)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


def legacy_file(tensors, values, *, magic=MAGIC):
    """Returns a file's bytes: pickles, then each storage's count and numbers."""
    out = io.BytesIO()
    for part in (magic, PROTOCOL, SYSTEM, tensors, list(values)):
        Pickler(out, 2).dump(part)
    for numbers in values.values():
        out.write(np.int64(len(numbers)).tobytes() + numbers.tobytes())
    return out.getvalue()


def read(tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    return read_torch_weights(path)


def test_strides_and_offsets_are_followed(tmp_path, torch_names):
    numbers = np.arange(24, dtype="<f4")
    tensors = {
        "plain": Tensor("0", (2, 3), (3, 1)),
        "transposed": Tensor("0", (3, 2), (1, 3)),
        "later": Tensor("0", (2, 2, 2), (1, 2, 4), offset=8),
        "channels_last": Tensor("0", (2, 3, 2, 2), (12, 1, 6, 3)),
    }
    found = read(tmp_path, legacy_file(tensors, {"0": numbers}))
    plain = numbers[:6].reshape(2, 3)
    np.testing.assert_array_equal(found["plain"], plain)
    np.testing.assert_array_equal(found["transposed"], plain.T)
    np.testing.assert_array_equal(
        found["later"], numbers[8:16].reshape(2, 2, 2).transpose(2, 1, 0)
    )
    np.testing.assert_array_equal(
        found["channels_last"], numbers.reshape(2, 2, 2, 3).transpose(0, 3, 1, 2)
    )


def test_view_beyond_its_storage_is_an_error(tmp_path, torch_names):
    content = legacy_file(
        {"w": Tensor("0", (5, 5), (5, 1))}, {"0": np.zeros(24, "<f4")}
    )
    with pytest.raises(RunError, match="cannot read"):
        read(tmp_path, content)


def test_file_that_would_run_code_is_refused(tmp_path):
    class Command:
        def __reduce__(self):
            return print, ("this ran",)

    out = io.BytesIO()
    for part in (MAGIC, PROTOCOL, SYSTEM, {"w": Command()}):
        pickle.Pickler(out, 2).dump(part)
    with pytest.raises(RunError, match=r"it asks for .*\.print"):
        read(tmp_path, out.getvalue())


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04 a zip of a newer PyTorch", pickle.dumps(3), b"\x80\x02"],
    ids=["empty", "zip", "other-number", "cut-off"],
)
def test_other_file_is_one_error(tmp_path, content):
    with pytest.raises(RunError, match="expected PyTorch weights of the legacy"):
        read(tmp_path, content)


def test_every_cut_off_file_is_one_error(tmp_path, torch_names):
    content = legacy_file(
        {"w": Tensor("0", (2, 3), (3, 1))}, {"0": np.zeros(24, "<f4")}
    )
    assert read(tmp_path, content)["w"].shape == (2, 3)
    for length in range(0, len(content), 7):
        with pytest.raises(RunError):
            read(tmp_path, content[:length])
