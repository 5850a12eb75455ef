"""The process that verifies a disc for the page: `zsofs verify`, with its progress.

It prints one JSON object on each line: ``done`` and ``bytes`` while it reads, then the result as
`zsofs verify --json` prints it. It ends with the page, however that ends.
"""

import json
import sys
import time
from contextlib import suppress

from zsofs.console.stdio import print_nowhere
from zsofs.errors import ZsofsError
from zsofs.inspection.verify import VerifyRequest, run
from zsofs.inspection.verify_report import VerifyReporter
from zsofs.system.background import run_in_background

_INTERVAL = 0.5
"""Seconds between two lines of progress."""


class _Reporter(VerifyReporter):
    """Prints progress as lines, too."""

    def __init__(self) -> None:
        super().__init__(quiet=True, as_json=True)
        self._done = self._bytes = 0
        self._printed = 0.0

    def file(self, path: str, plain: int) -> None:
        super().file(path, plain)
        self._done, self._bytes = 0, plain

    def advance(self, plain: int, stored: int) -> None:
        super().advance(plain, stored)
        self._done += plain
        if time.monotonic() >= self._printed + _INTERVAL:
            self._printed = time.monotonic()
            self._print(json.dumps({"done": self._done, "bytes": self._bytes}), sys.stdout)


def main() -> None:
    """Verify the disc of the command line."""
    parent, path = sys.argv[1:]
    run_in_background(int(parent))
    try:
        with suppress(ZsofsError):  # its line tells
            run(VerifyRequest([path], believe=False), _Reporter())
    except BrokenPipeError:  # the page was killed: its pipes close before the signal comes
        print_nowhere(sys.stdout)
