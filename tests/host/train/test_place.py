"""Which of several processes this one is: flags, SLURM, Open MPI, Kubernetes."""

import pytest

from edge_runtime.errors import ConfigError
from train.parallel.place import PORT, Place, _of_kubernetes, address, find_place

SLURM = {
    "SLURM_JOB_ID": "4097",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NODELIST": "gpu[03-05,11],login",
    "SLURM_STEP_TASKS_PER_NODE": "2(x4)",
}
OPEN_MPI = {
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
}
FLAGS = {"coordinator": "node1:8476", "processes": 3, "process": 2}


def test_without_flags_and_cluster_a_process_is_alone():
    assert find_place({}, {}) is None
    assert find_place({"devices": "all", "data": "x"}, {"PATH": "/bin"}) is None


def test_flags_say_it_all():
    assert find_place(FLAGS, {}) == Place("node1", 8476, 3, 2)


@pytest.mark.parametrize("name", ["localhost:8476", "[::1]:8476", "127.0.0.1:8476"])
def test_this_machine_alone_is_one_address_whatever_its_name(name):
    assert find_place({**FLAGS, "coordinator": name}, {}) == Place(
        "127.0.0.1", 8476, 3, 2
    )


@pytest.mark.parametrize("left_out", list(FLAGS))
def test_flag_left_out_is_named(left_out):
    flags = {name: value for name, value in FLAGS.items() if name != left_out}
    with pytest.raises(ConfigError, match=f"add --{left_out}$"):
        find_place(flags, {})


def test_number_beyond_the_last_is_refused():
    with pytest.raises(ConfigError, match="--process from 0 to 2, got 3"):
        find_place({**FLAGS, "process": 3}, {})


def test_slurm_says_it_with_a_device_for_each_task_of_a_node():
    assert find_place({}, SLURM) == Place("gpu03", 61_441, 8, 5, 1)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("node7", "node7"),
        ("node001,host2", "node001"),
        ("node[001-0015],host2", "node001"),
        ("node[001,007-015],host2", "node001"),
    ],
)
def test_first_node_of_slurm_has_process_0(nodes, first):
    place = find_place({}, {**SLURM, "SLURM_STEP_NODELIST": nodes})
    assert place is not None
    assert place.host == first


def test_one_task_a_node_uses_all_devices_of_it():
    for per_node, local in (
        *(("1(x8)", None), ("1", None), ("16", 1), ("10(x2)", 1)),
        *(("1,2", 1), ("1(x2),4", 1)),
    ):
        place = find_place({}, {**SLURM, "SLURM_STEP_TASKS_PER_NODE": per_node})
        assert place is not None
        assert place.local_device == local


@pytest.mark.parametrize("started_by", [SLURM, OPEN_MPI], ids=["slurm", "open-mpi"])
@pytest.mark.parametrize(
    ("visible", "local"), [("1", None), ("GPU-5f2a", None), ("0,1", 1), ("", 1)]
)
def test_process_that_sees_one_gpu_uses_that(started_by, visible, local):
    place = find_place({}, {**started_by, "CUDA_VISIBLE_DEVICES": visible})
    assert place is not None
    assert place.local_device == local


def test_one_task_of_slurm_and_one_process_asked_for_are_alone():
    assert find_place({}, {**SLURM, "SLURM_STEP_NUM_TASKS": "1"}) is None
    assert find_place({"processes": 1}, SLURM) is None


def test_batch_script_of_slurm_without_srun_is_alone():
    script = {name: text for name, text in SLURM.items() if "STEP" not in name}
    assert find_place({}, {**script, "SLURM_NTASKS": "8"}) is None


def test_flag_wins_over_the_environment():
    place = find_place({"coordinator": "10.0.0.1:99"}, SLURM)
    assert place is not None
    assert (place.host, place.port, place.process) == ("10.0.0.1", 99, 5)


def test_open_mpi_on_one_machine_says_it():
    assert find_place({}, OPEN_MPI) == Place("127.0.0.1", PORT, 2, 1, 1)


def test_open_mpi_on_several_machines_needs_the_coordinator():
    several = {**OPEN_MPI, "OMPI_COMM_WORLD_LOCAL_SIZE": "1"}
    with pytest.raises(ConfigError, match="add --coordinator HOST:PORT"):
        find_place({}, several)
    assert find_place({"coordinator": "a:9"}, several) == Place("a", 9, 2, 1)


def test_pod_of_an_indexed_job_finds_pod_0_by_its_service():
    place = _of_kubernetes(
        {"JOB_COMPLETION_INDEX": "3"},
        {"processes": 4},
        lambda: "train-3.train.default.svc.cluster.local",
    )
    host = "train-0.train.default.svc.cluster.local"
    assert place == Place(host, PORT, 4, 3)


def test_pod_without_a_service_is_told_what_to_do():
    with pytest.raises(ConfigError, match="headless service"):
        _of_kubernetes(
            {"JOB_COMPLETION_INDEX": "3"}, {"processes": 4}, lambda: "train-3"
        )


def test_indexed_job_whose_pods_are_no_group_is_left_alone():
    assert find_place({}, {"JOB_COMPLETION_INDEX": "3"}) is None


def test_number_that_is_none_is_one_line():
    with pytest.raises(ConfigError, match="SLURM_PROCID is 'x', not a number"):
        find_place({}, {**SLURM, "SLURM_PROCID": "x"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("node1:8476", ("node1", 8476)),
        ("node1", ("node1", PORT)),
        ("10.0.0.1:1", ("10.0.0.1", 1)),
        ("[fe80::1]:99", ("fe80::1", 99)),
    ],
)
def test_address_is_host_and_port(text, expected):
    assert address(text) == expected


@pytest.mark.parametrize("text", ["", ":99", "a:0", "a:65536", "a b:1", "a:b", "::1"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ConfigError, match="expected --coordinator HOST:PORT"):
        address(text)
