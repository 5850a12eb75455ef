"""FUSE requests that change names and attributes, for writable mounts."""

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
    """The writable mount; discs remain read-only."""

    # Attributes

    @guarded
    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        """Return current attributes of changeable files; those of discs as of the last listing.

        Errnos:
            ESTALE: the inode number is unknown, or the file was deleted.
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
        """Set size, permissions, owner or times.

        Errnos:
            EACCES: it is a disc.
            EPERM: it is a link or device, or --uid or --gid sets the owner.
            EROFS: it is a playlist or cue sheet with the names in the mount.
            ESTALE: the inode number is unknown, or the source has another file now.
        """
        node = self._library.node(inode)
        await self._attributes.change(node, wanted(attr, fields), fh, ctx)
        return self._appearance.attributes(node)

    # Names

    @guarded
    async def create(
        self, parent_inode: InodeT, name: FileNameT, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        """Create a file and open it.

        Errnos:
            EACCES: the name is reserved for discs, or would not be shown.
            EEXIST: the name exists in the source.
            EMFILE: the limit of open files is reached.
            ENOTDIR: the parent is not a directory.
            ESTALE: the directory no longer exists, or the kernel must look up the name again.
        """
        folder = self._library.folder(parent_inode)
        handle = await self._names.create(folder, name, mode, flags, ctx)
        return info_of(handle), self._appearance.attributes(handle.node)

    @guarded
    async def mknod(
        self, parent_inode: InodeT, name: FileNameT, mode: int, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        """Create a regular file; other kinds are rejected.

        Errnos:
            EACCES: the name is reserved for discs, or would not be shown.
            EEXIST: the name exists.
            EMFILE: the limit of open files is reached.
            ENOTDIR: the parent is not a directory.
            EPERM: it is not a regular file.
            ESTALE: the directory no longer exists.
        """
        folder = self._library.folder(parent_inode)
        return self._appearance.attributes(await self._names.make_file(folder, name, mode, ctx))

    @guarded
    async def mkdir(
        self, parent_inode: InodeT, name: FileNameT, mode: int, ctx: RequestContext
    ) -> EntryAttributes:
        """Create a directory.

        Errnos:
            EACCES: the name is reserved for discs, or would not be shown.
            EEXIST: the name exists.
            ENOTDIR: the parent is not a directory.
            ESTALE: the directory no longer exists.
        """
        folder = self._library.folder(parent_inode)
        return self._appearance.attributes(await self._names.make_folder(folder, name, mode, ctx))

    @guarded
    async def symlink(
        self, parent_inode: InodeT, name: FileNameT, target: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        """Reject symlinks, like FAT: a client could create links to discs, or out of the share.

        Errnos:
            EPERM: always.
        """
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    @guarded
    async def link(
        self, inode: InodeT, new_parent_inode: InodeT, new_name: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        """Reject hard links, like FAT: a file has one name and one inode number here.

        Errnos:
            EPERM: always.
        """
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    @guarded
    async def unlink(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        """Delete a file.

        Errnos:
            EACCES: it is a disc.
            ENOENT: the file does not exist.
            ENOTDIR: the parent is not a directory.
            EROFS: it is a playlist or cue sheet with the names in the mount, or its original.
            ESTALE: the directory no longer exists.
        """
        await self._names.remove_file(self._library.folder(parent_inode), name)

    @guarded
    async def rmdir(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        """Delete an empty directory.

        Errnos:
            EACCES: it contains discs.
            ENOENT: the directory does not exist.
            ENOMEDIUM: it is the mount point of a disk that is not attached.
            ENOTDIR: the parent is not a directory.
            ESTALE: the directory no longer exists.
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
        """Rename a file, or a directory without discs; a replaced file must not be a disc either.

        Errnos:
            EACCES: it is a disc or replaces one, or the new name is reserved for discs.
            EEXIST: the new name exists and must not be replaced.
            EINVAL: exchange of two files, or a move of a directory into itself.
            ENOENT: the file does not exist.
            ENOMEDIUM: it is the mount point of a disk that is not attached.
            ENOTDIR: a parent is not a directory.
            EROFS: it is or replaces a playlist or cue sheet with the names in the mount, or is its
                original.
            ESTALE: a directory no longer exists.
        """
        if flags & ~pyfuse3.RENAME_NOREPLACE:
            raise OSError(errno.EINVAL, "two files cannot be exchanged (RENAME_EXCHANGE)")
        old, new = (parent_inode_old, name_old), (parent_inode_new, name_new)
        may_replace = not flags & pyfuse3.RENAME_NOREPLACE
        await self._renames.rename(old, new, ctx, may_replace=may_replace)

    @guarded
    async def fsyncdir(self, fh: FileHandleT, datasync: bool) -> None:
        """Sync a directory to the disk."""
        await self._names.sync_folder(self._listings.folder(fh))
