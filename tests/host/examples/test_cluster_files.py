"""The files of examples/cluster: as their schemas and shells want them."""

import subprocess
from pathlib import Path

import pytest
import yaml

from train.options.arguments import build_parser as of_train
from train.parallel.place import find_place
from train.search.arguments import build_parser as of_search

CLUSTER = Path(__file__).resolve().parents[3] / "examples" / "cluster"
FILES = sorted(CLUSTER.glob("*.yaml"))


def documents(file):
    return list(yaml.safe_load_all(file.read_text()))


def container(file, kind="Job"):
    (found,) = (each for each in documents(file) if each["kind"] == kind)
    return found["spec"], found["spec"]["template"]["spec"]["containers"][0]


def test_there_are_the_two():
    assert [file.stem for file in FILES] == ["kubernetes-search", "kubernetes-train"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_manifest_fits_the_schema_of_kubernetes(file):
    validate = pytest.importorskip("kubernetes_validate")
    for document in documents(file):
        validate.validate(document, validate.latest_version(), strict=True)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_wrong_manifest_would_be_found(file):
    validate = pytest.importorskip("kubernetes_validate")
    document = documents(file)[-1]
    document["spec"]["template"]["spec"]["restartPolice"] = "OnFailure"
    with pytest.raises(validate.ValidationError):
        validate.validate(document, validate.latest_version(), strict=True)


def test_pods_of_the_training_are_a_group_of_that_many():
    job, training = container(CLUSTER / "kubernetes-train.yaml")
    assert job["completionMode"] == "Indexed"
    count = job["parallelism"]
    assert job["completions"] == count
    (script,) = training["args"]
    commands = [
        line.split("-m train ")[1] for line in script.splitlines() if "-m" in line
    ]
    assert len(commands) == 2
    for command in commands:
        options = vars(of_train().parse_args(command.split()))
        assert options["processes"] == count
        given = {"JOB_COMPLETION_INDEX": "1"}
        place = find_place({**options, "coordinator": "a"}, given)
        assert place is not None and place.process == 1
    service, _ = documents(CLUSTER / "kubernetes-train.yaml")
    assert job["template"]["spec"]["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"


def test_workers_of_the_search_find_its_database():
    file = CLUSTER / "kubernetes-search.yaml"
    _, worker = container(file)
    options = vars(of_search().parse_args(worker["args"]))
    service = documents(file)[0]
    user_host = options["storage"].split("//")[1].split("/")[0]
    assert user_host == f"search@{service['metadata']['name']}"
    _, database = container(file, "StatefulSet")
    names = {each["name"]: each.get("value") for each in database["env"]}
    assert names["POSTGRES_USER"] == "search"


@pytest.mark.parametrize("name", ["slurm.sh", "ssh.sh"])
def test_script_is_well_formed(name):
    done = subprocess.run(
        ["bash", "-n", str(CLUSTER / name)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [[], ["one", "--", "--data", "x"], ["one", "two"]])
def test_ssh_without_two_hosts_and_flags_says_how(words):
    done = subprocess.run(
        [str(CLUSTER / "ssh.sh"), *words], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "usage:" in done.stderr
