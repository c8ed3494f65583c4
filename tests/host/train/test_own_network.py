"""--arch module:function: the user's own network, wrong and right."""

import json
import shutil
import textwrap
from importlib.util import find_spec

import pytest

from train.__main__ import main
from train.networks.backend import start_keras

start_keras()

import keras  # noqa: E402

from edge_runtime.errors import RunError  # noqa: E402
from tests.console import one_error_line  # noqa: E402
from tests.host.train.test_fit import write_images  # noqa: E402
from train.networks import export_trial, own  # noqa: E402
from train.networks.architectures import build_model, count_macs  # noqa: E402
from train.networks.blocks import leaf_layers  # noqa: E402
from train.networks.export_trial import try_export  # noqa: E402
from train.optimization import initialization  # noqa: E402
from train.options.config import arch_name  # noqa: E402

KIND = {"size_px": 16, "channels": 1, "classes": 3}
MODULE = """\
    import keras
    from keras import layers, ops

    calls, kept = [], layers.Conv2D(8, 3)

    class Doubled(layers.Layer):
        def call(self, x):
            return 2 * x

    def features(x):
        x = layers.Conv2D(8, 3, strides=2, use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x))
        return layers.Dropout(0.1)(layers.Flatten()(x))

    def nested(x):
        inner = [layers.Conv2D(8, 3), layers.BatchNormalization(), layers.Dropout(0.1)]
        return layers.Flatten()(keras.Sequential(inner)(x))

    def with_logarithm(x):
        return ops.log(features(x) + 1)

    def softmax(x):
        return layers.Softmax()(features(x))

    def softmax_dense(x):
        return layers.Dense(3, activation="softmax")(features(x))

    def softmax_operation(x):
        return ops.softmax(features(x))

    def model(x):
        return keras.Sequential([layers.Flatten()])

    def maps(x):
        return layers.Conv2D(8, 3)(x)

    def nothing(x):
        features(x)

    def two(x):
        return features(x), features(x)

    def three_arguments(size_px, channels, classes):
        return None

    def lambda_layer(x):
        return layers.Lambda(lambda t: 2 * t)(features(x))

    def own_layer(x):
        return Doubled()(features(x))

    def layer_in_model(x):
        return keras.Sequential([layers.Flatten(), Doubled()])(x)

    def own_activation(x):
        return layers.Activation(lambda t: 2 * t)(features(x))

    def same_layers(x):
        return layers.Flatten()(kept(x))

    def counted(x):
        calls.append(1)
        return layers.Flatten()(layers.Conv2D(len(calls), 3)(x))

    def too_small(x):
        return layers.Flatten()(layers.Conv2D(8, 40)(x))

    def of_tensorflow(x):
        import tensorflow as tf

        return tf.reduce_mean(x, axis=(1, 2))

    def half(x):
        keras.config.set_dtype_policy("mixed_float16")
        return features(x)

    def unconnected(x):
        return layers.Dense(3)(keras.Input((4,)))

    def ends(x):
        raise SystemExit(3)

    def trained(x):
        import numpy as np

        kernel = keras.initializers.Constant(
            np.random.default_rng(0).normal(0, 0.3, (3, 3, x.shape[-1], 8))
        )
        x = layers.Conv2D(8, 3, strides=2, kernel_initializer=kernel)(x)
        statistics = keras.initializers.Constant(3.0)
        x = layers.BatchNormalization(moving_variance_initializer=statistics)(x)
        return layers.Flatten()(layers.ReLU()(x))
"""
REFUSED = {
    "softmax": "ends in a softmax",
    "softmax_dense": "ends in a softmax",
    "softmax_operation": "ends in a softmax",
    "model": "got a Sequential: return what it makes of the pixels",
    "maps": "end with GlobalAveragePooling2D",
    "nothing": "got nothing",
    "two": "one tensor of features, got a tuple",
    "three_arguments": "a function of one argument, the pixels",
    "lambda_layer": "has a Lambda",
    "own_layer": "has a Doubled",
    "layer_in_model": "has a Doubled",
    "own_activation": "which is code that no model file holds",
    "too_small": r"fails on images of 16x16x1 \(line 66\)",
    "of_tensorflow": "cannot be used as input to a TensorFlow function",
    "half": "changes settings of Keras",
    "unconnected": "made of the pixels it is given",
    "ends": "fails on images of 16x16x1",
    "feature_s": "did you mean features?",
    "calls": "expected a function calls",
}


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "own" / "net.py"
    path.parent.mkdir()
    path.write_text(textwrap.dedent(MODULE))
    yield path
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("function", REFUSED)
def test_wrong_function_is_refused_in_one_line(module, function):
    with pytest.raises(RunError, match=REFUSED[function]) as refused:
        build_model(f"{module}:{function}", **KIND)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def f(x:", "line 1.*SyntaxError"),
        ("a = 1\nb = undefined", "line 2.*undefined"),
        ("import surely_missing", "line 1.*surely_missing"),
        ("import sys\nsys.exit()", "line 2.*SystemExit"),
    ],
    ids=["syntax", "name", "import", "exit"],
)
def test_module_that_fails_names_its_line(tmp_path, text, reason):
    path = tmp_path / "net.py"
    path.write_text(text)
    with pytest.raises(RunError, match=reason):
        own.load_function(f"{path}:f")


@pytest.mark.parametrize("arch", ["surely_missing:f", "gone/net.py:f"])
def test_missing_module_is_named_before_the_images_are_read(
    tmp_path, monkeypatch, capsys, arch
):
    monkeypatch.chdir(tmp_path)
    assert main(["--data", "no/such/images", "--arch", arch]) == 2
    assert arch.partition(":")[0] in one_error_line(capsys)
    assert list(tmp_path.iterdir()) == []


def test_module_of_the_current_folder_is_found(tmp_path, monkeypatch):
    (tmp_path / "net_in_folder.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.chdir(tmp_path)
    assert build_model("net_in_folder:features", **KIND).name == "features"


@pytest.mark.parametrize("function", ["features", "nested"])
def test_own_network_is_one_of_the_project(module, function):
    model = build_model(f"{module}:{function}", **KIND)
    assert model.output_shape == (None, 3)
    assert type(list(leaf_layers(model))[1]).__name__ == "Rescaling"
    assert count_macs(model) > 1000


@pytest.mark.parametrize(
    ("function", "reason"),
    [("same_layers", "inside the function"), ("counted", "its second call")],
)
def test_function_with_a_memory_is_refused(tmp_path, monkeypatch, function, reason):
    (tmp_path / f"net_{function}.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.chdir(tmp_path)
    arch = f"net_{function}:{function}"
    first, second = (build_model(arch, **KIND) for _ in range(2))
    with pytest.raises(RunError, match=reason):
        own.require_same_twice(arch, first, second)


@pytest.mark.parametrize(
    ("arch", "name"),
    [
        ("fer_tiny", "fer_tiny"),
        ("my.nets:small", "my.nets:small"),
        ("/home/me/nets.py:small", "nets:small"),
    ],
)
def test_name_has_no_path(arch, name):
    assert arch_name(arch) == name


# --- tried on the exporter ---------------------------------------------------------


needs_exporter = pytest.mark.skipif(
    not all(map(find_spec, export_trial.NEEDED)), reason="no exporter here"
)


@needs_exporter
def test_operator_without_integer_kernel_is_named_before_the_training(
    module, tmp_path, capsys
):
    data = write_images(tmp_path / "set", 12)
    run = tmp_path / "run"
    flags = ["--data", str(data), "--name", str(run), "--pretrained", "none"]
    assert main([*flags, "--arch", f"{module}:with_logarithm"]) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"error: {module}:with_logarithm cannot be exported")
    assert "no integer kernel for LOG; --allow-float" in err
    assert len(err.splitlines()) == 1
    assert "epoch" not in out.partition("trying")[2]
    assert not run.exists()


@needs_exporter
def test_operator_may_stay_in_float_where_that_is_said(module):
    arch = f"{module}:with_logarithm"
    told = try_export(build_model(arch, **KIND), arch, allow_float=True)
    assert told.startswith("its mixed file")


def test_machine_without_an_exporter_trains_all_the_same(module, monkeypatch):
    monkeypatch.setattr(export_trial, "NEEDED", ("surely_missing",))
    told = try_export(build_model(f"{module}:features", **KIND), "", allow_float=False)
    assert told == "not tried on the exporter: surely_missing is not installed here"


# --- whole runs --------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images") / "set", 30)


def flags(data, run, module, *more, epochs=3):
    return [
        *("--data", str(data), "--name", str(run), "--epochs", str(epochs)),
        *("--arch", f"{module}:features", "--batch-size", "16", *more),
    ]


def losses(run):
    rows = (run / "history.csv").read_text().splitlines()[1:]
    return [float(row.split(",")[1]) for row in rows]


TRANSFER = ("--recipe", "transfer", "--size", "16")


def test_weights_of_the_function_are_changed_with_care_where_that_is_said(
    data, module, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(initialization, "try_export", lambda *_, **__: "")
    run, arch = tmp_path / "run", ("--arch", f"{module}:trained")
    own_weights = (*TRANSFER, *arch, "--pretrained", "own")
    assert main(flags(data, run, module, *own_weights, epochs=1)) == 0
    assert "first the last layer alone" in capsys.readouterr().out
    config = json.loads((run / "config.json").read_text())
    assert config["config"]["freeze_batch_norm"]
    assert config["weights"]["source"] == "those that net:trained loads"
    model = keras.models.load_model(run / "model.keras")
    variance = model.get_layer(index=3).get_weights()[3]
    assert variance.tolist() == [3.0] * 8  # as it was


def test_weights_of_the_function_are_named_where_nothing_was_said(
    data, module, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(initialization, "try_export", lambda *_, **__: "")
    arch = ("--arch", f"{module}:trained")
    run = flags(data, tmp_path / "run", module, *TRANSFER, *arch, epochs=1)
    assert main(run) == 0
    assert "add --pretrained own" in capsys.readouterr().out


def test_random_weights_are_not_kept_as_trained_ones(data, module, tmp_path, capsys):
    run = flags(data, tmp_path / "run", module, *TRANSFER, "--pretrained", "own")
    assert main(run) == 2
    assert "each of its calls gave random ones" in one_error_line(capsys)
    assert main([*run[:-1], "imagenet"]) == 2
    assert "with --pretrained own" in one_error_line(capsys)


@needs_exporter
def test_finished_run_needs_its_module_no_longer(data, module, tmp_path, capsys):
    from export.__main__ import main as export

    run = tmp_path / "run"
    assert main(flags(data, run, module, epochs=2)) == 0
    out = capsys.readouterr().out
    assert "its int8 file: 0.0" in out
    config = json.loads((run / "config.json").read_text())["config"]
    assert config["arch"] == f"{module}:features"
    assert json.loads((run / "metrics.json").read_text())["arch"] == "net:features"
    shutil.rmtree(module.parent)
    files = tmp_path / "files"
    assert export([str(run), "--formats", "int8", "--out", str(files)]) == 0
    assert (files / "run.int8.tflite").is_file()
    assert main(["--resume", str(run)]) == 0
    more = [*("--data", str(data), "--name", str(tmp_path / "next"), "--epochs", "1")]
    assert main([*more, "--arch", "fer_tiny", "--from", str(run)]) == 2
    assert "no layer of fer_tiny fits" in capsys.readouterr().err


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_resumed_run_has_the_losses_of_the_unbroken_one_without_the_module(
    data, module, tmp_path, monkeypatch, precision
):
    from train.run import epoch_callback

    def stop_after_first(self, epoch, row):
        kept(self, epoch, row)
        if epoch == 1:
            raise KeyboardInterrupt

    # What it costs is tried above.
    monkeypatch.setattr(initialization, "try_export", lambda *_, **__: "")
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    more = ["--precision", precision]
    assert main(flags(data, unbroken, module, *more)) == 0
    kept = epoch_callback.EpochCallback._save
    with monkeypatch.context() as patch:
        patch.setattr(epoch_callback.EpochCallback, "_save", stop_after_first)
        assert main(flags(data, broken, module, *more)) == 130
    shutil.rmtree(module.parent)
    assert main(["--resume", str(broken)]) == 0
    assert losses(broken) == pytest.approx(losses(unbroken), rel=1e-3)


def test_resume_of_a_damaged_network_says_so(
    data, module, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(initialization, "try_export", lambda *_, **__: "")
    run = tmp_path / "run"
    assert main(flags(data, run, module, epochs=1)) == 0
    (run / "checkpoint" / "network.json").write_text("{")
    capsys.readouterr()
    assert main(["--resume", str(run)]) == 2
    assert "network.json" in one_error_line(capsys)
