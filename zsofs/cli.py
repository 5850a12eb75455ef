"""The command line: arguments, messages, exit codes.

What is heavy to import is imported where it is used, so that ``zsofs --version`` is quick.
"""

import argparse
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NoReturn

from zsofs import __version__
from zsofs.errors import UsageError, ZsofsError

_DESCRIPTION = """\
Shows a folder of compressed PS2 and PSP discs (.zso, .cso, .dax) as plain .iso files.
"""

_EXAMPLES = """\
examples:
  zsofs mount ~/zso ~/iso       show the discs in ~/zso as .iso files in ~/iso
  zsofs mount --demo ~/iso      the same with a small sample disc, if you have no game at hand
  zsofs umount ~/iso            take the mount down

`zsofs COMMAND --help` explains one command.
"""

_MOUNT_DESCRIPTION = """\
Shows every compressed disc in the folder SOURCE, and in all folders below it, as a plain .iso
file in MOUNTPOINT. Everything else in SOURCE is shown as it is. Nothing can be changed through
the mount, and SOURCE is never written to. Returns when the mount can be used.
"""

_MOUNT_EXAMPLES = """\
examples:
  zsofs mount ~/zso ~/iso                      the usual case
  zsofs mount --allow-other /srv/zso /srv/iso  for a share: Samba's users may read too
  zsofs mount --cache-size 256M ~/zso ~/iso    for discs with large blocks and many readers
  zsofs mount -f -v ~/zso ~/iso                stay in the terminal and say what happens
  zsofs mount --demo ~/iso                     a sample disc that zsofs makes itself

Take the mount down with `zsofs umount MOUNTPOINT`.
"""

_UMOUNT_EXAMPLES = """\
examples:
  zsofs umount ~/iso          take the mount down
  zsofs umount --lazy ~/iso   although a program still has a disc open
"""

_EXIT_CODES = """\
exit codes:
  0  done
  1  a bug in zsofs
  2  the command line is wrong
  3  the source folder is missing or cannot be read
  4  the mount point cannot be used
  5  the system does not let us mount (no FUSE, or no right to it)
  6  a mount could not be taken down
"""

# Words that mount(8) and fstab hand on and that change nothing here: the mount is always
# read-only, without devices and set-user-id programs.
_IGNORED_OPTIONS = frozenset(
    """ro rw defaults auto noauto nofail _netdev user nouser users owner group dev nodev suid
    nosuid exec noexec sync async atime noatime diratime nodiratime relatime norelatime
    strictatime silent loud""".split()  # noqa: SIM905 - a list of thirty strings reads worse
)

_CACHE_SIZE = 64 << 20
_THREADS = 4
_READ_AHEAD = 512 << 10
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, as everything else in zsofs does."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see: {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    _open_standard_streams()
    try:
        options = _parser().parse_args(arguments)
        command: Callable[[argparse.Namespace], int] = options.command
        return command(options)
    except ZsofsError as error:
        print(f"zsofs: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


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


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="zsofs",
        description=_DESCRIPTION,
        epilog=_EXAMPLES + "\n" + _EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"zsofs {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_mount(commands)
    _add_umount(commands)
    return parser


def _add_mount(commands: "argparse._SubParsersAction[_Parser]") -> None:
    mount = commands.add_parser(
        "mount",
        help="show a folder of compressed discs as plain .iso files",
        usage="zsofs mount [OPTIONS] SOURCE MOUNTPOINT\n       zsofs mount [OPTIONS] --demo"
        " MOUNTPOINT",
        description=_MOUNT_DESCRIPTION,
        epilog=_MOUNT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    mount.set_defaults(command=_mount)
    mount.add_argument("paths", nargs="*", metavar="SOURCE MOUNTPOINT", help=argparse.SUPPRESS)
    mount.add_argument(
        "--demo", action="store_true", help="mount a small sample disc instead of a folder"
    )
    mount.add_argument(
        "-f", "--foreground", action="store_true", help="stay in the terminal until unmounted"
    )
    mount.add_argument(
        "--cache-size",
        metavar="SIZE",
        type=_size,
        help="memory for decoded blocks, as in 64M or 1G (default: 64M)",
    )
    mount.add_argument(
        "--threads",
        metavar="N",
        type=_threads,
        help="how many reads may wait for one disk at a time (default: 4)",
    )
    mount.add_argument(
        "--read-ahead",
        metavar="SIZE",
        type=_size,
        help="how far the kernel reads ahead of a sequential reader; only root can change it from"
        " the system's 128K (default: 512K)",
    )
    mount.add_argument(
        "--allow-other",
        action="store_true",
        help="let other users read too, such as a Samba server's",
    )
    mount.add_argument(
        "-o",
        dest="mount_options",
        metavar="OPT,OPT",
        action="append",
        default=[],
        help="the options above as mount(8) writes them: allow_other, cache-size=64M, threads=4,"
        " read-ahead=512K, log-file=PATH; ro, nofail and its other usual words are accepted",
    )
    loudness = mount.add_mutually_exclusive_group()
    loudness.add_argument("-v", "--verbose", action="store_true", help="log more")
    loudness.add_argument("-q", "--quiet", action="store_true", help="log errors only")
    mount.add_argument(
        "--log-file",
        metavar="PATH",
        help="log to this file (default in the background: one named after the mount point in"
        " ~/.local/state/zsofs)",
    )


def _add_umount(commands: "argparse._SubParsersAction[_Parser]") -> None:
    umount = commands.add_parser(
        "umount",
        help="take a mount down",
        description="Takes down a mount that `zsofs mount` made. `fusermount3 -u` does it too.",
        epilog=_UMOUNT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    umount.set_defaults(command=_umount)
    umount.add_argument("mount_point", metavar="MOUNTPOINT", help="where the discs are shown")
    umount.add_argument(
        "--lazy",
        action="store_true",
        help="detach it at once, although it is in use; readers get errors",
    )


def _size(text: str) -> int:
    match = re.fullmatch(r"(\d{1,12})([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 64M or 1G")
    return int(match[1]) << _UNITS[match[2].upper()]


def _threads(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 64")
    return int(text)


def _apply_mount_options(options: argparse.Namespace) -> None:
    """Fold the words of ``-o`` into the options they stand for; the last one said counts."""
    values: dict[str, Callable[[str], int | str]] = {
        "cache-size": _size,
        "threads": _threads,
        "read-ahead": _size,
        "log-file": str,
    }
    for word in ",".join(options.mount_options).split(","):
        name, equals, value = word.partition("=")
        name = name.replace("_", "-") if name != "_netdev" else name
        if name == "allow-other" and not equals:
            options.allow_other = True
        elif name in values and equals:
            try:
                setattr(options, name.replace("-", "_"), values[name](value))
            except argparse.ArgumentTypeError as error:
                raise UsageError(f"-o {word}: {error}") from None
        elif name and name not in _IGNORED_OPTIONS and not name.startswith("x-"):
            raise UsageError(f"unknown mount option {word!r}; see: zsofs mount --help")


def _mount(options: argparse.Namespace) -> int:
    from zsofs import daemon, log, mountpoint

    _apply_mount_options(options)
    expected = 1 if options.demo else 2
    if len(options.paths) != expected:
        wanted = "one folder, MOUNTPOINT" if options.demo else "two folders, SOURCE and MOUNTPOINT"
        raise UsageError(f"mount takes {wanted}; see: zsofs mount --help")
    *source_paths, point = options.paths
    source = mountpoint.check_source(source_paths[0]) if source_paths else None
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

    from zsofs.mount import MountSettings, serve

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
            cache_size=_CACHE_SIZE if options.cache_size is None else options.cache_size,
            threads=options.threads or _THREADS,
            read_ahead=_READ_AHEAD if options.read_ahead is None else options.read_ahead,
            allow_other=options.allow_other,
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
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _umount(options: argparse.Namespace) -> int:
    from zsofs.mountpoint import unmount

    unmount(options.mount_point, lazy=options.lazy)
    return 0
