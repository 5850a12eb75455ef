"""Packing presets: codec, level and block size of each value of ``--for``."""

from dataclasses import dataclass, replace

from zsofs.errors import InputError, UsageError
from zsofs.formats.geometry import MAX_IMAGE_SIZE, Codec
from zsofs.formats.ziso_writer import MAX_BLOCK_SIZE, SECTOR, ContainerLayout

CODECS = {"zstd": Codec.ZSTD, "lz4": Codec.LZ4}
MAX_LEVELS = {Codec.ZSTD: 22, Codec.LZ4: 12, Codec.DEFLATE: 12}


@dataclass(frozen=True, slots=True)
class Packing:
    """A way to pack.

    Attributes:
        codec: LZ4, ZSTD or DEFLATE.
        level: compression level.
        block_size: plain bytes per block.
        device: key of :data:`PURPOSES` of the programs that read the output without zsofs; empty
            if zsofs alone reads it, or it need not be read by others.
    """

    codec: Codec
    level: int
    block_size: int
    device: str = ""

    @property
    def ending(self) -> str:
        """Extension of the name of the output."""
        return ".cso" if self.codec is Codec.DEFLATE else ".zso"

    @property
    def note(self) -> str:
        """What else can read the output, as a sentence; empty unless only zsofs reads it."""
        if self.codec is not Codec.ZSTD:
            return ""
        return (
            "only zsofs reads these files; for files that other programs read, use --for console"
            " (OPL, PCSX2) or --for psp (PPSSPP, PSP)"
        )

    def layout(self, size: int, *, raw_cd: bool) -> ContainerLayout:
        """Return the layout of the container for an image.

        Args:
            size: size of the image in bytes.
            raw_cd: whether it has raw CD sectors of 2352 bytes.

        Raises:
            InputError: it cannot be packed, or not for a device.
        """
        if size > MAX_IMAGE_SIZE:
            raise InputError(
                f"its {size} bytes are larger than any disc; {MAX_IMAGE_SIZE >> 30} GiB is the"
                " maximum"
            )
        if self.device and raw_cd:
            raise InputError(
                "it is a raw CD image (2352-byte sectors), but consoles read only"
                f" {self.ending[1:].upper()} files with 2048-byte sectors; convert it to .iso"
                f" first, or omit --for {self.device}"
            )
        if self.device and size % SECTOR:
            raise InputError(
                f"its {size} bytes are not a multiple of {SECTOR}-byte sectors, and consoles would"
                f" lose the last {size % SECTOR}; omit --for {self.device} to keep every byte"
            )
        return ContainerLayout.of(self.codec, size, self.block_size)


# Measured with a game-like disc of 736 MiB on two cores, from memory, through a mount: share of the
# plain size, sequential reads, random reads of 4 KiB per second.
#
#   LZ4 2K   66.6 %  2,182 MB/s  55,600      zstd 32K, level 9    49.6 %  1,583 MB/s  16,400
#   LZ4 4K   63.5 %  2,455 MB/s  54,100      zstd 32K, level 15   48.4 %  1,248 MB/s  19,200
#   LZ4 8K   60.9 %  2,519 MB/s  40,800      zstd 128K, level 15  46.1 %  1,503 MB/s  10,400
#   LZ4 16K  58.3 %  2,459 MB/s  33,300      zstd 256K, level 15  45.0 %  1,233 MB/s   7,800
#                                            zstd 1M, level 15    43.7 %  1,286 MB/s   2,400
#
# The kernel requests at least 4K: LZ4 is about as fast there as in 2K, and smaller. Level 15 of
# zstd packs at a fifth of the speed of level 9 for 1/40 less, and level 19 at a tenth for no gain.
PURPOSES = {
    "mount": Packing(Codec.ZSTD, 9, 32 << 10),
    "small": Packing(Codec.ZSTD, 15, 256 << 10),
    "fast": Packing(Codec.LZ4, 12, 4 << 10),
    "console": Packing(Codec.LZ4, 12, SECTOR, device="console"),
    "psp": Packing(Codec.DEFLATE, 9, SECTOR, device="psp"),
}
"""The presets of ``--for``."""

OTHER_NAMES = {"ps2": "console", "opl": "console", "pcsx2": "console", "ppsspp": "psp"}
"""Devices and programs that ``--for`` also takes, each with its preset."""


def packing(purpose: str, codec: str | None, level: int | None, block_size: int | None) -> Packing:
    """Return the way to pack for a command line.

    Args:
        purpose: a key of :data:`PURPOSES` or of :data:`OTHER_NAMES`.
        codec: ``zstd`` or ``lz4``; None: the codec of the preset.
        level: compression level; None: that of the preset, or the default of another codec.
        block_size: in bytes; None: that of the preset.

    Raises:
        UsageError: the combination is not supported.
    """
    chosen = PURPOSES[OTHER_NAMES.get(purpose, purpose)]
    preset = chosen
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
    if preset.device and (chosen.codec, chosen.block_size) != (preset.codec, preset.block_size):
        codec = "LZ4" if preset.codec is Codec.LZ4 else "deflate"
        raise UsageError(
            f"--for {purpose} writes only {codec} in blocks of 2K; omit --codec and --block-size,"
            f" or --for {purpose}"
        )
    return chosen
