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
    def read(
        self,
        fd: int,
        first: int,
        count: int,
        out: bytearray | memoryview,
        nowait: bool = False,
    ) -> int: ...

def read_plain(
    fd: int,
    offset: int,
    out: bytearray | memoryview,
    source_size: int,
    source_mtime_ns: int,
    nowait: bool = False,
) -> int: ...
