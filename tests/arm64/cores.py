"""The processors of four boards, as a program sees them."""

from __future__ import annotations

from dataclasses import dataclass

COUNT = 4


@dataclass(frozen=True)
class Core:
    """A processor core.

    Attributes:
        name: As qemu calls it.
        boards: Raspberry Pi boards that have it.
        part: Arm Ltd's number of it.
        variant: Major revision.
        revision: Minor revision.
        features: What it can do, in Linux's words.
    """

    name: str
    boards: str
    part: str
    variant: str
    revision: str
    features: str

    def files(self) -> dict[str, str]:
        """Returns the files by which a board with four of them describes itself.

        Inference libraries choose kernels by them, and crash where they name no Arm
        core. Without those under ``/sys`` the machine's own would show through.
        """
        cpus = "sys/devices/system/cpu"
        files = {"proc/cpuinfo": self._cpuinfo(), f"{cpus}/kernel_max": "3\n"}
        for name in ("possible", "present", "online"):
            files[f"{cpus}/{name}"] = "0-3\n"
        for i in range(COUNT):
            topology = f"{cpus}/cpu{i}/topology"
            files[f"{topology}/physical_package_id"] = "0\n"
            files[f"{topology}/core_id"] = f"{i}\n"
            files[f"{topology}/core_siblings_list"] = "0-3\n"
            files[f"{topology}/package_cpus_list"] = "0-3\n"
        return files

    def _cpuinfo(self) -> str:
        lines = (
            "BogoMIPS\t: 108.00",
            f"Features\t: {self.features}",
            "CPU implementer\t: 0x41",
            "CPU architecture: 8",
            f"CPU variant\t: {self.variant}",
            f"CPU part\t: {self.part}",
            f"CPU revision\t: {self.revision}",
        )
        each = ("\n".join((f"processor\t: {i}", *lines, "\n")) for i in range(COUNT))
        return "".join(each)


_V8 = "fp asimd evtstrm crc32 cpuid"
A53 = Core("cortex-a53", "Pi 3, Zero 2 W", "0xd03", "0x0", "4", _V8)
A72 = Core("cortex-a72", "Pi 4", "0xd08", "0x0", "3", _V8)
A76 = Core(
    "cortex-a76",
    "Pi 5",
    "0xd0b",
    "0x4",
    "1",
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm"
    " lrcpc dcpop asimddp",
)
CORES = (A53, A72, A76)
