"""Keras files of others: precision, inputs, outputs, versions."""

import json
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from edge_runtime.errors import ModelError
from edge_runtime.inference.classifier import softmax
from train.networks.backend import start_keras

start_keras()

import keras  # noqa: E402
from keras import layers  # noqa: E402

from export.convert.keras_file import read_keras_file  # noqa: E402
from export.convert.keras_model import load_classifier  # noqa: E402

# Keras' own; nothing here depends on what it warns of.
pytestmark = pytest.mark.filterwarnings("ignore")


def network(*end, size=16, dtype="float32", middle=()):
    """A small network whose answers differ between pictures."""
    keras.utils.set_random_seed(5)
    pixels = keras.Input((size, size, 3), dtype=dtype)
    values = layers.Rescaling(1 / 255)(pixels)
    for layer in (layers.Conv2D(6, 3, strides=2), *middle):
        values = layer(values)
    values = layers.Flatten()(values)
    for layer in end or (layers.Dense(3),):
        values = layer(values)
    return keras.Model(pixels, values)


def pictures(count=5, size=16):
    rng = np.random.default_rng(3)
    return rng.integers(0, 256, (count, size, size, 3)).astype(np.float32)


def answers(model, images=None):
    images = pictures() if images is None else images
    return np.asarray(model(images, training=False), np.float32)


def saved(model, path):
    model.save(path)
    return path


# --- precision and type of the input -----------------------------------------------


@pytest.mark.parametrize(
    ("policy", "tolerance"),
    [
        ("mixed_float16", 5e-3),
        ("mixed_bfloat16", 2e-2),
        ("float16", 2e-3),
        ("float64", 1e-5),
    ],
)
def test_model_of_another_precision_is_read_in_float32(tmp_path, policy, tolerance):
    keras.config.set_dtype_policy(policy)
    try:
        inner = keras.Sequential([layers.Conv2D(4, 3), layers.BatchNormalization()])
        model = network(middle=(inner, layers.ReLU()))
    finally:
        keras.config.set_dtype_policy("float32")
    read = load_classifier(saved(model, tmp_path / "m.keras"))
    assert {str(variable.dtype) for variable in read.weights} == {"float32"}
    assert answers(read).dtype == np.float32
    assert np.allclose(answers(read), answers(model), atol=tolerance)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "int32"])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_input_of_another_type_is_read_as_float32(tmp_path, dtype, suffix):
    model = network(dtype=dtype)
    read = load_classifier(saved(model, tmp_path / f"m{suffix}"))
    assert read.inputs[0].dtype == "float32"
    expected = answers(model, pictures().astype(dtype))
    assert np.allclose(answers(read), expected, atol=1e-5)


def test_fixed_batch_becomes_a_free_one(tmp_path):
    pixels = keras.Input(batch_shape=(4, 16, 16, 3))
    model = keras.Model(pixels, layers.Dense(3)(layers.Flatten()(pixels)))
    read = load_classifier(saved(model, tmp_path / "m.keras"))
    assert read.inputs[0].shape == (None, 16, 16, 3)


def free_size():
    pixels = keras.Input((None, None, 3))
    values = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(pixels))
    return keras.Model(pixels, layers.Dense(3, activation="softmax")(values))


def test_free_size_is_fixed_by_the_flag(tmp_path):
    path = saved(free_size(), tmp_path / "m.keras")
    with pytest.raises(ModelError, match="--size 224"):
        load_classifier(path)
    read = load_classifier(path, 20)
    assert read.inputs[0].shape == (None, 20, 20, 3)
    assert np.allclose(
        softmax(answers(read, pictures(size=20))),
        answers(keras.models.load_model(path), pictures(size=20)),
        atol=1e-5,
    )


def test_size_that_contradicts_the_file_is_refused(tmp_path):
    path = saved(network(), tmp_path / "m.keras")
    with pytest.raises(ModelError, match="takes 16 pixels, got --size 20"):
        load_classifier(path, 20)


# --- one number for two classes ----------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "layer"),
    [
        ((28, 28), layers.Reshape((28, 28))),
        ((3, 16, 16), layers.Permute((3, 1, 2))),
        ((12, 16, 3), layers.Resizing(12, 16)),
    ],
    ids=["no channels", "channels first", "not square"],
)
def test_other_shape_is_refused_with_the_layer_that_makes_it(tmp_path, shape, layer):
    inputs = keras.Input(shape)
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(inputs)))
    way_out = f"keras.layers.{type(layer).__name__}"
    with pytest.raises(ModelError, match=way_out):
        load_classifier(saved(model, tmp_path / "m.keras"))
    side = max(shape)
    square = keras.Input((side, side, 1 if len(shape) == 2 else 3))
    wrapped = keras.Sequential([square, layer, model])
    assert load_classifier(saved(wrapped, tmp_path / "w.keras"))


def inner_sigmoids():
    return keras.Sequential([layers.Dense(4), layers.Dense(3, activation="sigmoid")])


@pytest.mark.parametrize(
    "end",
    [
        (inner_sigmoids(),),
        (layers.Dense(3), keras.ops.sigmoid),
        (layers.Dense(3, activation="sigmoid"), layers.Dropout(0.1)),
        (layers.Dense(3, activation="hard_sigmoid"),),
    ],
    ids=["inner", "operation", "dropout", "hard"],
)
def test_sigmoids_are_not_taken_for_logits(tmp_path, end):
    with pytest.raises(ModelError, match="ends in sigmoids"):
        load_classifier(saved(network(*end), tmp_path / "m.keras"))


def compiled_with_logits():
    model = network(layers.Dense(1))
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    return model


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(
            lambda: network(layers.Dense(1, activation="sigmoid")), id="dense"
        ),
        pytest.param(
            lambda: network(layers.Dense(1), layers.Activation("sigmoid")), id="layer"
        ),
        pytest.param(
            lambda: network(layers.Dense(1, use_bias=False), keras.ops.sigmoid), id="op"
        ),
        pytest.param(
            lambda: network(
                layers.Dense(1),
                layers.BatchNormalization(),
                layers.Activation("sigmoid"),
            ),
            id="norm",
        ),
        pytest.param(
            lambda: network(
                keras.Sequential(
                    [layers.Dense(4), layers.Dense(1, activation="sigmoid")]
                )
            ),
            id="model in a model",
        ),
    ],
)
def test_one_sigmoid_becomes_two_logits(tmp_path, model):
    model = model()
    read = load_classifier(saved(model, tmp_path / "m.keras"))
    logits, yes = answers(read), answers(model)[:, 0]
    assert np.all(logits[:, 0] == 0)
    assert np.allclose(softmax(logits)[:, 1], yes, atol=1e-6)
    assert yes.max() - yes.min() > 0.01


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_one_logit_is_known_by_the_loss(tmp_path, suffix):
    model = compiled_with_logits()
    read = load_classifier(saved(model, tmp_path / f"m{suffix}"))
    assert np.allclose(answers(read)[:, 1], answers(model)[:, 0], atol=1e-6)


def test_one_number_without_such_a_loss_is_refused(tmp_path):
    model = network(layers.Dense(1))
    model.compile(loss="mse")
    with pytest.raises(ModelError, match=r"regression.*sigmoid"):
        load_classifier(saved(model, tmp_path / "m.keras"))


# --- files of other versions and programs ------------------------------------------


def test_h5_file_of_this_version(tmp_path):
    model = network(middle=(layers.BatchNormalization(), layers.LeakyReLU()))
    read = load_classifier(saved(model, tmp_path / "m.h5"))
    assert np.allclose(answers(read), answers(model), atol=1e-6)


def test_hdf5_file_called_keras(tmp_path):
    saved(network(), tmp_path / "m.h5").rename(tmp_path / "m.keras")
    read = load_classifier(tmp_path / "m.keras")
    assert np.allclose(answers(read), answers(network()), atol=1e-6)


def layer_of_keras_2(kind, name, *calls, **config):
    return {
        "module": "keras.layers",
        "class_name": kind,
        "config": {"name": name, "trainable": True, "dtype": "float32", **config},
        "registered_name": None,
        "name": name,
        "inbound_nodes": list(calls),
    }


def call(source, index=0, **arguments):
    return [[source, index, 0, arguments]]


def arithmetic(function, called, source, **arguments):
    """A call of TensorFlow, as the scaling of keras.applications was saved."""
    layer = layer_of_keras_2("TFOpLambda", called, [source, 0, 0, arguments])
    layer["module"] = "tf_keras.src.layers.core.tf_op_layer"
    layer["config"]["function"] = function
    return layer


def config_of_keras_2(scaling, convolution, *, activation="relu"):
    """A configuration in which everything stands that Keras 3 writes otherwise."""
    shape = [None, 16, 16, 3]
    inner = {
        "name": "inner",
        "layers": [
            layer_of_keras_2("InputLayer", "inner_pixels", batch_input_shape=shape),
            {**convolution, "inbound_nodes": [call("inner_pixels")]},
            layer_of_keras_2(
                "BatchNormalization", "norm", call("convolution"), axis=[3]
            ),
            layer_of_keras_2(
                "Activation", "active", call("norm"), activation=activation
            ),
        ],
        "input_layers": [["inner_pixels", 0, 0]],
        "output_layers": [["active", 0, 0]],
    }
    last = scaling[-1]["name"]
    config = {
        "name": "outer",
        "layers": [
            layer_of_keras_2("InputLayer", "pixels", batch_input_shape=shape),
            *scaling,
            {
                **layer_of_keras_2("Functional", "inner", call(last, training=False)),
                "module": "tf_keras.src.engine.functional",
                "config": inner,
            },
            # The call at its making was call 0.
            layer_of_keras_2("Flatten", "flat", call("inner", 1)),
            layer_of_keras_2("Dense", "logits", call("flat"), units=3),
        ],
        "input_layers": [["pixels", 0, 0]],
        "output_layers": [["logits", 0, 0]],
    }
    return {
        "module": "tf_keras.src.engine.functional",
        "class_name": "Functional",
        "config": config,
    }


def same_in_keras_3(scale, convolution):
    """The network of ``config_of_keras_2``; its layers' names are the same."""
    keras.utils.set_random_seed(6)
    inner_pixels = keras.Input((16, 16, 3), name="inner_pixels")
    norm = layers.BatchNormalization(name="norm")
    values = norm(convolution(inner_pixels))
    inner = keras.Model(
        inner_pixels, layers.Activation("relu", name="active")(values), name="inner"
    )
    pixels = keras.Input((16, 16, 3), name="pixels")
    values = layers.Flatten(name="flat")(inner(scale(pixels)))
    norm.set_weights([np.linspace(0.5, 2, len(one)) for one in norm.get_weights()])
    return keras.Model(pixels, layers.Dense(3, name="logits")(values), name="outer")


def written_as_keras_2(model, config, path):
    """The weights of a model, under a configuration of Keras 2."""
    own = path.with_name(f"own{path.suffix}")
    saved(model, own)
    if path.suffix == ".h5":
        with h5py.File(own, "r+") as file:
            file.attrs["model_config"] = json.dumps(config)
            file.attrs["keras_version"] = "2.15.0"
        return own.rename(path)
    with zipfile.ZipFile(own) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                content = json.dumps(config).encode()
            if name == "metadata.json":
                content = b'{"keras_version": "2.15.0"}'
            new.writestr(name, content)
    return path


DEPTHWISE = layer_of_keras_2(
    "DepthwiseConv2D",
    "convolution",
    kernel_size=[3, 3],
    groups=1,
    depthwise_initializer={"class_name": "GlorotUniform", "config": {}},
)
TRANSPOSED = layer_of_keras_2(
    "Conv2DTranspose", "convolution", filters=4, kernel_size=[2, 2], groups=1
)
MOBILENET = [
    arithmetic("math.truediv", "tf.math.truediv", "pixels", y=127.5, name=None),
    arithmetic("math.subtract", "tf.math.subtract", "tf.math.truediv", y=1.0),
]
RESNET = [arithmetic("nn.bias_add", "means", "pixels", bias=[-103.9, -116.8, -123.7])]


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize(
    ("scaling", "scale", "config", "convolution"),
    [
        pytest.param(
            MOBILENET,
            lambda: layers.Rescaling(1 / 127.5, -1),
            DEPTHWISE,
            lambda: layers.DepthwiseConv2D(3, name="convolution"),
            id="depthwise",
        ),
        pytest.param(
            RESNET,
            lambda: layers.Rescaling(1.0, [-103.9, -116.8, -123.7]),
            TRANSPOSED,
            lambda: layers.Conv2DTranspose(4, 2, name="convolution"),
            id="transposed",
        ),
    ],
)
def test_file_of_keras_2_answers_as_it_did(
    tmp_path, suffix, scaling, scale, config, convolution
):
    model = same_in_keras_3(scale(), convolution())
    path = tmp_path / f"m{suffix}"
    written_as_keras_2(model, config_of_keras_2(scaling, config), path)
    read, expected = load_classifier(path), answers(model)
    assert np.allclose(answers(read), expected, atol=1e-4 * np.abs(expected).max())
    assert np.ptp(expected, axis=0).min() > 1e-3


@pytest.mark.parametrize(
    ("scaling", "activation", "part"),
    [
        (MOBILENET, "hard_sigmoid", "another function in Keras 3"),
        (
            [arithmetic("math.tanh", "tf.math.tanh", "pixels")],
            "relu",
            r"calls TensorFlow \(math.tanh in tf.math.tanh\)",
        ),
    ],
    ids=["hard-sigmoid", "call"],
)
def test_what_answers_otherwise_in_keras_3_is_refused(
    tmp_path, scaling, activation, part
):
    convolution = layers.DepthwiseConv2D(3, name="convolution")
    model = same_in_keras_3(layers.Rescaling(1.0), convolution)
    config = config_of_keras_2(scaling, DEPTHWISE, activation=activation)
    path = written_as_keras_2(model, config, tmp_path / "m.h5")
    with pytest.raises(ModelError, match=part):
        read_keras_file(path)


@keras.saving.register_keras_serializable(package="mine")
class Doubled(layers.Layer):
    def call(self, values):
        return 2 * values


def with_layer(tmp_path, suffix, kind, registered=None):
    """A file one of whose layers is called otherwise."""
    path = saved(network(middle=(layers.ReLU(),)), tmp_path / f"own{suffix}")
    return renamed_layer(path, "ReLU", kind, registered)


def renamed_layer(path, old, new, registered):
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            if layer["class_name"] == old:
                layer.update(class_name=new, registered_name=registered)
        file.attrs["model_config"] = json.dumps(config)
    return path


@pytest.mark.parametrize(
    ("kind", "registered", "part"),
    [
        ("PruneLowMagnitude", None, "strip_pruning"),
        ("ClusterWeights", None, "strip_clustering"),
        ("QuantizeWrapperV2", None, "quantize_model"),
        ("Lambda", None, "Lambda"),
        ("Patches", "mine>Patches", "'mine>Patches', which is code of its author"),
        ("Unheard", None, "Unheard"),
    ],
)
def test_layer_that_is_code_is_named_with_the_way_out(tmp_path, kind, registered, part):
    with pytest.raises(ModelError, match=part) as caught:
        read_keras_file(with_layer(tmp_path, ".h5", kind, registered))
    assert "\n" not in str(caught.value)


def test_own_layer_in_a_keras_file_is_refused_though_it_is_registered(tmp_path):
    path = saved(network(middle=(Doubled(),)), tmp_path / "m.keras")
    with pytest.raises(ModelError, match="'mine>Doubled'"):
        read_keras_file(path)


def saved_model(tmp_path):
    folder = tmp_path / "graph"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"")
    return folder


def weights_only(tmp_path):
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file.create_group("layers")
    return path


def quantized(tmp_path):
    model = network()
    model.quantize("int8")
    return saved(model, tmp_path / "m.keras")


def test_file_of_a_newer_keras_says_so(tmp_path):
    path, newer = saved(network(), tmp_path / "old.keras"), tmp_path / "m.keras"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(newer, "w") as new:
        for name in old.namelist():
            text = old.read(name)
            if name == "metadata.json":
                text = json.dumps({"keras_version": "99.0.1"})
            if name == "config.json":
                text = text.replace(b'"units"', b'"novelty": 1, "units"')
            new.writestr(name, text)
    reason = r"by Keras 99\.0\.1, which is newer than 3\..*novelty"
    with pytest.raises(ModelError, match=reason):
        read_keras_file(newer)


def named(name, content=b"x"):
    def write(tmp_path):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (saved_model, r"SavedModel.*model\.save"),
        (weights_only, "weights without a network"),
        (quantized, "quantized by Keras"),
        (named("m.pt"), "PyTorch"),
        (named("m.pb"), "without layers"),
        (named("m.tflite"), "exported file already"),
        (named("m.keras"), "damaged"),
        (named("m.h5", b"\x89HDF\r\n\x1a\n cut"), "damaged"),
        (named("m.h5", b"<!DOCTYPE html>"), "no Keras file: text, such as a web page"),
        (lambda tmp_path: tmp_path / "none.keras", "no such file"),
    ],
)
def test_other_file_is_refused_with_its_kind(tmp_path, make, part):
    with pytest.raises(ModelError, match=part) as caught:
        read_keras_file(Path(make(tmp_path)))
    assert "\n" not in str(caught.value)
