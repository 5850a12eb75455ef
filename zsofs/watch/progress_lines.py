"""Progress of the process that packs one input, as lines of JSON for the watch."""

import json
import sys
import time
from collections.abc import Sequence

from zsofs.pack.report import Report, Reporter

_INTERVAL = 0.2
"""Seconds between two lines of progress."""


def print_line(line: dict[str, object]) -> None:
    """Print one object, which the watch receives at once."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class ProgressLines(Reporter):
    """Reporter that prints progress as lines for the watch.

    Attributes:
        results: of all discs of the input.
    """

    def __init__(self) -> None:
        super().__init__(quiet=True, as_json=False)
        self.results: list[Report] = []
        self._taken = 0
        self._next = 0.0

    def begin(self, inputs: Sequence[tuple[str, int]]) -> None:
        """See :class:`zsofs.console.progress_bars.Bars`."""

    def file(self, path: str, plain: int) -> None:
        """Report the start of an image."""
        self._taken = 0
        print_line({"file": path, "bytes": plain})

    def advance(self, plain: int, stored: int) -> None:
        """Report progress, a few times a second."""
        self._taken += plain
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _INTERVAL
            print_line({"done": self._taken})

    def check(self) -> None:
        """Report that the output is read back."""
        self._taken = 0
        print_line({"reading_back": True})

    def tell(self, report: Report) -> None:
        """Keep a result."""
        self.results.append(report)

    def note(self, text: str) -> None:
        """Ignore a note: the watch restores files itself."""
