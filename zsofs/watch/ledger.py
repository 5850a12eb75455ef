"""What a watch remembers on disk: which inputs it has processed, and which it saw being closed.

A text file with one JSON object per line, which is only appended to, and written again as a whole
at the start. The last line may be incomplete after a power failure; it is ignored. The queue itself
is not stored: it is what the inboxes have and the ledger does not.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zsofs.errors import FileError, UsageError, reason
from zsofs.system.full_write import new_file, write_all
from zsofs.timings import timings
from zsofs.watch.units import Unit
from zsofs.watch.whole import FileIdentity

_MOST_RESULTS = 100_000
_MOST_CLOSED = 10_000
_MOST_CHDS = 10_000

PACKED, KEPT, FAILED = "packed", "kept", "failed"
"""Results: packed; packed, but the input could not be deleted or moved; not packed."""


@dataclass(frozen=True, slots=True)
class Result:
    """Result of one input.

    Attributes:
        path: of the input.
        state: PACKED, KEPT or FAILED.
        outputs: paths of the files that were created.
        error: why it failed or was kept.
        time: when it ended, in seconds since 1970.
        plain_bytes: size of the images.
        stored_bytes: size of the outputs.
        seconds: duration.
    """

    path: str = ""
    state: str = FAILED
    outputs: tuple[str, ...] = ()
    error: str = ""
    time: float = 0.0
    plain_bytes: int = 0
    stored_bytes: int = 0
    seconds: float = 0.0


class Ledger:
    """The memory of one watch; only one process may have it open.

    Attributes:
        last: the last results, the newest last.
    """

    def __init__(self, folder: Path, key: str) -> None:
        """Open or create it.

        Args:
            folder: its directory, which is created if it is missing.
            key: identifier of the watch.

        Raises:
            UsageError: another process has it open.
            FileError: it cannot be used.
        """
        self._path = folder / f"watch-{key}.jsonl"
        self._results: dict[str, Result] = {}
        self._closed: dict[FileIdentity, None] = {}
        self._chds: dict[str, str] = {}
        self._has_outputs = False
        self._is_torn = False
        self.last: list[Result] = []
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(
                folder / f"watch-{key}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
            _take(self._lock)
            self._load()
            self._write_again(folder)
            self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except BlockingIOError:
            raise UsageError(
                "another process already watches these inboxes for this library; list the watches"
                " with: zsofs status"
            ) from None
        except OSError as error:
            raise FileError(
                f"the state of the watch {self._path} cannot be used: {reason(error)}"
            ) from None

    def close(self) -> None:
        """Close it, so that another process may use it."""
        os.close(self._fd)
        os.close(self._lock)

    @property
    def has_outputs(self) -> bool:
        """Whether an input was ever packed into the library."""
        return self._has_outputs

    def was_closed(self, identity: FileIdentity) -> bool:
        """Return whether a program was seen closing or renaming this file with this content."""
        return identity in self._closed

    def note_closed(self, identity: FileIdentity) -> None:
        """Remember that a program has closed or renamed a file. Not synced: it is only evidence."""
        if identity not in self._closed:
            self._closed[identity] = None
            if len(self._closed) > _MOST_CLOSED:
                del self._closed[next(iter(self._closed))]
            with suppress(OSError):  # known until this process ends
                self._append({"closed": _numbers(identity)}, sync=False)

    def note_chd(self, sha1: str, output: str) -> None:
        """Remember as what a CHD was packed that was deleted or moved: a child may arrive later.

        Args:
            sha1: by which its children name it.
            output: path of its packed file.
        """
        self._take_chd(sha1, output)
        with suppress(OSError):  # known until this process ends
            self._append({"chd": [sha1, output]}, sync=False)

    def packed_chd(self, sha1: str) -> str:
        """Return as what a CHD was packed that was deleted or moved; empty if unknown."""
        return self._chds.get(sha1, "")

    def _take_chd(self, sha1: str, output: str) -> None:
        self._chds.pop(sha1, None)  # the newest last
        self._chds[sha1] = output
        if len(self._chds) > _MOST_CHDS:
            del self._chds[next(iter(self._chds))]

    def result_of(self, unit: Unit, identities: Sequence[FileIdentity]) -> Result | None:
        """Return the result of an input with this content; None if it was not processed.

        One that failed is tried again under another name, from which its outputs have theirs.
        """
        by_name, by_number = _keys(unit, identities)
        found = self._results.get(by_name)
        if found is None:
            found = self._results.get(by_number)
            if found is not None and found.state == FAILED:
                return None
        return found

    def add(self, unit: Unit, identities: Sequence[FileIdentity], result: Result) -> None:
        """Remember the result of an input, synced to the disk.

        Args:
            unit: the input.
            identities: of its files; empty if it is not in the inbox any more: the same file is a
                new input if it arrives again.
            result: the result.

        Raises:
            OSError: it cannot be written; it is known until this process ends.
        """
        keys = list(_keys(unit, identities)) if identities else []
        self._take(keys, result)
        self._append({"keys": keys, "result": asdict(result)}, sync=True)

    def forget(self, results: Iterable[Result]) -> None:
        """Forget the results of files that have gone; others may be like them.

        Raises:
            OSError: that cannot be written; they are forgotten until this process ends.
        """
        gone = {id(one) for one in results}
        keys = [key for key, one in self._results.items() if id(one) in gone] if gone else []
        for key in keys:
            del self._results[key]
        if keys:
            self._append({"forgotten": keys}, sync=False)

    def _take(self, keys: Sequence[str], result: Result) -> None:
        for key in keys:
            self._results.pop(key, None)  # the newest last
            self._results[key] = result
        self._has_outputs = self._has_outputs or result.state in (PACKED, KEPT)
        self.last = [*self.last[-19:], result]

    def _append(self, line: dict[str, Any], *, sync: bool) -> None:
        # On a full disk, a part of a line may have been written, which has to end before the next.
        before = b"\n" if self._is_torn else b""
        self._is_torn = True
        write_all(self._fd, before + json.dumps(line).encode() + b"\n")
        self._is_torn = False
        if sync:
            os.fsync(self._fd)

    def _load(self) -> None:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return
        for line in content.split(b"\n"):
            try:
                self._load_line(json.loads(line))
            except (ValueError, TypeError, KeyError):  # the last one before a power failure
                continue

    def _load_line(self, line: dict[str, Any]) -> None:
        if "closed" in line:
            self._closed[FileIdentity(*map(int, line["closed"]))] = None
        elif "chd" in line:
            self._take_chd(*map(str, line["chd"]))
        elif "forgotten" in line:
            for key in line["forgotten"]:
                self._results.pop(str(key), None)
        else:
            fields = {**line["result"], "outputs": tuple(line["result"]["outputs"])}
            self._take([str(key) for key in line["keys"]], Result(**fields))

    def _write_again(self, folder: Path) -> None:
        """Write the file without what is obsolete."""
        unfinished = self._path.with_suffix(".new")
        unfinished.unlink(missing_ok=True)
        text = "".join(json.dumps(line) + "\n" for line in self._as_lines())
        with new_file(unfinished, text, 0o600):
            unfinished.rename(self._path)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _as_lines(self) -> Iterator[dict[str, Any]]:
        for identity in list(self._closed)[-_MOST_CLOSED:]:
            yield {"closed": _numbers(identity)}
        for sha1, output in self._chds.items():
            yield {"chd": [sha1, output]}
        keys_of: dict[int, list[str]] = {id(result): [] for result in self.last}
        results = {id(result): result for result in (*self._results.values(), *self.last)}
        for key, result in self._results.items():
            keys_of.setdefault(id(result), []).append(key)
        kept = sorted(keys_of, key=lambda number: results[number].time)
        for number in kept[-_MOST_RESULTS:]:
            yield {"keys": keys_of[number], "result": asdict(results[number])}


def _take(lock: int) -> None:
    """Lock a file; raise BlockingIOError if another process has locked it, and keeps it.

    After a watch was killed, a process that it was just starting has the lock for some moments.
    """
    until = time.monotonic() + timings().watch_lock
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(timings().retry_store_lock)
        else:
            return


def _numbers(identity: FileIdentity) -> list[int]:
    return [identity.inode, identity.size, identity.mtime_ns, identity.ctime_ns]


def _keys(unit: Unit, identities: Sequence[FileIdentity]) -> Iterator[str]:
    """Yield the keys of an input: by name, and by inode numbers, which survive a rename.

    FAT and FUSE renumber files; there the name matches. The change time is no part of them: it also
    changes if a link is made, or permissions change.
    """
    content = [f"{one.size}.{one.mtime_ns}" for one in identities]
    yield f"{' '.join(content)} {unit.path}"
    yield " ".join(f"{one.inode}:{text}" for one, text in zip(identities, content, strict=True))
