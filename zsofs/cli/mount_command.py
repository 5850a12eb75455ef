"""`zsofs mount`: from options to a mount served by this process or a daemon.

Expensive modules are imported where they are used, which keeps ``zsofs --version`` fast.
"""

import argparse
import gc
import os
import shlex
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from zsofs.console.stdio import is_stuck, mention
from zsofs.errors import (
    FileError,
    MountError,
    NoProcessError,
    StartKilledError,
    UsageError,
    ZsofsError,
    reason,
)
from zsofs.formats.file_names import has_disc_ending
from zsofs.system.same_file import same_file

if TYPE_CHECKING:
    from zsofs.mount.own_mount import ServedMount
    from zsofs.mount.settings import MountSettings
    from zsofs.system.privileges import Account
    from zsofs.system.sd_notify import Notifier


def run(options: argparse.Namespace) -> int:
    """Mount as specified by the options; return the exit code.

    Args:
        options: the parsed command line of `zsofs mount`.

    Raises:
        ZsofsError: the mount failed.
    """
    from zsofs.console import logging_setup
    from zsofs.system import limits, mountpoint, privileges, sd_notify, view_folders

    limits.raise_open_files()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if ignored, exit statuses of children are lost
    notifier = sd_notify.from_environment()
    who = None if options.setuid is None else privileges.account(options.setuid)
    group = options.view_group
    if group is not None and os.geteuid() != 0:
        raise UsageError("only root can show a mount to a group; omit --view-group, or use sudo")
    options.paths = options.paths or [_demo_mount_point()]
    *source_paths, path = options.paths
    with privileges.acting_as(who):
        source = _check_source(source_paths, options)
        options.allow_links_to = mountpoint.check_link_directories(
            options.allow_links_to, may_lack=options.nofail
        )
    mountpoint.check_fuse(options.allow_other)
    logging_setup.to_terminal(_level(options), threaded=True)
    with ExitStack() as undo:
        user = os.geteuid() if who is None else who.user
        point = mountpoint.prepare_mount_point(path, source, user, undo)
        privileges.make_folders(who)
        if group is not None:
            view_folders.make_view_folder(user, group)
        with privileges.acting_as(who):
            _log_to_file(options, point)

        def serve(ready: Callable[[], None]) -> int:
            with undo.pop_all() as rest:
                settings = _settings(options, source or _demo_source(rest), point)
                load = partial(_loaded, settings, ready, notifier)
                return _serve(who, settings, load, background=not options.foreground)

        if not options.foreground:
            return _mount_in_background(options, point, serve, undo)
        said = "end it with Ctrl-C"
        return _end(logging_setup.exit_code_of(lambda: serve(lambda: _say_mounted(options, said))))


def _mount_in_background(
    options: argparse.Namespace,
    point: bytes,
    serve: Callable[[Callable[[], None]], int],
    undo: ExitStack,
) -> int:
    """Start a daemon that serves the mount, and wait until the mount is ready."""
    from zsofs.console.logging_setup import exit_code_of
    from zsofs.system import daemonize
    from zsofs.system.mountpoint import COMMAND, clear_dead_mount

    path = options.paths[-1]
    try:
        code = daemonize.start(lambda ready: exit_code_of(lambda: serve(ready)))
    except OSError as error:
        raise NoProcessError(path, error) from None
    if code < 0:
        with suppress(ZsofsError):
            clear_dead_mount(path, point)
        raise StartKilledError(path, -code)
    undo.pop_all()  # the daemon is now responsible for it
    if code:
        return code
    try:
        os.stat(point)  # answered by the daemon: the mount is ready
    except PermissionError:
        pass  # the mount belongs to another user (--setuid)
    except OSError as error:
        raise MountError(
            f"the mount at {path} ended immediately: {reason(error)}; check its log"
        ) from None
    _say_mounted(options, f"end it with: {COMMAND} umount {shlex.quote(path)}")
    return _end(0, at_once=True)


def _serve(
    who: "Account | None",
    settings: "MountSettings",
    load: "Callable[[], Callable[[ServedMount | None], int]]",
    *,
    background: bool,
) -> int:
    """Serve until the mount ends; with *who*, serve as that user while this process unmounts."""
    if who is None:
        return load()(None)
    from zsofs.mount.root_helper import keep

    return keep(who, settings, load, background=background)


def _end(code: int, *, at_once: bool = False) -> int:
    """Return *code*; exit immediately if a blocked log or terminal prevents a normal exit.

    *at_once*: exit immediately in any case. For a command that has started a daemon, a normal exit
    would clear up the modules of both, which takes 17 of 255 ms.
    """
    from zsofs.console import logging_setup

    if not logging_setup.finish() or is_stuck() or at_once:
        os._exit(code)
    return code


def _check_source(paths: Sequence[str], options: argparse.Namespace) -> bytes | None:
    """Return the real path of the source, or None for the sample disc."""
    from zsofs.system.mountpoint import check_source

    if not paths:
        return None
    return check_source(paths[0], writable=options.writable, may_lack=options.nofail)


def _level(options: argparse.Namespace) -> int:
    return 10 if options.verbose else 40 if options.quiet else 30


def _log_to_file(options: argparse.Namespace, mount_point: bytes) -> None:
    """Log to a file from now on, except in the foreground without --log-file."""
    from zsofs.console import logging_setup

    if options.foreground and not options.log_file:
        return
    if not options.log_file:
        logging_setup.to_default_file(mount_point, _level(options))
        return
    path: Path = options.log_file
    if has_disc_ending(os.fsencode(path)) or (
        options.titles is not None and same_file(path, options.titles)
    ):
        raise FileError(
            f"the log file {path} has the name of a disc image or is the --titles file, and was"
            " not written; give another path with --log-file"
        )
    try:
        logging_setup.to_file(path, _level(options))
    except OSError as error:
        raise FileError(
            f"the log file {path} cannot be written: {error.strerror}; give another path with"
            " --log-file"
        ) from None


def _demo_mount_point() -> str:
    from zsofs.cli.demo import default_mount_point

    return default_mount_point()


def _demo_source(undo: ExitStack) -> bytes:
    """Return a temporary directory with the sample disc, which *undo* removes."""
    from tempfile import TemporaryDirectory

    from zsofs.cli.demo import fill_demo_folder

    folder = undo.enter_context(TemporaryDirectory(prefix="zsofs-demo-"))
    fill_demo_folder(folder)
    return os.fsencode(folder)


def _settings(options: argparse.Namespace, source: bytes, point: bytes) -> "MountSettings":
    from zsofs.discs.cd_forms import CdForm
    from zsofs.mount.settings import MountSettings, ReportSettings, TreeSettings, WriteSettings
    from zsofs.preload.settings import PreloadSettings
    from zsofs.vfs.shown_owner import ShownOwner

    return MountSettings(
        source=source,
        mount_point=point,
        cache_size=options.cache_size,
        threads=options.threads,
        read_ahead=options.read_ahead,
        allow_other=options.allow_other,
        tree=TreeSettings(
            layout=options.layout,
            titles=options.titles,
            include=tuple(options.include),
            exclude=tuple(options.exclude),
            allow_links_to=options.allow_links_to,
            show_raw=options.show_raw,
            cd=None if options.cd == "auto" else CdForm(options.cd),
        ),
        owner=ShownOwner(options.uid, options.gid, options.umask),
        remember=not options.demo,
        writing=WriteSettings(options.writable, options.new_discs),
        reports=ReportSettings(options.slow_ms, options.view_group),
        preload=PreloadSettings(not options.no_preload, options.keep_awake == "auto"),
    )


def _loaded(
    settings: "MountSettings", ready: Callable[[], None], notifier: "Notifier"
) -> "Callable[[ServedMount | None], int]":
    """Import all modules, and return the function that serves until the mount ends."""
    from zsofs.console.logging_setup import exit_code_of, finish
    from zsofs.fuse import receive

    gc.disable()  # what is imported stays: collections meanwhile, and visits later, find nothing
    receive.load()  # before pyfuse3
    from zsofs.mount.lifecycle import serve

    gc.freeze()
    gc.enable()

    def serve_now(mount: "ServedMount | None") -> int:
        try:
            serve(settings, ready, notifier, mount)
        except OSError as error:
            point = os.fsdecode(settings.mount_point)
            raise MountError(f"the mount at {point} failed: {reason(error)}") from None
        return 0

    def reported(mount: "ServedMount | None") -> int:
        try:
            return exit_code_of(lambda: serve_now(mount))
        finally:
            finish()

    return reported


def _say_mounted(options: argparse.Namespace, end: str) -> None:
    if options.quiet or not options.announce:
        return
    point = options.paths[-1]
    what = "the sample disc" if options.demo else options.paths[0]
    text = f"{what} is mounted at {point}; {end}"
    if options.demo:
        from zsofs.cli.demo import what_to_try

        text += "\n" + what_to_try(point)
    mention(text)  # the mount succeeded even if this cannot be printed
