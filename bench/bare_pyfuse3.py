"""The ceiling of the stack: pyfuse3 and one pread of a plain image for each read.

Frozen: it is what zsofs is measured against, so it does not change when zsofs does.
Run it as ``python -m bench.bare_pyfuse3 IMAGE MOUNTPOINT``; it shows the image under four names.
"""

import errno
import os
import stat
import sys

import pyfuse3
import trio

NAMES = {pyfuse3.InodeT(number + 1): b"Disc %d.iso" % number for number in range(1, 5)}


class Bare(pyfuse3.Operations):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.fd = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self.fd).st_size

    async def getattr(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext | None = None
    ) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = inode
        is_root = inode == pyfuse3.ROOT_INODE
        entry.st_mode = pyfuse3.ModeT(stat.S_IFDIR | 0o755 if is_root else stat.S_IFREG | 0o444)
        entry.st_size = 0 if is_root else self.size
        return entry

    async def lookup(
        self, parent_inode: pyfuse3.InodeT, name: pyfuse3.FileNameT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        for inode, known in NAMES.items():
            if name == known:
                return await self.getattr(inode)
        raise pyfuse3.FUSEError(errno.ENOENT)

    async def open(
        self, inode: pyfuse3.InodeT, flags: pyfuse3.FlagT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileInfo:
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(inode), keep_cache=True)

    async def read(self, fh: pyfuse3.FileHandleT, off: int, size: int) -> bytes:
        return os.pread(self.fd, size, off)


def main(path: str, mount_point: str) -> None:
    pyfuse3.init(Bare(path), mount_point, {"ro", "fsname=bare_pyfuse3"})
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
