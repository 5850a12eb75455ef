"""A FUSE file system that shows one directory, to be mounted as a source.

It is run as ``python -m tests.support.passthrough DIRECTORY MOUNTPOINT``.

As a source it is one that this machine's kernel is not alone with: what is changed in DIRECTORY
itself is not reported through the mount. Nothing is cached, so that each change shows at once.
"""

import errno
import os
import sys
from typing import Any

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, InodeT

ROOT = InodeT(1)


class Passthrough(pyfuse3.Operations):
    """One directory without subdirectories."""

    supports_dot_lookup = False
    enable_writeback_cache = False

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = os.open(folder, os.O_RDONLY)
        self._names: dict[int, bytes] = {}

    def _path(self, inode: InodeT) -> str:
        name = self._names.get(inode, b"")
        return f"/proc/self/fd/{self._folder}/" + os.fsdecode(name)

    def _attributes(self, inode: InodeT, fd: int | None = None) -> EntryAttributes:
        try:
            status = os.stat(self._path(inode) if fd is None else fd)
        except OSError as error:
            raise FUSEError(error.errno or errno.EIO) from None
        found = EntryAttributes()
        for field in ("mode", "nlink", "uid", "gid", "size", "mtime_ns", "ctime_ns", "atime_ns"):
            setattr(found, f"st_{field}", getattr(status, f"st_{field}"))
        found.st_ino = inode
        found.attr_timeout = found.entry_timeout = 0
        return found

    def _entry(self, name: bytes) -> EntryAttributes:
        try:
            inode = InodeT(os.stat(name, dir_fd=self._folder).st_ino)
        except OSError as error:
            raise FUSEError(error.errno or errno.EIO) from None
        self._names[inode] = name
        return self._attributes(inode)

    async def lookup(self, parent: InodeT, name: Any, ctx: Any) -> EntryAttributes:
        return self._entry(name)

    async def getattr(self, inode: InodeT, ctx: Any) -> EntryAttributes:
        return self._attributes(inode)

    async def setattr(
        self, inode: InodeT, attr: EntryAttributes, fields: Any, fh: Any, ctx: Any
    ) -> EntryAttributes:
        if fields.update_mode:
            os.chmod(self._path(inode), attr.st_mode & 0o7777)
        if fields.update_mtime:
            os.utime(self._path(inode), ns=(attr.st_atime_ns, attr.st_mtime_ns))
        return self._attributes(inode)

    async def opendir(self, inode: InodeT, ctx: Any) -> Any:
        return inode

    async def readdir(self, fh: Any, start_id: int, token: Any) -> None:
        names = sorted(os.listdir(self._folder))
        for position in range(start_id, len(names)):
            name = os.fsencode(names[position])
            if not pyfuse3.readdir_reply(token, name, self._entry(name), position + 1):
                return

    async def open(self, inode: InodeT, flags: int, ctx: Any) -> FileInfo:
        fd = os.open(self._path(inode), flags & (os.O_RDWR | os.O_WRONLY))
        return FileInfo(fh=fd, direct_io=True, keep_cache=False)

    async def read(self, fh: Any, off: int, size: int) -> bytes:
        return os.pread(fh, size, off)

    async def write(self, fh: Any, off: int, buf: bytes) -> int:
        return os.pwrite(fh, buf, off)

    async def release(self, fh: Any) -> None:
        os.close(fh)

    async def rename(
        self, parent_old: Any, name_old: Any, parent_new: Any, name_new: Any, flags: int, ctx: Any
    ) -> None:
        os.rename(name_old, name_new, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._names = {
            inode: name_new if name == name_old else name for inode, name in self._names.items()
        }

    async def listxattr(self, inode: InodeT, ctx: Any) -> Any:
        return [os.fsencode(name) for name in os.listxattr(self._path(inode))]

    async def getxattr(self, inode: InodeT, name: Any, ctx: Any) -> bytes:
        try:
            return os.getxattr(self._path(inode), name)
        except OSError as error:
            raise FUSEError(error.errno or errno.EIO) from None


if __name__ == "__main__":
    options = {"fsname=passthrough", "subtype=passthrough", "allow_other"}
    pyfuse3.init(Passthrough(sys.argv[1]), sys.argv[2], options)
    trio.run(pyfuse3.main)
    pyfuse3.close()
