"""Progress bars of a batch on a terminal: one for the current file, one for all files."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from zsofs.console.stdio import complain, print_nowhere
from zsofs.console.tables import printable, shortened, terminal_columns
from zsofs.errors import PrintError

if TYPE_CHECKING:
    from tqdm import tqdm

_FORMS = (
    (72, "{desc} |{bar}| {percentage:3.0f} % {rate_fmt}, {remaining} left{postfix}"),
    (48, "{desc} |{bar}| {percentage:3.0f} %, {remaining} left"),
    (0, "{desc} {percentage:3.0f} %, {remaining} left"),
)
"""Contents of a bar by minimum terminal width."""

_NUMBERS_WIDTH = 50
_LONGEST_NAME, _SHORTEST_NAME = 30, 16
"""Minimum and maximum width of the file name, which gets the remaining columns."""


@dataclass(slots=True)
class _FileProgress:
    """Progress of one file.

    Attributes:
        path: path of the input; empty between two inputs.
        plain: size of its image in bytes.
        taken: image bytes processed so far.
        made: output bytes for them.
        moved: progress of the batch bar for this file, in bytes of the file.
        reading_back: whether the output is being verified.
    """

    path: str = ""
    plain: int = 0
    taken: int = 0
    made: int = 0
    moved: int = 0
    reading_back: bool = False


class Bars:
    """Progress bars on a terminal; otherwise only lines are printed.

    Attributes:
        unprinted: the error if lines could not be printed, except for a closed pipe.
    """

    _interrupted = "no incomplete files remain"

    def __init__(self, *, quiet: bool) -> None:
        self.unprinted: PrintError | None = None
        self._quiet = quiet
        self._bars = not quiet and sys.stderr.isatty()
        self._file_bar: tqdm[Any] | None = None
        self._batch_bar: tqdm[Any] | None = None
        self._sizes: dict[str, int] = {}
        self._file = _FileProgress()
        self._all_taken = self._all_made = 0

    def __enter__(self) -> Self:
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
        """Start a batch with its inputs and their file sizes in bytes."""
        self._sizes = dict(inputs)
        if self._bars and len(inputs) > 1:
            total = sum(self._sizes.values())
            self._batch_bar = self._bar(f"{len(inputs)} files", total, position=1)

    def file(self, path: str, plain: int) -> None:
        """Start a file whose image has *plain* bytes."""
        self._file = _FileProgress(path, plain)
        if self._bars:
            room = terminal_columns(sys.stderr) - _NUMBERS_WIDTH
            room = max(_SHORTEST_NAME, min(room, _LONGEST_NAME))
            name = shortened(printable(path.rpartition("/")[2]), room)
            self._file_bar = self._bar(name, plain, position=0)

    def _bar(self, title: str, total: int, position: int) -> "tqdm[Any]":
        bar = _bar_class()
        bar.monitor_interval = 0  # no monitor thread
        columns = terminal_columns(sys.stderr)
        return bar(
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
        """See :class:`zsofs.pack.read_back.Watcher`."""
        if not self._file.reading_back:  # which makes nothing, so no share changes
            self._count(plain, stored)
        if self._file_bar is not None:
            self._file_bar.update(plain)

    def _count(self, plain: int, stored: int) -> None:
        file = self._file
        file.taken += plain
        file.made += stored
        if self._file_bar is not None:
            _show_share(self._file_bar, file.made, file.taken)
        if self._batch_bar is not None:
            self._all_taken += plain
            self._all_made += stored
            _show_share(self._batch_bar, self._all_made, self._all_taken)
            self._move_batch_to(self._sizes.get(file.path, 0) * file.taken // file.plain)

    def check(self) -> None:
        """See :class:`zsofs.pack.read_back.Watcher`."""
        self._file.reading_back = True
        if self._file_bar is not None:
            self._file_bar.set_postfix_str("reading back", refresh=False)
            self._file_bar.reset()

    def passed(self, path: str) -> None:
        """Count an input as done that had several results, or none under its own path."""
        self._finish(path)

    def _finish(self, path: str) -> None:
        """Finish a file, after its messages were printed."""
        if path != self._file.path:  # nothing was done with it
            self._file = _FileProgress()
        self._move_batch_to(self._sizes.get(path, 0))
        self._file = _FileProgress()

    def _move_batch_to(self, share: int) -> None:
        """Move the batch bar to this number of bytes of the current input file."""
        if self._batch_bar is not None:
            self._batch_bar.update(share - self._file.moved)
            self._file.moved = share

    def _close_file_bar(self) -> None:
        if self._file_bar is not None:
            self._file_bar.close()
            self._file_bar = None

    def _print(self, text: str, stream: TextIO) -> None:
        """Print a line; if that fails, the batch continues."""
        try:
            if self._bars:
                _bar_class().write(text, file=stream)
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


def _bar_class() -> "type[tqdm[Any]]":
    """Return tqdm, which takes a fourth of the start of a command: few have a terminal for it."""
    import tqdm

    found: type[tqdm.tqdm[Any]] = tqdm.tqdm
    return found


def _show_share(bar: "tqdm[Any]", made: int, taken: int) -> None:
    if made:
        bar.set_postfix_str(f"{100 * made / taken:.0f} % of it", refresh=False)
