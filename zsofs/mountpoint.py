"""The mount point before and after: what the kernel says is mounted, what stands in the way."""

import errno
import os
import pwd
import shlex
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from zsofs import control, fuse_kernel, fusermount
from zsofs.errors import FuseError, MountPointError, SourceError, UnmountError, reason
from zsofs.mounts import FILE_SYSTEM_TYPE, Mounted, mounted_at
from zsofs.reach import Identity, OthersLinkError, make_directory, reached, roots_path

_ANSWER_SECONDS = 2.0
_FUSE_DEVICE = "/dev/fuse"
_FUSE_CONF = Path("/etc/fuse.conf")

COMMAND = os.environ.get("ZSOFS_COMMAND", "zsofs")
"""How this program was called, for hints: ``./bootstrap.sh`` where it is not on the PATH."""


def real_path(path: str) -> bytes:
    """Absolute path without symlinks, got without touching what is mounted there."""
    here = os.fsencode(os.path.abspath(path))
    here = os.path.join(os.path.realpath(os.path.dirname(here)), os.path.basename(here))
    if mounted_at(here) is not None:
        return here
    return os.path.realpath(here)


def trusted_path(path: str) -> bytes:
    """The same for what root mounts or unmounts where another user must not choose what that is.

    Raises:
        MountPointError: a symlink on the way is another user's, or it leads nowhere.
    """
    try:
        return roots_path(os.fsencode(os.path.abspath(path)))
    except OthersLinkError as error:
        raise MountPointError(
            f"the mount point {path} is reached by the symlink {os.fsdecode(error.filename)}, which"
            " does not belong to root; give the path that it leads to"
        ) from None
    except OSError as error:
        raise MountPointError(f"the mount point {path} cannot be used: {error.strerror}") from None


def check_source(path: str, *, writable: bool = False, may_lack: bool = False) -> bytes:
    """The real path of a source folder that can be read, and written to if it is to be *writable*.

    Args:
        path: the folder.
        writable: whether it is to be written to.
        may_lack: whether it may be missing for now, as where its disk is not there yet.

    Raises:
        SourceError: what is wrong with it.
    """
    try:
        os.scandir(path).close()
    except NotADirectoryError:
        raise SourceError(
            f"the source {path} is not a folder; give the folder that holds the discs"
        ) from None
    except OSError as error:
        if may_lack and error.errno not in (errno.EACCES, errno.EPERM, errno.ELOOP):
            return os.path.realpath(os.fsencode(path))
        if error.errno == errno.ENOENT:
            raise SourceError(f"the source folder {path} does not exist") from None
        raise SourceError(
            f"the source folder {path} cannot be read: {error.strerror};"
            " run zsofs as the user who owns it"
        ) from None
    if writable and not os.access(path, os.W_OK):
        raise SourceError(
            f"the source folder {path} cannot be written to; run zsofs as the user who owns it,"
            " or leave --writable away"
        )
    return os.path.realpath(os.fsencode(path))


def prepare_mount_point(
    path: str, source: bytes | None, user: int
) -> tuple[bytes, Identity | None]:
    """Make sure that a mount can go to *path*; a dead zsofs mount there is cleaned up.

    Args:
        path: where the mount is to go.
        source: the source folder, if there is one.
        user: who serves the mount.

    Returns:
        Its real path, and which directory it is if it had to be made.

    Raises:
        MountPointError: what stands in the way.
    """
    point = trusted_path(path) if os.geteuid() == 0 else real_path(path)
    clear_dead_mount(path, point)
    if source is not None:
        _check_apart(path, point, source)
    _check_free_of_sockets(path, point, user)
    # By descriptors: another user may own a directory above it, and change what has this path.
    try:
        return point, make_directory(point)
    except FileExistsError:
        pass
    except OSError as error:
        raise MountPointError(
            f"the mount point {path} does not exist and cannot be made: {error.strerror}"
        ) from None
    try:
        with reached(Path(os.fsdecode(point)), None) as place:
            names = os.listdir(f"/proc/self/fd/{place}/.")
    except NotADirectoryError:
        raise MountPointError(
            f"the mount point {path} is not a folder; give an empty folder, or one that does not"
            " exist yet"
        ) from None
    except OSError as error:
        raise MountPointError(f"the mount point {path} cannot be used: {error.strerror}") from None
    if names:
        raise MountPointError(
            f"the mount point {path} is not empty; give an empty folder, or one that does not"
            " exist yet"
        )
    if os.geteuid() != 0 and not os.access(point, os.W_OK):  # root's may be on a read-only disk
        raise MountPointError(
            f"the mount point {path} is not yours to write to; give a folder that you own"
        )
    return point, None


def clear_dead_mount(path: str, point: bytes) -> None:
    """Take down a dead zsofs mount at a real path, which is called *path* in messages.

    Raises:
        MountPointError: another FUSE file system is mounted there, or a daemon serves it.
        UnmountError: it cannot be taken down.
    """
    mounted = mounted_at(point)
    if mounted is None or not mounted.kind.startswith("fuse"):
        return  # an empty disk, or a container's volume, is as good as an empty folder
    ours = mounted.kind == FILE_SYSTEM_TYPE
    if not is_dead(mounted):
        command = f"{COMMAND} umount" if ours else "fusermount3 -u"
        raise MountPointError(
            f"{'zsofs' if ours else mounted.kind} is already mounted at {path}; unmount it first"
            f" with: {command} {shlex.quote(path)}"
        )
    if not ours:
        raise MountPointError(
            f"a dead mount of another kind ({mounted.kind}) is in the way at {path};"
            f" remove it with: fusermount3 -uz {path}"
        )
    _take_down(path, mounted, lazy=True)


def is_dead(mounted: Mounted) -> bool:
    """Whether the daemon behind a mount has gone; one that does not answer in time has not.

    A mount that is gone itself is not dead.
    """
    try:
        with fuse_kernel.opened(mounted) as fd:
            if os.geteuid() == 0 and mounted.user:
                return _is_dead_to(mounted.user, fd)
            return _is_dead(os.dup(fd))
    except OSError:
        return False


def _is_dead(fd: int) -> bool:
    """The same of the mount that a descriptor leads to, which is closed when there is an answer."""
    found: list[int] = []

    def ask() -> None:
        try:
            # Never answered from the kernel's memory, as stat may be.
            os.statvfs(f"/proc/self/fd/{fd}")
        except OSError as error:
            found.append(error.errno or 0)
        finally:
            os.close(fd)

    asking = threading.Thread(target=ask, daemon=True)
    try:
        asking.start()
    except RuntimeError:  # the system gives no thread
        os.close(fd)
        return False
    asking.join(_ANSWER_SECONDS)
    return bool(found) and found[0] in (errno.ENOTCONN, errno.ECONNABORTED)


def _is_dead_to(user: int, fd: int) -> bool:
    """The same where only *user* gets an answer: root does not, without --allow-other.

    Root has opened the mount for that user, who need not be able to enter the folder above it.

    Raises:
        OSError: no process can be started to ask.
    """
    try:
        done = subprocess.run(
            ["stat", "--file-system", "--", f"/proc/self/fd/{fd}"],
            capture_output=True,
            check=False,
            env=os.environ | {"LC_ALL": "C"},
            cwd="/",
            timeout=_ANSWER_SECONDS,
            pass_fds=(fd,),
            user=user,
            group=pwd.getpwuid(user).pw_gid,
            extra_groups=[],
        )
    except (KeyError, subprocess.TimeoutExpired):
        return False
    said = os.fsdecode(done.stderr)
    return any(os.strerror(code) in said for code in (errno.ENOTCONN, errno.ECONNABORTED))


def _check_apart(path: str, point: bytes, source: bytes) -> None:
    if point == source:
        raise MountPointError(
            f"the mount point {path} is the source folder itself; give another, empty folder"
        )
    if point.startswith(source.rstrip(b"/") + b"/"):
        raise MountPointError(
            f"the mount point {path} lies inside the source folder; give one outside of it"
        )
    if source.startswith(point.rstrip(b"/") + b"/"):
        raise MountPointError(
            f"the source folder lies inside the mount point {path}; give one outside of it"
        )


def _check_free_of_sockets(path: str, point: bytes, user: int) -> None:
    """Make sure that the daemon does not reach for its own socket through its own mount."""
    for folder in control.runtime_folders(user) or control.folders(user):
        if os.path.commonpath((os.path.realpath(os.fsencode(folder)), point)) == point:
            raise MountPointError(
                f"the mount point {path} lies over {folder}, where running mounts are reached; give"
                " another, empty folder"
            )


def check_fuse(allow_other: bool) -> None:
    """Make sure that this user may mount.

    Raises:
        FuseError: what is missing, and what to do.
    """
    try:
        os.close(os.open(_FUSE_DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        raise FuseError(
            f"{_FUSE_DEVICE} does not exist; load the kernel's FUSE with: sudo modprobe fuse"
            " (in a container, start it with --device /dev/fuse)"
        ) from None
    except PermissionError:
        raise FuseError(
            f"you have no right to open {_FUSE_DEVICE}; allow it with:"
            f" sudo chmod 666 {_FUSE_DEVICE}"
        ) from None
    except OSError as error:
        raise FuseError(
            f"{_FUSE_DEVICE} cannot be opened: {error.strerror}; load the kernel's FUSE with:"
            " sudo modprobe fuse"
        ) from None
    if os.geteuid() == 0:
        return
    if shutil.which("fusermount3") is None:
        raise FuseError(
            "the program fusermount3, which lets users mount, is missing; install it with:"
            " sudo apt install fuse3"
        )
    if allow_other and not _others_may_be_allowed():
        raise FuseError(
            f"--allow-other is not permitted to users here; add the line user_allow_other"
            f" to {_FUSE_CONF}"
        )


def _others_may_be_allowed() -> bool:
    try:
        lines = _FUSE_CONF.read_text(errors="replace").splitlines()
    except OSError:
        return False
    return any(line.strip() == "user_allow_other" for line in lines)


def unmount(path: str, *, lazy: bool = False) -> None:
    """Take down the mount at *path*.

    Args:
        path: the mount point.
        lazy: detach it at once even if it is in use.

    Raises:
        MountPointError: as root, a symlink of another user is on the way.
        UnmountError: nothing of ours is there, or it is in use.
    """
    # Another user must not choose what root unmounts.
    point = trusted_path(path) if os.geteuid() == 0 else real_path(path)
    mounted = mounted_at(point)
    if mounted is None:
        raise UnmountError(f"nothing is mounted at {path}; see what is with: {COMMAND} status")
    if mounted.kind != FILE_SYSTEM_TYPE:
        raise UnmountError(
            f"what is mounted at {path} is not zsofs but {mounted.kind}; use umount for it"
        )
    if os.geteuid() not in (0, mounted.user):
        raise UnmountError(
            f"the mount at {path} belongs to another user (number {mounted.user}), who can unmount"
            " it, as root can"
        )
    _take_down(path, mounted, lazy=lazy)


def _take_down(path: str, mounted: Mounted, *, lazy: bool) -> None:
    """Take down just this mount, which is called *path* in messages.

    Raises:
        UnmountError: it cannot be.
    """
    if os.geteuid() == 0:
        problem = _unmount_as_root(mounted, lazy)
    else:
        problem = fusermount.unmount(mounted.path, lazy=lazy)
    if not problem:
        return
    if "busy" in problem.lower():
        users = ", ".join(_users_of(mounted.path)) or "some program"
        raise UnmountError(
            f"{path} is in use by {users}; close it, or detach the mount at once with:"
            f" {COMMAND} umount --lazy {shlex.quote(path)}"
        )
    raise UnmountError(f"{path} could not be unmounted: {problem}")


def _unmount_as_root(mounted: Mounted, lazy: bool) -> str:
    """Why a mount cannot be taken down; empty if it was."""
    try:
        (fuse_kernel.detach if lazy else fuse_kernel.unmount)(mounted)
    except OSError as error:
        return reason(error)
    return ""


def _users_of(point: bytes) -> Iterator[str]:
    """Programs with an open file or working folder below *point*, as far as we may see."""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            links = [process / "cwd", *(process / "fd").iterdir()]
        except OSError:
            continue
        if any(_is_below(link, point) for link in links):
            try:
                program = (process / "comm").read_text().strip()
            except OSError:
                continue
            yield f"{program} (process {process.name})"


def _is_below(link: Path, point: bytes) -> bool:
    try:
        target = os.readlink(os.fsencode(link))
    except OSError:
        return False
    return target == point or target.startswith(point + b"/")
