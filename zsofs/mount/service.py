"""`zsofs service`: install, list and remove mounts as systemd services."""

import argparse
import os
import pwd
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from zsofs.console.stdio import say
from zsofs.console.tables import counted, printable, table
from zsofs.errors import MountPointError, ServiceError, UnmountError, UsageError, reason
from zsofs.mount import config, service_users
from zsofs.mount.control import status
from zsofs.mount.options import OPTIONS
from zsofs.mount.systemd_units import Manager, mount_unit, write
from zsofs.source.scan_cache import catalog_name
from zsofs.system import privileges, xdg
from zsofs.system.mountinfo import Mounted, mount_of, mounted_at
from zsofs.system.mountpoint import (
    check_link_directories,
    check_source,
    real_path,
    trusted_path,
    unmount,
)
from zsofs.system.nofollow import remove_directory
from zsofs.system.privileges import Account
from zsofs.system.view_folders import remove_view_folders
from zsofs.system.xdg import cache_folder

_NAMED = 3
_MADE = "# The mount point was not there before; it goes with the service.\n"


def run(options: argparse.Namespace) -> int:
    """Run the action of the command line; return the exit code."""
    if options.action == "list":
        manager = Manager(options.user)
        manager.check()
        return _list(manager)
    manager = service_users.manager_to_change(user=options.user)
    actions = {"install": _install, "remove": _remove}
    return actions[options.action](manager, options)


def exists(name: str, *, user: bool) -> bool:
    """Return whether a mount is installed as the service *name*."""
    return os.path.exists(_folder(Manager(user)) / (name + config.ENDING))


def without_view(group: int) -> Iterator[tuple[str, Path]]:
    """Yield name and config of each system service that does not show its mount to a group."""
    for file in sorted(xdg.system_folder().glob("*" + config.ENDING)):
        with suppress(UsageError):  # an invalid one is reported when it is used
            if config.load(file).get("view_group") != group:
                yield file.stem, file


def _folder(manager: Manager) -> Path:
    return xdg.user_folder() if manager.is_users else xdg.system_folder()


def _install(manager: Manager, options: argparse.Namespace) -> int:
    name = config.check_name(options.name)
    file = _folder(manager) / (name + config.ENDING)
    if os.path.exists(file):
        raise UsageError(
            f"the config {file} already exists; use another name, or remove it with:"
            f" zsofs service remove {name}{' --user' if manager.is_users else ''}"
        )
    setuid = options.values.get("setuid")
    who = None if manager.is_users else service_users.owner_or(setuid, options.source)
    with privileges.acting_as(who):
        source = check_source(options.source, writable=options.values.get("writable", False))
        unreadable = list(_unreadable(source))
        disk = _mount_around(source)
        linked = check_link_directories(options.values.get("allow_links_to", ()))
        linked_disks = [_mount_around(path) for path in linked]
    find = real_path if who is None else trusted_path
    point = os.fsdecode(find(options.mount_point))
    if mounted_at(os.fsencode(point)) is not None:
        raise UsageError(
            f"something is already mounted at {point}; unmount it first with: umount {point}"
        )
    if who is not None:
        _check_way(who, point)
    units = [] if manager.is_users else list(_units_of(manager, disk, point, linked_disks))
    values = dict(_texts(options.values))
    if who is not None:
        values["setuid"] = who.name
    made = "" if os.path.exists(point) else _MADE
    write(file, made + config.text_of(os.fsdecode(source), point, values))
    _tell(manager, who, unreadable, options)
    manager.add(name, units)
    manager.start(name)
    print(f"the service {name} is installed and runs; its config is {file}")
    return status.run(point, as_json=False)


def _texts(values: dict[str, object]) -> Iterator[tuple[str, object]]:
    """Yield the options of the command line in the form of a config."""
    for option in OPTIONS:
        value = values.get(option.field)
        if option.field not in values or value is False:
            continue
        if option.is_flag:
            yield option.name, True
        elif isinstance(value, list):
            yield option.name, [option.write(one) for one in value]
        else:
            yield option.name, option.write(value)


def _unreadable(source: bytes) -> Iterator[bytes]:
    """Yield paths in the source that this process may not read."""
    failed: list[OSError] = []
    for folder, _, files in os.walk(source, onerror=failed.append):
        yield from (error.filename for error in failed)
        failed.clear()
        for name in files:
            path = os.path.join(folder, name)
            if not os.path.islink(path) and not os.access(path, os.R_OK, effective_ids=True):
                yield path
    yield from (error.filename for error in failed)


def _tell(
    manager: Manager, who: Account | None, unreadable: list[bytes], options: argparse.Namespace
) -> None:
    """Print remarks on the service that the user may not expect."""
    user = service_users.name_of(who)
    say(f"the service runs as the user {user}")
    if unreadable:
        named = ", ".join(printable(os.fsdecode(path)) for path in unreadable[:_NAMED])
        more = f" and {len(unreadable) - _NAMED:,} more" if len(unreadable) > _NAMED else ""
        say(f"{user} cannot read {counted(len(unreadable), 'file')}: {named}{more}")
    service_users.warn_of_changeable_program(manager)
    if not options.values.get("allow_other"):
        say(
            f"only {user} can use the mount; --allow-other allows other users, for example"
            " those of a Samba server"
        )
    service_users.warn_of_logout(manager, user)


def _check_way(who: Account, point: str) -> None:
    """Check that *who* can enter the directories above a mount point, in order to list it.

    Raises:
        UsageError: one of them is inaccessible.
    """
    for folder in reversed(Path(point).parents):
        try:
            with privileges.acting_as(who):
                os.stat(os.path.join(folder, "."))
        except PermissionError:
            raise UsageError(
                f"{who.name} cannot enter {folder}, a parent directory of the mount point {point};"
                f" allow it with: chmod o+x {shlex.quote(str(folder))}, or give another mount point"
            ) from None
        except OSError:
            return  # an invalid mount point is reported when it is mounted


def _mount_around(path: bytes) -> Mounted | None:
    """Return the mount that contains a path, or its nearest existing parent.

    Raises:
        OSError: it is inaccessible.
    """
    while not os.path.exists(path) and path != b"/":
        path = os.path.dirname(path)
    fd = os.open(path, os.O_PATH)
    try:
        return mount_of(fd)
    finally:
        os.close(fd)


def _units_of(
    manager: Manager, disk: Mounted | None, point: str, linked_disks: Sequence[Mounted | None]
) -> Iterator[str]:
    """Yield the mount units after which a service is started, without that of the root disk.

    Args:
        manager: the system service manager.
        disk: the mount that contains the source.
        point: real path of the mount point.
        linked_disks: the mounts that contain the directories of `--allow-links-to`.

    Raises:
        UsageError: the mount point is on the file system of the source, which may be mounted later.
    """
    beneath = None
    with suppress(OSError):  # an invalid mount point is reported when it is mounted
        beneath = _mount_around(os.fsencode(point))
    mounts = {mounted.number: mounted for mounted in (disk, *linked_disks, beneath) if mounted}
    for mounted in mounts.values():
        if mounted.path == b"/":
            continue
        unit, shown = mount_unit(os.fsdecode(mounted.path)), os.fsdecode(mounted.path)
        if mounted == disk == beneath and not manager.is_needed_to_start(unit):
            raise UsageError(
                f"the mount point {point} is on the file system of the source, {shown}, which"
                " would cover it if that is mounted after the service starts; give a mount"
                f" point outside of {shown}"
            )
        yield unit


def _installed(manager: Manager) -> Iterator[tuple[str, str, str]]:
    """Yield each config with a service: name, state, and whether it is enabled."""
    for file in sorted(_folder(manager).glob("*" + config.ENDING)):
        state, enabled = manager.state(file.stem)
        if enabled == "enabled" or state in ("active", "activating", "failed"):
            yield file.stem, state, enabled


def _list(manager: Manager) -> int:
    rows: list[tuple[str, ...]] = [("name", "state", "at start", "source", "mount point")]
    for name, state, enabled in _installed(manager):
        try:
            values = config.load(_folder(manager) / (name + config.ENDING))
            places = str(values["source"]), str(values["mountpoint"])
        except UsageError as error:
            places = str(error), ""
        rows.append((name, state, enabled, *map(printable, places)))
    say("\n".join(table(rows, "lllll")) if len(rows) > 1 else "no zsofs services are installed")
    return 0


def _remove(manager: Manager, options: argparse.Namespace) -> int:
    name = config.check_name(options.name)
    file = _folder(manager) / (name + config.ENDING)
    installed = [found for found, _, _ in _installed(manager)]
    if not os.path.exists(file) and not manager.knows(name):
        raise ServiceError(
            f"no such service: {name}; list the services with: zsofs service list"
            f"{' --user' if manager.is_users else ''}"
        )
    try:
        values = config.load(file)
    except UsageError as error:
        print(f"{error}; it is removed anyway")
        values = {}
    manager.remove(name, [other for other in installed if other != name])
    if "mountpoint" in values:
        point = str(values["mountpoint"])
        with suppress(UnmountError, MountPointError):  # usually it is already unmounted
            unmount(point, lazy=True)
        if file.read_text().startswith(_MADE):
            with suppress(OSError):  # already removed, except after a power failure
                remove_directory(os.fsencode(point))
    _remove_findings(manager, values)
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise ServiceError(f"the config {file} cannot be removed: {reason(error)}") from None
    with suppress(OSError):
        file.parent.rmdir()
    say(f"the service {name} is removed")
    return 0


def _remove_findings(manager: Manager, values: dict[str, object]) -> None:
    """Remove the cache of a source, and directories that are then empty."""
    if "source" not in values:
        return
    user = values.get("setuid")
    folder: Path | None
    if manager.is_users:
        folder = cache_folder()
    elif isinstance(user, int) and user:
        folder = privileges.cache_folder(user) / "zsofs"
    else:  # independent of sudo's environment
        folder = Path(pwd.getpwuid(0).pw_dir) / ".cache" / "zsofs"
    if folder is None:
        return
    source = os.path.realpath(os.fsencode(str(values["source"])))
    other = user if isinstance(user, int) and not manager.is_users else 0
    # That user may have replaced the directory by a symlink.
    with privileges.acting_as(privileges.account_of(other) if other else None):
        for path in folder.glob(f"{catalog_name(source)}*"):
            with suppress(OSError):
                path.unlink()
        with suppress(OSError):
            folder.rmdir()
    if other:
        privileges.remove_folders(other)
    if not manager.is_users:
        remove_view_folders(other)
