"""A machine for tests: a Debian in a folder, booted with systemd-nspawn."""

import itertools
import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.mounting import wait_until
from tests.system.groups import own_groups
from tests.system.shared import remove

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_numbers = itertools.count()


class Machine:
    """A Debian 12 that can be booted, used, and have its power cut.

    It has no network but its own loopback, and /dev/fuse.

    Attributes:
        root: its file system, as seen from outside.
        console: file that has what it said on its console.
        boots: whether it runs systemd; otherwise, only what a test runs. That of sid refuses the
            control groups of version 1.
        devices: from the next boot on, devices and folders of this machine that it has, by the
            path that each has in it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.console = root.with_name(root.name + ".console")
        self.boots = True
        self.devices: dict[str, Path] = {}
        self._running: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self._groups = ExitStack()

    def boot(self, *may_fail: str) -> None:
        """Start it and wait until all that it starts by itself has started.

        Args:
            may_fail: units that need not have.
        """
        assert self._running is None
        name = f"zsofs-tests-{os.getpid()}-{next(_numbers)}"
        groups = self._groups.enter_context(own_groups(name))
        join = 'for group in "$@"; do [ "$group" != -- ] || break; echo $$ >"$group"; shift; done'
        start = ("sh", "-ec", f'{join}; shift; exec "$@"', "sh", *map(str, groups), "--")
        words = ("--quiet", "--register=no", "--keep-unit", "--private-network")
        runs = ("--boot",) if self.boots else ("--as-pid2", "sleep", "infinity")
        machine = (
            f"--machine={name}",
            # What a server of NFS finds files by; a machine of its own may, a container may not.
            "--system-call-filter=name_to_handle_at open_by_handle_at",
            f"--directory={self.root}",
            f"--bind={self._fuse()}:/dev/fuse",
            *(f"--bind={device}:{path}" for path, device in self.devices.items()),
        )
        with self.console.open("ab") as console:
            self._running = subprocess.Popen(
                [*start, "systemd-nspawn", *words, *machine, "--console=pipe", *runs],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        wait_until(self._has_leader, "the first process of the machine")
        what = f"the machine to boot, see {self.console}"
        wait_until(lambda: self._has_booted(may_fail), what, seconds=60)

    def _fuse(self) -> Path:
        """A /dev/fuse that everybody may open, as udev makes it."""
        path = self.root.with_name(self.root.name + ".fuse")
        if not path.exists():
            os.mknod(path, stat.S_IFCHR, os.stat("/dev/fuse").st_rdev)
            path.chmod(0o666)
        return path

    def _has_leader(self) -> bool:
        """Whether the machine's own process 1 runs; it is a child of nspawn."""
        assert self._running is not None
        assert self._running.poll() is None, self.console.read_text(errors="replace")
        pid = self._running.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in children:
            try:
                lines = Path(f"/proc/{child}/status").read_text().splitlines()
            except OSError:  # nspawn has others beside it for a moment
                continue
            numbers = next(line.split()[1:] for line in lines if line.startswith("NSpid:"))
            if len(numbers) > 1 and numbers[-1] == "1":
                self._leader = int(child)
                return True
        return False

    def _has_booted(self, may_fail: tuple[str, ...]) -> bool:
        if not self.boots:
            return True
        said = self.try_run("systemctl", "is-system-running", "--wait").stdout.strip()
        if said == "degraded":
            said = self.try_run("systemctl", "--failed", "--no-legend", "--plain").stdout
            failed = [line.split()[0] for line in said.splitlines()]
            assert set(failed) <= set(may_fail), f"after the boot these have failed: {failed}"
            return True
        return said == "running"

    def try_run(
        self, *command: str, user: str = "", given: bytes | None = None, seconds: float = 120
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command in the machine, whatever comes of it.

        Args:
            command: it is found in root's usual PATH, and gets an environment of its own.
            user: who runs it, instead of root, with the folder and bus of a session.
            given: what it can read.
            seconds: how long it may take.
        """
        enter = ("nsenter", f"--target={self._leader}", "--all", "--wd=/")
        environment = ["env", "-i", f"PATH={_PATH}", "LC_ALL=C.UTF-8", "HOME=/root"]
        environment.append("DEBIAN_FRONTEND=noninteractive")
        if user:
            number = self.try_run("id", "-u", user).stdout.strip()
            environment += [f"HOME=/home/{user}", f"XDG_RUNTIME_DIR=/run/user/{number}"]
            environment += ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        done = subprocess.run(
            [*enter, *environment, *command],
            input=given if given is not None else b"",
            capture_output=True,
            check=False,
            timeout=seconds,
        )
        return subprocess.CompletedProcess(
            command, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    def run(self, *command: str, user: str = "", given: bytes | None = None) -> str:
        """What a command says that must succeed."""
        done = self.try_run(*command, user=user, given=given)
        assert done.returncode == 0, f"{command}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done.stdout

    def linger(self, user: str) -> None:
        """Have a user's own service manager run, without anybody logging in."""
        self.run("loginctl", "enable-linger", user)
        number = self.run("id", "-u", user).strip()
        place = f"/run/user/{number}/systemd/private"
        wait_until(lambda: self.try_run("test", "-S", place).returncode == 0, "systemd of a user")

    def cut_power(self) -> None:
        """End everything in it at once; nothing gets to say goodbye."""
        assert self._running is not None
        os.kill(self._leader, signal.SIGKILL)
        self._forget()

    def shut_down(self) -> None:
        """End it as its owner would."""
        self.try_run("systemctl", "poweroff")
        self._forget()

    def _forget(self) -> None:
        assert self._running is not None
        try:
            self._running.wait(60)
        finally:
            self.end()

    def end(self) -> None:
        """Make sure that nothing of it runs."""
        if self._running is not None:
            if self._running.poll() is None:
                os.kill(self._leader or self._running.pid, signal.SIGKILL)
                time.sleep(0.2)
                self._running.kill()
            self._running.wait(60)
        self._running = None
        self._leader = 0
        self._groups.close()


@contextmanager
def booted(
    folder: Path, *layers: Path, devices: Mapping[str, Path] | None = None, boots: bool = True
) -> Iterator[Machine]:
    """A Debian 12, booted, and always ended; what it has changed stays in ``changes``.

    Args:
        folder: an empty one for it.
        layers: folders that make up its file system, the topmost first; they stay as they are.
        devices: devices and folders of this machine that it has, by their paths in it.
        boots: whether it runs systemd.
    """
    root, changes, work = (folder / name for name in ("debian", "changes", "work"))
    for path in (root, changes, work):
        path.mkdir(parents=True)
    # volatile: nothing need reach the disk, for no more is left after a crash of this system.
    lower = f"lowerdir={':'.join(map(str, layers))}"
    options = f"{lower},upperdir={changes},workdir={work},redirect_dir=on,volatile"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", root], check=True)
    machine = Machine(root)
    machine.devices.update(devices or {})
    machine.boots = boots
    try:
        machine.boot()
        yield machine
    finally:
        machine.end()
        subprocess.run(["umount", root], check=True)
        remove(work)


@contextmanager
def debian(
    folder: Path, *layers: Path, devices: Mapping[str, Path] | None = None, boots: bool = True
) -> Iterator[Machine]:
    """The same, and nothing of it stays."""
    try:
        with booted(folder, *layers, devices=devices, boots=boots) as machine:
            yield machine
    finally:
        remove(folder)
