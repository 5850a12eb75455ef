"""The FUSE requests that change names and attributes, where all but the discs may be changed.

The order is always the same: what must not be is refused, a thread makes the change in the source,
and then, in one go of the event loop, library and view take it, so that no look at the source that
began before undoes it.
"""

import errno
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress

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

from zsofs.errors import DiskBusyError, SourceAwayError, StaleNodeError
from zsofs.formats.file_names import may_be_disc
from zsofs.fuse.error_guard import guarded
from zsofs.fuse.file_handles import Handle
from zsofs.fuse.file_operations import LiveOperations, info_of
from zsofs.fuse.operations import Parts
from zsofs.source.entry import Entry, Kind
from zsofs.source.filters import Selection
from zsofs.source.live_file import Seen, seen
from zsofs.source.ownership import SET_IDS, Maker, Wanted
from zsofs.source.relpath import is_at_or_below
from zsofs.source.tree import Place, is_same_file
from zsofs.vfs.node import Folder, Node


class WritableOperations(LiveOperations):
    """The mount, writable but for discs."""

    def __init__(self, parts: Parts, selection: Selection, *, serves_as_root: bool) -> None:
        """*selection* says what is shown at all; *serves_as_root*, whether files can be given."""
        super().__init__(parts, selection)
        self._serves_as_root = serves_as_root

    # Attributes

    @guarded
    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        """Attributes as they are now, of what may be changed; of discs as of the last listing."""
        node = self._library.node(inode)
        if self._library.may_change(node):
            await self._ask(node)
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
        """Size, rights, owner and times."""
        node = self._library.node(inode)
        self._rules.refuse_unchangeable(node)
        wanted = self._wanted(node, attr, fields)
        with self._live.borrowed(node, fh, writable=wanted.size is not None) as handle:
            if handle is not None:
                change, file = self._changes.set_attributes_of_open, handle.live
                now = await self._run(node, change, file, node.entry.path, wanted)
            else:
                now = await self._set_by_path(node, wanted, ctx)
        self._changed(node, now)
        return self._appearance.attributes(node)

    async def _set_by_path(self, node: Node, wanted: Wanted, ctx: RequestContext) -> Seen:
        async with self._paths.kept(lambda: (self._path_of(node),)):
            self._refuse_removed(node)
            if isinstance(node, Folder):
                await self._make_place(node, ctx)
            path, known = self._path_of(node), node.entry.status
            try:
                return await self._run(node, self._changes.set_attributes, path, wanted, known)
            except (OSError, StaleNodeError) as error:
                self._note_failure(node, error)
                raise

    def _wanted(self, node: Node, attr: EntryAttributes, fields: SetattrFields) -> Wanted:
        appearance = self._appearance
        gives = (fields.update_uid and appearance.uid is not None) or (
            fields.update_gid and appearance.gid is not None
        )
        if gives:  # it would not show
            raise OSError(errno.EPERM, "all files are shown as those of one owner")
        return Wanted(
            size=attr.st_size if fields.update_size else None,
            mode=self._mode(node, attr.st_mode) if fields.update_mode else None,
            uid=attr.st_uid if fields.update_uid else None,
            gid=attr.st_gid if fields.update_gid else None,
            times=(
                attr.st_atime_ns if fields.update_atime else None,
                attr.st_mtime_ns if fields.update_mtime else None,
            ),
        )

    def _mode(self, node: Node, mode: int) -> int:
        """Rights that may be given; who seems to own a file must not make it run as who does.

        They are left out without a word, as the kernel does with those that one may not give.
        """
        if self._appearance.is_of_its_own and not isinstance(node, Folder):
            mode &= ~SET_IDS
        return stat.S_IMODE(mode)

    async def _ask(self, node: Node) -> None:
        """See what a file or folder is now; where that cannot be had, it is what it was."""
        try:
            with self._live.borrowed(node) as handle:
                if handle is not None:
                    now = await self._run(node, seen, handle.live.fd)
                else:
                    self._refuse_removed(node)
                    path = self._path_of(node)
                    now = await self._run(node, self._seen_at, path)
                    if self._path_of(node) != path:  # another folder may have had that path
                        return
        except (OSError, DiskBusyError, SourceAwayError, StaleNodeError, MemoryError):
            if node.removed:
                raise StaleNodeError(f"{node.name}: deleted") from None
            return
        is_folder = isinstance(node, Folder) and stat.S_ISDIR(now.status.st_mode)
        if not (is_folder or is_same_file(now.status, node.entry.status)):  # it is another's name
            return
        known = node.entry.key
        self._library.take_status(node, now.status, now.at)
        if node.entry.key != known:  # the listing, which a look may take again, does not know it
            self._changed(node, now)

    def _seen_at(self, path: bytes) -> Seen:
        with self._library.tree.step(path, to_change=True) as step:  # not what is below its disk
            return seen(step)

    # Names

    @guarded
    async def create(
        self,
        parent_inode: InodeT,
        name: FileNameT,
        mode: int,
        flags: int,
        ctx: RequestContext,
    ) -> tuple[FileInfo, EntryAttributes]:
        """Make a file and open it.

        The kernel asks for that where it knows of no such file, and then does not see whether it
        may be opened. If there is one by now, the kernel is told to look again, so that it does.
        """
        folder = self._library.folder(parent_inode)
        node = (await self._children(folder)).get(name)
        if node is None:
            try:
                handle = await self._create(folder, name, mode, flags, ctx)
            except FileExistsError:  # by somebody else, a moment ago, or it is not shown
                self._view.outdate(folder, name)
                node = (await self._children(folder)).get(name)
                if node is None:
                    raise
            else:
                self._library.remember(handle.node)
                return info_of(handle), self._appearance.attributes(handle.node)
        if flags & os.O_EXCL:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        raise StaleNodeError(f"{node.name}: another file now")

    @guarded
    async def mknod(
        self, parent_inode: InodeT, name: FileNameT, mode: int, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        """Make a file; devices and the like are not for a share."""
        if not stat.S_ISREG(mode):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        folder = self._library.folder(parent_inode)
        await self._refuse_taken(folder, name)
        handle = await self._create(folder, name, mode, os.O_WRONLY, ctx)
        with self._library.held(handle.node):
            self._live.remove(handle)
            await self._close_unused(handle)
            self._library.remember(handle.node)
        return self._appearance.attributes(handle.node)

    @guarded
    async def mkdir(
        self, parent_inode: InodeT, name: FileNameT, mode: int, ctx: RequestContext
    ) -> EntryAttributes:
        """Make a folder."""
        folder = self._library.folder(parent_inode)
        await self._refuse_taken(folder, name)
        self._rules.refuse_name(folder, name, Kind.FOLDER)
        async with self._paths.kept(lambda: (self._view.place(folder),)):
            place = await self._make_place(folder, ctx, name)
            now = await self._run(
                folder, self._changes.make_folder, place, stat.S_IMODE(mode), self._maker(ctx)
            )
            node = self._made(folder, place, now)
        self._library.remember(node)
        return self._appearance.attributes(node)

    @guarded
    async def symlink(
        self, parent_inode: InodeT, name: FileNameT, target: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        """Refused, as by FAT: a client could make links that lead to discs, or out of the share."""
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    @guarded
    async def link(
        self, inode: InodeT, new_parent_inode: InodeT, new_name: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        """Refused, as by FAT: a file has one name and one inode number here."""
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    @guarded
    async def unlink(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        """Delete a file."""
        await self._remove(parent_inode, name, self._changes.remove_file)

    @guarded
    async def rmdir(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        """Delete an empty folder."""
        await self._remove(parent_inode, name, self._changes.remove_folder)

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
        """Rename a file, or a folder without discs; what is replaced must be no disc either."""
        if flags & ~pyfuse3.RENAME_NOREPLACE:
            raise OSError(errno.EINVAL, "files cannot be exchanged")
        folder, node = await self._child(parent_inode_old, name_old)
        with self._library.held(node):
            self._rules.refuse_disc(folder, name_old, node)
            new_folder = self._library.folder(parent_inode_new)
            replaced = (await self._children(new_folder)).get(name_new)
            if replaced is not None:
                if flags & pyfuse3.RENAME_NOREPLACE:
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
                self._rules.refuse_disc(new_folder, name_new, replaced)
            self._rules.refuse_name(new_folder, name_new, node.entry.kind)

            def folders() -> tuple[bytes, ...]:
                to = self._view.place(new_folder)
                if replaced is not None:
                    to = self._place_of(new_folder, replaced).folder
                return self._place_of(folder, node).folder, to

            async with self._paths.kept(folders) as claim:
                old = self._place_of(folder, node)
                new = await self._make_place(new_folder, ctx, name_new)
                if replaced is not None:
                    new = self._place_of(new_folder, replaced)
                if is_at_or_below(new.folder, old.path):  # by way of a symlink
                    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
                await self._paths.move(claim, old.path)
                now = await self._run(
                    node, lambda: self._changes.rename(old, new, replaces=replaced is not None)
                )
                entry = _renamed(node.entry, new, now)
                self._library.move(node, ((folder, name_old), (new_folder, name_new)), entry)
                node.known_at = now.at
                self._view.did(folder, old, None, now.at)
                self._view.did(new_folder, new, entry, now.at)

    @guarded
    async def fsyncdir(self, fh: FileHandleT, datasync: bool) -> None:
        """Return when the names in a folder are on the disk."""
        folder, _ = self._listings[fh]
        if self._view.lacks(folder):
            return
        async with self._paths.kept(lambda: (self._view.place(folder),)):
            if not folder.removed:
                await self._run(folder, self._changes.sync_folder, self._view.place(folder))

    # What the requests share

    async def _child(self, parent: InodeT, name: bytes) -> tuple[Folder, Node]:
        folder = self._library.folder(parent)
        node = (await self._children(folder)).get(name)
        if node is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return folder, node

    async def _create(
        self, folder: Folder, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> Handle:
        self._rules.refuse_name(folder, name, Kind.FILE)
        async with self._paths.kept(lambda: (self._view.place(folder),)):
            place = await self._make_place(folder, ctx, name)
            create, maker = self._changes.create, self._maker(ctx)
            live, now = await self._run(
                folder, self._descriptors.open, create, place, flags, stat.S_IMODE(mode), maker
            )
            return self._keep(self._made(folder, place, now), live, ctx)

    async def _remove(self, parent: InodeT, name: bytes, function: Callable[[Place], None]) -> None:
        folder, node = await self._child(parent, name)
        self._rules.refuse_disc(folder, name, node)
        async with self._paths.kept(lambda: (self._place_of(folder, node).folder,)):
            place = self._place_of(folder, node)
            await self._run(node, function, place)
            self._library.remove(folder, name, node)
            self._view.did(folder, place, None, time.monotonic())

    def _made(self, folder: Folder, place: Place, now: Seen) -> Node:
        """The node of what was just made."""
        kind = Kind.FOLDER if stat.S_ISDIR(now.status.st_mode) else Kind.FILE
        entry = Entry(place.name, kind, place.path, now.status, settled=not may_be_disc(place.name))
        node = self._library.put(folder, place.name, entry, now.at)
        self._view.did(folder, place, entry, now.at)
        return node

    def _maker(self, ctx: RequestContext) -> Maker:
        """Whom new files are to belong to."""
        if not self._serves_as_root:
            return Maker(None, None)
        uid, gid = self._appearance.uid, self._appearance.gid
        return Maker(ctx.uid if uid is None else uid, ctx.gid if gid is None else gid)

    async def _refuse_taken(self, folder: Folder, name: bytes) -> None:
        if name in await self._children(folder):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    # Places

    def _place_of(self, folder: Folder, node: Node) -> Place:
        """Where the source has what *folder* shows as *node*; a symlink's own place."""
        if node.entry.followed:
            return Place(self._view.place(folder), node.entry.name)
        above, _, name = node.entry.path.rpartition(b"/")
        return Place(above, name)

    def _path_of(self, node: Node) -> bytes:
        return self._view.place(node) if isinstance(node, Folder) else node.entry.path

    async def _make_place(self, folder: Folder, ctx: RequestContext, name: bytes = b"") -> Place:
        """Where *name* is to lie in the source, in a folder that exists."""
        path = self._view.place(folder)
        if self._view.lacks(folder):
            # Nobody asks for it by itself, so it is like the folder that it lies in; and who syncs
            # what is in it takes it to have been on the disk before.
            place, mode = Place(b"", path), self._library.root.entry.status.st_mode & 0o777
            with suppress(FileExistsError):
                now = await self._run(
                    folder, self._changes.make_folder, place, mode, self._maker(ctx)
                )
                # A look at the source that began before has not seen it.
                entry = Entry(path, Kind.FOLDER, path, now.status)
                self._view.did(self._library.root, place, entry, now.at)
                with suppress(OSError):
                    await self._run(folder, self._changes.sync_folder, place.folder)
        return Place(path, name)


def _renamed(known: Entry, new: Place, now: Seen) -> Entry:
    """What the source says of a file after it was renamed; of a symlink, its target is the same."""
    return Entry(
        new.name,
        known.kind,
        known.path if known.followed else new.path,
        known.status if known.followed else now.status,
        target=known.target,
        followed=known.followed,
        settled=not may_be_disc(new.name),
    )
