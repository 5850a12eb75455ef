"""Checks and operations on the mount point, before and after mounting."""

import errno
import os
import shlex
import shutil
import signal
import threading
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path

from zsofs.errors import MountError, MountPointError, SourceError, UnmountError, reason
from zsofs.system import fuse_mount, fusermount, xdg
from zsofs.system.mountinfo import FILE_SYSTEM_TYPE, Mounted, mounted_at
from zsofs.system.nofollow import (
    Identity,
    OthersLinkError,
    make_directory,
    reached,
    remove_directory,
    roots_path,
)
from zsofs.system.programs import run_bounded
from zsofs.timings import timings

_FUSE_DEVICE = "/dev/fuse"
_FUSE_CONF = Path("/etc/fuse.conf")

COMMAND = os.environ.get("ZSOFS_COMMAND", "zsofs")
"""How this program was called, for hints: ``./bootstrap.sh`` if it is not on the PATH."""


def real_path(path: str) -> bytes:
    """Return the absolute path without symlinks, without access to the mount itself."""
    here = os.fsencode(os.path.abspath(path))
    here = os.path.join(os.path.realpath(os.path.dirname(here)), os.path.basename(here))
    if mounted_at(here) is not None:
        return here
    return os.path.realpath(here)


def trusted_path(path: str) -> bytes:
    """Return the real path like :func:`real_path`, for operations by root.

    Another user must not be able to choose what root mounts or unmounts.

    Raises:
        MountPointError: a symlink on the path belongs to another user, or the path is invalid.
    """
    try:
        return roots_path(os.fsencode(os.path.abspath(path)))
    except OthersLinkError as error:
        raise MountPointError(
            f"the mount point {path} is reached through the symlink"
            f" {os.fsdecode(error.filename)}, which is not owned by root; give the path that"
            " the symlink leads to"
        ) from None
    except OSError as error:
        raise MountPointError(f"the mount point {path} cannot be used: {error.strerror}") from None


def check_source(path: str, *, writable: bool = False, may_lack: bool = False) -> bytes:
    """Return the real path of a source directory that is readable, and *writable* if requested.

    Args:
        path: path of the directory.
        writable: whether it must be writable.
        may_lack: whether it may be missing for now, for example because its disk is not attached.

    Raises:
        SourceError: it cannot be used, with the reason.
    """
    try:
        os.scandir(path).close()
    except NotADirectoryError:
        raise SourceError(
            f"the source {path} is not a directory; give the directory that holds the discs"
        ) from None
    except OSError as error:
        if may_lack and error.errno not in (errno.EACCES, errno.EPERM, errno.ELOOP):
            return os.path.realpath(os.fsencode(path))
        if error.errno == errno.ENOENT:
            raise SourceError(f"the source directory {path} does not exist") from None
        raise SourceError(
            f"the source directory {path} cannot be read: {error.strerror}; run zsofs as its owner"
        ) from None
    if writable and not os.access(path, os.W_OK):
        raise SourceError(
            f"the source directory {path} is not writable; run zsofs as its owner, or omit"
            " --writable"
        )
    return os.path.realpath(os.fsencode(path))


def check_link_directories(paths: Iterable[Path], *, may_lack: bool = False) -> tuple[bytes, ...]:
    """Return the real paths of the directories of `--allow-links-to`.

    Args:
        paths: the directories.
        may_lack: whether they may be missing for now.

    Raises:
        SourceError: one cannot be used, with the reason.
    """
    return tuple(_link_directory(path, may_lack=may_lack) for path in paths)


def _link_directory(path: Path, *, may_lack: bool) -> bytes:
    try:
        os.scandir(path).close()
    except OSError as error:
        if not (may_lack and error.errno == errno.ENOENT):
            raise SourceError(
                f"the directory {path} of --allow-links-to cannot be read: {error.strerror}"
            ) from None
    real = os.path.realpath(os.fsencode(path))
    if real == b"/":
        raise SourceError(
            f"the directory {path} of --allow-links-to is the root directory; give the directory"
            " that has the discs"
        )
    return real


def prepare_mount_point(path: str, source: bytes | None, user: int, undo: ExitStack) -> bytes:
    """Check that *path* can be a mount point, and unmount a dead zsofs mount there.

    Args:
        path: the mount point.
        source: the source directory, if there is one.
        user: number of the user who serves the mount.
        undo: removes the directory on exit if it was created here.

    Returns:
        Its real path.

    Raises:
        MountPointError: it cannot be used, with the reason.
    """
    point = trusted_path(path) if os.geteuid() == 0 else real_path(path)
    clear_dead_mount(path, point)
    if source is not None:
        _check_apart(path, point, source)
    _check_free_of_sockets(path, point, user)
    # By descriptor: another user may own a directory above it, and change what has this path.
    try:
        _make(point, undo)
    except FileExistsError:
        _check_usable(path, point)
    except FileNotFoundError:
        above = shlex.quote(os.fsdecode(os.path.dirname(point)))
        raise MountPointError(
            f"the mount point {path} cannot be created, because the directory above it does not"
            f" exist; create that with: mkdir -p {above}"
        ) from None
    except OSError as error:
        raise MountPointError(
            f"the mount point {path} does not exist and cannot be created: {error.strerror}"
        ) from None
    return point


def _check_usable(path: str, point: bytes) -> None:
    """Check that a mount point is an empty directory that this user can write to.

    Raises:
        MountPointError: it is not.
    """
    try:
        with reached(Path(os.fsdecode(point)), None) as place:
            names = os.listdir(f"/proc/self/fd/{place}/.")
    except NotADirectoryError:
        raise MountPointError(
            f"the mount point {path} is not a directory; give an empty directory, or one that"
            " does not exist yet"
        ) from None
    except OSError as error:
        raise MountPointError(f"the mount point {path} cannot be used: {error.strerror}") from None
    if names:
        raise MountPointError(
            f"the mount point {path} is not empty; give an empty directory, or one that does"
            " not exist yet"
        )
    if os.geteuid() != 0 and not os.access(point, os.W_OK):  # root's may be on a read-only disk
        raise MountPointError(
            f"the mount point {path} is not writable by this user; give a directory that you own"
        )


def _make(point: bytes, undo: ExitStack) -> None:
    """Create a directory that *undo* removes, even if Ctrl-C is pressed in between."""

    def remove(made: Identity) -> None:
        with suppress(OSError):
            remove_directory(point, made)

    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        undo.callback(remove, make_directory(point))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def clear_dead_mount(path: str, point: bytes) -> None:
    """Unmount a dead zsofs mount at a real path; messages use *path*.

    Raises:
        MountPointError: another FUSE file system is mounted there, or a daemon serves it.
        UnmountError: it cannot be unmounted.
    """
    mounted = mounted_at(point)
    if mounted is None or not mounted.kind.startswith("fuse"):
        return  # the root of another file system is treated like any directory
    ours = mounted.kind == FILE_SYSTEM_TYPE
    if not is_dead(mounted):
        command = f"{COMMAND} umount" if ours else "fusermount3 -u"
        raise MountPointError(
            f"{'zsofs' if ours else mounted.kind} is already mounted at {path}; unmount it first"
            f" with: {command} {shlex.quote(path)}"
        )
    if not ours:
        raise MountPointError(
            f"a dead mount of another program ({mounted.kind}) is still mounted at {path};"
            f" unmount it with: fusermount3 -uz {path}"
        )
    problem = detach(mounted, lazy=True)
    if problem:
        raise UnmountError(f"{path} could not be unmounted: {problem}")


def is_dead(mounted: Mounted) -> bool:
    """Return whether the daemon behind a mount has exited; a timeout does not count as dead.

    A mount that no longer exists is not dead. A child process asks, because it may hang beyond
    SIGKILL: as the user who owns the mount, since root is refused without --allow-other. Root
    opens the mount for that user, who may lack permission to enter the parent directory.
    """
    user = mounted.user if os.geteuid() == 0 and mounted.user else None
    try:
        with fuse_mount.opened(mounted) as fd:
            # statfs is never answered from the kernel's cache, as stat may be.
            command = ["stat", "--file-system", "--", f"/proc/self/fd/{fd}"]
            done = run_bounded(command, fds=(fd,), user=user)
    except (KeyError, OSError):
        return False
    if done is None:
        return False
    return any(os.strerror(code) in done[1] for code in (errno.ENOTCONN, errno.ECONNABORTED))


def _check_apart(path: str, point: bytes, source: bytes) -> None:
    if point == source:
        raise MountPointError(
            f"the mount point {path} is the source directory itself; give another, empty directory"
        )
    if point.startswith(source.rstrip(b"/") + b"/"):
        raise MountPointError(
            f"the mount point {path} is inside the source directory; give one outside of it"
        )
    if source.startswith(point.rstrip(b"/") + b"/"):
        raise MountPointError(
            f"the source directory is inside the mount point {path}; give one outside of it"
        )


def _check_free_of_sockets(path: str, point: bytes, user: int) -> None:
    """Check that the daemon would not access its own socket through its own mount."""
    for folder in xdg.runtime_folders(user) or xdg.folders(user):
        if os.path.commonpath((os.path.realpath(os.fsencode(folder)), point)) == point:
            raise MountPointError(
                f"the mount point {path} lies over {folder}, which holds the control sockets of"
                " running mounts; give another, empty directory"
            )


def check_fuse(allow_other: bool) -> None:
    """Check that this user can mount.

    Raises:
        MountError: what is missing, and how to fix it.
    """
    try:
        os.close(os.open(_FUSE_DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        raise MountError(
            f"{_FUSE_DEVICE} does not exist; load the kernel's FUSE with: sudo modprobe fuse"
            " (in a container, start it with --device /dev/fuse)"
        ) from None
    except PermissionError:
        raise MountError(
            f"you have no permission to open {_FUSE_DEVICE}; grant it with:"
            f" sudo chmod 666 {_FUSE_DEVICE}"
        ) from None
    except OSError as error:
        raise MountError(
            f"{_FUSE_DEVICE} cannot be opened: {error.strerror}; load the kernel's FUSE with:"
            " sudo modprobe fuse"
        ) from None
    if os.geteuid() == 0:
        return
    if shutil.which("fusermount3") is None:
        raise MountError(
            "fusermount3, which users need to mount, is not installed; install it with:"
            " sudo apt install fuse3"
        )
    if allow_other and not _others_may_be_allowed():
        raise MountError(
            "--allow-other is not permitted for users on this system; add the line"
            " user_allow_other"
            f" to {_FUSE_CONF}"
        )


def _others_may_be_allowed() -> bool:
    try:
        lines = _FUSE_CONF.read_text(errors="replace").splitlines()
    except OSError:
        return False
    return any(line.strip() == "user_allow_other" for line in lines)


def check_ours(path: str, point: bytes) -> Mounted:
    """Return the zsofs mount at a real path, if this user may unmount it.

    Raises:
        UnmountError: there is none, or it belongs to another user.
    """
    mounted = mounted_at(point)
    if mounted is None:
        raise UnmountError(f"nothing is mounted at {path}; list the mounts with: {COMMAND} status")
    if mounted.kind != FILE_SYSTEM_TYPE:
        raise UnmountError(
            f"what is mounted at {path} is not zsofs but {mounted.kind}; unmount it with umount"
        )
    if os.geteuid() not in (0, mounted.user):
        raise UnmountError(
            f"the mount at {path} belongs to another user (number {mounted.user}), who can"
            " unmount it; root can, too"
        )
    return mounted


def unmount(path: str, *, lazy: bool = False) -> None:
    """Unmount the mount at *path* without waiting for its daemon.

    Args:
        path: the mount point.
        lazy: detach it immediately even if it is in use.

    Raises:
        MountPointError: as root, a symlink on the path belongs to another user.
        UnmountError: no zsofs mount of this user is there, or it is in use.
    """
    mounted = check_ours(path, own_path(path))
    problem = detach(mounted, lazy=lazy)
    if problem:
        raise UnmountError(f"{path} could not be unmounted: {problem}")


def own_path(path: str) -> bytes:
    """Return the real path of a mount point to unmount; for root, by trusted symlinks only.

    Raises:
        MountPointError: as root, a symlink on the path belongs to another user.
    """
    return trusted_path(path) if os.geteuid() == 0 else real_path(path)


def detach(mounted: Mounted, *, lazy: bool) -> str:
    """Unmount exactly this mount; return why that failed, or an empty string."""
    if os.geteuid() != 0:
        return fusermount.unmount(mounted.path, lazy=lazy)
    problem = ["the kernel does not answer"]

    def act() -> None:
        try:
            (fuse_mount.detach if lazy else fuse_mount.unmount)(mounted)
        except OSError as error:
            problem.append(reason(error))
        else:
            problem.append("")

    # Dirty pages have to be written first, by a daemon that may hang.
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(timings().mount_answer)
    return problem[-1]
