"""Messages to systemd, the unit it reads, and a log that does not flood."""

from __future__ import annotations

import configparser
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from edge_runtime.__main__ import main
from edge_runtime.cli import service_config
from edge_runtime.cli.install_service import _name
from edge_runtime.cli.service_config import unreadable_paths
from edge_runtime.systemd.journal import JournalFormatter, RateLimit, set_up_logging
from edge_runtime.systemd.notify import Notifier
from edge_runtime.systemd.unit import Unit, lies_in, system_unit, user_unit

ROOT = Path(__file__).resolve().parents[3]
UNIT = Unit(Path("/opt/fer-edge/bin/python"), Path("/etc/fer-edge.toml"))
# systemd-analyze security: 0 is shut, 10 is open; an ordinary unit has 9.6.
MOST_EXPOSURE = 2.5


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def systemd(tmp_path):
    """The socket that systemd would listen on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(10)
        yield listening


def environment(listening: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": listening.getsockname(), **more}


@pytest.fixture
def opened():
    """Returns a function that opens a notifier, closed after the test."""
    with ExitStack() as stack:
        yield lambda *given, **more: stack.enter_context(
            closing(Notifier(*given, **more))
        )


def messages(listening: socket.socket) -> list[str]:
    """Returns what was sent until now."""
    listening.setblocking(False)
    messages = []
    while True:
        try:
            messages.append(listening.recv(4096).decode())
        except BlockingIOError:
            return messages


# --- sd_notify ----------------------------------------------------------------------


def test_first_frame_says_ready_and_the_next_ones_do_not(systemd, opened):
    notifier = opened(environment(systemd))
    notifier.beat()
    notifier.beat()
    assert messages(systemd) == ["READY=1"]


def test_watchdog_hears_often_enough_and_not_with_every_frame(systemd, opened):
    clock = Clock()
    notifier = opened(environment(systemd, WATCHDOG_USEC="8000000"), clock=clock)
    for _ in range(240):  # 8 s at 30 frames/s
        notifier.beat()
        clock.now += 1 / 30
    beats = messages(systemd).count("WATCHDOG=1")
    assert 2 <= beats <= 5  # at least every half of the time


def test_watchdog_hears_nothing_while_nothing_moves(systemd, opened):
    notifier = opened(environment(systemd, WATCHDOG_USEC="40000"))
    notifier.beat()
    assert messages(systemd) == ["READY=1", "WATCHDOG=1"]
    time.sleep(0.1)  # ten times the interval
    assert messages(systemd) == []


def test_attempt_to_get_a_camera_back_is_a_beat_but_not_ready(systemd, opened):
    notifier = opened(environment(systemd, WATCHDOG_USEC="8000000"))
    notifier.still_trying()
    assert messages(systemd) == ["WATCHDOG=1"]


def test_watchdog_of_another_process_is_not_ours(systemd, opened):
    more = {"WATCHDOG_USEC": "8000000", "WATCHDOG_PID": "1"}
    notifier = opened(environment(systemd, **more))
    notifier.beat()
    assert notifier.interval_s is None
    assert messages(systemd) == ["READY=1"]


def test_status_is_one_line_and_not_sent_with_every_frame(systemd, opened):
    clock = Clock()
    notifier = opened(environment(systemd), clock=clock)
    for number in range(300):
        notifier.status(f"{number} frames\nREADY=1")
        clock.now += 0.125
    assert messages(systemd)[:2] == [
        "STATUS=0 frames READY=1",
        "STATUS=80 frames READY=1",
    ]


def test_end_is_sent(systemd, opened):
    opened(environment(systemd)).stopping()
    assert messages(systemd) == ["STOPPING=1"]


def test_abstract_socket_is_reached(opened):
    name = f"fer-edge-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name)
        opened({"NOTIFY_SOCKET": "@" + name}).beat()
        assert messages(listening) == ["READY=1"]


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"NOTIFY_SOCKET": "relative"},
        {"NOTIFY_SOCKET": "/no/such/socket"},
        {"NOTIFY_SOCKET": "/no", "WATCHDOG_USEC": "soon"},
    ],
    ids=["none", "empty", "relative", "nobody listens", "no number"],
)
def test_without_systemd_nothing_happens(found, opened):
    notifier = opened(found)
    notifier.beat()
    notifier.status("running")
    notifier.stopping()
    notifier.close()
    notifier.beat()


def test_listener_that_never_reads_does_not_stop_a_frame(systemd, opened):
    clock = Clock()
    notifier = opened(environment(systemd, WATCHDOG_USEC="1000000"), clock=clock)
    for _ in range(3000):  # a socket that blocks would stop here, its queue is full
        notifier.beat()
        clock.now += 1
    assert not notifier._socket.getblocking()
    assert len(messages(systemd)) < 3000


def test_run_says_ready_beats_and_says_goodbye(systemd, tiny_model_path, tmp_path):
    import cv2
    import numpy as np

    for number in range(3):
        cv2.imwrite(
            str(tmp_path / f"{number}.png"), np.full((50, 50), 9 * number, np.uint8)
        )
    command = [sys.executable, "-m", "edge_runtime", "run", str(tiny_model_path)]
    command += ["--source", str(tmp_path), "--faces", "none"]
    more = environment(systemd, WATCHDOG_USEC="60000000")
    subprocess.run(
        command, cwd=ROOT, env={**os.environ, **more}, check=True, capture_output=True
    )
    assert messages(systemd) == [
        "READY=1",
        "WATCHDOG=1",
        "STATUS=answered frames: 1",
        "STOPPING=1",
    ]


# --- the unit -----------------------------------------------------------------------


def analyze(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        reason = "systemd-analyze is not installed"
        if os.environ.get("FER_EDGE_SYSTEM") == "required":  # as in .ci/run
            pytest.fail(reason)
        pytest.skip(reason)
    done = subprocess.run(
        [program, *arguments],
        capture_output=True,
        env={**os.environ, "XDG_RUNTIME_DIR": str(folder)},
        text=True,
    )
    if "Failed to initialize manager" in done.stderr:
        pytest.skip(f"systemd-analyze does not run here: {done.stderr.strip()}")
    return done


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "fer-edge.toml"
    path.write_text("source = 0\nthreads = 2\n")
    return path


def installed(config: Path, *more: str) -> Path:
    """Installs for this very interpreter and returns the unit file."""
    arguments = ["install-service", "--config", str(config), "--to"]
    assert main([*arguments, str(config.parent), *more]) == 0
    return config.parent / "fer-edge.service"


@pytest.mark.parametrize("more", [(), ("--user",)], ids=["system", "user"])
def test_systemd_finds_nothing_wrong_with_the_unit(config, tmp_path, more):
    path = installed(config, *more)
    mode = ["--user"] if more else ["--system"]
    done = analyze(*mode, "verify", str(path), folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_rates_the_unit_as_well_hardened(config, tmp_path):
    path = installed(config)
    done = analyze("security", "--offline=true", str(path), folder=tmp_path)
    rated = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert rated is not None, done.stderr
    assert float(rated[1]) <= MOST_EXPOSURE


def settings(text: str) -> dict[str, str]:
    """Returns the settings of a unit that stand in it once."""
    parser = configparser.ConfigParser(
        strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",)
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return {
        key: value for one in parser.sections() for key, value in parser[one].items()
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Type", "notify"),
        ("Restart", "always"),
        ("WatchdogSec", "60"),
        ("DynamicUser", "yes"),
        ("SupplementaryGroups", "video"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("PrivateTmp", "yes"),
        ("ProtectHome", "yes"),
        ("MemoryMax", "400M"),
        ("OOMPolicy", "continue"),
        ("DevicePolicy", "closed"),
    ],
)
def test_unit_of_the_system_has(key, value):
    assert settings(system_unit(UNIT))[key] == value


def test_restarts_stay_below_the_start_limit_for_ever():
    found = settings(system_unit(UNIT))
    per_window = int(found["StartLimitIntervalSec"]) / int(found["RestartSec"])
    assert per_window < int(found["StartLimitBurst"])


def test_unit_with_an_account_makes_none_up():
    unit = Unit(UNIT.python, UNIT.config, account="camera")
    found = settings(system_unit(unit))
    assert found["User"] == "camera"
    assert "DynamicUser" not in found


def test_installation_below_home_can_be_read():
    unit = Unit(Path("/home/pi/fer/bin/python"), UNIT.config)
    assert settings(system_unit(unit))["ProtectHome"] == "read-only"


def test_folders_of_outputs_elsewhere_may_be_written(config, tmp_path, capsys):
    config.write_text(
        'source = 0\nrecord = "/mnt/my 1% disk/rec"\ncsv = "/usr/faces.csv"\n'
        'events = "events.jsonl"\nwatch = "models"\ncollect = "/srv/crops"\n'
    )
    text = installed(config).read_text()
    paths = [one for one in text.splitlines() if one.startswith("ReadWritePaths")]
    assert paths == [
        "ReadWritePaths=-/usr",
        'ReadWritePaths="-/mnt/my 1%% disk/rec"',
        "ReadWritePaths=-/srv/crops",
    ]
    assert "--account USER" in capsys.readouterr().out
    done = analyze(
        "--system", "verify", str(tmp_path / "fer-edge.service"), folder=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_output_below_home_opens_home_and_asks_for_an_account(config, capsys):
    config.write_text('source = 0\nrecord = "/home/pi/faces"\n')
    found = settings(installed(config).read_text())
    assert found["ProtectHome"] == "read-only"
    assert found["ReadWritePaths"] == "-/home/pi/faces"
    assert "/home/pi/faces must exist" in capsys.readouterr().out


def test_unit_of_a_user_asks_for_nothing_that_needs_root():
    found = settings(user_unit(UNIT))
    assert found["WantedBy"] == "default.target"
    assert not {"User", "DynamicUser", "DeviceAllow", "ProtectSystem"} & set(found)


def test_odd_paths_are_quoted_as_systemd_reads_them(tmp_path):
    unit = Unit(Path("/opt/my py/100%/$x"), Path("/etc/fer.toml"))
    command = settings(system_unit(unit))["ExecStart"]
    assert command.startswith('"/opt/my py/100%%/$$x" -m edge_runtime run --config')


def test_without_a_path_the_unit_is_only_printed(config, capsys):
    assert main(["install-service", "--config", str(config)]) == 0
    out, err = capsys.readouterr()
    assert "[Service]" in out
    assert "next:" in err
    assert list(config.parent.iterdir()) == [config]


def test_existing_unit_is_kept_without_force(config, capsys):
    path = installed(config)
    path.write_text("mine")
    arguments = ["install-service", "--config", str(config), "--to", str(path)]
    assert main(arguments) == 2
    assert "--force" in capsys.readouterr().err
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("thread = 2", "did you mean threads?"),
        ("threads = 'x'", "threads:"),
        ("output = 'day.mp4'", "at its next start"),
        ("csv = 'faces.csv'\nforce = true", "would empty csv and events"),
    ],
)
def test_configuration_that_could_not_start_is_refused(config, capsys, text, message):
    config.write_text(text)
    assert main(["install-service", "--config", str(config)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "text"), [("labels", "a\nb\n"), ("pixels", '{"mean": 127.5, "std": 127.5}')]
)
def test_file_of_a_flag_is_named_by_its_whole_path(
    config, capsys, tmp_path, monkeypatch, key, text
):
    monkeypatch.chdir(tmp_path)
    Path("beside").write_text(text)
    config.write_text(f'{key} = "beside"')
    assert main(["install-service", "--config", str(config)]) == 2
    assert "expected an absolute path, got 'beside'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('serve = 8080\ntoken-file = "/nonexistent/token"', "token-file"),
        ('serve = "0.0.0.0:8080"', "expected --token-file"),
        ('model = "/nonexistent.tflite"', "nonexistent.tflite"),
        ('model = "fer2014"', "expected a released model"),
        ('watch = "/nope"', "make it with mkdir -p /nope"),
        ('watch = "nope"', "/var/lib/fer-edge/nope"),
        ('detector-model = "/nope.onnx"', "nope.onnx"),
        ('require-signature = "/nope.pem"', "is not signed"),
        ('mqtt = "mqtt://host"\nmqtt-password-file = "/nope"', "mqtt-password-file"),
        ('mqtt = "http://host"', "mqtt://"),
        ('json = true\nevents = "-"', "--json and --events"),
    ],
)
def test_configuration_that_run_would_refuse_is_refused(config, capsys, text, message):
    config.write_text(text)
    assert main(["install-service", "--config", str(config)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        'serve = "[::]:80"\ntoken-file = "/run/credentials/fer-edge.service/token"',
        'watch = "models"\nevents = "events.jsonl"\ncsv = "faces.csv"',
    ],
    ids=["credential", "its own folder"],
)
def test_what_only_the_service_will_find_is_no_reason_to_refuse(config, text):
    config.write_text(text)
    assert main(["install-service", "--config", str(config)]) == 0


def test_released_model_is_no_path_of_the_service(config, capsys):
    config.write_text('model = "fer2013"')
    assert main(["install-service", "--config", str(config)]) == 0
    assert "fer2013" not in capsys.readouterr().out  # no folder to open


def test_what_the_service_cannot_read_is_reported(config, tmp_path, capsys):
    model = tmp_path / "token"
    model.write_text("a token that is long enough")
    config.write_text(f'serve = 8080\ntoken-file = "{model}"')
    model.chmod(0o600)
    assert main(["install-service", "--config", str(config)]) == 0
    err = capsys.readouterr().err
    for path in (config, model):  # tests' files lie in /tmp
        assert f"note: {path}: the service has a /tmp of its own" in err
    assert main(["install-service", "--config", str(config), "--user"]) == 0
    assert "note" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("account", "hidden"),
    [
        (None, ["/tmp/a", "/home/ann/b", "/root/c", "/run/user/1/d"]),
        ("ann", ["/tmp/a", "/root/c"]),
        ("root", ["/tmp/a"]),
    ],
)
def test_tmp_and_homes_are_out_of_a_services_sight(account, hidden):
    names = ("/etc/x", "/tmp/a", "/home/ann/b", "/root/c", "/run/user/1/d")
    found = unreadable_paths([Path(one) for one in names], account=account)
    assert [one.split(":")[0] for one in found] == hidden


@pytest.mark.parametrize(
    ("text", "reported"),
    [("", True), ('faces = "haar"', False), ("detector-model", False)],
)
def test_detector_that_the_service_will_not_find_is_reported(
    config, tmp_path, capsys, monkeypatch, text, reported
):
    fetched = tmp_path / "yunet.onnx"
    monkeypatch.setattr(service_config, "fetched_model", lambda: fetched)
    monkeypatch.setattr(service_config, "packaged_model", lambda: None)
    monkeypatch.setattr(service_config, "open_detector", lambda *a, **k: None)
    if text == "detector-model":
        text = f'detector-model = "{fetched}"'
    config.write_text(text)
    assert main(["install-service", "--config", str(config)]) == 0
    err = capsys.readouterr().err
    assert (f"note: {fetched}: the service looks for YuNet" in err) == reported


def test_links_into_a_closed_folder_are_followed(tmp_path):
    link = tmp_path / "python"
    link.symlink_to("/root/.pyenv/bin/python")
    assert lies_in(link, [Path("/root")])
    assert not lies_in(Path("/etc/python"), [Path("/root")])
    (note,) = unreadable_paths([link.with_name("a") / ".." / "python"], account="root")
    assert "a link to /root/.pyenv/bin/python" in note


@pytest.mark.parametrize("home", ["/home/ann", "/root", "/run/user/1000"])
def test_model_in_a_home_opens_homes_for_reading(home):
    python, config = Path("/opt/python"), Path("/etc/fer.toml")
    unit = Unit(python, config, account="ann", reads=(Path(home, "m.tflite"),))
    assert settings(system_unit(unit))["ProtectHome"] == "read-only"
    assert settings(system_unit(Unit(python, config)))["ProtectHome"] == "yes"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write there")
def test_system_folder_without_root_says_so(config, capsys):
    to = ["--to", "/etc/systemd/system"]
    assert main(["install-service", "--config", str(config), *to]) == 2
    assert "sudo" in capsys.readouterr().err


def test_folder_that_does_not_exist_is_an_error(config, capsys, tmp_path):
    to = ["--to", str(tmp_path / "no/fer.service")]
    assert main(["install-service", "--config", str(config), *to]) == 2
    assert "exists and is yours" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "../x", "a b", "-x", "x" * 65, "a\nb"])
def test_names_that_systemd_would_not_take_are_refused(text):
    with pytest.raises(Exception, match="expected letters"):
        _name(text)


# --- the log ------------------------------------------------------------------------


def record(
    text: str, *values: object, level: int = logging.WARNING
) -> logging.LogRecord:
    return logging.LogRecord("fer", level, "f.py", 1, text, values, None)


def test_same_message_passes_once_a_minute_and_then_with_its_count():
    clock = Clock()
    limit = RateLimit(clock=clock)
    passed = []
    for _ in range(130):  # once a second
        one = record("camera %s is gone", 0)
        if limit.filter(one):
            passed.append(one.getMessage())
        clock.now += 1
    assert passed == [
        "camera 0 is gone",
        "camera 0 is gone (59 more like it before)",
        "camera 0 is gone (59 more like it before)",
    ]


def test_other_messages_are_not_held_back():
    limit = RateLimit(clock=Clock())
    assert limit.filter(record("one"))
    assert limit.filter(record("other"))
    assert limit.filter(record("one", level=logging.ERROR))


def test_flood_of_one_kind_with_other_values_is_cut():
    limit = RateLimit(clock=Clock())
    passed = [limit.filter(record("%d.png cannot be read", n)) for n in range(500)]
    assert sum(passed) == 10


def test_memory_of_the_limit_is_bounded():
    limit = RateLimit(clock=Clock())
    for number in range(5000):
        limit.filter(record(f"kind {number}"))
    assert len(limit._kinds) <= 257


def test_many_threads_may_log_at_once():
    limit = RateLimit(clock=Clock())
    with ThreadPoolExecutor(8) as pool:
        passed = list(pool.map(lambda _: limit.filter(record("same")), range(2000)))
    assert sum(passed) == 1


def test_every_line_for_the_journal_has_its_priority():
    try:
        raise ValueError("second\nthird")
    except ValueError:
        logged = record("first")
        logged.exc_info = sys.exc_info()
    lines = JournalFormatter("%(message)s").format(logged).split("\n")
    assert lines[0] == "<4>first"
    assert lines[-2:] == ["<4>ValueError: second", "<4>third"]
    assert all(line.startswith("<4>") for line in lines)


def stderr_of_this_process() -> str:
    found = os.fstat(2)
    return f"{found.st_dev}:{found.st_ino}"


@pytest.mark.parametrize(
    ("found", "level"),
    [
        ({}, logging.WARNING),
        ({"INVOCATION_ID": "1", "JOURNAL_STREAM": "8:1"}, logging.WARNING),
        ({"JOURNAL_STREAM": "junk"}, logging.WARNING),
        ({"JOURNAL_STREAM": "this"}, logging.INFO),
    ],
    ids=["terminal", "terminal of a desktop", "junk", "journal"],
)
def test_journal_also_gets_information(monkeypatch, found, level):
    monkeypatch.setattr(logging, "root", logging.RootLogger(logging.ERROR))
    if found.get("JOURNAL_STREAM") == "this":
        found = {"JOURNAL_STREAM": stderr_of_this_process()}
    set_up_logging(found)
    assert logging.root.level == level
