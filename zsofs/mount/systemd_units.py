"""systemd units: their location and content, and calls of systemctl."""

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from zsofs.errors import ServiceError, reason
from zsofs.system.full_write import new_file
from zsofs.system.renames import rename_to_free_name

_BOOTED = Path("/run/systemd/system")
"""It exists where systemd runs (sd_booted(3)); elsewhere systemctl may seem to succeed."""

_SHIPPED = Path(__file__).parent / "units"
_TEMPLATE = "zsofs@.service"
MARK = "# Written by `zsofs service install`, which `zsofs service remove` takes away again.\n"
"""First line of each file that zsofs writes; only such files are replaced or removed."""

_LOG_LINES = "5"
_DROP_IN = """\
# The disks of the source and of the mount point. RequiresMountsFor= would stop the service when one
# goes, and not start it when it returns; the mount itself waits for its source.
[Unit]
Wants={units}
After={units}
"""


@dataclass(frozen=True, slots=True)
class Manager:
    """A service manager: that of the system, or that of this user.

    Attributes:
        is_users: whether it is that of the user.
    """

    is_users: bool

    @property
    def folder(self) -> Path:
        """Directory of units installed by the administrator, rather than by packages."""
        if not self.is_users:
            return Path("/etc/systemd/system")
        given = os.environ.get("XDG_CONFIG_HOME", "")
        return (Path(given) if os.path.isabs(given) else Path.home() / ".config") / "systemd/user"

    @property
    def _template(self) -> Path:
        return self.folder / _TEMPLATE

    def _is_packaged(self) -> bool:
        kind = "user" if self.is_users else "system"
        folders = ("/usr/lib/systemd", "/lib/systemd", "/usr/local/lib/systemd")
        return any((Path(folder) / kind / _TEMPLATE).exists() for folder in folders)

    def call(self, *words: str) -> str:
        """Run systemctl; return its output.

        Raises:
            ServiceError: it failed, or is missing.
        """
        command = ["systemctl", *(["--user"] if self.is_users else []), *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise ServiceError(f"systemctl cannot be run: {error.strerror}") from None
        if done.returncode:
            said = " ".join(done.stderr.split()) or "no reason was given"
            if self.is_users and "connect" in said and " bus" in said:
                raise ServiceError(
                    "no user session is running for user services; log in as this user (su and"
                    " sudo do not start a session), or enable lingering with:"
                    " sudo loginctl enable-linger $USER"
                )
            raise ServiceError(f"`{' '.join(command)}` failed: {said}")
        return done.stdout

    def check(self) -> None:
        """Check that this service manager is available.

        Raises:
            ServiceError: it is not.
        """
        if not _BOOTED.is_dir():
            raise ServiceError("this system does not run systemd; use fstab or: zsofs mount")
        self.call("show", "--property=Version")

    def add(self, name: str, wanted: Sequence[str]) -> None:
        """Write the files of the service *name*, and reload the service manager.

        Args:
            name: name of a config.
            wanted: units to start before it.
        """
        if not self._is_packaged():
            shipped = _SHIPPED / ("user" if self.is_users else "system") / _TEMPLATE
            start = f"ExecStart={program()} "
            text = re.sub(
                r"^ExecStart=zsofs ", lambda _: start, shipped.read_text(), flags=re.MULTILINE
            )
            write(self._template, MARK + text)
        if wanted:
            write(
                self._drop_in(name) / "zsofs.conf", MARK + _DROP_IN.format(units=" ".join(wanted))
            )
        self.call("daemon-reload")

    def start(self, name: str) -> None:
        """Start the service, and enable it at boot; return when it is ready.

        Raises:
            ServiceError: it does not start; the message has the reason.
        """
        self.start_unit(name, unit(name))

    def start_unit(self, name: str, unit: str) -> None:
        """Start and enable a unit of the service *name*; raises like :meth:`start`."""
        self.call("enable", unit)
        self.begin("start", unit, name, name)

    def begin(self, verb: str, unit: str, service: str, removal: str) -> None:
        """Start an installed unit, or start it again.

        Args:
            verb: ``start`` or ``restart``.
            unit: name of the unit.
            service: what it is called in an error.
            removal: argument with which `zsofs service remove` removes it.

        Raises:
            ServiceError: it does not start; the message has the reason.
        """
        try:
            self.call(verb, unit)
        except ServiceError as error:
            why = self._last_words(unit) or error
            raise ServiceError(
                f"the service {service} is installed but did not start: {why}; remove it with:"
                f" zsofs service remove {removal}{' --user' if self.is_users else ''}"
            ) from None

    def _last_words(self, unit: str) -> str:
        """Return the last line that a unit has logged, or an empty string."""
        field = "_SYSTEMD_USER_UNIT" if self.is_users else "_SYSTEMD_UNIT"
        command = ["journalctl", "-q", "-o", "cat", "-n", _LOG_LINES, f"{field}={unit}"]
        try:
            if not self.is_users:  # recent messages may not be in the journal yet
                subprocess.run(["journalctl", "--sync"], capture_output=True, check=False)
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError:
            return ""
        lines = [line for line in done.stdout.splitlines() if line]
        return lines[-1].removeprefix("zsofs: ") if lines else ""

    def remove(self, name: str, others: Sequence[str]) -> None:
        """Stop the service and delete the files that :meth:`add` wrote.

        Args:
            name: name of its config.
            others: names of the remaining services.

        Raises:
            ServiceError: systemctl failed, or a file cannot be deleted.
        """
        if self._is_packaged() or self._template.exists():
            self.call("disable", "--now", unit(name))
        elif self.state(name)[0] not in ("inactive", "failed"):
            self.call("stop", unit(name))
        try:
            self._remove_files(name, with_template=not others)
        except OSError as error:
            raise ServiceError(
                f"the service file {error.filename} cannot be removed: {reason(error)}"
            ) from None
        self.call("daemon-reload")
        if self.state(name)[0] == "failed":
            self.call("reset-failed", unit(name))

    def _remove_files(self, name: str, *, with_template: bool) -> None:
        for link in self._links(name):  # only if systemctl had no unit to disable
            link.unlink()
        drop_in = self._drop_in(name)
        if is_ours(drop_in / "zsofs.conf"):
            (drop_in / "zsofs.conf").unlink()
        if drop_in.is_dir() and not any(drop_in.iterdir()):
            drop_in.rmdir()
        template = self._template
        if with_template and is_ours(template):
            template.unlink()

    def knows(self, name: str) -> bool:
        """Return whether files or state of the service *name* exist, even without a config."""
        return bool(self._links(name)) or (self._drop_in(name) / "zsofs.conf").exists()

    def _links(self, name: str) -> list[Path]:
        """Return the links that enable the service; they are dangling if its unit is gone."""
        links = [wants / unit(name) for wants in self.folder.glob("*.wants")]
        return [link for link in links if link.is_symlink()]

    def state(self, name: str) -> tuple[str, str]:
        """Return its state according to systemd, such as active, and whether it is enabled."""
        return self.state_of(unit(name))

    def state_of(self, unit: str) -> tuple[str, str]:
        """Return the same of a unit."""
        said = self.call("show", "--property=ActiveState,UnitFileState", unit)
        fields = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
        return fields.get("ActiveState", ""), fields.get("UnitFileState", "")

    def is_needed_to_start(self, mount: str) -> bool:
        """Return whether the system does not boot without a mount: fstab has no `nofail` for it."""
        said = self.call("show", "--value", "--property=RequiredBy", mount)
        return "local-fs.target" in said.split()

    def _drop_in(self, name: str) -> Path:
        return self.folder / (unit(name) + ".d")


def unit(name: str) -> str:
    """Return the unit name of the service for the config *name*."""
    return f"zsofs@{name}.service"


def mount_unit(mount_point: str) -> str:
    """Return the unit name of a mount.

    Raises:
        ServiceError: systemd is missing.
    """
    command = ["systemd-escape", "--path", "--suffix=mount", "--", mount_point]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        raise ServiceError(
            "systemd-escape cannot be run; services need a system that runs systemd"
        ) from None


def program() -> str:
    """Return the path of this program for a unit; systemd accepts no quote or backslash in it."""
    here = os.path.abspath(sys.argv[0])
    words = [here] if os.path.basename(here) == "zsofs" else [sys.executable, "-m", "zsofs"]
    words = [word.replace("%", "%%") for word in words]
    return " ".join(f'"{word}"' if " " in word else word for word in words)


def quoted(word: str, also: str = "") -> str:
    """Return a word for a unit, see systemd.service(5).

    Args:
        word: any text.
        also: further characters that are special; in commands, this is ``$``.
    """
    for char in ("\\", '"'):
        word = word.replace(char, f"\\{char}")
    for char in ("%", *also):
        word = word.replace(char, 2 * char)
    return f'"{word}"'.replace("\n", "\\n")


def changed_by_others() -> tuple[str, int] | None:
    """Return whether a user other than root can modify the program that system units start.

    Returns:
        A path on the way to the program, and the number of the user who owns it; None if root
        owns all of it.
    """
    for program in {os.path.abspath(sys.argv[0]), os.path.realpath(sys.argv[0]), sys.executable}:
        path = program
        while True:
            with suppress(OSError):
                status = os.lstat(path)
                if status.st_uid != 0:
                    return path, status.st_uid
            if path == "/":
                break
            path = os.path.dirname(path)
    return None


def write(path: Path, text: str) -> None:
    """Write a file atomically, and create its directory if necessary.

    Only a file that zsofs has written is replaced.

    Raises:
        ServiceError: it cannot be written, or another program has created the file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        ours = is_ours(path)
        if ours is False:
            raise ServiceError(
                f"the service file {path} was not written: the existing file was not created by"
                " zsofs; rename or remove it"
            )
        _write_new(path, text, replace=ours is True)
    except OSError as error:
        raise ServiceError(f"the service file {path} cannot be written: {reason(error)}") from None


def is_ours(path: Path) -> bool | None:
    """Return whether zsofs has written a file; None if it does not exist."""
    try:
        return path.read_bytes().startswith(MARK.encode())
    except FileNotFoundError:
        return None


def _write_new(path: Path, text: str, *, replace: bool) -> None:
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    with new_file(unfinished, text, 0o666):
        if replace:
            unfinished.rename(path)
        else:
            rename_to_free_name(str(unfinished), str(path))
