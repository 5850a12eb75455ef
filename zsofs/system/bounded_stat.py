"""lstat with a timeout, for mount points whose server may never answer."""

import errno
import os
import threading

from zsofs.timings import timings


class BoundedStat:
    """Runs lstat in threads that are abandoned if they hang. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: set[bytes] = set()

    def stat(self, folder: int, name: bytes, path: bytes) -> os.stat_result:
        """Return the lstat of *name*.

        Args:
            folder: descriptor of its directory.
            name: name of the mount point.
            path: key of the mount point: one lstat at a time is in progress per key.

        Raises:
            OSError: lstat failed; ETIMEDOUT after a timeout.
        """
        with self._lock:
            if path in self._pending:
                raise _no_answer()
            self._pending.add(path)
        fd = os.dup(folder)
        found: list[os.stat_result | OSError] = []
        done = threading.Event()

        def look() -> None:
            try:
                found.append(os.stat(name, dir_fd=fd, follow_symlinks=False))
            except OSError as error:
                found.append(error)
            finally:
                os.close(fd)
                with self._lock:
                    self._pending.discard(path)
                done.set()

        try:
            threading.Thread(target=look, daemon=True).start()
        except RuntimeError as error:  # no thread available
            os.close(fd)
            with self._lock:
                self._pending.discard(path)
            raise OSError(errno.EAGAIN, f"cannot start a thread for scanning: {error}") from None
        if not done.wait(timings().mount_point_stat):
            raise _no_answer()
        if isinstance(found[0], OSError):
            raise found[0]
        return found[0]


def _no_answer() -> OSError:
    return OSError(errno.ETIMEDOUT, "the program that serves the mount there does not respond")
