"""A real PostgreSQL for tests: Debian's, on a free port, of an unprivileged user."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.system.broker import free_port

START_S = 60.0
USER = "postgres"  # root may not run it
ROLE = "search"


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    path = shutil.which("postgres")
    return found[-1].parent if found else Path(path).parent if path else None


PROGRAMS = _programs()
MISSING = "no PostgreSQL here: apt-get install postgresql"


@contextmanager
def postgresql() -> Iterator[str]:
    """Yields the URL of an empty database."""
    assert PROGRAMS is not None
    # Not below pytest's folders: those are of one user alone.
    folder = Path(tempfile.mkdtemp(prefix="fer-edge-postgresql-"))
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        account = pwd.getpwnam(USER)
        os.chown(folder, account.pw_uid, account.pw_gid)
        user = {"user": USER, "group": account.pw_gid, "extra_groups": []}
    data, port = folder / "data", free_port()
    options = ["--auth=trust", "--no-sync", "--no-locale", "--encoding=UTF8"]
    initdb = [PROGRAMS / "initdb", "-D", data, "-U", ROLE, *options]
    server = [PROGRAMS / "postgres", "-D", data, "-k", folder, "-F"]
    server += ["-h", "127.0.0.1", "-p", str(port)]
    try:
        done = subprocess.run(
            initdb, cwd=folder, capture_output=True, text=True, **user
        )
        assert done.returncode == 0, done.stderr
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                server, cwd=folder, stdout=log, stderr=log, **user
            )
        try:
            _wait(process, port, folder / "log")
            yield f"postgresql://{ROLE}@127.0.0.1:{port}/postgres"
        finally:
            process.send_signal(signal.SIGINT)  # SIGTERM would wait for the clients
            process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    assert PROGRAMS is not None
    ready = [PROGRAMS / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    end = time.monotonic() + START_S
    while subprocess.run(ready).returncode:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)
