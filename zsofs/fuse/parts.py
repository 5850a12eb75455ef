"""What requests are answered by, put together for the handlers."""

import itertools

from zsofs.fuse.attributes import Appearance
from zsofs.reading.file_opener import FileOpener
from zsofs.reading.reader import Reader
from zsofs.reading.statfs_cache import StatfsCache
from zsofs.reading.worker_threads import WorkerThreads
from zsofs.source.filters import Selection
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
    """What every mount has.

    Attributes:
        library: which inode is what.
        appearance: what the kernel is told of it.
        view: how the source is shown.
        reads: answers reads of discs.
        workers: threads for what may wait.
        paths: the paths by which something is done just now.
        file_numbers: numbers of handles of files.
        opener: opens and closes files of the source.
        listings: the names in folders.
        contents: what is open for reading.
        statfs: free space of the source.
    """

    def __init__(
        self,
        library: Inodes,
        appearance: Appearance,
        view: View,
        reads: Reader,
        workers: WorkerThreads,
    ) -> None:
        self.library = library
        self.appearance = appearance
        self.view = view
        self.reads = reads
        self.workers = workers
        self.paths = Paths()
        self.file_numbers = itertools.count(1)
        self.opener = FileOpener(workers)
        self.listings = Listings(library, view, self.paths)
        self.contents = OpenContents(library, view, reads, self.opener, self.file_numbers)
        self.statfs = StatfsCache(workers, library.tree)


class WritableParts:
    """What a writable mount has besides.

    Attributes:
        files: files that change while they are open.
        attributes: sets size, rights, owner and times.
        names: makes and deletes.
        renames: renames.
    """

    def __init__(self, parts: Parts, selection: Selection, *, serves_as_root: bool) -> None:
        """*selection* says what is shown at all; *serves_as_root*, whether files can be given."""
        owner = parts.appearance.owner
        tree = WritableTree(
            parts.library,
            parts.view,
            Rules(parts.library, parts.view, selection),
            SourceWriter(parts.library.tree, takes_set_ids=owner.is_set),
            parts.workers,
            parts.opener,
            parts.paths,
            owner,
            serves_as_root,
        )
        self.files = LiveFiles(tree, parts.reads.statistics, parts.file_numbers)
        self.attributes = AttributeChanges(tree, self.files.handles)
        self.names = NameChanges(tree, parts.listings, self.files)
        self.renames = Renames(tree, parts.listings)
