from zsofs.native.chd_map import ChdMap

WAIT: int
ASK: int
LOOK: int
WOULD_WAIT: int
NO_NOWAIT: int

class BlockReader:
    @property
    def final_byte_missing(self) -> bool: ...
    def __init__(
        self,
        *,
        rule: int,
        codec: int,
        shift: int,
        size: int,
        block_size: int,
        index_offset: int,
        data_start: int,
        data_end: int,
        source_size: int,
        source_mtime_ns: int,
    ) -> None: ...
    @property
    def chd_map(self) -> ChdMap | None: ...
    def use_map(self, chd_map: ChdMap) -> None: ...
    def adopt(self, parent: BlockReader, fd: int) -> None: ...
    @property
    def parents(self) -> int: ...
    def close(self) -> None: ...
    def expect_ctime(self, ctime_ns: int | None) -> None: ...
    def read(
        self,
        fd: int,
        first: int,
        count: int,
        out: bytearray | memoryview,
        how: int = 0,
    ) -> int: ...
    def job(self, fd: int, first: int, count: int, out: bytearray | memoryview) -> Job: ...

def read_plain(
    fd: int,
    offset: int,
    out: bytearray | memoryview,
    source_size: int,
    source_mtime_ns: int,
    how: int = 0,
    source_ctime_ns: int | None = None,
) -> int: ...
def plain_job(
    fd: int,
    offset: int,
    out: bytearray | memoryview,
    source_size: int,
    source_mtime_ns: int,
    source_ctime_ns: int | None = None,
) -> Job: ...

class Job:
    context: object
    @property
    def queue_ns(self) -> int: ...
    @property
    def source_ns(self) -> int: ...
    @property
    def decode_ns(self) -> int: ...
    def result(self) -> None: ...

class ThreadPool:
    def __init__(self, threads: int, eventfd: int) -> None: ...
    def run(self, job: Job, spin_ns: int) -> bool: ...
    def let_go(self) -> None: ...
    def finished(self) -> list[Job]: ...

def start_helpers() -> None: ...
def let_helpers_go() -> None: ...
