"""What a mount tells about itself: all its reports, put together.

They take as many modules as serving does. So a mount imports this only when it is served.
"""

from zsofs.fuse.operations import Operations
from zsofs.fuse.parts import Parts
from zsofs.mount.activity_report import ActivityReport
from zsofs.mount.library_report import LibraryReport
from zsofs.mount.library_survey import LibraryQuestion
from zsofs.mount.settings import MountSettings
from zsofs.mount.state_report import StateReport
from zsofs.source.filters import Selection
from zsofs.source.scan_cache import ScanCache
from zsofs.vfs.disc_counts import DiscCounts
from zsofs.vfs.follower import Follower
from zsofs.vfs.slow_read_files import SlowReadFiles


class Reports:
    """The reports of a mount.

    Attributes:
        state: builds its status.
        activity: answers requests about discs and their reads.
    """

    def __init__(
        self,
        settings: MountSettings,
        catalog: ScanCache,
        selection: Selection,
        parts: Parts,
        follower: Follower,
        disc_counts: DiscCounts,
        operations: Operations,
    ) -> None:
        """Create them from the components of a mount."""
        reads, workers = parts.reads, parts.workers
        self.state = StateReport(
            settings,
            parts.library,
            reads.cache,
            reads.statistics,
            follower,
            *(disc_counts, operations),
        )
        is_opl = settings.tree.layout == "opl"
        question = LibraryQuestion(settings.source, catalog, selection, is_opl)
        self.activity = ActivityReport(
            settings,
            reads.statistics,
            reads.io_pool,
            disc_counts,
            self.state,
            SlowReadFiles(parts.contents, reads, workers),
            LibraryReport(question, disc_counts, follower.unsettled, workers),
        )
