"""Debian userlands, unpacked and not installed: no root rights, nothing changes.

The packages come from where this machine's own apt gets its packages; apt is only told
to keep its lists, its state and its downloads in our folder. No package script runs,
which Python and qemu do not miss.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.arm64.cache import CACHE, UnavailableError, cached, need, run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


@dataclass(frozen=True)
class Userland:
    """Debian packages that stand in a folder of their own.

    Attributes:
        suite: Debian's code name.
        architecture: Debian's name of the processor.
        packages: What is unpacked, with all that it depends on.
    """

    suite: str
    architecture: str
    packages: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where it stands: the ``/`` of its programs."""
        return CACHE / f"{self.suite}-{self.architecture}"


# The emulator comes from the same place, so that its version does not depend on the
# machine: from QEMU 9 on plugins are written otherwise.
TOOLS = Userland("bookworm", "amd64", ("qemu-user",))
BOOKWORM = Userland(
    "bookworm", "arm64", ("python3.11-minimal", "libpython3.11-stdlib", "libstdc++6")
)
TRIXIE = Userland(
    "trixie", "arm64", ("python3.13-minimal", "libpython3.13-stdlib", "libstdc++6")
)


def unpack(userland: Userland) -> Path:
    """Returns a userland's folder, from the cache where it is there.

    Raises:
        UnavailableError: There is no apt here, or it cannot fetch the packages.
    """
    return cached(
        userland.folder, repr(userland), lambda folder: _unpack(userland, folder)
    )


def _unpack(userland: Userland, folder: Path) -> None:
    need("apt-get", "dpkg", "dpkg-deb")
    if run(["dpkg", "--print-architecture"]).strip() != "amd64":
        raise UnavailableError(
            "arm64 is compared with x86-64, and this machine is not amd64"
        )
    work = folder.with_name(folder.name + ".apt")
    shutil.rmtree(work, ignore_errors=True)
    try:
        for package in _download(userland, work):
            run(["dpkg-deb", "-x", package, folder])
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if not (folder / "lib").exists():  # since Trixie it is a link that a script makes
        (folder / "lib").symlink_to("usr/lib")


def _download(userland: Userland, work: Path) -> list[Path]:
    """Returns the packages' files, in apt's folder of our own."""
    for name in ("lists/partial", "archives/partial", "cache"):
        (work / name).mkdir(parents=True)
    (work / "status").touch()
    apt = ["apt-get", "-qq", *_options(work, userland.architecture)]
    # The machine's own sources first: they say where Debian is. Other sources beside
    # it may fail.
    _update(apt)
    where = _repository(apt)
    signed = f" signed-by={KEYRING}" if KEYRING.exists() else ""
    line = f"deb [arch={userland.architecture}{signed}] {where} {userland.suite} main\n"
    (work / "sources.list").write_text(line, encoding="ascii")
    ours = ["-o", f"Dir::Etc::sourcelist={work / 'sources.list'}"]
    apt += [*ours, "-o", "Dir::Etc::sourceparts=/dev/null"]
    run([*apt, "update"])
    run([*apt, "-y", "--download-only", "install", *userland.packages])
    return sorted((work / "archives").glob("*.deb"))


def _update(apt: list[str]) -> None:
    try:
        run([*apt, "update"])
    except UnavailableError:
        return  # _repository says whether that matters


def _repository(apt: list[str]) -> str:
    columns = "$(ORIGIN) $(COMPONENT) $(LABEL) $(REPO_URI)"
    for row in run([*apt, "indextargets", "--format", columns]).splitlines():
        if row.startswith("Debian main Debian "):  # not Debian-Security
            return row.split()[-1]
    raise UnavailableError("apt has no reachable Debian archive among its sources")


def _options(work: Path, architecture: str) -> list[str]:
    settings = {
        "Dir::State::lists": work / "lists",
        "Dir::State::status": work / "status",
        "Dir::Cache": work / "cache",
        "Dir::Cache::archives": work / "archives",
        "Debug::NoLocking": "true",
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Sandbox::User": "",  # another user could not write here
        "APT::Install-Recommends": "false",
        "Acquire::Languages": "none",
    }
    return [
        part for key, value in settings.items() for part in ("-o", f"{key}={value}")
    ]
