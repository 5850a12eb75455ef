"""Progress bars of a batch on a terminal: one for the current file, one for all files."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TextIO

from tqdm import tqdm

from zsofs.console.stdio import complain, print_nowhere
from zsofs.console.tables import printable, shortened, terminal_columns
from zsofs.errors import PrintError

_FORMS = (
    (72, "{desc} |{bar}| {percentage:3.0f} % {rate_fmt}, {remaining} left{postfix}"),
    (48, "{desc} |{bar}| {percentage:3.0f} %, {remaining} left"),
    (0, "{desc} {percentage:3.0f} %, {remaining} left"),
)
"""Contents of a bar by minimum terminal width."""

_NUMBERS_WIDTH = 50
_LONGEST_NAME, _SHORTEST_NAME = 30, 16
"""Limits of the width of the name, which gets the columns that the widest form leaves."""


class Bars:
    """Progress bars; without a terminal there are none, but lines are printed.

    Attributes:
        unprinted: why some lines could not be printed, other than by a closed pipe.
    """

    _interrupted = "no incomplete files remain"

    def __init__(self, *, quiet: bool) -> None:
        self.unprinted: PrintError | None = None
        self._quiet = quiet
        self._bars = not quiet and sys.stderr.isatty()
        self._file_bar: tqdm[Any] | None = None
        self._batch_bar: tqdm[Any] | None = None
        self._sizes: dict[str, int] = {}
        self._path = ""
        self._plain = self._taken = self._made = 0
        self._moved = self._all_taken = self._all_made = 0
        self._reading_back = False

    def __enter__(self) -> Self:
        tqdm.monitor_interval = 0  # no monitor thread
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close_file_bar()
        if self._batch_bar is not None:
            self._batch_bar.close()
            with suppress(OSError):
                print("\r", end="", file=sys.stderr, flush=True)  # tqdm leaves the cursor there
        if kind is None:
            self._sum_up()
        elif not self._quiet and not issubclass(kind, Exception):
            complain(f"zsofs: interrupted; {self._interrupted}")

    def begin(self, inputs: Sequence[tuple[str, int]]) -> None:
        """Start with a list of inputs and the sizes of their files in bytes."""
        self._sizes = dict(inputs)
        if self._bars and len(inputs) > 1:
            total = sum(self._sizes.values())
            self._batch_bar = self._bar(f"{len(inputs)} files", total, position=1)

    def file(self, path: str, plain: int) -> None:
        """Start a file whose image has *plain* bytes."""
        self._path, self._plain = path, plain
        self._taken = self._made = self._moved = 0
        self._reading_back = False
        if self._bars:
            room = terminal_columns(sys.stderr) - _NUMBERS_WIDTH
            room = max(_SHORTEST_NAME, min(room, _LONGEST_NAME))
            name = shortened(printable(path.rpartition("/")[2]), room)
            self._file_bar = self._bar(name, plain, position=0)

    def _bar(self, title: str, total: int, position: int) -> "tqdm[Any]":
        columns = terminal_columns(sys.stderr)
        return tqdm(
            total=total,
            desc=title,
            bar_format=next(form for least, form in _FORMS if columns >= least),
            position=position,
            unit="B",
            unit_scale=True,
            leave=False,
            dynamic_ncols=True,
            mininterval=0.2,
            file=sys.stderr,
        )

    def advance(self, plain: int, stored: int) -> None:
        """See :class:`zsofs.pack.packer.Watcher`."""
        if not self._reading_back:  # reading back produces no data, so the ratio is unchanged
            self._count(plain, stored)
        if self._file_bar is not None:
            self._file_bar.update(plain)

    def _count(self, plain: int, stored: int) -> None:
        self._taken += plain
        self._made += stored
        if self._file_bar is not None:
            _show_share(self._file_bar, self._made, self._taken)
        if self._batch_bar is not None:
            self._all_taken += plain
            self._all_made += stored
            _show_share(self._batch_bar, self._all_made, self._all_taken)
            self._move_batch_to(self._sizes.get(self._path, 0) * self._taken // self._plain)

    def check(self) -> None:
        """See :class:`zsofs.pack.packer.Watcher`."""
        self._reading_back = True
        if self._file_bar is not None:
            self._file_bar.set_postfix_str("reading back", refresh=False)
            self._file_bar.reset()

    def _finish(self, path: str) -> None:
        """Finish a file after its result was printed."""
        if path != self._path:  # it was not processed
            self._moved = 0
        self._move_batch_to(self._sizes.get(path, 0))
        self._path, self._moved = "", 0

    def _move_batch_to(self, share: int) -> None:
        """Show that many bytes of the current input file as done."""
        if self._batch_bar is not None:
            self._batch_bar.update(share - self._moved)
            self._moved = share

    def _close_file_bar(self) -> None:
        if self._file_bar is not None:
            self._file_bar.close()
            self._file_bar = None

    def _print(self, text: str, stream: TextIO) -> None:
        """Print a line; if that fails, the batch continues."""
        try:
            if self._bars:
                tqdm.write(text, file=stream)
                stream.flush()
            else:
                print(text, file=stream, flush=True)
        except OSError as error:
            print_nowhere(stream)
            if self.unprinted is None and not isinstance(error, BrokenPipeError):
                self.unprinted = PrintError(error)
                complain(f"zsofs: {self.unprinted}")

    def _sum_up(self) -> None:
        """Print the summary."""


def _show_share(bar: "tqdm[Any]", made: int, taken: int) -> None:
    if made:
        bar.set_postfix_str(f"{100 * made / taken:.0f} % of it", refresh=False)
