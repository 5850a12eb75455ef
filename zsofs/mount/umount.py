"""Unmounts, and returns when the daemons have exited and removed their mount points.

Nothing here accesses the mounted file systems: a daemon that hangs would block the command,
beyond SIGKILL. Calls that may block nevertheless run in a child process that is abandoned.
"""

import os
import select
import shlex
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from zsofs.console.stdio import complain
from zsofs.console.text import for_people
from zsofs.errors import UnmountError, ZsofsError, reason
from zsofs.mount.control.client import daemon_of
from zsofs.mount.control.where_mounted import where_mounted
from zsofs.mount.named_mount import mount_point_of
from zsofs.mount.users import other_namespaces, users_of
from zsofs.system import fuse_mount
from zsofs.system.mountinfo import Mounted, mount_table, mounted_at
from zsofs.system.mountpoint import COMMAND, check_ours, detach, is_dead, own_path
from zsofs.timings import timings

_SHOWN_USERS = 5


def take_down_all(targets: Sequence[str], *, lazy: bool) -> list[ZsofsError]:
    """Unmount several mounts in parallel.

    Args:
        targets: mount points, or names of configs.
        lazy: detach them immediately even if they are in use.

    Returns:
        The errors, in the order of *targets*.
    """
    until = time.monotonic() + timings().unmount
    failed: dict[str, ZsofsError] = {}

    def take_down(target: str) -> None:
        try:
            _TakeDown(target, lazy, until).run()
        except ZsofsError as error:
            failed[target] = error
        except (OSError, RuntimeError) as error:  # RuntimeError: no thread available
            failed[target] = UnmountError(f"{target} could not be unmounted: {reason(error)}")

    targets = list(dict.fromkeys(targets))
    threads = [threading.Thread(target=take_down, args=(one,), daemon=True) for one in targets]
    for thread in threads:
        thread.start()
    for target, thread in zip(targets, threads, strict=True):
        thread.join(max(until + timings().unmount_users - time.monotonic(), 0))
        if thread.is_alive():
            failed[target] = UnmountError(
                f"{target} could not be unmounted within 10 seconds; try again, as root if possible"
            )
    return [failed[target] for target in targets if target in failed]


@dataclass(frozen=True, slots=True)
class _TakeDown:
    """The unmounting of one mount."""

    target: str
    lazy: bool
    until: float

    def run(self) -> None:
        """Unmount, and wait for the daemon to exit.

        Raises:
            UnmountError: no zsofs mount is there, it is in use, or its daemon is still running.
        """
        point = mount_point_of(self.target, own_path)
        if mounted_at(point) is None:
            raise UnmountError(f"nothing is mounted at {for_people(point)}; {where_mounted(point)}")
        mounted = check_ours(os.fsdecode(point), point)
        elsewhere = {
            one.number: one.path
            for one in mount_table()
            if one.device == mounted.device and one.number != mounted.number
        }
        answers, process = daemon_of(mounted, timings().unmount_answer)
        with ExitStack() as stack:
            daemons = _process_descriptors(process, stack)
            in_use = bool(self.lazy and answers and users_of(point))
            if self.lazy and answers is False:
                self._overcome(mounted, answers, process, "")
            elif said := detach(mounted, lazy=self.lazy):
                self._overcome(mounted, answers, process, said)
            if not in_use:
                self._wait(mounted, process, daemons, elsewhere)

    def _overcome(self, mounted: Mounted, answers: bool | None, process: int, said: str) -> None:
        """Unmount after a plain unmount failed; a mount that is only in use stays."""
        path = os.fsdecode(mounted.path)
        if answers is None and is_dead(mounted):
            if not (said := detach(mounted, lazy=True)):
                return
        elif answers is False:
            complain(f"zsofs: {path}: the daemon does not answer; its FUSE connection was aborted")
            if not (said := _abort(mounted, process)):
                return
        if "busy" not in said.lower():
            raise UnmountError(f"{path} could not be unmounted: {said}")
        users = users_of(mounted.path)
        shown = ", ".join(users[:_SHOWN_USERS]) or "an unknown program"
        more = f" and {len(users) - _SHOWN_USERS} more" if len(users) > _SHOWN_USERS else ""
        raise UnmountError(
            f"{path} is in use by {shown}{more}; close it, or detach the mount now with:"
            f" {COMMAND} umount --lazy {shlex.quote(path)}"
        )

    def _wait(
        self,
        mounted: Mounted,
        process: int,
        daemons: Sequence[int],
        elsewhere: Mapping[int, bytes],
    ) -> None:
        left = {one.number for one in mount_table()}.intersection(elsewhere)
        if left:
            places = ", ".join(for_people(elsewhere[number]) for number in sorted(left))
            path = for_people(mounted.path)
            complain(f"zsofs: {path} is unmounted; the same mount still exists at {places}")
            return
        for descriptor in daemons:
            seconds = max(self.until - time.monotonic(), 0)
            ended, _, _ = select.select([descriptor], [], [], seconds)
            if not ended:
                users = ", ".join(other_namespaces(mounted))
                held = (
                    f"; the mount is still present in the mount namespace of {users}"
                    if users
                    else ""
                )
                raise UnmountError(
                    f"{for_people(mounted.path)} is unmounted, but its daemon (process {process})"
                    f" is still shutting down{held}"
                )


def _process_descriptors(process: int, stack: ExitStack) -> list[int]:
    """Return descriptors that are readable when a daemon, and its root helper, exit."""
    found = []
    for number in (process, _root_helper_of(process)):
        if number:
            with suppress(OSError):
                descriptor = os.pidfd_open(number)
                stack.callback(os.close, descriptor)
                found.append(descriptor)
    return found


def _root_helper_of(process: int) -> int:
    """Return the root helper of a daemon (with --setuid), which is its parent; 0 if none."""
    with suppress(OSError, ValueError, IndexError):
        if process:
            with open(f"/proc/{process}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
            if _command_line(parent) == _command_line(process):
                return parent
    return 0


def _command_line(process: int) -> bytes:
    with open(f"/proc/{process}/cmdline", "rb") as file:
        return file.read()


def _abort(mounted: Mounted, process: int) -> str:
    """Abort the connection of a mount whose daemon does not respond, and detach it."""
    if os.geteuid() == 0:
        with suppress(OSError):
            fuse_mount.detach(mounted, force=True)
            return ""
    elif not fuse_mount.abort(mounted) and process:
        with suppress(OSError):  # the connection ends when the daemon exits
            os.kill(process, signal.SIGKILL)
    return detach(mounted, lazy=True)
