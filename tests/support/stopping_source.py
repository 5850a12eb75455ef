"""A FUSE file system whose calls can be stopped: ``stopping_source.py FOLDER MOUNT``.

It shows the files of FOLDER, read-only, and believes nothing for longer than a call. While the file
FOLDER.stop holds the name of a call, every such call waits; FOLDER.stopped then holds that name.
"""

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileHandleT, FileInfo, FileNameT, FUSEError, InodeT

CALLS = ("lookup", "getattr", "readlink", "readdir", "open", "read", "flush", "statfs")
"""The calls that can be stopped: all that a kernel makes for who only reads."""


class Stop:
    """The test's side: which call is stopped."""

    def __init__(self, folder: Path) -> None:
        self._wanted = folder.with_name(folder.name + ".stop")
        self._stopped = folder.with_name(folder.name + ".stopped")

    def begin(self, call: str) -> None:
        """Stop *call* from now on."""
        self._stopped.unlink(missing_ok=True)
        unfinished = self._wanted.with_suffix(".new")
        unfinished.write_text(call)
        unfinished.rename(self._wanted)

    def end(self) -> None:
        """Let all calls go on."""
        self._wanted.unlink(missing_ok=True)

    def has_come(self) -> bool:
        """Whether such a call waits."""
        return self._stopped.exists()

    async def wait(self, call: str) -> None:
        """For the file system: wait here while *call* is stopped."""
        while self._wanted.exists() and self._wanted.read_text() == call:
            self._stopped.write_text(call)
            await trio.sleep(0.02)


class Files(pyfuse3.Operations):
    """The files of a folder, numbered as they are sorted."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._paths = dict(enumerate(sorted(folder.iterdir()), 2))
        self._folder = folder
        self._stop = Stop(folder)

    def _attributes(self, inode: int) -> EntryAttributes:
        status = os.lstat(self._paths.get(inode, self._folder))
        entry = EntryAttributes()
        entry.st_ino = InodeT(inode)
        entry.st_mode = cast(Any, status.st_mode)
        entry.st_nlink = 1
        entry.st_size = status.st_size
        for name in ("st_mtime_ns", "st_ctime_ns", "st_atime_ns", "st_uid", "st_gid"):
            setattr(entry, name, getattr(status, name))
        entry.attr_timeout = entry.entry_timeout = 0
        return entry

    async def lookup(
        self, parent_inode: InodeT, name: FileNameT, ctx: pyfuse3.RequestContext
    ) -> EntryAttributes:
        await self._stop.wait("lookup")
        for inode, path in self._paths.items():
            if os.fsencode(path.name) == name:
                return self._attributes(inode)
        raise FUSEError(errno.ENOENT)

    async def getattr(self, inode: InodeT, ctx: pyfuse3.RequestContext) -> EntryAttributes:
        await self._stop.wait("getattr")
        return self._attributes(inode)

    async def readlink(self, inode: InodeT, ctx: pyfuse3.RequestContext) -> FileNameT:
        await self._stop.wait("readlink")
        return FileNameT(os.fsencode(os.readlink(self._paths[inode])))

    async def opendir(self, inode: InodeT, ctx: pyfuse3.RequestContext) -> FileHandleT:
        return FileHandleT(inode)

    async def readdir(self, fh: FileHandleT, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        await self._stop.wait("readdir")
        for inode, path in self._paths.items():
            name = FileNameT(os.fsencode(path.name))
            if inode > start_id and not pyfuse3.readdir_reply(
                token, name, self._attributes(inode), inode
            ):
                break

    async def open(self, inode: InodeT, flags: int, ctx: pyfuse3.RequestContext) -> FileInfo:
        await self._stop.wait("open")
        return FileInfo(fh=FileHandleT(inode), direct_io=True)

    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        await self._stop.wait("read")
        with self._paths[fh].open("rb") as file:
            return os.pread(file.fileno(), size, off)

    async def flush(self, fh: FileHandleT) -> None:
        await self._stop.wait("flush")

    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        await self._stop.wait("statfs")
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = 4096
        data.f_blocks = data.f_bfree = data.f_bavail = 1000
        data.f_files = data.f_ffree = data.f_favail = 10
        data.f_namemax = 255
        return data


def main(arguments: Sequence[str]) -> None:
    """Serve until unmounted."""
    folder, point = arguments
    pyfuse3.init(Files(Path(folder)), point, {"fsname=stopping", "ro"})
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close()


if __name__ == "__main__":
    main(sys.argv[1:])
