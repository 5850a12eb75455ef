"""Which programs read an image directly, without zsofs, and why others cannot."""

from collections.abc import Callable
from pathlib import PurePath

from zsofs.discs.classify import OTHER_SECTORS, ContentKind
from zsofs.discs.identify import System
from zsofs.discs.opl_support import why_not_played
from zsofs.formats.geometry import CD_SECTOR, AnyCodec, Codec
from zsofs.formats.ziso_writer import cut_by_ziso_py
from zsofs.inspection.facts import Blocks, Facts


def readers(facts: Facts) -> dict[str, str]:
    """Return for each program why it cannot read the image; an empty reason means that it can."""
    if facts.chd is not None:
        return {name: _reason_of_chd(name, facts) for name in _PROGRAMS}
    return {name: reason(facts) for name, reason in _PROGRAMS.items()}


def _reason_of_chd(name: str, facts: Facts) -> str:
    """Why a program cannot read a CHD: most do not know CHDs at all."""
    if name == "PCSX2":
        wrong = _wrong_console(facts, System.PS2, System.PS1)
        wrong = wrong or _wrong_content(facts, *OTHER_SECTORS)
    elif name == "DuckStation":
        wrong = _wrong_console(facts, System.PS1) or _wrong_content(facts, *OTHER_SECTORS)
        if not wrong and facts.chd is not None and not facts.chd.tracks:
            wrong = "it is no CHD of a CD"
    elif name == "PPSSPP":
        wrong = _wrong_console(facts, System.PSP) or _wrong_content(facts)
    else:
        return f"it does not support {facts.container}"
    return wrong or _wrong_ending(facts, ".chd")


def _opl(facts: Facts) -> str:
    """Check Open PS2 Loader: blocks of 2048 bytes whatever the header specifies, no block limit."""
    system = facts.identity.system if facts.identity else System.OTHER
    wrong = why_not_played(system, _peculiarity(facts), raw_cd=facts.raw_cd)
    if wrong:
        return wrong
    reason = _opl_on_blocks(facts.blocks) if facts.blocks is not None else ""
    return reason or _wrong_ending(facts, ".iso", ".zso")


def _opl_on_blocks(blocks: Blocks) -> str:
    return (
        _not_lz4_zso(blocks)
        or _other_block_size(blocks, 2048, 2048)
        or ("the index shift is greater than 11" if blocks.header.shift > 11 else "")
        or (
            f"a packed block has {blocks.scan.longest} bytes, more than an uncompressed one"
            if blocks.scan.longest > 2048
            else ""
        )
    )


def _pcsx2(facts: Facts) -> str:
    """Check PCSX2: decides by the extension, and supports versions 0 and 1."""
    wrong = _wrong_console(facts, System.PS2, System.PS1) or _wrong_content(facts, *OTHER_SECTORS)
    if wrong:
        return wrong
    blocks = facts.blocks
    if blocks is None:
        return _wrong_ending(facts, ".iso", ".bin", ".img")
    reason = _not_lz4_zso(blocks) if blocks.header.magic != b"CISO" else ""
    return (
        reason
        or (
            f"it supports versions 0 and 1; this header specifies version {blocks.header.version}"
            if blocks.header.version > 1
            else ""
        )
        or _other_block_size(blocks, 2048, 16 << 20)
        or _wrong_ending(facts, ".cso", ".zso")
    )


def _duckstation(facts: Facts) -> str:
    """Check DuckStation: PS1 discs in whole CD sectors (``util/cd_image_cue.cpp``)."""
    wrong = _wrong_console(facts, System.PS1) or _wrong_content(facts, *OTHER_SECTORS)
    if wrong:
        return wrong
    if facts.blocks is not None:
        return f"it does not support {facts.container}"
    if not facts.raw_cd:
        return "it has no raw CD sectors"
    return _wrong_ending(facts, ".bin", ".img", ".iso")


def _ppsspp(facts: Facts) -> str:
    """Check PPSSPP: CSO versions 0 and 1 only."""
    wrong = _wrong_console(facts, System.PSP)
    if wrong or facts.raw_cd:
        return wrong or "it has raw CD sectors"
    wrong = _wrong_content(facts)
    if wrong:
        return wrong
    blocks = facts.blocks
    if blocks is None:
        return _wrong_ending(facts, ".iso")
    if blocks.header.magic != b"CISO":
        return f"it reads CSO and plain images, not {facts.container}"
    if blocks.header.version > 1:
        return "it supports versions 0 and 1; this is version 2"
    return _other_block_size(blocks, 2048, 16 << 20)


def _maxcso(facts: Facts) -> str:
    """Check the converter maxcso: everything except ZSOZ and misnamed kinds."""
    blocks = facts.blocks
    if _is_no_disc(facts):
        return _wrong_content(facts)
    if (blocks.header.size if blocks is not None else facts.plain) % 2048:
        return "the image size is not a multiple of 2048 bytes"
    if blocks is not None and blocks.dropped:
        return f"the last {blocks.dropped} bytes of the image were not stored"
    if blocks is None or blocks.header.magic == b"DAX\0":
        return ""
    reason = _not_lz4_zso(blocks) if blocks.header.magic != b"CISO" else ""
    return reason or _other_block_size(blocks, 2048, 256 << 10)


def _ziso_py(facts: Facts) -> str:
    """Check the converter ziso.py: whole blocks only, both when it packs and when it unpacks."""
    blocks = facts.blocks
    if _is_no_disc(facts):
        return _wrong_content(facts)
    if blocks is None:
        return "the image size is not a multiple of 2048 bytes" if facts.plain % 2048 else ""
    header = blocks.header
    reason = _not_lz4_zso(blocks)
    if not reason and header.header_size != 24:
        reason = f"the header specifies its own length as {header.header_size}"
    if not reason and header.version > 1:
        reason = f"it supports versions 0 and 1; this is version {header.version}"
    return reason or cut_by_ziso_py(facts.plain, header.block_size)


_PROGRAMS: dict[str, Callable[[Facts], str]] = {
    "OPL": _opl,
    "PCSX2": _pcsx2,
    "PPSSPP": _ppsspp,
    "DuckStation": _duckstation,
    "maxcso": _maxcso,
    "ziso.py": _ziso_py,
}


def _not_lz4_zso(blocks: Blocks) -> str:
    """Return why a reader that follows the ZSO specification cannot read the file."""
    if blocks.header.magic == b"ZSOZ":
        return "only zsofs reads ZSOZ"
    if blocks.header.magic != b"ZISO":
        return f"it does not support {_name_of(blocks)}"
    if blocks.codec is not Codec.LZ4:
        return f"the blocks are {_CODECS[blocks.codec]} data, not LZ4"
    return ""


_CODECS: dict[AnyCodec, str] = {
    Codec.LZ4: "LZ4",
    Codec.ZSTD: "Zstandard",
    Codec.ZLIB: "zlib",
    Codec.DEFLATE: "deflate",
}


def _name_of(blocks: Blocks) -> str:
    names = {b"CISO": "CSO", b"DAX\0": "DAX"}
    return names.get(blocks.header.magic, "this magic")


def _other_block_size(blocks: Blocks, least: int, most: int) -> str:
    size = blocks.header.block_size
    if size == CD_SECTOR or size & (size - 1) or not least <= size <= most:
        written = f"{size >> 10} KiB" if size % 1024 == 0 else f"{size} bytes"
        return f"blocks are {written}"
    return ""


def _is_no_disc(facts: Facts) -> bool:
    return facts.content is not None and facts.content.kind is ContentKind.OTHER


def _wrong_content(facts: Facts, *right: str) -> str:
    """Return why a program that reads ISO 9660 and *right* cannot read this kind of image."""
    name = _peculiarity(facts)
    return f"it is {name}" if name and name not in right else ""


def _peculiarity(facts: Facts) -> str:
    return facts.content.peculiarity if facts.content is not None else ""


def _wrong_console(facts: Facts, *right: System) -> str:
    system = facts.identity.system if facts.identity else System.OTHER
    if system is System.OTHER or system in right:
        return ""
    return f"it is a {system.value} disc"


def _wrong_ending(facts: Facts, *right: str) -> str:
    if PurePath(facts.path).suffix.lower() in right:
        return ""
    return f"its name does not end in {' or '.join(right)}"
