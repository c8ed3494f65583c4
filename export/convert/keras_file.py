"""Reads a Keras model file: ``.keras`` of Keras 3 and 2, and ``.h5``.

The configuration is changed before Keras builds the layers: half precision becomes
float32 (the weights of mixed precision are float32 anyway), the input becomes float32
with a free batch, short recurrent layers are written out, and layers of Keras 2 become
those of Keras 3. The weights are untouched.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras

from edge_runtime.errors import ModelError
from edge_runtime.utils.picture_kinds import START_BYTES, what_it_is
from export.convert.keras_2 import as_keras_3

Config = dict[str, Any]

HDF5 = b"\x89HDF\r\n\x1a\n"
LARGEST_CONFIG = 64 * 2**20
CONFIG, METADATA = "config.json", "metadata.json"
RECURRENT = ("LSTM", "GRU", "SimpleRNN")
MOST_STEPS = 64  # that are written out
HALF = ("float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16")
# Wrappers of the TensorFlow model optimization toolkit, and how they are taken off.
TFMOT = {
    "PruneLowMagnitude": "tfmot.sparsity.keras.strip_pruning(model)",
    "ClusterWeights": "tfmot.clustering.keras.strip_clustering(model)",
}
SUFFIXES = (".keras", ".h5", ".hdf5")
OTHER_KINDS = {
    ".tflite": "an exported file already: python -m edge_runtime check examines it",
    ".onnx": "an exported file already: python -m edge_runtime check examines it",
    ".pb": "a TensorFlow graph without layers",
    ".pt": "a PyTorch file",
    ".pth": "a PyTorch file",
    ".weights": "weights without a network",
}
SAVE_AGAIN = "save it with  model.save('my.keras')  in the program that made it"


class KerasFile(NamedTuple):
    """A model file that was read.

    Attributes:
        model: The model, in float32.
        from_logits: True where it was compiled with a loss that takes logits.
    """

    model: keras.Model
    from_logits: bool


def read_keras_file(path: Path) -> KerasFile:
    """Returns the model in a file.

    Raises:
        ModelError: It is not a Keras model, damaged, or needs code that it does not
            contain.
    """
    _refuse_other_kinds(path)
    with path.open("rb") as file:
        start = file.read(START_BYTES)
    hdf5 = start.startswith(HDF5)
    try:
        content = _read_hdf5(path) if hdf5 else _read_zip(path)
    except ModelError:
        raise
    except Exception as error:  # zip and HDF5 readers raise many kinds
        if what := what_it_is(start):
            raise ModelError(f"{path.name} is no Keras file: {what}") from error
        raise ModelError(
            f"{path.name} is damaged, or no Keras file: {_first_line(error)};"
            f" {SAVE_AGAIN}"
        ) from error
    _refuse_code(content.config, path.name)
    config: Config = json.loads(json.dumps(content.config))
    if content.version.startswith("2."):
        as_keras_3(config, path.name)
    _to_float32(config, path.name)
    _unroll(config)
    with tempfile.TemporaryDirectory() as folder:
        source = path
        if config != content.config or (hdf5 and path.suffix != ".h5"):
            source = Path(folder) / f"model{'.h5' if hdf5 else '.keras'}"
            (_write_hdf5 if hdf5 else _write_zip)(path, source, config)
        model = _load(source, path.name, content.version)
        return KerasFile(model, content.from_logits)


def _load(path: Path, name: str, version: str) -> keras.Model:
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its parsers raise
        if _numbers(version) > _numbers(keras.__version__):
            raise ModelError(
                f"{name} was saved by Keras {version}, which is newer than"
                f" {keras.__version__} here ({_first_line(error)}): save it with this"
                " one, or without what is new"
            ) from error
        raise ModelError(
            f"{name} is damaged, or needs code that is not loaded for safety"
            f" (Lambda or custom layers): {_first_line(error)}"
        ) from error


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:2]]


def _refuse_other_kinds(path: Path) -> None:
    if path.is_dir() and (path / "saved_model.pb").exists():
        raise ModelError(
            f"{path.name} is a SavedModel, a graph without Keras layers: {SAVE_AGAIN}"
        )
    kind = OTHER_KINDS.get(path.suffix.lower())
    if kind or path.suffix.lower() not in SUFFIXES:
        what = f", which is {kind}" if kind else ""
        raise ModelError(f"expected a .keras file (or .h5), got {path.name!r}{what}")
    if not path.is_file():
        raise ModelError(f"expected a .keras file, got {str(path)!r}: no such file")


class _Content(NamedTuple):
    """What a file says about its network."""

    config: Config
    version: str  # of Keras
    from_logits: bool


def _read_zip(path: Path) -> _Content:
    with zipfile.ZipFile(path) as archive:
        for member in (CONFIG, METADATA):
            if archive.getinfo(member).file_size > LARGEST_CONFIG:
                raise ModelError(f"{path.name}: its {member} is over 64 MiB")
        config = json.loads(archive.read(CONFIG))
        version = str(json.loads(archive.read(METADATA)).get("keras_version"))
    return _Content(config, version, _takes_logits(config.get("compile_config")))


def _read_hdf5(path: Path) -> _Content:
    import h5py

    with h5py.File(path, "r") as file:
        text = file.attrs.get("model_config")
        if text is None:
            raise ModelError(
                f"{path.name} holds weights without a network: load them into the"
                f" model, and {SAVE_AGAIN}"
            )
        compiled = json.loads(file.attrs.get("training_config", "{}"))
        version = str(file.attrs.get("keras_version", ""))
        return _Content(json.loads(text), version, _takes_logits(compiled))


def _write_zip(source: Path, target: Path, config: Config) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.infolist():
            if member.filename == CONFIG:
                new.writestr(CONFIG, json.dumps(config))
                continue
            with old.open(member) as reader, new.open(member.filename, "w") as writer:
                shutil.copyfileobj(reader, writer)


def _write_hdf5(source: Path, target: Path, config: Config) -> None:
    import h5py

    shutil.copyfile(source, target)
    with h5py.File(target, "r+") as file:
        file.attrs["model_config"] = json.dumps(config)


def _refuse_code(config: Config, name: str) -> None:
    """Raises ModelError where a layer is code: Lambda, one's own class, a wrapper."""
    for layer in _layers(config):
        kind = str(layer.get("class_name"))
        if kind in TFMOT:
            raise ModelError(
                f"{name} has wrappers of tfmot ({kind}): take them off with"
                f"  {TFMOT[kind]}  and save the result"
            )
        if kind.startswith("Quantize") and kind.endswith(("Layer", "Wrapper", "V2")):
            raise ModelError(
                f"{name} was trained with the quantization of tfmot ({kind}): convert"
                " it with TensorFlow's own converter, or save the model as it was"
                " before quantize_model()"
            )
        if kind == "Lambda":
            raise ModelError(
                f"{name} has a Lambda layer ({_name_of(layer)}), which is code that is"
                " not loaded for safety: replace it by a layer of Keras, such as"
                " Rescaling"
            )
        own = str(layer.get("registered_name") or "")
        if ">" in own and not own.startswith("keras"):
            raise ModelError(
                f"{name} needs {own!r}, which is code of its author and not in the"
                " file: build the network from layers of Keras, load the weights and"
                " save it again"
            )


def _to_float32(config: Config, name: str) -> None:
    """Changes the configuration to float32, and to a free batch."""
    for layer in _layers(config):
        inner = layer.get("config")
        if not isinstance(inner, dict):
            continue
        if layer.get("class_name") == "InputLayer":
            inner["dtype"] = "float32"
            for key in ("batch_shape", "batch_input_shape"):
                if inner.get(key):
                    inner[key] = [None, *inner[key][1:]]
        elif "dtype" in inner:
            inner["dtype"] = _precision(inner["dtype"], name)


def _unroll(config: Config) -> None:
    """Writes out short recurrent layers: loops have no integer form."""
    for layer in _layers(config):
        shape = (layer.get("build_config") or {}).get("input_shape")
        if not isinstance(shape, list) or len(shape) != 3:
            continue
        steps = shape[1]
        inner = layer.get("config") or {}
        cells = [layer, inner.get("layer"), inner.get("backward_layer")]
        for cell in cells if isinstance(steps, int) and steps <= MOST_STEPS else []:
            if isinstance(cell, dict) and cell.get("class_name") in RECURRENT:
                cell["config"]["unroll"] = True


def _precision(dtype: Any, name: str) -> Any:
    """Returns float32 for a policy of another precision; others as they are."""
    policy = dtype
    if isinstance(dtype, dict):
        policy = (dtype.get("config") or {}).get("name")
        if "Quantized" in str(dtype.get("class_name")):
            raise ModelError(
                f"{name} was quantized by Keras ({policy}): save the model as it was"
                " before model.quantize(), and let this export quantize it"
            )
    return "float32" if policy in HALF else dtype


def _layers(config: Any) -> Iterator[Config]:
    """Yields each object in a configuration that has a class, the outer ones first."""
    if isinstance(config, dict):
        if "class_name" in config:
            yield config
        for value in config.values():
            yield from _layers(value)
    elif isinstance(config, list):
        for value in config:
            yield from _layers(value)


def _takes_logits(compiled: Any) -> bool:
    """Returns whether a loss in a model's compilation takes logits."""
    inner = [one.get("config") for one in _layers(compiled)]
    return any(isinstance(one, dict) and one.get("from_logits") for one in inner)


def _name_of(layer: Config) -> str:
    inner = layer.get("config")
    return str(layer.get("name") or (inner or {}).get("name") or "unnamed")


def _first_line(error: Exception) -> str:
    # Keras prints a layer's whole configuration before the reason.
    reason = str(error).rpartition("Exception encountered:")[2]
    lines = reason.strip().splitlines()
    return lines[0][:200] if lines else repr(error)
