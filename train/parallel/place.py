"""Which of several processes this one is: from flags, or from what started it."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from edge_runtime.errors import ConfigError

LOOPBACK = "127.0.0.1"
ITS_NAMES = ("localhost", "::1")  # libraries would listen at all addresses
PORT = 55527  # of process 0, where nothing else is said
FLAGS = ("coordinator", "processes", "process")


class Place(NamedTuple):
    """A process among those that train together.

    Attributes:
        host: Where process 0 is.
        port: Where process 0 listens.
        processes: How many there are.
        process: The number of this one, from 0.
        local_device: The one device to use, where a machine has several processes;
            None for all of the machine's.
    """

    host: str
    port: int
    processes: int
    process: int
    local_device: int | None = None


def find_place(
    options: Mapping[str, Any], environment: Mapping[str, str] = os.environ
) -> Place | None:
    """Returns the place of this process; None where it trains alone.

    Flags win over the environment: ``--processes 1`` trains alone in any.

    Args:
        options: The flags that were given: coordinator, processes and process.
        environment: Of SLURM (``srun``), Open MPI (``mpirun``) or a pod of an indexed
            job of Kubernetes.

    Raises:
        ConfigError: They do not say all of it, or not the same.
    """
    given = {name: options[name] for name in FLAGS if name in options}
    if given.get("processes") == 1:
        return None
    for found in (_of_slurm, _of_open_mpi, _of_kubernetes):
        place = found(environment, given)
        if place is not None:
            return _checked(place._replace(**_said(given)))
    if not given:
        return None
    missing = [f"--{name}" for name in FLAGS if name not in given]
    if missing:
        raise ConfigError(
            "several processes train with --coordinator, --processes and --process"
            f" (srun, mpirun and indexed jobs of Kubernetes say them): add"
            f" {', '.join(missing)}"
        )
    return _checked(Place(**_said(given)))


def address(text: str) -> tuple[str, int]:
    """Returns host and port of ``HOST:PORT`` or ``HOST``; IPv6 in brackets.

    Raises:
        ConfigError: It is none.
    """
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::(\d{1,5}))?", text)
    port = int(found[2]) if found and found[2] else PORT
    if not found or not 0 < port < 2**16:
        raise ConfigError(f"expected --coordinator HOST:PORT, got {text[:80]!r}")
    return found[1].strip("[]"), port


def _said(given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what flags say of a place."""
    said = {name: given[name] for name in ("processes", "process") if name in given}
    if "coordinator" in given:
        said["host"], said["port"] = address(given["coordinator"])
    return said


def _checked(place: Place) -> Place | None:
    if place.process >= place.processes:
        raise ConfigError(
            f"expected --process from 0 to {place.processes - 1}, got {place.process}:"
            f" there are {place.processes} processes"
        )
    if place.host in ITS_NAMES:
        place = place._replace(host=LOOPBACK)
    return place if place.processes > 1 else None


def _of_slurm(environment: Mapping[str, str], given: Mapping[str, Any]) -> Place | None:
    """Returns the place of a task that ``srun`` started."""
    names = ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_STEP_NODELIST")
    if not all(name in environment for name in names):
        return None
    count, number = (_integer(environment, name) for name in names[:2])
    if count == 1 and not given:
        return None
    # The nodes as in gpu[03-05,7],other: the first is where task 0 is.
    first = re.match(r"([^,\[]+)(?:\[([^\],-]+))?", environment[names[2]])
    if first is None:
        raise ConfigError(f"{names[2]} is {environment[names[2]]!r}: no list of nodes")
    port = 61_440 + _integer(environment, "SLURM_JOB_ID", 0) % 4096  # one a job
    host = first[1] + (first[2] or "")
    # One task on every node, as in 1(x3); not 1(x2),4.
    per_node = environment.get("SLURM_STEP_TASKS_PER_NODE", "1")
    alone = re.fullmatch(r"1(\(x\d+\))?", per_node)
    local = None if alone else _integer(environment, "SLURM_LOCALID", 0)
    return Place(host, port, count, number, _own_device(environment, local))


def _of_open_mpi(
    environment: Mapping[str, str], given: Mapping[str, Any]
) -> Place | None:
    """Returns the place of a process that ``mpirun`` of Open MPI started."""
    names = ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK")
    if not all(name in environment for name in names):
        return None
    count, number = (_integer(environment, name) for name in names)
    if count == 1 and not given:
        return None
    on_this_machine = _integer(environment, "OMPI_COMM_WORLD_LOCAL_SIZE", count)
    local = _integer(environment, "OMPI_COMM_WORLD_LOCAL_RANK", 0)
    own = _own_device(environment, local if on_this_machine > 1 else None)
    place = Place(LOOPBACK, PORT, count, number, own)
    if on_this_machine < count and "coordinator" not in given:
        raise ConfigError(
            "Open MPI does not say on which machine process 0 is: add --coordinator"
            " HOST:PORT, with the first host of mpirun"
        )
    return place


def _of_kubernetes(
    environment: Mapping[str, str],
    given: Mapping[str, Any],
    name_of_pod: Callable[[], str] = socket.getfqdn,
) -> Place | None:
    """Returns the place of a pod of an indexed job with a headless service.

    Its name is JOB-INDEX.SERVICE.NAMESPACE.svc...; how many there are it does not know,
    and many indexed jobs are not a group: it must be given.
    """
    if "JOB_COMPLETION_INDEX" not in environment or "processes" not in given:
        return None
    number = _integer(environment, "JOB_COMPLETION_INDEX")
    job, dot, service = name_of_pod().partition(".")
    host = job.removesuffix(f"-{number}") + "-0" + dot + service
    if "coordinator" not in given and not (dot and job.endswith(f"-{number}")):
        raise ConfigError(
            "the pods of this job have no names for each other: give it a headless"
            " service and its name as subdomain, or add --coordinator HOST:PORT"
        )
    return Place(host, PORT, given["processes"], number)


def _own_device(environment: Mapping[str, str], local: int | None) -> int | None:
    """Returns the device of a process, None where it sees no other one.

    What started it may have given each a device (``srun --gpus-per-task=1``), of which
    CUDA then knows as number 0.
    """
    sees_one = re.fullmatch(r"[^,]+", environment.get("CUDA_VISIBLE_DEVICES", ""))
    return None if sees_one else local


def _integer(
    environment: Mapping[str, str], name: str, default: int | None = None
) -> int:
    text = environment.get(name, "")
    if text.isdecimal():
        return int(text)
    if default is not None:
        return default
    raise ConfigError(f"{name} is {text!r}, not a number: --processes 1 trains alone")
