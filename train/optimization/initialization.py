"""The networks of a run, and the weights that they begin with."""

from __future__ import annotations

from typing import Any

import keras

from edge_runtime.errors import RunError
from edge_runtime.preprocessing import CHANNELS
from edge_runtime.untrusted import read_bounded
from train.data.dataset import Dataset
from train.distillation.teachers import require_no_leak
from train.networks import pretrained
from train.networks.architectures import build_model
from train.networks.blocks import Scale
from train.networks.export_trial import try_export
from train.networks.own import loads_weights, require_same_twice
from train.networks.run_networks import RunNetworks
from train.options.config import TrainConfig, is_own
from train.parallel.replicas import ONE, Replicas
from train.quantization.start import make_simulated
from train.run.checkpoint import Progress
from train.run.folder import (
    MAX_JSON_BYTES,
    RunFolder,
    find_model,
    read_labels,
    read_weights,
)

NETWORK = "network.json"  # the user's own, in its training's arithmetic
POLICIES = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}


def make_networks(
    config: TrainConfig,
    data: Dataset,
    run: RunFolder,
    progress: Progress,
    replicas: Replicas = ONE,
) -> RunNetworks:
    """Returns the network to train, and a float32 copy to validate and save.

    Args:
        config: The configuration.
        data: The images.
        run: The run's folder; of a resumed run the user's own network is in there.
        progress: How far the run has come.
        replicas: The devices that train.

    Raises:
        FerEdgeError: The user's own network is refused, or the folder is damaged.
    """
    if config.qat:
        if replicas.devices > 1:
            raise RunError("--qat trains on one device: leave out --devices and others")
        return make_simulated(config, data, run, progress)
    if is_own(config.arch) and progress.epoch:
        model, best_model = _read_networks(run, replicas)
    else:
        model, best_model = _build_networks(config, data, replicas)
    return RunNetworks(model, best_model, best_model)


def _build_networks(
    config: TrainConfig, data: Dataset, replicas: Replicas
) -> tuple[keras.Model, keras.Model]:
    shape: dict[str, Any] = {
        "size_px": data.size_px,
        "channels": CHANNELS[data.colour],
        "classes": len(data.labels),
        "scale": Scale(config.width, config.depth),
    }
    best_model = build_model(config.arch, **shape)
    keras.mixed_precision.set_dtype_policy(POLICIES[config.precision])
    try:
        with replicas.together():
            model = build_model(config.arch, **shape)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    if is_own(config.arch):
        require_same_twice(config.arch, best_model, model)
        _compare_weights(config, loads_weights(best_model, model))
        print(f"trying {config.arch} on the exporter, before it is trained", flush=True)
        print(try_export(best_model, config.arch, allow_float=config.allow_float))
    return model, best_model


def _compare_weights(config: TrainConfig, loaded: bool) -> None:
    """Says what --pretrained would keep; refuses to keep random weights."""
    if config.pretrained == pretrained.OWN and not loaded:
        raise RunError(
            f"--pretrained {pretrained.OWN} keeps the weights that {config.arch} loads,"
            " but each of its calls gave random ones: load them in the function, or"
            " leave the flag out"
        )
    if loaded and config.pretrained == pretrained.NONE and not config.start_from:
        print(
            f"{config.arch} gives its layers weights: if they are trained ones, add"
            f" --pretrained {pretrained.OWN} (with --recipe transfer they are then"
            " changed with care)"
        )


def _read_networks(
    run: RunFolder, replicas: Replicas
) -> tuple[keras.Model, keras.Model]:
    """Returns the two networks of a resumed run, without the user's own function."""
    paths = (run.checkpoint / NETWORK, run.architecture)
    try:
        texts = [read_bounded(path, MAX_JSON_BYTES).decode() for path in paths]
        with replicas.together():
            model = keras.models.model_from_json(texts[0])
        best_model = keras.models.model_from_json(texts[1])
    except Exception as error:  # Keras raises whatever its parsers raise
        raise RunError(
            f"{run.path} cannot be resumed: {paths[0]} or {paths[1].name}, its network,"
            f" is missing or damaged ({error})"
        ) from error
    return model, best_model


def initialize(
    model: keras.Model,
    config: TrainConfig,
    data: Dataset,
    progress: Progress,
    run: RunFolder,
) -> dict[str, Any] | None:
    """Gives a new run its initial weights; returns what published ones are in it.

    Args:
        model: The network; that of a resumed run is not changed.
        config: Names the weights.
        data: The images.
        progress: How far the run has come.
        run: The run's folder.

    Returns:
        What they are, JSON-ready; None of random weights.

    Raises:
        FerEdgeError: They are missing or damaged, do not fit, or have seen images that
            are evaluation images here.
    """
    if progress.epoch:
        return read_weights(run)
    if config.start_from:
        if not config.qat:  # else its network is that of the run
            copied = copy_weights(model, config.start_from, data)
            print(f"initial weights from {config.start_from}: {copied} layers")
        return read_weights(RunFolder(find_model(config.start_from).parent))
    if config.pretrained == pretrained.NONE:
        return None
    if config.pretrained == pretrained.OWN:
        return pretrained.weights_of_function(config.arch)
    weights = pretrained.load_weights(model, config.arch, config.pretrained)
    print(f"initial weights: {weights['source']}, licence {weights['licence']}")
    return weights


def copy_weights(model: keras.Model, source: str, data: Dataset) -> int:
    """Copies weights into every layer of the same position and shapes.

    Args:
        model: The network to change; its other layers keep their weights.
        source: A run's name or path, or a ``.keras`` file.
        data: The images and classes; the last layer is copied only from a run with
            the same classes in the same order.

    Returns:
        The number of layers copied.

    Raises:
        FerEdgeError: No such file, no layer fits, or it was trained on images that
            are evaluation images here.
    """
    path = find_model(source)
    try:
        source_model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its parsers raise
        raise RunError(f"cannot start from {path}: {error}") from error
    require_no_leak(path, data, ", or begin without them: --pretrained none")
    same_labels = read_labels(path) == list(data.labels)
    copied = 0
    for layer, source_layer in zip(model.layers, source_model.layers, strict=False):
        shapes = [weight.shape for weight in layer.weights]
        if layer is model.layers[-1] and not same_labels:
            continue
        if shapes and shapes == [weight.shape for weight in source_layer.weights]:
            layer.set_weights(source_layer.get_weights())
            copied += 1
    if not copied:
        raise RunError(f"cannot start from {path}: no layer of {model.name} fits")
    return copied
