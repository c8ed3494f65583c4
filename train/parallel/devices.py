"""Finds the devices that train, and lets the libraries of all processes meet."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import platform
import socket
import sys
from importlib import metadata

import cv2
import numpy as np

from edge_runtime.errors import ConfigError, require_in_checkout
from train.parallel.group import Group
from train.parallel.replicas import ONE, Replicas

BACKEND = "jax"
DEPENDENCY_GROUP = "train-jax"  # of pyproject.toml
ALL = "all"
START_S = 60  # of the libraries, once all processes are there


def versions() -> dict[str, str]:
    """Returns the versions on which the result depends, by what they are called."""
    found = {name: metadata.version(name) for name in ("jax", "jaxlib", "keras")}
    found |= {"numpy": np.__version__, "opencv": cv2.__version__}
    named = {f"version of {name}": text for name, text in found.items()}
    return {**named, "version of Python": platform.python_version()}


def require_backend() -> None:
    """Chooses JAX, which alone trains on several devices here.

    Raises:
        FerEdgeError: Another one is asked for, or it is not installed.
    """
    backend = os.environ.get("KERAS_BACKEND") or BACKEND
    if backend != BACKEND:
        raise ConfigError(
            f"several devices train with JAX, but KERAS_BACKEND is {backend}:"
            f"  unset KERAS_BACKEND  or set it to {BACKEND}"
        )
    require_in_checkout(BACKEND, group=DEPENDENCY_GROUP)
    os.environ["KERAS_BACKEND"] = BACKEND


def start_replicas(group: Group, devices: int | str | None) -> Replicas:
    """Returns the devices to train on; call it before Keras computes anything.

    Args:
        group: The processes that train together.
        devices: How many of each process's devices, or ``"all"``; None for one where
            the process is alone, else all.

    Raises:
        ConfigError: There are not so many.
    """
    if devices is None and group.count == 1:
        return ONE
    import jax

    if group.count > 1:
        address = group.coordinator()
        host = address.rpartition(":")[0]
        _run_as_batch_job()
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.config.update("jax_enable_preemption_service", False)  # it takes SIGTERM
        jax.distributed.initialize(
            address,
            group.count,
            group.index,
            local_device_ids=group.local_device,
            cluster_detection_method="deactivate",
            initialization_timeout=START_S,
            coordinator_bind_address=address if host == "127.0.0.1" else None,
        )
    import keras

    _require_address(group, jax.default_backend())
    own = [f"{each.platform}:{each.id}" for each in jax.local_devices()]
    count = len(own) if devices in (ALL, None) else int(devices)
    if count > len(own):
        raise ConfigError(
            f"expected --devices of at most {len(own)}, got {count}: JAX sees"
            f" {', '.join(own)} here (for GPUs:  pip install --group"
            f" {DEPENDENCY_GROUP}-gpu)"
        )
    # Also of those that are not used: JAX has no collectives for unlike numbers.
    group.require_same({"number of devices (CUDA_VISIBLE_DEVICES sets it)": len(own)})
    everyone = [
        f"{each.platform}:{each.id}"
        for process in range(group.count)
        for each in jax.local_devices(process_index=process)[:count]
    ]
    if len(everyone) == 1:
        return ONE
    make = keras.distribution.DataParallel
    mine = make(devices=own[:count], auto_shard_dataset=False) if count > 1 else None
    return Replicas(
        group, whole=make(devices=everyone, auto_shard_dataset=False), own=mine
    )


def _run_as_batch_job() -> None:
    """Keeps threads that start from now on from interrupting others when they wake up.

    gloo, by which CPUs add up, polls its connections in a thread, also while they are
    in use. With a core for each process that thread took whole time slices from the
    one it waited for, and a sum took 4 ms instead of 0.1 (Linux 6.18).
    """
    if sys.platform == "linux" and os.sched_getscheduler(0) == os.SCHED_OTHER:
        with contextlib.suppress(OSError):  # a container may forbid it: only slower
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _require_address(group: Group, backend: str) -> None:
    """Raises ConfigError where the other machines would look for this one at loopback.

    Between CPUs each process tells the others what its machine's name stands for.
    """
    name = socket.gethostname()
    machines = set(group.share(group.gather(name)))
    if len(machines) == 1 or backend != "cpu":
        return
    try:
        address = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)[0][4][0]
    except socket.gaierror:
        raise ConfigError(
            f"{name} does not know its own address: write it into /etc/hosts there"
        ) from None
    if ipaddress.ip_address(address).is_loopback:
        raise ConfigError(
            f"{name} stands for {address} on {name} itself, where no other machine"
            " finds it: write its address in the network there, in /etc/hosts"
        )
