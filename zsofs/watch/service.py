"""`zsofs service` for watches: a unit of its own for each, which has the whole command line."""

import argparse
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from zsofs.console.stdio import say
from zsofs.console.tables import printable, table
from zsofs.errors import ServiceError, UsageError, reason
from zsofs.mount import config, service_users
from zsofs.mount.systemd_units import (
    MARK,
    Manager,
    is_ours,
    mount_unit,
    program,
    quoted,
    write,
)
from zsofs.system import privileges
from zsofs.system.mountinfo import mount_of
from zsofs.watch.settings import DELETE, IN_PLACE, MOVE, WatchSettings, check

_SHIPPED = Path(__file__).parent / "service_units"
_PREFIX, _ENDING = "zsofs-watch-", ".service"
_COMMAND = re.compile(r"^ExecStart=.* watch (.*)$", re.MULTILINE)


def unit(name: str) -> str:
    """Return the unit name of the watch *name*."""
    return f"{_PREFIX}{name}{_ENDING}"


def exists(name: str, *, user: bool) -> bool:
    """Return whether a watch is installed as the service *name*."""
    return os.path.lexists(Manager(user).folder / unit(name))


def install(options: argparse.Namespace, settings: WatchSettings, setuid: int | None) -> int:
    """Install and start a watch as a service; return the exit code.

    Args:
        options: the command line, with ``name`` and ``user``.
        settings: settings of the watch.
        setuid: number of the user who packs; None: the owner of the library.

    Raises:
        UsageError: the command line is invalid, or the name is taken.
        SourceError: a directory is unusable.
        ServiceError: systemd reported an error.
    """
    manager = service_users.manager_to_change(user=options.user)
    name = config.check_name(options.name)
    if exists(name, user=options.user):
        raise UsageError(
            f"the service {name} already exists; use another name, or remove it with:"
            f" zsofs service remove {name}{' --user' if options.user else ''}"
        )
    who = None if options.user else service_users.owner_or(setuid, settings.library)
    with privileges.acting_as(who):
        check(settings)
    text = _text(name, settings, "" if options.user else who.name if who else "root")
    _check_text(text)
    write(manager.folder / unit(name), MARK + text)
    user = service_users.name_of(who)
    say(f"the service runs as the user {user}")
    service_users.warn_of_changeable_program(manager)
    service_users.warn_of_logout(manager, user)
    manager.call("daemon-reload")
    manager.start_unit(name, unit(name))
    say(f"the service {name} is installed and runs; its unit is {manager.folder / unit(name)}")
    return 0


def _text(name: str, settings: WatchSettings, user: str) -> str:
    """Return the text of a unit; *user* is empty for a user service."""
    shipped = _SHIPPED / ("system.service" if user else "user.service")
    paths = dict.fromkeys(
        (*settings.inboxes, settings.library, settings.move_to, settings.failed_to)
    )
    fields = {
        "name": name,
        "user": user,
        "command": f"{program()} {' '.join(quoted(word, '$') for word in _words(settings))}",
        "mounts": " ".join(dict.fromkeys(_mount_units(paths))),
        # With "-", a directory may be missing; the service then fails, and is started again.
        "writable": " ".join(quoted(f"-{path}") for path in paths if path),
    }
    return re.sub(r"\{(\w+)\}", lambda found: fields[found[1]], shipped.read_text())


def _check_text(text: str) -> None:
    """Raise UsageError if a unit is not valid UTF-8, because a path is not."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        line = text.split("\n")[text.count("\n", 0, error.start)]
        raise UsageError(f"{line!r} is not valid UTF-8, which a unit requires") from None


def _words(settings: WatchSettings) -> Iterator[str]:
    """Yield the command line of a watch."""
    yield "watch"
    purpose, codec, level, block_size = settings.packing
    yield from ("--for", purpose)
    for option, value in (
        ("--codec", codec),
        ("--level", level),
        ("--block-size", block_size),
        ("--move-source", settings.move_to if settings.after == MOVE else None),
        ("--move-failed", settings.failed_to or None),
    ):
        if value is not None:
            yield from (option, str(value))
    if settings.after == DELETE:
        yield "--delete-source"
    for dat in settings.dats:
        yield from ("--dat", dat)
    if settings.notify:
        yield "--notify"
    if settings.after == IN_PLACE:
        yield from ("--in-place", "--", settings.library)
    else:
        yield from ("-o", settings.library, "--", *settings.inboxes)


def _mount_units(paths: Iterable[str]) -> Iterator[str]:
    """Yield the units of the file systems that have the paths, without that of the root disk."""
    for path in filter(None, paths):
        fd = os.open(path, os.O_PATH)
        try:
            mounted = mount_of(fd)
        finally:
            os.close(fd)
        if mounted is not None and mounted.path != b"/":
            yield mount_unit(os.fsdecode(mounted.path))


def listed(*, user: bool) -> str:
    """Return the table of the watches that are services; empty if there are none."""
    manager = Manager(user)
    rows: list[tuple[str, ...]] = [("watch", "state", "at start", "command")]
    for file in sorted(manager.folder.glob(f"{_PREFIX}*{_ENDING}")):
        if is_ours(file):
            state, enabled = manager.state_of(file.name)
            command = _COMMAND.search(file.read_text())
            name = file.name.removeprefix(_PREFIX).removesuffix(_ENDING)
            rows.append((name, state, enabled, printable(command[1]) if command else ""))
    return "\n".join(table(rows, "llll")) if len(rows) > 1 else ""


def remove(options: argparse.Namespace) -> int:
    """Stop a watch, and remove its unit and its ledger; return the exit code.

    Raises:
        ServiceError: systemd reported an error, or the unit cannot be removed.
    """
    manager = service_users.manager_to_change(user=options.user)
    name = config.check_name(options.name)
    file = manager.folder / unit(name)
    if not is_ours(file):
        raise ServiceError(f"the service file {file} was not created by zsofs; remove it manually")
    manager.call("disable", "--now", unit(name))
    if not manager.is_users:
        with suppress(ServiceError):  # older versions of systemd; the ledger does no harm
            manager.call("clean", "--what=state", "--what=cache", unit(name))
    try:
        file.unlink()
    except OSError as error:
        raise ServiceError(f"the service file {file} cannot be removed: {reason(error)}") from None
    manager.call("daemon-reload")
    if manager.state_of(unit(name))[0] == "failed":
        manager.call("reset-failed", unit(name))
    say(f"the service {name} is removed")
    return 0
