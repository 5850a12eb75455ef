"""The memory that the texts of playlists and cue sheets take. For threads."""

import weakref
from collections import deque
from threading import Lock

from zsofs.formats.sheets import Sheet

_MOST = 32 << 20
"""Bytes of all sheets of the process: those of 3,000 discs with 99 tracks each have about as many.
They stay in memory with the entry of their file, and hard links can make many files of one."""

_PER_NAME = 150
"""Bytes that Python needs for the place of a name in a text."""


class SheetMemory:
    """Counts the sheets that are in memory."""

    def __init__(self, most: int = _MOST) -> None:
        """Create it for at most *most* bytes."""
        self._most = most
        self._lock = Lock()
        self._used = 0
        # The garbage collector can free a sheet in a thread that holds the lock.
        self._given_back: deque[int] = deque()

    def take(self, sheet: Sheet) -> bool:
        """Count a sheet while it exists; returns False if there is no room for it."""
        size = len(sheet.text) + _PER_NAME * len(sheet.spans)
        with self._lock:
            while self._given_back:
                self._used -= self._given_back.popleft()
            if self._used + size > self._most:
                return False
            self._used += size
        weakref.finalize(sheet, self._given_back.append, size).atexit = False
        return True


sheet_memory = SheetMemory()
"""Of this process."""
