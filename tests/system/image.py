"""A fresh Debian 12 as a tarball, made once with debootstrap and kept outside of the project."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

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
# Read when this module is loaded: tests set another folder for what they run.
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zsofs-tests"


def unpack(folder: Path) -> None:
    """Make a fresh system in an empty folder; the first time this takes minutes."""
    tarball = _CACHE / f"{SUITE}-{_fingerprint()}.tar.zst"
    if not tarball.exists():
        _make(tarball)
    _run("tar", "--zstd", "--numeric-owner", "--xattrs", "-xpf", tarball, "-C", folder)


def _fingerprint() -> str:
    """Changes when this file does."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]


def _make(tarball: Path) -> None:
    _CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=_CACHE) as scratch:
        system = Path(scratch) / "system"
        words = ("debootstrap", "--variant=minbase", f"--include={','.join(_BASE)}")
        _run(*words, SUITE, system, _mirror())
        apt = ("chroot", system, "apt-get", "-q", "-y", "--no-install-recommends")
        _run(*apt, "update")
        _run(*apt, "--download-only", "install", *_FOR_TESTS)
        (system / "etc/resolv.conf").unlink(missing_ok=True)
        # nmbd waits for a network, for a minute and a half.
        (system / "etc/systemd/system/nmbd.service").symlink_to("/dev/null")
        # A container that is thrown away need not wait for a disk.
        (system / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")
        unfinished = Path(scratch) / "tarball"
        _run("tar", "--zstd", "--numeric-owner", "--xattrs", "-cpf", unfinished, "-C", system, ".")
        unfinished.replace(tarball)
        for old in _CACHE.glob(f"{SUITE}-*.tar.zst"):
            if old != tarball:
                old.unlink()
        shutil.rmtree(system)


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
