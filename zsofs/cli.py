"""The command line: what each command does, messages, exit codes.

What is heavy to import is imported where it is used, so that ``zsofs --version`` is quick.
"""

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from zsofs import arguments
from zsofs.errors import UsageError, ZsofsError

if TYPE_CHECKING:
    from zsofs.packing import Packing


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
    }
    _open_standard_streams()
    try:
        options = arguments.parse(words)
        code = commands[options.command](options)
        print(end="", flush=True)
    except ZsofsError as error:
        print(f"zsofs: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _print_nowhere()  # whoever read what was printed has read enough
        return 0
    return code


def _print_nowhere() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_standard_streams() -> None:
    """Make sure that descriptors 0 to 2 are taken, and that any file name can be printed."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is fd
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # none where it was closed
            stream.reconfigure(errors="backslashreplace")


def _mount(options: argparse.Namespace) -> int:
    from zsofs import daemon, log, mountpoint

    *source_paths, point = options.paths
    source = (
        mountpoint.check_source(source_paths[0], writable=options.writable)
        if source_paths
        else None
    )
    mountpoint.check_fuse(options.allow_other)
    level = 10 if options.verbose else 40 if options.quiet else 30
    log.to_terminal(level)
    prepared, made = mountpoint.prepare_mount_point(point, source)
    if options.log_file or not options.foreground:
        path = Path(options.log_file or log.default_log_file(prepared)).absolute()
        try:
            _log_to_file(path, level)
        except UsageError:
            if made:
                _remove_folder(prepared)
            raise

    def run(ready: Callable[[], None]) -> int:
        return _serve(options, source, prepared, made, ready)

    def say(end: str) -> None:
        if not options.quiet:
            _say_mounted(options, point, end)

    if options.foreground:
        return run(lambda: say("end it with Ctrl-C"))
    code = daemon.start(run)
    if code == 0:
        os.stat(prepared)  # answered by the daemon: the mount can be used
        say(f"end it with: {mountpoint.COMMAND} umount {point}")
    return code


def _log_to_file(path: Path, level: int) -> None:
    from zsofs import log

    try:
        log.to_file(path, level)
    except OSError as error:
        raise UsageError(f"the log file {path} cannot be written: {error.strerror}") from None


def _serve(
    options: argparse.Namespace,
    source: bytes | None,
    point: bytes,
    made: bool,
    ready: Callable[[], None],
) -> int:
    """Serve *source*, or the sample disc where it is None, until the mount ends."""
    import logging
    from tempfile import TemporaryDirectory

    from zsofs.mount import serve
    from zsofs.settings import MountSettings

    with ExitStack() as undo:
        if made:
            undo.callback(_remove_folder, point)
        if source is None:
            from zsofs.demo import fill_demo_folder

            folder = undo.enter_context(TemporaryDirectory(prefix="zsofs-demo-"))
            fill_demo_folder(folder)
            source = os.fsencode(folder)
        settings = MountSettings(
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
        try:
            serve(settings, ready)
        except ZsofsError as error:
            print(f"zsofs: {error}", file=sys.stderr)
            return error.exit_code
        except Exception:
            logging.getLogger(__name__).exception("a bug in zsofs: the mount has ended")
            return 1
    return 0


def _remove_folder(path: bytes) -> None:
    with suppress(OSError):
        os.rmdir(path)


def _say_mounted(options: argparse.Namespace, point: str, end: str) -> None:
    what = "the sample disc" if options.demo else options.paths[0]
    text = f"{what} is mounted at {point}; {end}"
    if options.demo:
        from zsofs.demo import WHAT_TO_TRY

        text += "\n" + WHAT_TO_TRY.format(point=point)
    try:
        print(text, flush=True)
    except OSError:  # whoever listened has gone; the mount is there all the same
        _print_nowhere()


def _umount(options: argparse.Namespace) -> int:
    from zsofs.mountpoint import unmount

    unmount(options.mount_point, lazy=options.lazy)
    return 0


def _reload(options: argparse.Namespace) -> int:
    from zsofs.control import ask
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
