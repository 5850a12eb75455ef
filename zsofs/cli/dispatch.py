"""Parse the command line, run the command, and report errors.

Expensive modules are imported where they are used.
"""

import os
import sys
from collections.abc import Sequence

from zsofs.cli import commands, mount_command, mount_helper, parser
from zsofs.console.stdio import open_streams, print_nowhere, say
from zsofs.errors import NoDirectoryError, SystemFailureError, ZsofsError

_COMMANDS = {
    "mount": mount_command.run,
    "umount": commands.umount,
    "reload": commands.reload,
    "status": commands.status,
    "top": commands.top,
    "metrics": commands.metrics,
    "web": commands.web,
    "list": commands.list_discs,
    "pack": commands.pack,
    "unpack": commands.unpack,
    "watch": commands.watch,
    "info": commands.info,
    "verify": commands.verify,
    "service": commands.service,
    "uninstall": commands.uninstall,
}


def run(words: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code.

    Args:
        words: the command line; None: the arguments of this process.

    Raises:
        SystemExit: after printing help or the version.
    """
    try:
        open_streams()
        if words is None and mount_helper.is_called(sys.argv[0]):
            return mount_helper.run(sys.argv[1:], mount_command.run)
        try:
            options = parser.parse(words)
        except SystemExit:  # after --help
            say(end="")
            raise
        return _COMMANDS[options.command](options)
    except ZsofsError as error:
        return _failed(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        print_nowhere(sys.stdout)  # the reader of a pipe has closed it
        return 0
    except OSError as error:
        return _failed(SystemFailureError(error) if _has_directory() else NoDirectoryError())


def _has_directory() -> bool:
    """Return whether the current directory exists; relative paths need it."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _failed(error: ZsofsError) -> int:
    from zsofs.console.logging_setup import fail

    return fail(error)
