from zsofs.native.block_reader import BlockReader

def stored_ranges(
    reader: BlockReader, fd: int, first: int, count: int
) -> list[tuple[int, int]]: ...
