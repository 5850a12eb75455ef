"""The command line: what each command does, messages, exit codes.

What is heavy to import is imported where it is used, so that ``zsofs --version`` is quick.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from zsofs import arguments, mount_helper
from zsofs.errors import FileError, ZsofsError
from zsofs.printing import open_streams, print_nowhere, say

if TYPE_CHECKING:
    from zsofs.keeper import Held
    from zsofs.notify import Notifier
    from zsofs.packing import Packing
    from zsofs.privileges import Account
    from zsofs.settings import MountSettings


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
    open_streams()
    try:
        if words is None and mount_helper.is_called(sys.argv[0]):
            return mount_helper.run(sys.argv[1:], _mount)
        try:
            options = arguments.parse(words)
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


def _mount(options: argparse.Namespace) -> int:
    from zsofs import daemon, log, mountpoint, notify, privileges

    notifier = notify.from_environment()
    who = None if options.setuid is None else privileges.account(options.setuid)
    *source_paths, point = options.paths
    with privileges.acting_as(who):
        source = _check_source(source_paths, options)
    mountpoint.check_fuse(options.allow_other)
    log.to_terminal(_level(options))
    prepared, made = mountpoint.prepare_mount_point(
        point, source, os.geteuid() if who is None else who.user
    )
    privileges.make_folders(who)
    try:
        with privileges.acting_as(who):
            _log_to_file(options, prepared)
    except BaseException:
        if made:
            _remove_folder(prepared)
        raise

    def run(ready: Callable[[], None]) -> int:
        with ExitStack() as undo:
            if made:
                undo.callback(_remove_folder, prepared)
            settings = _settings(options, source or _demo_source(undo), prepared)
            if who is None:
                return _loaded(settings, ready, notifier)(None)
            return _serve_as(who, settings, ready, notifier, background=not options.foreground)

    def say(end: str) -> None:
        if options.announce and not options.quiet:
            _say_mounted(options, point, end)

    if options.foreground:
        return run(lambda: say("end it with Ctrl-C"))
    code = daemon.start(run)
    if code == 0:
        with suppress(PermissionError):  # only another user may, whom it was mounted for
            os.stat(prepared)  # answered by the daemon: the mount can be used
        say(f"end it with: {mountpoint.COMMAND} umount {shlex.quote(point)}")
    return code


def _check_source(paths: Sequence[str], options: argparse.Namespace) -> bytes | None:
    """The real path of the source, or None for the sample disc."""
    from zsofs.mountpoint import check_source

    if not paths:
        return None
    return check_source(paths[0], writable=options.writable, may_lack=options.nofail)


def _level(options: argparse.Namespace) -> int:
    return 10 if options.verbose else 40 if options.quiet else 30


def _log_to_file(options: argparse.Namespace, mount_point: bytes) -> None:
    """Log to a file from now on, unless what is said shall stay in the terminal."""
    from zsofs import log

    if options.foreground and not options.log_file:
        return
    if not options.log_file:
        log.to_default_file(mount_point, _level(options))
        return
    path: Path = options.log_file
    try:
        log.to_file(path, _level(options))
    except OSError as error:
        raise FileError(
            f"the log file {path} cannot be written: {error.strerror}; name another with --log-file"
        ) from None


def _demo_source(undo: ExitStack) -> bytes:
    """A folder with the sample disc, for as long as *undo* is entered."""
    from tempfile import TemporaryDirectory

    from zsofs.demo import fill_demo_folder

    folder = undo.enter_context(TemporaryDirectory(prefix="zsofs-demo-"))
    fill_demo_folder(folder)
    return os.fsencode(folder)


def _settings(options: argparse.Namespace, source: bytes, point: bytes) -> "MountSettings":
    from zsofs.settings import MountSettings

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
        show_raw=options.show_raw,
        remember=not options.demo,
        writable=options.writable,
        uid=options.uid,
        gid=options.gid,
        umask=options.umask,
    )


def _serve_as(
    who: "Account",
    settings: "MountSettings",
    ready: Callable[[], None],
    notifier: "Notifier",
    *,
    background: bool,
) -> int:
    """Serve as another user until the mount ends, while this process stays to unmount it."""
    from zsofs.keeper import keep

    try:
        return keep(
            who, settings, lambda: _loaded(settings, ready, notifier), background=background
        )
    except ZsofsError as error:
        return _failed(error)


def _loaded(
    settings: "MountSettings", ready: Callable[[], None], notifier: "Notifier"
) -> "Callable[[Held | None], int]":
    """What serves until the mount ends, with all modules that it needs."""
    import logging

    from zsofs import fuse_receive

    fuse_receive.load()  # before pyfuse3
    from zsofs.mount import serve

    def run(held: "Held | None") -> int:
        try:
            serve(settings, ready, notifier, held)
        except ZsofsError as error:
            return _failed(error)
        except Exception:
            logging.getLogger(__name__).exception("a bug in zsofs: the mount has ended")
            return 1
        return 0

    return run


def _failed(error: ZsofsError) -> int:
    from zsofs import log

    log.complain(error)
    return error.exit_code


def _remove_folder(path: bytes) -> None:
    with suppress(OSError):
        os.rmdir(path)


def _say_mounted(options: argparse.Namespace, point: str, end: str) -> None:
    what = "the sample disc" if options.demo else options.paths[0]
    text = f"{what} is mounted at {point}; {end}"
    if options.demo:
        from zsofs.demo import WHAT_TO_TRY

        text += "\n" + WHAT_TO_TRY.format(point=shlex.quote(point))
    try:
        print(text, flush=True)
    except OSError:  # whoever listened has gone; the mount is there all the same
        print_nowhere(sys.stdout)


def _umount(options: argparse.Namespace) -> int:
    from zsofs.mountpoint import unmount

    unmount(options.mount_point, lazy=options.lazy)
    return 0


def _reload(options: argparse.Namespace) -> int:
    from zsofs.asking import ask
    from zsofs.mountpoint import real_path

    ask(real_path(options.mount_point), "reload")
    return 0


def _status(options: argparse.Namespace) -> int:
    from zsofs import status

    return status.run(options.mount_point, options.json)


def _list(options: argparse.Namespace) -> int:
    from zsofs import listing

    return listing.run(options.path, options.json)


def _pack(options: argparse.Namespace) -> int:
    from zsofs.packing import packing

    how = packing(options.purpose, options.codec, options.level, options.block_size)
    return _copy(options, how)


def _unpack(options: argparse.Namespace) -> int:
    return _copy(options, None)


def _copy(options: argparse.Namespace, how: "Packing | None") -> int:
    """Pack as *how* says, or unpack."""
    from zsofs import batch
    from zsofs.pack import Care
    from zsofs.progress import Reporter

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
        how is not None and options.measure,
    )
    reporter = Reporter(
        quiet=options.quiet,
        as_json=options.json,
        to_stdout=options.output != batch.STANDARD_OUTPUT,
    )
    return batch.run(wish, reporter)


def _info(options: argparse.Namespace) -> int:
    from zsofs import info

    return info.run(options.paths, options.json)


def _verify(options: argparse.Namespace) -> int:
    from zsofs import log
    from zsofs.dat import load
    from zsofs.verify import Wish, run
    from zsofs.verify_report import VerifyReporter

    log.to_terminal(40 if options.quiet else 30)
    wish = Wish(
        options.paths,
        [load(Path(path)) for path in options.dats],
        options.quick,
        not options.no_cache,
    )
    return run(wish, VerifyReporter(quiet=options.quiet, as_json=options.json))


def _service(options: argparse.Namespace) -> int:
    from zsofs import services

    return services.run(options)
