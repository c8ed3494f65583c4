"""Several devices of one machine give what one gives; what does not fit is one line.

The devices are virtual ones of the CPU: XLA makes as many as it is told.
"""

import csv
import importlib.util
import os
import pty
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.errors import ConfigError, RunError
from train.data.dataset import Dataset
from train.data.splits import Split
from train.options.config import TrainConfig
from train.options.steps import scale_to_devices
from train.parallel.devices import _require_address, require_backend
from train.parallel.group import ALONE, Group, _difference, _Output
from train.parallel.replicas import ONE, Replicas
from train.session import _order

ROOT = Path(__file__).resolve().parents[3]
FLAGS = ("--data", "set", "--arch", "fer_tiny", "--batch-size", "16", "--seed", "3")
RATE = ("--learning-rate", "0.001")
needs_jax = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="jax is not installed"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    rng = np.random.default_rng(0)
    for label, level in (("dark", 0), ("light", 60)):
        (folder / "set" / label).mkdir(parents=True)
        for number in range(45):
            image = rng.integers(level, level + 190, (16, 16), dtype=np.uint8)
            cv2.imwrite(str(folder / "set" / label / f"{number}.png"), image)
    return folder


def train(folder, *words, devices=1, **variables):
    # Other tests of this process have chosen a backend.
    own = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    return subprocess.run(
        [sys.executable, "-m", "train", *words],
        cwd=folder,
        env={
            **own,
            "PYTHONPATH": str(ROOT),
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
            **variables,
        },
        capture_output=True,
        text=True,
    )


def losses(folder, name):
    with (folder / "runs" / name / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [float(row[key]) for row in rows for key in ("loss", "val_loss")]


@needs_jax
@pytest.mark.timeout(900)  # three times the libraries' start and compilation
def test_two_devices_train_as_one_and_one_goes_on_for_two(folder):
    words = (*FLAGS, *RATE, "--epochs", "2")
    one = train(folder, *words, "--name", "one", KERAS_BACKEND="jax")
    assert one.returncode == 0, one.stderr

    cut = (*words, "--name", "two", "--devices", "2", "--max-time", "0.1s")
    two = train(folder, *cut, devices=3)  # one of them is not used
    assert two.returncode == 0, two.stderr
    assert "training on cpu:0, cpu:1 (jax)" in two.stdout
    assert two.stderr == ""
    config = folder / "runs" / "two" / "config.json"
    config.write_text(
        config.read_text().replace('"max_time_s": 0.1', '"max_time_s": 0.0')
    )
    resumed = train(folder, "--resume", "two", KERAS_BACKEND="jax")
    assert resumed.returncode == 0, resumed.stderr
    assert "ends here" in two.stdout and "epoch   2/2" in resumed.stdout
    assert losses(folder, "two") == pytest.approx(losses(folder, "one"), rel=1e-4)


@needs_jax
@pytest.mark.parametrize(
    ("words", "devices", "part"),
    [
        (("--devices", "2"), 1, "expected --devices of at most 1, got 2"),
        (("--devices", "all"), 3, "3 devices share evenly, got 16 images"),
        (("--scale-learning-rate",), 1, "add --devices"),
    ],
)
def test_what_does_not_fit_is_one_line(folder, words, devices, part):
    done = train(folder, *FLAGS, *words, "--name", "no", devices=devices)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert part in line
    assert not (folder / "runs" / "no").exists()


def test_uneven_batch_names_the_next_even_ones():
    replicas = Replicas(ALONE)
    replicas.devices = 6
    replicas.require_even(12)
    with pytest.raises(ConfigError, match="--batch-size 126 or 132"):
        replicas.require_even(128)
    with pytest.raises(ConfigError, match="--batch-size 6,"):
        replicas.require_even(5)


def test_flag_for_one_device_says_so():
    ONE.require_one("--qat")
    replicas = Replicas(ALONE)
    replicas.devices = 2
    with pytest.raises(ConfigError, match="--qat trains on one device, got 2"):
        replicas.require_one("--qat")


def test_another_backend_is_told_what_to_do(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    with pytest.raises(ConfigError, match="KERAS_BACKEND is tensorflow:  unset"):
        require_backend()


@pytest.mark.parametrize(
    ("optimizer", "rate"), [("sgd", 0.4), ("adamw", 0.2), ("adam", 0.2)]
)
def test_scaled_rate_grows_with_the_batch(optimizer, rate):
    config = TrainConfig(optimizer=optimizer, learning_rate=0.1, batch_size=32)
    scaled = scale_to_devices(config, 4)
    assert scaled.batch_size == 128
    assert scaled.learning_rate == pytest.approx(rate)


def test_alone_nothing_is_sent():
    assert ALONE.gather(3) == [3]
    assert ALONE.share({"a": 1}) == {"a": 1}
    assert ONE.share == (0, 1)
    array = np.arange(3)
    assert ONE.from_first(lambda: array, (3,), np.int64) is array
    assert not ONE.asked_to_stop(1, False)
    assert ONE.asked_to_stop(1, True)


def test_first_difference_is_named():
    same = {"seed": 1, "epochs": 3}
    assert _difference([same, dict(same)]) == ""
    assert "process 1 has another seed than process 0: 2, not 1" in _difference(
        [same, {**same, "seed": 2}]
    )
    assert "another width than process 0: 0.5, not None" in _difference(
        [same, same, {**same, "width": 0.5}]
    )


def test_order_of_images_labels_and_sets_is_compared():
    images = np.arange(4, dtype=np.uint8)[:, None, None, None]
    split = Split(images, np.array([0, 0, 1, 1]), tuple("abcd"), np.array([0, 1, 0, 1]))
    data = Dataset("set", ("a", "b"), 1, "grey", split, split, split)
    orders = {_order(data)}
    for name, value in (
        ("images", images[::-1]),
        ("labels", split.labels[::-1]),
        ("sources", split.sources[::-1]),
    ):
        for part in ("train", "validation"):
            other = replace(split, **{name: value})
            orders.add(_order(replace(data, **{part: other})))
    assert len(orders) == 7


class OnMachines(Group):
    """This process, and one on another machine or on this one."""

    def __init__(self, *others):
        self._others = others

    def gather(self, value):
        return [value, *self._others]


def test_machine_that_others_would_not_find_is_one_line(monkeypatch):
    def resolve(address):
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    monkeypatch.setattr(socket, "gethostname", lambda: "here")
    resolve("127.0.1.1")  # as Debian writes it in /etc/hosts
    with pytest.raises(ConfigError, match=r"here stands for 127\.0\.1\.1 .*/etc/hosts"):
        _require_address(OnMachines("there"), "cpu")
    _require_address(OnMachines("there"), "gpu")
    _require_address(OnMachines("here"), "cpu")
    _require_address(ALONE, "cpu")
    resolve("192.168.0.7")
    _require_address(OnMachines("there"), "cpu")

    def fail(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(ConfigError, match="here does not know its own address"):
        _require_address(OnMachines("there"), "cpu")


class Two(Group):
    """The first of two processes, of which the other one has other facts."""

    def gather(self, value):
        return [value, {**value, "seed": 0}]


def test_difference_raises_in_the_first_process_too():
    with pytest.raises(RunError, match="another seed"):
        Two().require_same({"seed": 1})


def test_what_is_printed_to_a_terminal_that_went_away_vanishes():
    terminal, its_end = pty.openpty()
    os.close(terminal)
    with _Output(its_end, "w") as output:
        assert output.write(b"more") == 4


def test_full_disk_behind_the_output_is_an_error():
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    with (
        _Output("/dev/full", "w") as output,
        pytest.raises(OSError, match="No space left"),
    ):
        output.write(b"more")
