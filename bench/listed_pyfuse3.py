"""What pyfuse3 takes to list as many files from memory: it looks at no disk and decides nothing.

Frozen: it is what zsofs is measured against, so it does not change when zsofs does.
Run it as ``python -m bench.listed_pyfuse3 FOLDERS FILES MOUNTPOINT``.
"""

import errno
import os
import stat
import sys

import pyfuse3
import trio


class Listed(pyfuse3.Operations):
    def __init__(self, folders: int, files: int) -> None:
        super().__init__()
        self.children: dict[int, dict[bytes, int]] = {pyfuse3.ROOT_INODE: {}}
        number = int(pyfuse3.ROOT_INODE)
        for folder in range(folders):
            number += 1
            self.children[pyfuse3.ROOT_INODE][b"Shelf %d" % folder] = number
            inside = self.children[number] = {}
            for file in range(files // folders):
                number += 1
                inside[b"Game %05d.iso" % (folder * files // folders + file)] = number
        self.listings: list[list[tuple[bytes, int]]] = []

    def attributes(self, inode: int) -> pyfuse3.EntryAttributes:
        is_folder = inode in self.children
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = pyfuse3.InodeT(inode)
        entry.entry_timeout = entry.attr_timeout = 1
        entry.st_mode = pyfuse3.ModeT(stat.S_IFDIR | 0o555 if is_folder else stat.S_IFREG | 0o444)
        entry.st_nlink = 1
        entry.st_uid = os.getuid()
        entry.st_gid = os.getgid()
        entry.st_size = 0 if is_folder else 65536
        entry.st_blksize = 131072
        entry.st_blocks = 128
        entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = 1_700_000_000_000_000_000
        return entry

    async def getattr(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        return self.attributes(inode)

    async def lookup(
        self, parent_inode: pyfuse3.InodeT, name: pyfuse3.FileNameT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        inode = self.children[parent_inode].get(name)
        if inode is None:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return self.attributes(inode)

    async def opendir(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileHandleT:
        self.listings.append(list(self.children[inode].items()))
        return pyfuse3.FileHandleT(len(self.listings) - 1)

    async def readdir(
        self, fh: pyfuse3.FileHandleT, start_id: int, token: pyfuse3.ReaddirToken
    ) -> None:
        listing = self.listings[fh]
        for position in range(start_id, len(listing)):
            name, inode = listing[position]
            entry = self.attributes(inode)
            if not pyfuse3.readdir_reply(token, pyfuse3.FileNameT(name), entry, position + 1):
                break

    async def releasedir(self, fh: pyfuse3.FileHandleT) -> None:
        self.listings[fh] = []


def main(folders: str, files: str, mount_point: str) -> None:
    pyfuse3.init(Listed(int(folders), int(files)), mount_point, {"ro", "fsname=listed_pyfuse3"})
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
