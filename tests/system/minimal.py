"""Small Debian systems of several releases, as directories that no test changes; each made once."""

import hashlib
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.namespaces import LET_GO
from tests.system.shared import USER_CACHE, made_once, remove, remove_unused

BOOTS = ("dbus", "dbus-user-session", "libpam-systemd", "procps", "systemd-sysv")
"""What a system needs to boot, and to have users who log in."""

APT = (
    "DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends"
    " -o Acquire::Check-Valid-Until=false"
)
"""For scripts in a system; a mirror of sid may be weeks old."""

# No Python, no compiler: what a portable build may count on.
_MINIMAL = (*BOOTS, "fuse3")
_CACHE = USER_CACHE / "zsofs-tests"


def minimal(suite: str) -> Path:
    """Return the directory of a system without Python, a layer of machines.

    Args:
        suite: a release of Debian, such as ``bookworm``, ``trixie`` or ``sid``.
    """
    return system(suite, _MINIMAL)


def system(suite: str, packages: tuple[str, ...], architecture: str = "") -> Path:
    """Return the directory of a Debian with some packages; making it takes minutes.

    Args:
        suite: a release of Debian.
        packages: what is installed beside the essential packages.
        architecture: as Debian calls it, if it is not that of this machine. The kernel must run
            its programs, in a root directory too.
    """

    def make(folder: Path) -> None:
        of = (f"--arch={architecture}",) if architecture else ()
        run("debootstrap", *of, "--variant=minbase", suite, folder, _mirror())
        # By apt: debootstrap does not find what has alternatives, such as libfuse3-dev needs.
        inside(folder, f"{APT} update; {APT} install {' '.join(packages)}; {APT} clean")
        run("chroot", folder, "useradd", "--create-home", "--shell", "/bin/bash", "me")

    kind = f"small-{architecture}" if architecture else "small"
    return made_once(_place(kind, suite, packages), make)


def unpacked(suite: str, packages: tuple[str, ...], architecture: str) -> Path:
    """Return the directory of a Debian of another architecture, whose packages are not set up.

    Args:
        suite: a release of Debian.
        packages: what is unpacked beside the essential packages, with what they depend on.
        architecture: as Debian calls it.
    """

    def make(folder: Path) -> None:
        of = (f"--arch={architecture}", f"--include={','.join(packages)}", "--variant=minbase")
        run("debootstrap", "--foreign", *of, suite, folder, _mirror())
        for package in sorted((folder / "var/cache/apt/archives").glob("*.deb")):
            run("dpkg-deb", "--extract", package, folder)
            package.unlink()

    return made_once(_place(architecture, suite, packages), make)


def layer(name: str, inputs: bytes, make: Callable[[Path], None]) -> Path:
    """Return a directory that is kept as long as what it is made from; those before are removed.

    Args:
        name: what tells it from other layers.
        inputs: what it is made from.
        make: fills the empty directory that it gets.
    """
    place = _CACHE / f"{name}-{hashlib.sha256(inputs).hexdigest()[:12]}"
    for old in _CACHE.glob(f"{name}-*"):
        if old != place:
            remove_unused(old)
    return made_once(place, make)


def _place(kind: str, suite: str, packages: tuple[str, ...]) -> Path:
    _CACHE.mkdir(mode=0o700, parents=True, exist_ok=True)  # its programs are not for all users
    name = hashlib.sha256(" ".join((*packages, "")).encode()).hexdigest()[:12]
    return _CACHE / f"{kind}-{suite}-{name}"


def _mirror() -> str:
    """Return where this machine itself gets Debian from."""
    said = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Component: main")
    for address in said.split():
        if address.rstrip("/").endswith("/debian"):
            return address
    raise AssertionError("this machine's sources of packages have no Debian")


def run(*command: str | Path, seconds: float = 1800) -> str:
    """Run a command that must succeed; return what it prints.

    Args:
        command: a program and its arguments.
        seconds: how long it may take.
    """
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=seconds,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-4000:]}"
    return done.stdout


# What makes the network and the registry of Python packages of this machine available.
_NETWORK = ("/etc/resolv.conf", "/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")


@contextmanager
def changed(place: Path, *layers: Path) -> Iterator[Path]:
    """Provide the root of a system that scripts can change; its changes become a layer.

    Args:
        place: a directory for it; the layer is ``changes`` in it.
        layers: directories that make up the system, the topmost first; they stay as they are.
    """
    root, changes, work = (place / name for name in ("system", "changes", "work"))
    for path in (root, changes, work):
        path.mkdir(parents=True)
    options = f"lowerdir={':'.join(map(str, layers))},upperdir={changes},workdir={work},volatile"
    run("mount", "-t", "overlay", "-o", options, "overlay", root)
    try:
        yield root
    finally:
        run("umount", root)
        remove(work)


def add_devices(root: Path) -> None:
    """Make the devices that a mount needs, for all users, in a system that is not booted."""
    for name, number in (("null", (1, 3)), ("urandom", (1, 9)), ("fuse", (10, 229))):
        path = root / "dev" / name
        path.unlink(missing_ok=True)
        os.mknod(path, stat.S_IFCHR, os.makedev(*number))
        path.chmod(0o666)  # whatever the umask is


def inside(root: Path, script: str, *, seconds: float = 1200) -> str:
    """Run a script as root in a system that is not booted, with the network of this machine.

    Args:
        root: the root directory of the system.
        script: for ``sh``; it begins in ``/root``.
        seconds: how long it may take.
    """
    for name in _NETWORK:
        target = root / name[1:]
        if Path(name).exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            shutil.copy(name, target)
    start = 'mount -t proc proc "$1/proc"; unset TMPDIR; exec chroot "$1" sh -ec "cd /root; $2"'
    start = f"{LET_GO}; {start}"
    words = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", start, "sh")
    try:
        return run(*words, root, script, seconds=seconds)
    finally:
        (root / "etc/resolv.conf").unlink(missing_ok=True)
