"""Shows a flat folder through FUSE, so that it can be made to hang: the server is simply stopped.

Run it as ``python -m bench.dead_disk FOLDER MOUNTPOINT`` and send it SIGSTOP. The kernel ends it
together with the benchmark that started it, also while it is stopped: then what waits for it gets
an error and waits no longer.
"""

import ctypes
import errno
import os
import signal
import sys

import pyfuse3
import trio

_PR_SET_PDEATHSIG = 1
_BELIEVED_SECONDS = 1.0
"""How long the kernel remembers names and attributes: libfuse's default."""


class DeadDisk(pyfuse3.Operations):
    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = os.fsencode(folder)
        names = [os.fsencode(name) for name in sorted(os.listdir(folder))]
        self.names = {pyfuse3.InodeT(number): name for number, name in enumerate(names, 2)}

    def _path(self, inode: pyfuse3.InodeT) -> bytes:
        return os.path.join(self.folder, self.names.get(inode, b""))

    async def getattr(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext | None = None
    ) -> pyfuse3.EntryAttributes:
        found = os.stat(self._path(inode))
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = inode
        entry.st_mode = pyfuse3.ModeT(found.st_mode)
        entry.st_size = found.st_size
        entry.st_mtime_ns = found.st_mtime_ns
        entry.attr_timeout = entry.entry_timeout = _BELIEVED_SECONDS
        return entry

    async def lookup(
        self, parent_inode: pyfuse3.InodeT, name: pyfuse3.FileNameT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        for inode, known in self.names.items():
            if name == known:
                return await self.getattr(inode)
        raise pyfuse3.FUSEError(errno.ENOENT)

    async def opendir(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileHandleT:
        return pyfuse3.FileHandleT(inode)

    async def readdir(
        self, fh: pyfuse3.FileHandleT, start_id: int, token: pyfuse3.ReaddirToken
    ) -> None:
        for inode, name in self.names.items():
            if inode > start_id:
                entry = await self.getattr(inode)
                if not pyfuse3.readdir_reply(token, pyfuse3.FileNameT(name), entry, inode):
                    return

    async def open(
        self, inode: pyfuse3.InodeT, flags: pyfuse3.FlagT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileInfo:
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(os.open(self._path(inode), os.O_RDONLY)))

    async def read(self, fh: pyfuse3.FileHandleT, off: int, size: int) -> bytes:
        return os.pread(fh, size, off)

    async def release(self, fh: pyfuse3.FileHandleT) -> None:
        os.close(fh)


def main(folder: str, mount_point: str) -> None:
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    pyfuse3.init(DeadDisk(folder), mount_point, {"ro", "fsname=dead_disk"})
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
