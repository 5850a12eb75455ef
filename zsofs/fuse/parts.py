"""The components that handlers use."""

import itertools

from zsofs.fuse.attributes import Appearance
from zsofs.preload.preloader import Preloader
from zsofs.preload.settings import PreloadSettings
from zsofs.reading.file_opener import FileOpener
from zsofs.reading.reader import Reader
from zsofs.reading.statfs_cache import StatfsCache
from zsofs.reading.worker_threads import WorkerThreads
from zsofs.source.filters import Selection
from zsofs.source.new_discs import NewDiscs
from zsofs.source.scan_cache import ScanCache
from zsofs.source.writer import SourceWriter
from zsofs.vfs.inodes import Inodes
from zsofs.vfs.listings import Listings
from zsofs.vfs.open_contents import OpenContents
from zsofs.vfs.view import View
from zsofs.vfs.write_policy import Rules
from zsofs.vfs.writing.attribute_changes import AttributeChanges
from zsofs.vfs.writing.live_files import LiveFiles
from zsofs.vfs.writing.name_changes import NameChanges
from zsofs.vfs.writing.path_locks import Paths
from zsofs.vfs.writing.renames import Renames
from zsofs.vfs.writing.writable_tree import WritableTree


class Parts:
    """Components of every mount.

    Attributes:
        library: the inode table.
        appearance: attributes as reported to the kernel.
        view: the layout of the mount.
        reads: reads discs.
        workers: worker threads for blocking calls.
        paths: locks on source paths.
        file_numbers: allocates file handle numbers.
        opener: opens and closes source files.
        preloader: records starts of discs, and reads ahead.
        listings: open directory listings.
        contents: files open for reading.
        statfs: free space of the source.
    """

    def __init__(
        self,
        library: Inodes,
        appearance: Appearance,
        view: View,
        reads: Reader,
        workers: WorkerThreads,
        catalog: ScanCache,
        preload: PreloadSettings,
    ) -> None:
        """Create them; *catalog* keeps boot traces."""
        self.library = library
        self.appearance = appearance
        self.view = view
        self.reads = reads
        self.workers = workers
        self.paths = Paths()
        self.file_numbers = itertools.count(1)
        self.opener = FileOpener(workers)
        self.listings = Listings(library, view, self.paths)
        self.preloader = Preloader(catalog, workers, self.opener, reads, enabled=preload.traces)
        self.contents = OpenContents(
            library,
            view,
            reads,
            self.opener,
            self.preloader,
            self.file_numbers,
            keep_awake=preload.keep_awake,
        )
        self.statfs = StatfsCache(workers, library.tree)


class WritableParts:
    """Additional components of a writable mount.

    Attributes:
        files: files that may change while they are open.
        attributes: changes size, permissions, owner and times.
        names: creates and deletes.
        renames: renames.
    """

    def __init__(
        self, parts: Parts, selection: Selection, new_discs: NewDiscs, *, serves_as_root: bool
    ) -> None:
        """Create them.

        Args:
            parts: the components of every mount.
            selection: what is shown.
            new_discs: the discs that clients may still change.
            serves_as_root: whether chown is possible.
        """
        owner = parts.appearance.owner
        tree = WritableTree(
            parts.library,
            parts.view,
            Rules(parts.library, parts.view, selection, new_discs.enabled),
            SourceWriter(parts.library.tree, new_discs, takes_set_ids=owner.is_set),
            parts.workers,
            parts.opener,
            parts.paths,
            owner,
            serves_as_root,
        )
        self.files = LiveFiles(tree, parts.reads, parts.file_numbers)
        self.attributes = AttributeChanges(tree, self.files.handles)
        self.names = NameChanges(tree, parts.listings, self.files)
        self.renames = Renames(tree, parts.listings)
