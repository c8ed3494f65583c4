"""A real MQTT broker for tests: mosquitto on a free port, killed, revived, stopped."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
MISSING = "no mosquitto here: apt-get install mosquitto"
START_S = 15.0


class Broker:
    """mosquitto, which can be killed and started again."""

    def __init__(self, folder: Path, *more: str, keeps: bool = False) -> None:
        """Writes its configuration.

        Args:
            folder: For that, and for what it keeps.
            more: Lines of the configuration.
            keeps: Whether it remembers clients and their messages after ``stop``.
        """
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        head = [f"listener {self.port} 127.0.0.1", "user root"]
        head += [f"persistence {str(keeps).lower()}", f"persistence_location {folder}/"]
        self._config.write_text("\n".join([*head, *more]) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [str(MOSQUITTO), "-c", str(self._config)]
        nowhere = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdout=nowhere, stderr=nowhere)
        end = time.monotonic() + START_S
        while not self._listens():
            assert time.monotonic() < end, "it does not listen"
            time.sleep(0.02)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stops it: connections stay open, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
