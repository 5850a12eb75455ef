"""The screen and the keys of `zsofs top`.

With curses of the standard library: it knows terminals, their sizes and keys, and needs nothing
that has to be installed. rich draws, but reads no keys, and brings three packages of 8 MB.
"""

import curses
import locale
import os
import time
from contextlib import suppress
from dataclasses import replace

from zsofs.errors import UsageError
from zsofs.mount.top.layout import Choice, Line, Style, screen
from zsofs.mount.top.watched import Watch

_INTERVAL = 1.0
"""Seconds between two requests to a mount."""

_KEY_WAIT_MS = 100

_ESCAPE, _ENTER = "\x1b", ("\n", "\r")
_ERASE = ("\x7f", "\b")
_MAX_FILTER = 100


def show(watch: Watch) -> None:
    """Show mounts until the user quits.

    Raises:
        UsageError: the terminal is not known.
    """
    with suppress(locale.Error):  # LC_ALL names a locale that does not exist
        locale.setlocale(locale.LC_ALL, "")
    os.environ.setdefault("ESCDELAY", "25")  # Esc is a key here, not the beginning of one
    for size in ("LINES", "COLUMNS"):  # curses would take them for the size, also after a change
        os.environ.pop(size, None)
    try:
        window = curses.initscr()
        try:
            curses.noecho()
            curses.cbreak()
            window.keypad(True)
            _Screen(window, watch).run()
        finally:
            curses.endwin()
    except curses.error as error:
        raise UsageError(
            f"the terminal {os.environ.get('TERM', '')!r} cannot be used: {error}; use --once"
        ) from None


class _Screen:
    def __init__(self, window: "curses.window", watch: Watch) -> None:
        self._window = window
        self._watch = watch
        is_unicode = locale.getpreferredencoding(do_setlocale=False).upper() == "UTF-8"
        self._choice = Choice(is_unicode=is_unicode)
        self._styles = _styles()
        self._asked = 0.0
        window.timeout(_KEY_WAIT_MS)
        with suppress(curses.error):  # the terminal always shows its cursor
            curses.curs_set(0)

    def run(self) -> None:
        while True:
            now = time.monotonic()
            if not self._choice.is_paused and now - self._asked >= _INTERVAL:
                self._asked = now
                self._watch.ask_in_background()
            self._draw()
            try:
                key = self._window.get_wch()
            except curses.error:  # no key
                continue
            if key == curses.KEY_RESIZE:
                curses.update_lines_cols()
                self._window.clear()
            elif not self._obeys(key):
                return

    def _draw(self) -> None:
        rows, columns = self._window.getmaxyx()
        # The last column stays empty: writing the last cell of a screen is an error in curses.
        lines = screen(self._watch.mounts(), self._choice, max(columns - 1, 1), rows)
        self._window.erase()
        for row, line in enumerate(lines):
            self._put(row, line)
        self._window.refresh()

    def _put(self, row: int, line: Line) -> None:
        with suppress(curses.error):  # the window has become smaller meanwhile
            self._window.addstr(row, 0, line.text, self._styles[line.style])

    def _obeys(self, key: int | str) -> bool:
        """Apply a key; return whether to continue."""
        choice = self._choice
        if choice.is_typing:
            self._choice = _typed(choice, key)
            return True
        if key == "q":
            return False
        if key in ("p", " "):
            self._choice = replace(choice, is_paused=not choice.is_paused)
        elif key == "s":
            self._choice = choice.next_sort()
        elif key == "/":
            self._choice = replace(choice, is_typing=True)
        elif key == _ESCAPE:
            self._choice = replace(choice, filter="")
        return True


def _typed(choice: Choice, key: int | str) -> Choice:
    """Return the choice after a key while the filter is typed."""
    if key in _ENTER:
        return replace(choice, is_typing=False)
    if key == _ESCAPE:
        return replace(choice, is_typing=False, filter="")
    if key in _ERASE or key == curses.KEY_BACKSPACE:
        return replace(choice, filter=choice.filter[:-1])
    if isinstance(key, str) and key.isprintable() and len(choice.filter) < _MAX_FILTER:
        return replace(choice, filter=choice.filter + key)
    return choice


def _styles() -> dict[Style, int]:
    """Return the attributes of curses for each style; without colors only bold is left.

    curses.wrapper is not used: it sets white on black, even if the user wants no colors.
    """
    styles = {
        Style.NORMAL: curses.A_NORMAL,
        Style.HEADING: curses.A_BOLD,
        Style.WARNING: curses.A_NORMAL,
        Style.ERROR: curses.A_BOLD,
    }
    if not os.environ.get("NO_COLOR") and curses.has_colors():
        curses.start_color()
        curses.use_default_colors()
        colors = ((Style.WARNING, curses.COLOR_YELLOW), (Style.ERROR, curses.COLOR_RED))
        for number, (style, color) in enumerate(colors, 1):
            curses.init_pair(number, color, -1)
            styles[style] |= curses.color_pair(number)
    return styles
