"""The storage of a search: one question for all workers, errors in one line."""

import dataclasses
import json
import os
import socket
import sqlite3
import threading
from collections import Counter
from contextlib import closing

import optuna
import pytest
from optuna.trial import TrialState

from edge_runtime.errors import ConfigError, RunError
from train.search.slots import REFUSED
from train.search.space import Range, choose_space
from train.search.storage import open_storage, refusals
from train.search.study import (
    IDENTITY,
    Plan,
    Proposals,
    open_study,
    require_own_folder,
)
from train.search.worker import Worker
from train.search.worker_config import WorkerConfig

SPACE = choose_space({}, size_px=48, colour="grey", images=28_000, weights=False)
PLAN = Plan(
    fingerprint="ab12",
    objectives=("accuracy",),
    limits={"macs": 60_000_000},
    space=SPACE,
    flags=("--validation", "test"),
    pruning=True,
    seed=1,
)


@pytest.fixture(params=["journal", "database"])
def storage(request, tmp_path):
    url = f"sqlite:///{tmp_path}/search.db"
    return open_storage(None if request.param == "journal" else url, tmp_path)


def test_workers_with_the_same_flags_share_a_study(storage):
    first, second = (open_study(storage, "faces", PLAN) for _ in range(2))
    first.ask()
    assert len(second.get_trials()) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fingerprint": "cd34"}, "is of other images than those in --data"),
        ({"limits": {}}, r'with limits \{"macs": 60000000\}, got \{\}'),
        ({"flags": ()}, r'with flags \["--validation", "test"\], got \[\]'),
        ({"objectives": ("accuracy", "macs")}, 'got "?.*accuracy", "macs"'),
        ({"seed": 2}, "with seed 1, got 2"),
        ({"pruning": False}, "with pruning true, got false"),
        ({"version": "9.9"}, "got .9.9"),
        (
            {"space": dataclasses.replace(SPACE, width=Range(1, 2))},
            r"with width \[0.25, 1.25\], got \[1, 2\]",
        ),
    ],
)
def test_another_question_is_refused_in_one_line(storage, change, said):
    open_study(storage, "faces", PLAN)
    with pytest.raises(RunError, match=said) as refused:
        open_study(storage, "faces", dataclasses.replace(PLAN, **change))
    assert "another --name" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_study_of_another_program_is_refused(storage):
    other = optuna.create_study(storage=storage, study_name="faces")
    other.add_trial(optuna.create_trial(value=1.0))
    with pytest.raises(RunError, match="faces in the storage is not a search of this"):
        open_study(storage, "faces", PLAN)


def test_a_study_whose_first_worker_was_killed_at_once_can_be_used(
    storage, monkeypatch
):
    monkeypatch.setattr("train.search.study.PLAN_S", 0.2)
    optuna.create_study(storage=storage, study_name="faces", direction="maximize")
    assert open_study(storage, "faces", PLAN).user_attrs["plan"]


def test_workers_that_start_at_once_agree(tmp_path):
    journal = str(tmp_path / "journal.log")
    open_storage(journal, tmp_path)
    start, identities = threading.Barrier(4), []

    def begin():
        own = open_storage(journal, tmp_path)
        start.wait()
        study = open_study(own, "faces", PLAN)
        identities.append(study.user_attrs[IDENTITY])

    workers = [threading.Thread(target=begin) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(identities) == 4
    assert len(set(identities)) == 1


def test_a_trial_that_ends_while_it_is_taken_up_is_no_error(storage, tmp_path):
    study, other = (open_study(storage, "faces", PLAN) for _ in range(2))
    study.ask()

    class Slow(Proposals):
        def after_trial(self, *_):
            other.tell(0, 0.5)

    study.sampler = Slow(PLAN.seed)
    config = WorkerConfig("faces", tmp_path, 1, {}, take_over_s=0.0)
    said = []
    Worker(study, PLAN, 1, None, config, said.append).work()
    assert said[-1] == "trial 0: its worker is silent, taking it up"
    assert other.get_trials()[0].value == 0.5


def propose(study, count):
    found = []
    for _ in range(count):
        trial = study.ask()
        found.append(SPACE.propose(trial))
        study.tell(trial, 0.5)
    return found


def test_the_same_seed_proposes_the_same(tmp_path):
    both = []
    for name in ("a", "b"):
        storage = open_storage(str(tmp_path / name), tmp_path)
        both.append(propose(open_study(storage, "faces", PLAN), 14))
    assert both[0] == both[1]


def test_proposals_are_random_until_ten_networks_were_trained(tmp_path):
    """Those above a limit teach what is above it, not what is good below."""
    study = open_study(open_storage(None, tmp_path), "faces", PLAN)
    trained = refused = 0
    while trained < 3 or refused < 10:
        trial = study.ask()
        small = SPACE.propose(trial).network.arch == "mini_xception"
        if small and trained < 3:
            study.tell(trial, 0.5 + trained / 100)
            trained += 1
        elif not small:
            trial.set_constraint("macs", 1.0)
            trial.set_user_attr(REFUSED, "too large")
            study.tell(trial, state=TrialState.PRUNED)
            refused += 1
    proposed = Counter(SPACE.propose(study.ask()).network.arch for _ in range(40))
    assert max(proposed.values()) <= 20  # of four; 10 each are expected


def test_two_workers_do_not_propose_alike(storage):
    study = open_study(storage, "faces", PLAN)
    waiting = [study.ask() for _ in range(8)]
    proposed = Counter(str(SPACE.propose(trial)) for trial in waiting)
    assert max(proposed.values()) == 1


def test_the_folder_of_another_search_is_refused(tmp_path):
    for number, name in enumerate(("a", "b")):
        study = open_study(open_storage(str(tmp_path / name), tmp_path), "faces", PLAN)
        if number:
            with pytest.raises(RunError, match="the runs of another search"):
                require_own_folder(tmp_path / "runs", study)
        else:
            require_own_folder(tmp_path / "runs", study)
            require_own_folder(tmp_path / "runs", study)


def test_a_database_that_is_not_there_is_one_line_without_its_password(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"postgresql://me:secret@127.0.0.1:{unused.getsockname()[1]}/search"
        with pytest.raises(RunError, match="refuses: ") as refused:
            open_storage(url, tmp_path)
    message = str(refused.value)
    assert "postgresql://me:***@127.0.0.1" in message
    assert "Connection refused" in message
    assert "secret" not in message
    assert "\n" not in message


def test_a_database_that_does_not_answer_is_given_up(tmp_path, monkeypatch):
    settings = {"connect_timeout": 2}
    monkeypatch.setattr("train.search.storage._POSTGRESQL_SETTINGS", settings)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://me@127.0.0.1:{silent.getsockname()[1]}/search"
        with pytest.raises(RunError, match=r"refuses: .*timeout"):
            open_storage(url, tmp_path)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://host:port/x", "expected --storage as in postgresql://"),
        ("mysql://me@host/x", "got 'mysql://me@host/x': its driver is not installed"),
        ("postgresql:/host/x", "expected --storage as in postgresql://"),
        ("nothing://host/x", "expected --storage as in postgresql://.*nothing"),
    ],
)
def test_a_url_that_is_none_is_one_line(url, said, tmp_path):
    with pytest.raises(ConfigError, match=said):
        open_storage(url, tmp_path)


@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n", b"{}\n", b"[1]\n", b"7\n", b"password"]
)
def test_a_file_that_is_no_journal_is_one_line(content, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"picture\.png is not a journal of a search"):
        open_storage(str(path), tmp_path)
    assert path.read_bytes() == content


def test_a_pipe_as_journal_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RunError, match="pipe is not a journal of a search"):
        open_storage(str(tmp_path / "pipe"), tmp_path)


def test_a_journal_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"Not a directory|File exists"):
        open_storage(str(tmp_path / "file" / "journal.log"), tmp_path)


def test_a_journal_that_cannot_be_written_is_one_line(tmp_path):
    # The lock beside it has a name of 256 characters: as in a folder of somebody else.
    storage = open_storage(str(tmp_path / ("j" * 251)), tmp_path)
    with pytest.raises(RunError, match=r"jjj cannot be used: File name too long: the"):
        open_study(storage, "faces", PLAN)


def test_a_journal_that_is_removed_is_one_line(tmp_path):
    path = tmp_path / "journal.log"
    study = open_study(open_storage(str(path), tmp_path), "faces", PLAN)
    path.unlink()
    with pytest.raises(RunError, match=r"journal\.log cannot be used: No such file"):
        study.ask()


def test_half_a_line_after_a_full_disk_costs_no_other_record(tmp_path):
    path = tmp_path / "journal.log"
    study = open_study(open_storage(str(path), tmp_path), "faces", PLAN)
    study.ask()
    written = path.read_bytes()
    path.write_bytes(written + b'{"op_code":8,"worker')
    study.tell(0, 0.5)
    assert path.read_bytes().startswith(written + b'{"op_code":6,"worker')
    again = open_study(open_storage(str(path), tmp_path), "faces", PLAN)
    assert [trial.value for trial in again.get_trials()] == [0.5]


def test_a_database_of_another_optuna_is_one_line(tmp_path):
    file, url = tmp_path / "search.db", f"sqlite:///{tmp_path}/search.db"
    open_storage(url, tmp_path)
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'v99'")
    with pytest.raises(RunError, match=r"search\.db has tables of another version of"):
        open_storage(url, tmp_path)


def test_a_database_that_is_lost_later_is_one_line(tmp_path):
    url = f"sqlite:///{tmp_path}/search.db"
    study = open_study(open_storage(url, tmp_path), "faces", PLAN)
    (tmp_path / "search.db").write_bytes(b"nothing" * 1000)
    with pytest.raises(RunError, match=r"search\.db refuses: "), refusals(url):
        study.ask()


def test_a_search_that_is_deleted_while_it_runs_is_one_line(storage, tmp_path):
    study = open_study(storage, "faces", PLAN)
    optuna.delete_study(study_name="faces", storage=storage)  # as its dashboard does
    with pytest.raises(RunError, match="was deleted from the storage"), refusals(None):
        study.ask()


def test_the_plan_is_json():
    assert json.loads(json.dumps(PLAN.to_document())) == PLAN.to_document()
