"""How a disc is packed: what each purpose stands for, and what can be asked for."""

from dataclasses import dataclass, replace

from zsofs.errors import InputError, UsageError
from zsofs.formats.geometry import MAX_IMAGE_SIZE, Codec
from zsofs.formats.ziso_writer import MAX_BLOCK_SIZE, SECTOR, ContainerLayout

CODECS = {"zstd": Codec.ZSTD, "lz4": Codec.LZ4}
MAX_LEVELS = {Codec.ZSTD: 22, Codec.LZ4: 12}


@dataclass(frozen=True, slots=True)
class Packing:
    """One way to pack.

    Attributes:
        codec: LZ4 or ZSTD.
        level: of the codec.
        block_size: in plain bytes.
        console: whether it must be readable for consoles and other programs.
    """

    codec: Codec
    level: int
    block_size: int
    console: bool = False

    def layout(self, size: int, *, raw_cd: bool) -> ContainerLayout:
        """The layout of a container for an image.

        Args:
            size: of the image, in bytes.
            raw_cd: whether it has the 2352-byte sectors of a CD.

        Raises:
            InputError: it cannot be packed, or not for a console.
        """
        if size > MAX_IMAGE_SIZE:
            raise InputError(
                f"its {size} bytes are larger than any disc; {MAX_IMAGE_SIZE >> 30} GiB is the"
                " maximum"
            )
        if self.console and raw_cd:
            raise InputError(
                "it is a raw CD image (2352-byte sectors), but consoles read only ZSO files"
                " with 2048-byte sectors; convert it to .iso first, or omit --for console"
            )
        if self.console and size % SECTOR:
            raise InputError(
                f"its {size} bytes are not a multiple of {SECTOR}-byte sectors, and consoles would"
                f" lose the last {size % SECTOR}; omit --for console to keep every byte"
            )
        return ContainerLayout.of(self.codec, size, self.block_size)


# Measured with a game-like disc of 736 MiB on two cores, from memory, through a mount: share of the
# plain size, reading in order, random reads of 4 KiB a second.
#
#   LZ4 2K   66.6 %  2,182 MB/s  55,600      zstd 32K, level 9    49.6 %  1,583 MB/s  16,400
#   LZ4 4K   63.5 %  2,455 MB/s  54,100      zstd 32K, level 15   48.4 %  1,248 MB/s  19,200
#   LZ4 8K   60.9 %  2,519 MB/s  40,800      zstd 128K, level 15  46.1 %  1,503 MB/s  10,400
#   LZ4 16K  58.3 %  2,459 MB/s  33,300      zstd 256K, level 15  45.0 %  1,233 MB/s   7,800
#                                            zstd 1M, level 15    43.7 %  1,286 MB/s   2,400
#
# 4K is what the kernel asks for at least: LZ4 is about as quick there as in 2K, and smaller. zstd's
# level 15 packs at a fifth of the speed of 9 for a fortieth less, and 19 at a tenth for no more.
PURPOSES = {
    "mount": Packing(Codec.ZSTD, 9, 32 << 10),
    "small": Packing(Codec.ZSTD, 15, 256 << 10),
    "fast": Packing(Codec.LZ4, 12, 4 << 10),
    "console": Packing(Codec.LZ4, 12, SECTOR, console=True),
}
"""What each word of ``--for`` stands for."""


def packing(purpose: str, codec: str | None, level: int | None, block_size: int | None) -> Packing:
    """What a command line asks for.

    Args:
        purpose: a word of :data:`PURPOSES`.
        codec: ``zstd`` or ``lz4`` instead of the purpose's own; None for that.
        level: of the codec; None for the purpose's own, or a usual one for another codec.
        block_size: in bytes; None for the purpose's own.

    Raises:
        UsageError: it is not possible.
    """
    chosen = PURPOSES[purpose]
    wanted = chosen.codec if codec is None else CODECS[codec]
    if wanted is not chosen.codec:
        usual = next(other for other in PURPOSES.values() if other.codec is wanted)
        chosen = replace(chosen, codec=wanted, level=usual.level)
    if block_size is not None:
        if block_size % SECTOR or not 0 < block_size <= MAX_BLOCK_SIZE:
            raise UsageError(
                f"a block size of {block_size} is not supported; it must be a multiple of {SECTOR}"
                f" up to {MAX_BLOCK_SIZE >> 10}K"
            )
        chosen = replace(chosen, block_size=block_size)
    if level is not None:
        most = MAX_LEVELS[chosen.codec]
        if not 1 <= level <= most:
            raise UsageError(f"{chosen.codec.name.lower()} has the levels 1 to {most}, not {level}")
        chosen = replace(chosen, level=level)
    if chosen.console and (chosen.codec, chosen.block_size) != (Codec.LZ4, SECTOR):
        raise UsageError(
            "consoles read only LZ4 in blocks of 2K; omit --codec and --block-size, or --for"
            " console"
        )
    return chosen
