"""Shows a folder through FUSE, as a disk that hangs on demand.

Run it as ``python -m tests.support.hanging FOLDER MOUNTPOINT SWITCH``. While the file SWITCH names
requests, such as "open read", those are not answered.
"""

import errno
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileHandleT, FileInfo, FileNameT, InodeT, RequestContext

from tests.support.ends import spawned
from tests.support.mounting import unmount, wait_until
from zsofs.system.mountinfo import mounted_at

_LOOK_SECONDS = 0.02
_BELIEVED_SECONDS = 3600.0
"""How long the kernel may answer by itself what does not hang."""


@dataclass
class HangingDisk:
    """A disk that hangs on demand.

    Attributes:
        path: where it is mounted.
        switch: the file that names what hangs.
    """

    path: Path
    switch: Path

    def hang(self, *requests: str) -> None:
        """Answer no more requests of these kinds; none: answer all again."""
        new = self.switch.with_suffix(".new")
        new.write_text(" ".join(requests))
        new.rename(self.switch)


@contextmanager
def hanging_disk(folder: Path, path: Path) -> Iterator[HangingDisk]:
    """What is in *folder*, on a disk at *path*; what hangs at the end continues."""
    path.mkdir(exist_ok=True)
    disk = HangingDisk(path, path.with_name(path.name + ".hangs"))
    disk.hang()
    command = [
        sys.executable,
        "-m",
        "tests.support.hanging",
        str(folder),
        str(path),
        str(disk.switch),
    ]
    with spawned(command, stdout=DEVNULL) as server:
        try:
            wait_until(lambda: mounted_at(os.fsencode(path)) is not None, "the disk")
            yield disk
        finally:
            disk.hang()
            unmount(path)
            server.wait(60)


class _Operations(pyfuse3.Operations):
    def __init__(self, folder: str, switch: str) -> None:
        super().__init__()
        self._switch = switch
        self._paths = [b"", os.fsencode(folder)]
        self._numbers = {self._paths[1]: InodeT(1)}

    async def _pass(self, request: str) -> None:
        while request in self._hanging():  # noqa: ASYNC110 - another process changes it
            await trio.sleep(_LOOK_SECONDS)

    def _hanging(self) -> list[str]:
        return Path(self._switch).read_text().split()

    def _entry(self, path: bytes) -> EntryAttributes:
        try:
            found = os.lstat(path)
        except OSError as error:
            raise pyfuse3.FUSEError(error.errno or errno.EIO) from None
        if path not in self._numbers:
            self._numbers[path] = InodeT(len(self._paths))
            self._paths.append(path)
        entry = EntryAttributes()
        entry.st_ino = self._numbers[path]
        for name in ("st_mode", "st_size", "st_mtime_ns", "st_ctime_ns", "st_nlink"):
            setattr(entry, name, getattr(found, name))
        entry.attr_timeout = entry.entry_timeout = _BELIEVED_SECONDS
        return entry

    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        await self._pass("getattr")
        return self._entry(self._paths[inode])

    async def lookup(
        self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        await self._pass("lookup")
        return self._entry(os.path.join(self._paths[parent_inode], name))

    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        await self._pass("opendir")
        return FileHandleT(inode)

    async def readdir(self, fh: FileHandleT, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        folder = self._paths[fh]
        names: Sequence[bytes] = sorted(os.listdir(folder))
        for number, name in enumerate(names[start_id:], start_id + 1):
            entry = self._entry(os.path.join(folder, name))
            if not pyfuse3.readdir_reply(token, FileNameT(name), entry, number):
                return

    async def open(self, inode: InodeT, flags: int, ctx: RequestContext) -> FileInfo:
        await self._pass("open")
        return FileInfo(fh=FileHandleT(os.open(self._paths[inode], flags & os.O_ACCMODE)))

    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        await self._pass("read")
        return os.pread(fh, size, off)

    async def write(self, fh: FileHandleT, off: int, buf: bytes) -> int:
        await self._pass("write")
        return os.pwrite(fh, buf, off)

    async def flush(self, fh: FileHandleT) -> None:
        await self._pass("flush")

    async def statfs(self, ctx: RequestContext) -> pyfuse3.StatvfsData:
        data = pyfuse3.StatvfsData()  # an overlay needs an answer
        data.f_bsize = data.f_frsize = 4096
        data.f_namemax = 255
        return data

    async def release(self, fh: FileHandleT) -> None:
        os.close(fh)


def main(folder: str, path: str, switch: str) -> None:
    pyfuse3.init(_Operations(folder, switch), path, {"fsname=hanging", "default_permissions"})
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
