"""One worker: what it trains, what it refuses, and how a training ends."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, replace
from multiprocessing.pool import ThreadPool
from pathlib import Path

import cv2
import pytest

from edge_runtime.errors import RunError
from edge_runtime.sources.fake.face import LABELS
from edge_runtime.utils.files import write_text
from train.data.drawn_faces import drawn_faces
from train.networks.backend import start_keras
from train.options.config import TrainConfig
from train.run.folder import RunFolder
from train.search.__main__ import main
from train.search.command import running
from train.search.training import Ending, Training, TrainingFailedError, read_history

start_keras()

from train.run.checkpoint import PROGRESS, Progress, is_kept  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]
FLAGS = ("--arch", "fer_wide", "--width", "0.1", "--size", "16", "--epochs", "3")
SMALL = ("--arch", "fer_wide", "--width", "0.1:0.2", "--depth", "1", "--size", "16")
SMALL += ("--epochs", "2", "--recipe", "quick")


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images") / "faces"
    for split, count, seed in (("train", 84, 1), ("val", 42, 2)):
        images, labels = drawn_faces(count, seed, size_px=16)
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = folder / split / LABELS[label] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image)
    return folder


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def training(faces, folder, *more, flags=FLAGS):
    (folder / "runs").mkdir(exist_ok=True)
    run = folder / "runs" / "trial-0000"
    return Training(str(faces), run, (*flags, *more), 1, dict(os.environ))


def test_progress_is_that_of_the_model_that_is_kept(tmp_path):
    # Recipe transfer: of epochs that are as good to a standard error, the latest.
    config, progress = TrainConfig(keep="latest"), Progress()
    for epoch, accuracy in enumerate([0.5, 0.7, 0.68, 0.6], 1):
        rows = (*progress.history, {"val_accuracy": accuracy})
        progress = replace(progress, epoch=epoch, history=rows)
        if is_kept(config, rows, images=100):
            progress = replace(progress, best_epoch=epoch, best_accuracy=accuracy)
    write_text(tmp_path / "checkpoint" / PROGRESS, json.dumps(asdict(progress)))
    one = Training("faces", tmp_path, FLAGS, 1, {})
    assert one.progress() == {"accuracy": 0.68, "epochs": 4, "best_epoch": 3}


def never(epoch, accuracy):
    return False


def test_a_pruned_training_is_a_run_with_its_figures(faces, workplace):
    one, told = training(faces, workplace), []

    def prune(epoch, accuracy):
        told.append((epoch, accuracy))
        return True

    # Hundreds of epochs: it does not end by itself before it is told.
    one = training(faces, workplace, flags=(*FLAGS[:-1], "500"))
    assert one.run(prune, threading.Event()) is Ending.PRUNED
    assert told == read_history(one.folder)[:1]
    assert one.figures()["epochs"] == one.progress()["epochs"] < 500
    assert (one.folder / "model.keras").is_file()


def test_a_training_that_was_killed_goes_on_where_it_stopped(faces, workplace):
    whole = training(faces, workplace)
    assert whole.run(never, threading.Event()) is Ending.FINISHED
    expected = read_history(whole.folder)
    (workplace / "b").mkdir()
    one, taken = training(faces, workplace / "b"), threading.Event()

    def take(epoch, accuracy):
        taken.set()
        return False

    assert one.run(take, taken) is Ending.TAKEN  # its process is killed
    begun = len(read_history(one.folder))
    assert one.run(never, threading.Event()) is Ending.FINISHED
    assert read_history(one.folder) == expected
    said = one.log.read_text()
    assert len(re.findall(r"^epoch +1/", said, flags=re.MULTILINE)) == 1
    assert 1 <= begun <= 3


@contextmanager
def another_training_in(folder):
    holds = (
        "import sys, time; from pathlib import Path\n"
        "from train.run.lock import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    )
    folder.mkdir(parents=True)
    command = [sys.executable, "-c", holds, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_the_training_of_a_worker_that_was_stopped_is_waited_for(faces, workplace):
    one, taken = training(faces, workplace), threading.Event()
    with another_training_in(one.folder):
        taken.set()
        assert one.run(never, taken) is Ending.TAKEN
    assert not one.log.exists()
    assert one.run(never, threading.Event()) is Ending.FINISHED


def test_a_training_that_another_one_was_faster_than_starts_again(
    faces, workplace, monkeypatch
):
    monkeypatch.setattr("train.search.training.is_locked", lambda folder: False)
    one = training(faces, workplace)
    with another_training_in(one.folder) as other, ThreadPool(1) as pool:
        ending = pool.apply_async(one.run, (never, threading.Event()))
        while not ending.ready():
            if one.log.exists() and "by another training" in one.log.read_text():
                other.kill()
            time.sleep(0.1)
    assert ending.get() is Ending.FINISHED


def test_the_reason_of_a_command_is_not_that_of_an_earlier_one(workplace):
    log = workplace / "trial-0000.log"
    log.write_text("error: training diverged in epoch 1\n")
    with running("nothing", [], log=log, environment=os.environ) as command:
        assert command.process.wait() == 1
    assert "No module named nothing" in command.reason()


def test_another_proposal_in_the_same_folder_begins_anew(faces, workplace):
    one = training(faces, workplace, flags=(*FLAGS[:-1], "1"))
    one.run(never, threading.Event())
    other = training(faces, workplace, flags=(*FLAGS[:-1], "2"))
    assert other.run(never, threading.Event()) is Ending.FINISHED
    assert RunFolder(other.folder).read_config().epochs == 2


def test_a_training_that_diverges_is_the_proposals_fault(faces, workplace):
    wild = training(faces, workplace, "--learning-rate", "1000")
    with pytest.raises(TrainingFailedError, match="training diverged in epoch"):
        wild.run(never, threading.Event())


def test_a_training_that_cannot_begin_says_why(faces, workplace):
    with pytest.raises(RunError, match=r"trial-0000: expected a run .*'nothing'"):
        training(faces, workplace, "--from", "nothing").run(never, threading.Event())


def test_a_training_ends_when_its_worker_is_killed(workplace):
    starts = (
        "import os, subprocess, sys, time;"
        "words = [sys.executable, '-m', 'train.search.child', str(os.getpid()),"
        " 'http.server', '0'];"
        "print(subprocess.Popen(words).pid, flush=True);"
        "time.sleep(600)"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", starts], stdout=subprocess.PIPE, text=True
    )
    child = int(worker.stdout.readline())
    os.kill(child, 0)
    worker.kill()
    worker.communicate()
    end = time.monotonic() + 60
    while is_running(child):
        assert time.monotonic() < end, "it goes on without its worker"
        time.sleep(0.1)


def is_running(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1][:3]
    except FileNotFoundError:
        return False


def test_a_search_prints_the_winners_command_and_writes_every_trial(
    faces, workplace, capsys
):
    words = ["--data", str(faces), "--trials", "2", *SMALL, "--name", "faces"]
    assert main([*words, "--json", "trials.json", "--threads", "1"]) == 0
    said = capsys.readouterr().out
    document = json.loads(Path("trials.json").read_text())
    assert [trial["state"] for trial in document["trials"]] == ["finished"] * 2
    best = max(trial["figures"]["accuracy"] for trial in document["trials"])
    winner = document["trials"][document["winner"]]
    assert winner["figures"]["accuracy"] == best
    assert f"python -m train --data {faces} {' '.join(winner['flags'])}" in said
    assert Path("runs/faces/search.png").stat().st_size > 5000
    for number in range(2):
        assert RunFolder(Path(f"runs/faces/trial-{number:04d}")).metrics.is_file()
    assert str(faces.parent) not in Path("trials.json").read_text()
    # A search that has ended says the same again, at once.
    assert main(words) == 0
    assert "2 trials: 2 finished" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--max-macs", "1k"], r"below --max-macs 0.001 MMACs: the smallest has 0\."),
        (["--max-latency", "0.00001ms"], r"below --max-latency 1e-05 ms: the smallest"),
        (["--max-bytes", "1k"], r"below --max-bytes 1 kB: the smallest has \d+"),
    ],
    ids=["operations", "latency", "bytes"],
)
def test_a_limit_that_nothing_meets_is_one_line(faces, workplace, capsys, flags, said):
    words = ["--data", str(faces), *SMALL, "--name", "faces", *flags]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert re.search(said, error), error
    assert error.count("\n") == 1
    assert not list(Path("runs").glob("*/trial-*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--", "--arch", "fer_small"], "the search gives --arch itself"),
        (["--", "--epochs", "3"], "the search gives --epochs itself"),
        (["--name", "a/b"], "expected a --name of letters, digits, . _ -, got 'a/b'"),
        (["--data", "nowhere"], "nowhere"),
        (["--storage", "postgresql://x@127.0.0.1:1/y"], "Connection refused"),
        (["--json", "j" * 300], "File name too long"),
        (["--json", "."], "--json: expected a file, got the folder '.'"),
        (["--json", "/dev/null/all.json"], "cannot write '/dev/null/all.json"),
    ],
)
def test_a_wrong_search_is_one_line(faces, workplace, capsys, words, said):
    given = [] if "--data" in words else ["--data", str(faces)]
    assert main([*given, *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_other_images_or_flags_than_those_of_the_search_are_one_line(
    faces, workplace, capsys
):
    # The limit is above all networks; what is asked is recorded before that is known.
    words = ["--data", str(faces), "--name", "faces", *SMALL, "--max-macs", "1"]
    assert main(words) == 2
    assert main([*words[:-1], "2"]) == 2
    assert 'begun with limits {"macs": 1}, got {"macs": 2}' in capsys.readouterr().err
    assert main(["--data", "drawn", *words[2:]]) == 2
    assert "is of other images than those in --data" in capsys.readouterr().err


def test_sigterm_gives_the_trial_back(faces, workplace):
    words = ["--data", str(faces), "--name", "faces", *SMALL, "--trials", "1"]
    words += ["--threads", "1", "--learning-rate", "1"]
    command = [sys.executable, "-m", "train.search", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as worker:
        for line in worker.stdout:
            if line.startswith("trial 0"):
                break
        worker.send_signal(signal.SIGTERM)
        said = worker.stdout.read()
    assert worker.returncode == 130
    assert "interrupted: the same command continues" in said
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "1 trial: 1 finished" in done.stdout
