"""The command line: what each command does, messages, exit codes.

What is heavy to import is imported where it is used, so that ``zsofs --version`` is quick.
"""

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from zsofs.cli import mount_helper, parser
from zsofs.console.stdio import is_stuck, mention, open_streams, print_nowhere, say
from zsofs.errors import (
    FileError,
    FuseError,
    NoDirectoryError,
    NoProcessError,
    StartKilledError,
    SystemFailureError,
    ZsofsError,
    reason,
)
from zsofs.formats.file_names import has_disc_ending

if TYPE_CHECKING:
    from zsofs.mount.own_mount import ServedMount
    from zsofs.mount.settings import MountSettings
    from zsofs.pack.presets import Packing
    from zsofs.system.privileges import Account
    from zsofs.system.sd_notify import Notifier


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    commands = {
        "mount": _mount,
        "umount": _umount,
        "reload": _reload,
        "status": _status,
        "list": _list,
        "pack": _pack,
        "unpack": _unpack,
        "info": _info,
        "verify": _verify,
        "service": _service,
    }
    try:
        open_streams()
        if words is None and mount_helper.is_called(sys.argv[0]):
            return mount_helper.run(sys.argv[1:], _mount)
        try:
            options = parser.parse(words)
        except SystemExit:  # after --help
            say(end="")
            raise
        return commands[options.command](options)
    except ZsofsError as error:
        return _failed(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        print_nowhere(sys.stdout)  # whoever read what was printed has read enough
        return 0
    except OSError as error:
        return _failed(SystemFailureError(error) if _has_directory() else NoDirectoryError())


def _has_directory() -> bool:
    """Return whether the current directory exists: without it no relative path can be used."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _mount(options: argparse.Namespace) -> int:
    from zsofs.console import logging_setup
    from zsofs.system import limits, mountpoint, privileges, sd_notify

    limits.raise_open_files()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would hide how children have ended
    notifier = sd_notify.from_environment()
    who = None if options.setuid is None else privileges.account(options.setuid)
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
        return _end(_reported(lambda: serve(lambda: _say_mounted(options, said))))


def _mount_in_background(
    options: argparse.Namespace,
    point: bytes,
    serve: Callable[[Callable[[], None]], int],
    undo: ExitStack,
) -> int:
    """Have a daemon serve the mount, and wait until it can be used."""
    from zsofs.system import daemonize
    from zsofs.system.mountpoint import COMMAND, clear_dead_mount

    path = options.paths[-1]
    try:
        code = daemonize.start(lambda ready: _reported(lambda: serve(ready)))
    except OSError as error:
        raise NoProcessError(path, error) from None
    if code < 0:
        with suppress(ZsofsError):
            clear_dead_mount(path, point)
        raise StartKilledError(path, -code)
    undo.pop_all()  # the daemon has done it, or will
    if code:
        return code
    try:
        os.stat(point)  # answered by the daemon: the mount can be used
    except PermissionError:
        pass  # only another user may, whom it was mounted for
    except OSError as error:
        raise FuseError(
            f"the mount at {path} ended as soon as it was made: {reason(error)};"
            " its log may say why"
        ) from None
    _say_mounted(options, f"end it with: {COMMAND} umount {shlex.quote(path)}")
    return 0


def _serve(
    who: "Account | None",
    settings: "MountSettings",
    load: "Callable[[], Callable[[ServedMount | None], int]]",
    *,
    background: bool,
) -> int:
    """Serve until the mount ends; as another user while this process stays to unmount it."""
    if who is None:
        return load()(None)
    from zsofs.mount.root_helper import keep

    return keep(who, settings, load, background=background)


def _end(code: int) -> int:
    """Return *code*; exit with it if a stuck log or terminal would keep the interpreter."""
    from zsofs.console import logging_setup

    if not logging_setup.finish() or is_stuck():
        os._exit(code)
    return code


def _check_source(paths: Sequence[str], options: argparse.Namespace) -> bytes | None:
    """The real path of the source, or None for the sample disc."""
    from zsofs.system.mountpoint import check_source

    if not paths:
        return None
    return check_source(paths[0], writable=options.writable, may_lack=options.nofail)


def _level(options: argparse.Namespace) -> int:
    return 10 if options.verbose else 40 if options.quiet else 30


def _log_to_file(options: argparse.Namespace, mount_point: bytes) -> None:
    """Log to a file from now on, unless what is said shall stay in the terminal."""
    from zsofs.console import logging_setup

    if options.foreground and not options.log_file:
        return
    if not options.log_file:
        logging_setup.to_default_file(mount_point, _level(options))
        return
    path: Path = options.log_file
    if has_disc_ending(os.fsencode(path)) or _is_same(path, options.titles):
        raise FileError(
            f"the log file {path} would be a disc image or the list of titles, and is not written;"
            " name another with --log-file"
        )
    try:
        logging_setup.to_file(path, _level(options))
    except OSError as error:
        raise FileError(
            f"the log file {path} cannot be written: {error.strerror}; name another with --log-file"
        ) from None


def _demo_mount_point() -> str:
    from zsofs.cli.demo import default_mount_point

    return default_mount_point()


def _is_same(path: Path, other: Path | None) -> bool:
    try:
        return other is not None and os.path.samefile(path, other)
    except OSError:
        return False


def _demo_source(undo: ExitStack) -> bytes:
    """A folder with the sample disc, for as long as *undo* is entered."""
    from tempfile import TemporaryDirectory

    from zsofs.cli.demo import fill_demo_folder

    folder = undo.enter_context(TemporaryDirectory(prefix="zsofs-demo-"))
    fill_demo_folder(folder)
    return os.fsencode(folder)


def _settings(options: argparse.Namespace, source: bytes, point: bytes) -> "MountSettings":
    from zsofs.mount.settings import MountSettings

    return MountSettings(
        source=source,
        mount_point=point,
        cache_size=options.cache_size,
        threads=options.threads,
        read_ahead=options.read_ahead,
        allow_other=options.allow_other,
        layout=options.layout,
        titles=options.titles,
        include=tuple(options.include),
        exclude=tuple(options.exclude),
        allow_links_to=options.allow_links_to,
        show_raw=options.show_raw,
        remember=not options.demo,
        writable=options.writable,
        uid=options.uid,
        gid=options.gid,
        umask=options.umask,
    )


def _loaded(
    settings: "MountSettings", ready: Callable[[], None], notifier: "Notifier"
) -> "Callable[[ServedMount | None], int]":
    """What serves until the mount ends, with all modules that it needs."""
    from zsofs.console.logging_setup import finish
    from zsofs.fuse import receive

    receive.load()  # before pyfuse3
    from zsofs.mount.lifecycle import serve

    def run(mount: "ServedMount | None") -> int:
        try:
            serve(settings, ready, notifier, mount)
        except OSError as error:
            point = os.fsdecode(settings.mount_point)
            raise FuseError(f"the mount at {point} failed: {reason(error)}") from None
        return 0

    def reported(mount: "ServedMount | None") -> int:
        try:
            return _reported(lambda: run(mount))
        finally:
            finish()

    return reported


def _reported(run: Callable[[], int]) -> int:
    """Run this; returns its exit code, or that of an error, which is printed in one line."""
    from zsofs.console import logging_setup

    try:
        return run()
    except ZsofsError as error:
        return _failed(error)
    except OSError as error:
        return _failed(SystemFailureError(error))
    except Exception as error:  # noqa: BLE001 - nothing above us could report it
        logging_setup.complain_of_bug(error)
        return 1


def _failed(error: ZsofsError) -> int:
    from zsofs.console import logging_setup

    logging_setup.complain(error)
    return error.exit_code


def _say_mounted(options: argparse.Namespace, end: str) -> None:
    if options.quiet or not options.announce:
        return
    point = options.paths[-1]
    what = "the sample disc" if options.demo else options.paths[0]
    text = f"{what} is mounted at {point}; {end}"
    if options.demo:
        from zsofs.cli.demo import what_to_try

        text += "\n" + what_to_try(point)
    mention(text)  # the mount is there, whether or not somebody takes it


def _umount(options: argparse.Namespace) -> int:
    from zsofs.mount.umount import take_down_all

    codes = [_failed(error) for error in take_down_all(options.mount_points, lazy=options.lazy)]
    return codes[0] if codes else 0


def _reload(options: argparse.Namespace) -> int:
    from zsofs.mount.control.client import ask
    from zsofs.system.mountpoint import real_path

    ask(real_path(options.mount_point), "reload")
    return 0


def _status(options: argparse.Namespace) -> int:
    from zsofs.mount.control import status

    return status.run(options.mount_point, options.json)


def _list(options: argparse.Namespace) -> int:
    from zsofs.cli import list_command

    return list_command.run(options.path, options.json, options.allow_links_to)


def _pack(options: argparse.Namespace) -> int:
    from zsofs.pack.presets import packing

    how = packing(options.purpose, options.codec, options.level, options.block_size)
    return _copy(options, how)


def _unpack(options: argparse.Namespace) -> int:
    return _copy(options, None)


def _copy(options: argparse.Namespace, how: "Packing | None") -> int:
    """Pack as *how* says, or unpack."""
    from zsofs.inspection.verify_cache import remember_written
    from zsofs.pack import batch
    from zsofs.pack.packer import Care
    from zsofs.pack.report import Reporter
    from zsofs.system.mountpoint import check_link_directories

    wish = batch.Wish(
        options.inputs,
        options.output,
        options.recursive,
        how,
        Care(
            verify=not options.no_verify,
            digests=how is None or not options.no_digests,
            replace=options.force,
        ),
        options.delete_source,
        how is not None and options.any,
        how is not None and options.measure,
        check_link_directories(options.allow_links_to),
    )
    reporter = Reporter(
        quiet=options.quiet,
        as_json=options.json,
        to_stdout=options.output != batch.STANDARD_OUTPUT,
    )
    return batch.run(wish, reporter, remember_written)


def _info(options: argparse.Namespace) -> int:
    from zsofs.inspection import info

    return info.run(options.paths, options.json)


def _verify(options: argparse.Namespace) -> int:
    from zsofs.console import logging_setup
    from zsofs.discs.dat import load
    from zsofs.inspection.verify import Wish, run
    from zsofs.inspection.verify_report import VerifyReporter
    from zsofs.system.mountpoint import check_link_directories

    logging_setup.to_terminal(40 if options.quiet else 30)
    wish = Wish(
        options.paths,
        [load(Path(path)) for path in options.dats],
        options.quick,
        not options.no_cache,
        check_link_directories(options.allow_links_to),
    )
    return run(wish, VerifyReporter(quiet=options.quiet, as_json=options.json))


def _service(options: argparse.Namespace) -> int:
    from zsofs.mount import service

    return service.run(options)
