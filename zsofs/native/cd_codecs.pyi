def gather(
    units: bytes | bytearray | memoryview,
    *,
    unit: int,
    skip: int,
    width: int,
    swapped: bool,
    head: int,
    out: bytearray | memoryview,
) -> None: ...
