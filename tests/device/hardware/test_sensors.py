"""What the page shows of the board: files as the kernel writes them, planted."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from edge_runtime.hardware.sensors import (
    cpu_temperature_c,
    highest_temperature_c,
    read_board,
)

ZONES = "sys/class/thermal"
KERNEL = "sys/devices/platform/soc/soc:firmware/get_throttled"


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def zone(number: int, kind: str, temp: str) -> dict[str, str]:
    folder = f"{ZONES}/thermal_zone{number}"
    return {f"{folder}/type": f"{kind}\n", f"{folder}/temp": f"{temp}\n"}


@pytest.mark.parametrize(
    ("files", "celsius"),
    [
        pytest.param(zone(0, "cpu-thermal", "48686"), 48.686, id="Raspberry Pi"),
        pytest.param(
            zone(0, "acpitz", "27800") | zone(1, "x86_pkg_temp", "61000"), 61.0, id="PC"
        ),
        pytest.param(zone(0, "gpu-thermal", "40000"), 40.0, id="unknown name"),
        pytest.param(zone(0, "cpu-thermal", "-5000"), -5.0, id="frost"),
        pytest.param(zone(0, "cpu-thermal", "hot"), None, id="no number"),
        pytest.param({f"{ZONES}/thermal_zone0/type": "soc"}, None, id="no temp"),
        pytest.param({}, None, id="nothing"),
    ],
)
def test_temperature_is_the_processors(
    tmp_path: Path, files: dict[str, str], celsius: float | None
) -> None:
    assert cpu_temperature_c(plant(tmp_path, files)) == celsius


def test_hottest_sensor_counts_whatever_its_name(tmp_path: Path) -> None:
    plant(tmp_path, zone(0, "cpu-thermal", "48000") | zone(1, "nvme", "71500"))
    assert highest_temperature_c(tmp_path) == 71.5
    assert highest_temperature_c(tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("text", "now", "since_boot"),
    [
        pytest.param("0\n", [], [], id="well"),
        pytest.param("50000\n", [], ["under-voltage", "throttled"], id="over"),
        pytest.param("80008\n", *[["soft temperature limit"]] * 2, id="heat"),
    ],
)
def test_throttling_is_what_the_kernel_says(
    tmp_path: Path, text: str, now: list[str], since_boot: list[str]
) -> None:
    throttled = read_board(plant(tmp_path, {KERNEL: text}))["throttled"]
    assert throttled == {"now": now, "since_boot": since_boot}


def test_vcgencmd_is_called_where_the_kernel_says_nothing(tmp_path: Path) -> None:
    script = '#!/bin/sh\n[ "$1" = get_throttled ] && echo throttled=0x20002\n'
    plant(tmp_path, {"usr/bin/vcgencmd": script})
    assert read_board(tmp_path)["throttled"] is None  # no program yet
    (tmp_path / "usr/bin/vcgencmd").chmod(0o755)
    throttled = read_board(tmp_path)["throttled"]
    assert throttled["now"] == throttled["since_boot"] == ["frequency capped"]


@pytest.mark.parametrize(
    "command", ["exit 1", "echo VCHI initialization failed", "exec sleep 60"]
)
def test_vcgencmd_that_fails_or_hangs_is_not_waited_for(
    tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_runtime.hardware.sensors.BOARD_TIMEOUT_S", 0.2)
    plant(tmp_path, {"usr/bin/vcgencmd": f"#!/bin/sh\n{command}\n"})
    (tmp_path / "usr/bin/vcgencmd").chmod(0o755)
    assert read_board(tmp_path)["throttled"] is None


def test_document_of_a_board(tmp_path: Path) -> None:
    files = zone(0, "cpu-thermal", "81000") | {KERNEL: "50005\n"}
    files["proc/self/statm"] = "40000 20000 8000 1 0 9000 0\n"
    board = read_board(plant(tmp_path, files))
    assert board["temperature_c"] == 81.0
    assert board["throttled"]["now"] == ["under-voltage", "throttled"]
    resident_mb = 20_000 * resource.getpagesize() / 1e6
    assert board["memory_mb"] == pytest.approx(resident_mb, abs=0.1)


def test_machine_without_sensors_has_none(tmp_path: Path) -> None:
    nothing = {"temperature_c": None, "throttled": None, "memory_mb": None}
    assert read_board(tmp_path) == nothing
