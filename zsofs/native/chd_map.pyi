from collections.abc import Sequence

class ChdMap:
    data_end: int
    def __init__(
        self,
        *,
        fd: int,
        hunk_count: int,
        hunk_size: int,
        unit_size: int,
        skip: int,
        take: int,
        methods: Sequence[int],
        map_offset: int,
        map_size: int,
        first_offset: int,
        map_crc: int,
        bits: tuple[int, int, int],
        compressed: bool,
    ) -> None: ...
    @property
    def counts(self) -> tuple[int, ...]: ...
    @property
    def memory(self) -> int: ...

def drop_idle_maps() -> None: ...
def loaded_bytes() -> int: ...
