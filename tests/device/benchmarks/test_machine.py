import getpass
import json
import socket

import numpy as np
import pytest

from benchmarks.common.documents import describe, library_versions, machine_card

KEYS = {
    "model",
    "cpu",
    "cpu_part",
    "architecture",
    "cores",
    "governor",
    "frequency_mhz",
    "max_frequency_mhz",
    "memory_mb",
    "os",
    "python",
    "load_average",
    "versions",
}


@pytest.fixture
def raspberry_pi(tmp_path):
    """The files of a Raspberry Pi 4, as its kernel writes them."""
    files = {
        "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
        "proc/cpuinfo": "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n",
        "proc/meminfo": "MemTotal:        3884368 kB\nMemFree: 1 kB\n",
        "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12"\n',
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
        "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "1800000\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "600000\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_card_of_a_raspberry_pi(raspberry_pi):
    card = machine_card(raspberry_pi)
    assert card["model"] == "Raspberry Pi 4 Model B Rev 1.4"
    assert card["cpu"] == "Cortex-A72"
    assert card["cpu_part"] == "0x41/0xd08"
    assert card["governor"] == "ondemand"
    assert card["frequency_mhz"] == 600
    assert card["max_frequency_mhz"] == 1800
    assert card["memory_mb"] == 3793
    assert card["os"] == "Debian GNU/Linux 12"


def test_card_of_an_unknown_core_gives_its_numbers(raspberry_pi):
    cpuinfo = raspberry_pi / "proc/cpuinfo"
    cpuinfo.write_text("CPU implementer\t: 0x61\nCPU part\t: 0x022\n")
    assert machine_card(raspberry_pi)["cpu"] == "implementer 0x61 part 0x022"


def test_card_of_a_pc_names_its_processor(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("model name\t: Some CPU @ 2 GHz\n")
    card = machine_card(tmp_path)
    assert (card["model"], card["cpu"]) == ("Some CPU @ 2 GHz", "Some CPU @ 2 GHz")


def test_machine_without_any_of_the_files_has_a_card(tmp_path):
    card = machine_card(tmp_path)
    assert set(card) == KEYS
    assert card["memory_mb"] is None
    assert isinstance(describe(card), str)


def test_broken_files_do_not_raise(raspberry_pi):
    for path in raspberry_pi.rglob("*"):
        if path.is_file():
            path.write_bytes(b"\xff\xfe:=\n:\n=\nMemTotal:\nPRETTY_NAME\n")
    card = machine_card(raspberry_pi)
    assert card["max_frequency_mhz"] is None
    assert card["memory_mb"] is None


def test_record_of_this_machine_is_json_without_user_or_host_name():
    text = json.dumps(machine_card(), allow_nan=False)
    assert set(json.loads(text)) == KEYS
    assert socket.gethostname() not in text
    assert f"/{getpass.getuser()}" not in text


def test_versions_name_the_libraries_that_matter():
    versions = library_versions()
    assert versions["numpy"] == np.__version__
    assert any(name.startswith("opencv") for name in versions)


def test_description_is_one_line(raspberry_pi):
    shown = describe(machine_card(raspberry_pi))
    assert shown.startswith("Raspberry Pi 4")
    assert "3.7 GiB" in shown
    assert "\n" not in shown
