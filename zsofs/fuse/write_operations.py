"""The FUSE requests that change names and attributes, where all but the discs may be changed."""

import errno
import os

import pyfuse3
from pyfuse3 import (
    EntryAttributes,
    FileHandleT,
    FileInfo,
    FileNameT,
    InodeT,
    RequestContext,
    SetattrFields,
)

from zsofs.fuse.attributes import wanted
from zsofs.fuse.error_guard import guarded
from zsofs.fuse.file_operations import LiveOperations, info_of


class WritableOperations(LiveOperations):
    """The mount, writable but for discs."""

    # Attributes

    @guarded
    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        """Attributes as they are now, of what may be changed; of discs as of the last listing.

        Errnos:
            ESTALE: nothing has that inode number, or it was deleted.
        """
        node = self._library.node(inode)
        if self._library.may_change(node):
            await self._attributes.refresh(node)
        return self._appearance.attributes(node)

    @guarded
    async def setattr(
        self,
        inode: InodeT,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: FileHandleT | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        """Size, rights, owner and times.

        Errnos:
            EACCES: it is a disc.
            EPERM: it is a link or a device, or all files are shown as those of one owner.
            ESTALE: nothing has that inode number, or the source has something else now.
        """
        node = self._library.node(inode)
        await self._attributes.change(node, wanted(attr, fields), fh, ctx)
        return self._appearance.attributes(node)

    # Names

    @guarded
    async def create(
        self, parent_inode: InodeT, name: FileNameT, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        """Make a file and open it.

        Errnos:
            EACCES: the name is one of a disc, or would not be shown.
            EEXIST: the source has something of that name.
            EMFILE: the limit of open files is reached.
            ENOTDIR: its folder is none.
            ESTALE: the folder is gone, or the kernel is to look the name up again.
        """
        folder = self._library.folder(parent_inode)
        handle = await self._names.create(folder, name, mode, flags, ctx)
        return info_of(handle), self._appearance.attributes(handle.node)

    @guarded
    async def mknod(
        self, parent_inode: InodeT, name: FileNameT, mode: int, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        """Make a file; devices and the like are not for a share.

        Errnos:
            EACCES: the name is one of a disc, or would not be shown.
            EEXIST: there is something of that name.
            EMFILE: the limit of open files is reached.
            ENOTDIR: its folder is none.
            EPERM: it is to be no file.
            ESTALE: the folder is gone.
        """
        folder = self._library.folder(parent_inode)
        return self._appearance.attributes(await self._names.make_file(folder, name, mode, ctx))

    @guarded
    async def mkdir(
        self, parent_inode: InodeT, name: FileNameT, mode: int, ctx: RequestContext
    ) -> EntryAttributes:
        """Make a folder.

        Errnos:
            EACCES: the name is one of a disc, or would not be shown.
            EEXIST: there is something of that name.
            ENOTDIR: its folder is none.
            ESTALE: the folder is gone.
        """
        folder = self._library.folder(parent_inode)
        return self._appearance.attributes(await self._names.make_folder(folder, name, mode, ctx))

    @guarded
    async def symlink(
        self, parent_inode: InodeT, name: FileNameT, target: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        """Refused, as by FAT: a client could make links that lead to discs, or out of the share.

        Errnos:
            EPERM: always.
        """
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    @guarded
    async def link(
        self, inode: InodeT, new_parent_inode: InodeT, new_name: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        """Refused, as by FAT: a file has one name and one inode number here.

        Errnos:
            EPERM: always.
        """
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    @guarded
    async def unlink(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        """Delete a file.

        Errnos:
            EACCES: it is a disc.
            ENOENT: there is no such file.
            ENOTDIR: its folder is none.
            ESTALE: the folder is gone.
        """
        await self._names.remove_file(self._library.folder(parent_inode), name)

    @guarded
    async def rmdir(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        """Delete an empty folder.

        Errnos:
            EACCES: it shows discs.
            ENOENT: there is no such folder.
            ENOMEDIUM: a disk that is away is mounted there.
            ENOTDIR: its folder is none.
            ESTALE: the folder is gone.
        """
        await self._names.remove_folder(self._library.folder(parent_inode), name)

    @guarded
    async def rename(
        self,
        parent_inode_old: InodeT,
        name_old: FileNameT,
        parent_inode_new: InodeT,
        name_new: FileNameT,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        """Rename a file, or a folder without discs; what is replaced must be no disc either.

        Errnos:
            EACCES: it is a disc, or replaces one, or the new name is one of a disc.
            EEXIST: it must not replace what has that name.
            EINVAL: two files are to be exchanged, or a folder is to lie below itself.
            ENOENT: there is no such file.
            ENOMEDIUM: a disk that is away is mounted there.
            ENOTDIR: one of the folders is none.
            ESTALE: one of the folders is gone.
        """
        if flags & ~pyfuse3.RENAME_NOREPLACE:
            raise OSError(errno.EINVAL, "two files cannot be exchanged (RENAME_EXCHANGE)")
        old, new = (parent_inode_old, name_old), (parent_inode_new, name_new)
        may_replace = not flags & pyfuse3.RENAME_NOREPLACE
        await self._renames.rename(old, new, ctx, may_replace=may_replace)

    @guarded
    async def fsyncdir(self, fh: FileHandleT, datasync: bool) -> None:
        """Return when the names in a folder are on the disk."""
        await self._names.sync_folder(self._listings.folder(fh))
