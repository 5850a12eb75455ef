"""A fresh Debian 12 as a folder that no test changes, made once and kept outside of the project."""

import hashlib
import os
import subprocess
from pathlib import Path

from tests.system.shared import USER_CACHE, made_once, remove_unused

SUITE = "bookworm"
# What a Debian has once it is installed, as far as it matters here: it boots, and users log in.
_BASE = ("dbus", "dbus-user-session", "libpam-systemd", "procps", "systemd-sysv")
# Only downloaded, so that they can be installed without a network.
_FOR_TESTS = (
    "fuse3", "libdeflate0", "libfuse3-3", "liblz4-1", "libzstd1", "python3", "samba", "smbclient",
    # What the documents have people install, and what reads in the place of their programs.
    "crun", "exfat-fuse", "flatpak", "genisoimage", "libnfs-utils", "nfs-ganesha",
    "nfs-ganesha-vfs", "ntfs-3g", "openssh-server", "p7zip-full", "podman", "rclone", "sshfs",
)  # fmt: skip
_CACHE = USER_CACHE / "zsofs-tests"


def system() -> Path:
    """The folder of a fresh system, a layer of machines; the first time this takes minutes."""
    _CACHE.mkdir(mode=0o700, parents=True, exist_ok=True)  # its programs are not for all users
    place = _CACHE / f"{SUITE}-{_fingerprint()}"
    for old in _CACHE.glob(f"{SUITE}-*"):
        if old != place:
            remove_unused(old)
    return made_once(place, _make)


def _fingerprint() -> str:
    """Changes when this file does."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]


def _make(folder: Path) -> None:
    words = ("debootstrap", "--variant=minbase", f"--include={','.join(_BASE)}")
    _run(*words, SUITE, folder, _mirror())
    apt = ("chroot", folder, "apt-get", "-q", "-y", "--no-install-recommends")
    _run(*apt, "update")
    _run(*apt, "--download-only", "install", *_FOR_TESTS)
    (folder / "etc/resolv.conf").unlink(missing_ok=True)
    # nmbd waits for a network, for a minute and a half.
    (folder / "etc/systemd/system/nmbd.service").symlink_to("/dev/null")
    # A container that is thrown away need not wait for a disk.
    (folder / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")


def _mirror() -> str:
    """Where this machine itself gets Debian 12 from."""
    words = ("--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)", "Created-By: Packages")
    said = _run("apt-get", "indextargets", *words)
    for line in said.splitlines():
        codename, component, address = line.split(" ", 2)
        if (codename, component) == (SUITE, "main"):
            return address
    raise AssertionError(f"this machine's sources of packages have no {SUITE} (Debian 12)")


def _run(*command: str | Path) -> str:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-4000:]}"
    return done.stdout
