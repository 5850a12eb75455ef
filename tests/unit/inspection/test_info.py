"""What `zsofs info` says: of all fixtures, of what each writer makes, and of hostile files."""

import json
import os
import shutil
import struct
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import writers
from tests.support.mounting import DATA
from tests.support.packed import zsofs
from tests.unit.discs.test_classify import OTHERS
from tests.unit.discs.test_identify import PS2_IMAGE, PSP_FILES, made, raw
from tests.unit.discs.test_shortage import padded
from tests.unit.native.test_encoder import Silent
from zsofs.errors import ZsofsError
from zsofs.images.input_image import original
from zsofs.inspection.facts import Facts, gather
from zsofs.inspection.readable_by import readers
from zsofs.inspection.written_by import maker_of
from zsofs.pack.packer import PackOptions, pack
from zsofs.pack.presets import PURPOSES

pytestmark = pytest.mark.xdist_group("info")  # they share what takes long to make

MANIFEST = json.loads((DATA / "manifest.json").read_text())
PROGRAMS = ("OPL", "PCSX2", "PPSSPP", "DuckStation", "maxcso", "ziso.py")
FIXTURES = sorted(name for name in MANIFEST if name != "_")

# Container, codec, version, block size, shift, blocks, and those stored plain.
KNOWN: dict[str, tuple[str, str, int, int, int, int, int]] = {
    "ciso-py.cso": ("CSO", "deflate", 1, 2048, 0, 717, 120),
    "maxcso-16384.zso": ("ZSO", "lz4", 1, 16384, 0, 90, 14),
    "maxcso-2048.cso": ("CSO", "deflate", 1, 2048, 0, 717, 120),
    "maxcso-2048.zso": ("ZSO", "lz4", 1, 2048, 0, 717, 120),
    "maxcso-v2-2048.cso": ("CSO v2", "deflate", 2, 2048, 0, 717, 120),
    "maxcso.dax": ("DAX", "zlib", 0, 8192, 0, 180, 0),
    "ziso-ark-version2.zso": ("ZSO", "lz4", 2, 2048, 0, 717, 120),
    "ziso-compressor-odd-size.zso": ("ZSO", "lz4", 1, 2048, 0, 718, 120),
    "ziso-compressor.zso": ("ZSO", "lz4", 1, 2048, 0, 717, 120),
    "ziso-py-shifted.zso": ("ZSO", "lz4", 1, 2048, 2, 717, 120),
    "ziso-py.zso": ("ZSO", "lz4", 1, 2048, 0, 717, 120),
    "zstd-2048.zso": ("ZSO", "zstd", 1, 2048, 0, 494, 70),
    "zstd-odd-size.zso": ("ZSO", "zstd", 1, 2048, 0, 718, 121),
}
DISCS = {
    "ps2": ("PS2", "SLUS_209.63", "", "SAMPLE_11"),
    "odd": ("PS2", "SLUS_209.63", "", "SAMPLE_11"),
    "psp": ("PSP", "ULUS-10041", "Sample Disc", "SAMPLE_12"),
}
MAKERS = {
    "maxcso": "maxcso",
    "ciso.py": "ciso.py",
    "ziso_compressor": "ziso_compressor",
    "ziso.py": "ziso.py",
    "an earlier ARK-4": "an earlier ziso.py of ARK-4",
    "a writer": "DuckShrink",
}


def facts_of(path: Path) -> Facts:
    with original(str(path)) as image:
        return gather(image)


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def objects(*paths: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(zsofs("info", "--json", *paths).stdout)
    return found


@pytest.fixture(scope="module")
def said() -> dict[str, dict[str, Any]]:
    """What it says of all fixtures."""
    return {
        Path(found["path"]).name: found for found in objects(*(DATA / name for name in FIXTURES))
    }


@pytest.mark.parametrize("name", FIXTURES)
def test_a_fixture(said: dict[str, dict[str, Any]], name: str) -> None:
    found, known = said[name], MANIFEST[name]
    keys = ("container", "codec", "version", "block_size", "shift", "blocks", "plain_blocks")
    assert tuple(found[key] for key in keys) == KNOWN[name]
    assert found["plain_bytes"] == known["size"]
    assert found["stored_bytes"] == (DATA / name).stat().st_size
    identity = tuple(found[key] for key in ("system", "id", "title", "label"))
    assert identity == DISCS[known["image"]]
    assert found["bad_entries"] == 0
    assert found["error"] is None
    assert found["seal"] is None
    maker = next(maker for begin, maker in MAKERS.items() if known["writer"].startswith(begin))
    assert maker in found["written_by"]


@pytest.mark.parametrize("name", FIXTURES)
def test_zero_blocks_of_a_fixture(said: dict[str, dict[str, Any]], name: str) -> None:
    image = (DATA / f"{MANIFEST[name]['image']}.iso").read_bytes()
    size = said[name]["block_size"]
    zeros = sum(
        not any(image[at : at + size]) for at in range(0, len(image), size)
    )  # a last block that is not full may be shorter stored than the others
    assert abs(said[name]["zero_blocks"] - zeros) <= 1


def test_who_reads_the_fixtures(said: dict[str, dict[str, Any]]) -> None:
    read_by = {
        name: [program for program, reads in found["read_by"].items() if reads]
        for name, found in said.items()
    }
    assert read_by["ziso-py.zso"] == ["OPL", "PCSX2", "maxcso", "ziso.py"]
    assert read_by["maxcso-2048.zso"] == ["OPL", "PCSX2", "maxcso", "ziso.py"]
    assert read_by["maxcso-16384.zso"] == ["PCSX2", "maxcso"]
    assert read_by["ziso-ark-version2.zso"] == ["OPL", "maxcso"]
    assert read_by["maxcso-2048.cso"] == ["PCSX2", "maxcso"]
    assert read_by["maxcso-v2-2048.cso"] == ["maxcso"]
    assert read_by["maxcso.dax"] == ["maxcso"]
    assert read_by["zstd-2048.zso"] == []
    assert read_by["ziso-compressor-odd-size.zso"] == ["OPL", "PCSX2"]
    assert said["maxcso-16384.zso"]["why_not"]["OPL"] == "blocks are 16 KiB"
    assert said["maxcso.dax"]["why_not"]["OPL"] == "it does not support DAX"
    assert said["zstd-2048.zso"]["why_not"]["maxcso"] == "the blocks are Zstandard data, not LZ4"


def test_oddities_in_plain_words(said: dict[str, dict[str, Any]]) -> None:
    def remarks(name: str) -> str:
        return "; ".join(said[name]["remarks"])

    assert remarks("ziso-py.zso") == ""
    assert "the last byte of the image was not stored" in remarks("ziso-compressor.zso")
    assert "last index entry is rounded down" in remarks("ziso-py-shifted.zso")
    assert "says version 2" in remarks("ziso-ark-version2.zso")
    assert "blocks are Zstandard data" in remarks("zstd-2048.zso")
    assert "not a multiple of 2048 bytes: 1000 bytes remain" in remarks("zstd-odd-size.zso")


def test_the_text(said: dict[str, dict[str, Any]]) -> None:
    text = zsofs("info", DATA / "maxcso-16384.zso", DATA / "psp.iso").stdout
    assert text == (
        f"{DATA / 'maxcso-16384.zso'}\n"
        "  container  ZSO version 1, lz4, blocks of 16384, index shift 0\n"
        "  size       1.47 MB plain, 599 kB stored (41 %)\n"
        "  blocks     90; 16 % stored plain, about 38 % zeros\n"
        "  disc       PS2 CD, SLUS_209.63, label SAMPLE_11\n"
        "  written by maxcso or ziso_compressor\n"
        "  read by    OPL: no, blocks are 16 KiB\n"
        "             PCSX2: yes\n"
        "             PPSSPP: no, it is a PS2 disc\n"
        "             DuckStation: no, it is a PS2 disc\n"
        "             maxcso: yes\n"
        "             ziso.py: no, it omits the last 10240 bytes, which do not fill a block\n"
        "\n"
        f"{DATA / 'psp.iso'}\n"
        "  container  none, a plain image\n"
        "  size       1.01 MB plain, 1.01 MB stored (100 %)\n"
        "  disc       PSP, ULUS-10041, label SAMPLE_12\n"
        "  title      Sample Disc\n"
        "  read by    OPL: no, it is a PSP disc\n"
        "             PCSX2: no, it is a PSP disc\n"
        "             PPSSPP: yes\n"
        "             DuckStation: no, it is a PSP disc\n"
        "             maxcso: yes\n"
        "             ziso.py: yes\n"
    )


def test_a_mixed_cso_names_both_codecs() -> None:
    text = zsofs("info", DATA / "maxcso-v2-2048.cso").stdout
    image = (DATA / "ps2.iso").read_bytes()
    with original(str(DATA / "maxcso-v2-2048.cso")) as opened:
        found = gather(opened).blocks
    assert found is not None
    assert ("deflate and lz4" in text) is (found.scan.lz4 > 0)
    assert len(image) == found.header.size


@pytest.mark.parametrize("name", writers.WRITERS)
def test_what_each_writer_makes(tmp_path: Path, name: str) -> None:
    image = made(PSP_FILES)
    path = put(tmp_path, "Game.zso", writers.WRITERS[name](image))
    facts = facts_of(path)
    size = facts.blocks.header.block_size if facts.blocks else 0
    shown = writers.kept(image, size) if name in writers.DROPS_TAIL else image
    assert facts.plain == len(shown)
    assert facts.identity is not None
    assert facts.identity.game_id == "ULUS-10041"
    assert facts.blocks is not None
    assert facts.blocks.scan.bad == 0


@pytest.mark.parametrize(
    ("write", "maker"),
    [
        (writers.ziso_py, "ziso.py (Open PS2 Loader, ARK-4), maxcso or ziso_compressor"),
        (partial(writers.ziso_py, shift=3), "ziso.py (Open PS2 Loader, ARK-4)"),
        (partial(writers.ziso_py, block_size=4096), "ziso.py (Open PS2 Loader, ARK-4)"),
        (partial(writers.ziso_py, version=2), "an earlier ziso.py of ARK-4"),
        (partial(writers.maxcso_zso, shift=3), "maxcso or ziso_compressor"),
        (partial(writers.danixu, lose_last_byte=True), "ziso_compressor 0.7.0"),
        (partial(writers.danixu, block_size=2352), "ziso_compressor"),
        (partial(writers.danixu, hdl_fix=True), "zsofs or ziso_compressor"),
        (writers.zsoz, "zsofs"),
        (writers.maxcso_cso1, "zsofs or maxcso"),
        (writers.maxcso_cso2, "maxcso"),
        (writers.ciso_py, "ciso.py or a tool like it"),
        (partial(writers.ciso_py, adler=False, version=0), "ciso or a tool like it"),
        (writers.dax, "maxcso or an older DAX tool"),
        (writers.zlib_zso, "a converter for Android that takes ZSO for zlib (DiscConverter)"),
    ],
)
def test_who_wrote_it(tmp_path: Path, write: writers.Writer, maker: str) -> None:
    image = writers.content(2048 * 21, ["text", "mixed", "noise"], 7)
    with original(str(put(tmp_path, "Game.zso", write(image)))) as opened:
        assert maker_of(opened, gather(opened)) == maker


@pytest.mark.parametrize("kind", ["text", "noise"])
@pytest.mark.parametrize("shift", [0, 2])
def test_who_filled_up_the_last_sector(tmp_path: Path, kind: str, shift: int) -> None:
    noise = writers.content(2048 * 20, ["noise"], 7)
    image = writers.described(noise + writers.content(2048, [kind], 7))
    content = writers.danixu(image, shift=shift, hdl_fix=True)
    assert len(content) % 2048 == 0
    with original(str(put(tmp_path, "Game.zso", content))) as opened:
        expected = {"text": "ziso_compressor", "noise": "zsofs or ziso_compressor"}[kind]
        assert maker_of(opened, gather(opened)) == expected
        assert gather(opened).remarks == ()


@pytest.mark.parametrize("purpose", ["console", "fast"])
def test_what_zsofs_filled_up(tmp_path: Path, purpose: str) -> None:
    """Whatever the last byte of the last block is, which is that of what it is packed to."""
    for last in (0, 1, 87, ord("X"), 89, 255):
        image = writers.content(2048 * 4, ["text"], 7) + b"text" * 511 + bytes([last] * 4)
        path = put(tmp_path, "Game.iso", image)
        with original(str(path)) as opened:
            pack(
                opened,
                str(tmp_path / "Game.zso"),
                PURPOSES[purpose],
                PackOptions(replace=True),
                Silent(),
            )
        with original(str(tmp_path / "Game.zso")) as opened:
            assert maker_of(opened, gather(opened)) == "zsofs", last


def test_a_short_last_block_tells_who_wrote_it(tmp_path: Path) -> None:
    content = writers.danixu(writers.content(2048 * 21, ["noise"], 7), block_size=16384)
    with original(str(put(tmp_path, "Game.zso", content))) as opened:
        assert maker_of(opened, gather(opened)) == "ziso_compressor"


def test_what_zsofs_packed(tmp_path: Path) -> None:
    zsofs("pack", DATA / "ps2.iso", "-o", tmp_path / "Game.zso")
    (found,) = objects(tmp_path / "Game.zso")
    assert found["written_by"].startswith("zsofs ")
    assert found["seal"]["sha1"] == MANIFEST["ziso-py.zso"]["sha1"]
    assert found["container"] == "ZSOZ"
    assert found["read_by"] == dict.fromkeys(PROGRAMS, False)
    assert found["remarks"] == []
    text = zsofs("info", tmp_path / "Game.zso").stdout
    assert f"seal       SHA-1 {found['seal']['sha1']}" in text
    zsofs("pack", "--for", "console", DATA / "ps2.iso", "-o", tmp_path / "Console.zso")
    (found,) = objects(tmp_path / "Console.zso")
    assert found["read_by"]["OPL"]
    assert found["read_by"]["PCSX2"]
    assert found["written_by"] == "zsofs"
    assert found["remarks"] == []


def test_raw_cds_and_misnamed_files(tmp_path: Path) -> None:
    image = made({"/SYSTEM.CNF": b"BOOT2 = cdrom0:\\SLUS_209.63;1\r\n"})
    track = put(tmp_path, "Game.zso", writers.danixu(raw(image, 2), block_size=2352))
    shutil.copy(DATA / "ziso-py.zso", tmp_path / "Game.iso")
    cd, misnamed = objects(track, tmp_path / "Game.iso")
    assert cd["raw_cd"]
    assert cd["id"] == "SLUS_209.63"
    assert "raw CD sectors" in "".join(cd["remarks"])
    assert cd["why_not"]["OPL"] == "it has raw CD sectors"
    assert cd["why_not"]["PCSX2"] == "blocks are 2352 bytes"
    assert "the name of a plain image, but is a ZSO" in "".join(misnamed["remarks"])
    (other,) = objects(put(tmp_path, "Page.zso", b"<html>No such file</html>"))
    assert other["remarks"][0] == (
        "it has the name of a packed disc, but it is an HTML page; if it should be a disc,"
        " download it again"
    )
    assert len([remark for remark in other["remarks"] if "HTML" in remark]) == 1
    assert misnamed["read_by"]["OPL"]
    assert "does not end in .cso or .zso" in misnamed["why_not"]["PCSX2"]


def test_a_block_longer_packed_than_plain_is_not_for_opl(tmp_path: Path) -> None:
    image = writers.content(2048 * 8, ["noise"], 3)
    path = put(tmp_path, "Game.zso", writers.ziso_py(image, threshold=200))
    assert "more than an uncompressed one" in readers(facts_of(path))["OPL"]


def test_wrong_entries_are_told(tmp_path: Path) -> None:
    content = bytearray((DATA / "ziso-py.zso").read_bytes())
    struct.pack_into("<I", content, 24 + 4 * 300, 5)
    (found,) = objects(put(tmp_path, "Game.zso", bytes(content)))
    assert found["bad_entries"] == 2
    assert "2 of 717 index entries are invalid; the first: block 299" in found["remarks"][0]


def test_files_that_are_none(tmp_path: Path) -> None:
    cut = put(tmp_path, "Cut.zso", (DATA / "ziso-py.zso").read_bytes()[:-100])
    os.mkfifo(tmp_path / "pipe")
    done = zsofs("info", cut, tmp_path / "none", tmp_path / "pipe", DATA / "ps2.iso", code=8)
    assert [line.split(": ")[1:] for line in done.stderr.splitlines()] == [
        [str(cut), "the file is truncated", "its index ends at 680184, the file at 680084"],
        [str(tmp_path / "none"), "it cannot be opened", "No such file or directory"],
        [
            str(tmp_path / "pipe"),
            "it is not a regular file; a disc in a drive has to be read into one first",
        ],
    ]
    assert "SLUS_209.63" in done.stdout
    found = json.loads(zsofs("info", "--json", cut, DATA / "ps2.iso", code=8).stdout)
    assert [one["error"] is None for one in found] == [False, True]


def test_a_folder_is_listed_by_another_command(tmp_path: Path) -> None:
    said = zsofs("info", tmp_path, code=8).stderr
    assert "it is a directory; list its discs with: zsofs list" in said


def test_an_empty_file_and_an_empty_image(tmp_path: Path) -> None:
    empty = put(tmp_path, "Empty.iso", b"")
    nothing = put(tmp_path, "Nothing.zso", writers.zsoz(b""))
    first, second = objects(empty, nothing)
    assert first["plain_bytes"] == second["plain_bytes"] == 0
    assert second["blocks"] == 0
    assert "0 B plain" in zsofs("info", empty, nothing).stdout


@given(
    st.sampled_from(sorted(writers.WRITERS)),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(0, 3000),
)
def test_hostile_headers_never_end_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    changes: list[tuple[int, int]],
    cut: int,
) -> None:
    image = writers.content(2048 * 9, ["text", "noise", "zeros"], 5)
    content = bytearray(writers.WRITERS[name](image))
    for at, value in changes:
        content[at % len(content)] = value
    del content[len(content) - cut if cut < 2000 else len(content) :]
    path = put(tmp_path_factory.getbasetemp(), "hostile.zso", bytes(content))
    try:
        with original(str(path)) as opened:
            facts = gather(opened)
            assert isinstance(maker_of(opened, facts), str)
            assert set(readers(facts)) == set(PROGRAMS)
    except ZsofsError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize(
    ("name", "what"),
    [("Page.iso", "an HTML page"), ("Disc.iso", "a RAR archive"), ("Empty.zso", "an empty file")],
)
def test_no_program_reads_what_is_no_disc(tmp_path: Path, name: str, what: str) -> None:
    (found,) = objects(put(tmp_path, name, OTHERS[what]))
    assert found["why_not"] == dict.fromkeys(PROGRAMS, f"it is {what}")


def test_what_is_no_disc_in_a_container(tmp_path: Path) -> None:
    (found,) = objects(put(tmp_path, "Page.zso", writers.maxcso_zso(b"<html>" + b" " * 2042)))
    assert found["why_not"] == dict.fromkeys(PROGRAMS, "it is an HTML page")


def test_an_image_of_another_console(tmp_path: Path) -> None:
    cube = bytes(0x1C) + b"\xc2\x33\x9f\x3d" + bytes(2048 * 300 - 0x20)
    (found,) = objects(put(tmp_path, "Cube.iso", cube))
    assert found["read_by"] == dict.fromkeys(PROGRAMS, False) | {"maxcso": True, "ziso.py": True}
    assert found["why_not"]["PCSX2"] == "it is a GameCube image"


def test_an_image_without_its_tail(tmp_path: Path) -> None:
    """As ziso.py writes it: the header gives the size of the whole image."""
    image = (DATA / "psp.iso").read_bytes()
    cut, odd = objects(
        put(tmp_path, "Cut.zso", writers.ziso_py(image[: 61 * 2048], block_size=4096)),
        put(tmp_path, "Odd.zso", writers.ziso_py(image[: 60 * 2048 + 1000])),
    )
    assert cut["why_not"]["maxcso"] == "the last 2048 bytes of the image were not stored"
    assert odd["why_not"]["maxcso"] == "the image size is not a multiple of 2048 bytes"
    assert cut["read_by"]["ziso.py"]
    assert odd["read_by"]["ziso.py"]


@pytest.mark.parametrize(("sectors", "left_over"), [(300, 0), (301, 2048)])
def test_what_ziso_py_would_cut(tmp_path: Path, sectors: int, left_over: int) -> None:
    image = padded(PS2_IMAGE, sectors - len(PS2_IMAGE) // 2048)
    path = put(tmp_path, "Game.iso", image)
    done = zsofs("pack", "--for", "fast", path)
    remark = f"ziso.py would omit the last {left_over} bytes when unpacking"
    assert (remark in done.stderr) is bool(left_over)
    (found,) = objects(tmp_path / "Game.zso")
    assert found["read_by"]["ziso.py"] is not bool(left_over)
    assert "ziso.py" not in zsofs("pack", "--for", "console", "--force", path).stderr
    assert "ziso.py" not in zsofs("pack", "--for", "mount", "--force", path).stderr


def test_a_cue_sheet(tmp_path: Path) -> None:
    chd = DATA / "chd" / "cd-mixed.chd"
    zsofs("unpack", "--cd", "tracks", chd, "-o", tmp_path / "Game.cue")
    text = zsofs("info", tmp_path / "Game.cue").stdout
    assert text == (
        f"{tmp_path / 'Game.cue'}\n"
        "  container  none, a cue sheet\n"
        "  file       Game (Track 1).bin, 708 kB\n"
        "  track 1    MODE2/2352, 301 frames (00:04:01), INDEX 01 00:00:00\n"
        "  file       Game (Track 2).bin, 830 kB\n"
        "  track 2    AUDIO, 353 frames (00:04:53), INDEX 00 00:00:00, INDEX 01 00:02:00\n"
        "  file       Game (Track 3).bin, 355 kB\n"
        "  track 3    AUDIO, 151 frames (00:02:01), INDEX 01 00:00:00\n"
        "  disc       PS2 CD, SLUS_209.63, label SAMPLE_11\n"
    )
    (tmp_path / "Game (Track 3).bin").unlink()
    (found,) = json.loads(zsofs("info", "--json", tmp_path / "Game.cue").stdout)
    assert found["container"] == "cue sheet"
    assert found["plain_bytes"] == 707952 + 830256
    second = found["tracks"][1]
    assert second["file"] == "Game (Track 2).bin"
    assert (second["index_00"], second["index_01"], second["frames"]) == (0, 150, 353)
    missing = "the file Game (Track 3).bin, which the cue sheet names, does not exist"
    assert found["remarks"] == [missing]
    (tmp_path / "Game (Track 1).bin").unlink()
    done = zsofs("info", tmp_path / "Game.cue", code=8)
    assert "Game (Track 1).bin, which the cue sheet names, does not exist" in done.stderr


def test_programs_that_read_chds() -> None:
    def found(name: str) -> dict[str, Any]:
        (one,) = json.loads(zsofs("info", "--json", DATA / "chd" / name).stdout)
        return dict(one)

    dvd, psp, cd = found("dvd-default.chd"), found("dvd-none.chd"), found("cd-mixed.chd")
    assert dvd["read_by"]["PCSX2"]
    assert psp["read_by"]["PPSSPP"]
    assert "PPSSPP plays it, but warns that its hunks of 4096 bytes are slow" in psp["remarks"][-1]
    assert not any("PPSSPP" in remark for remark in dvd["remarks"])
    assert cd["why_not"]["DuckStation"] == "it is a PS2 disc"
    assert not any(one["read_by"]["OPL"] for one in (dvd, psp, cd))
    indexes = [(one["index_00"], one["index_01"]) for one in cd["chd"]["tracks"]]
    assert indexes == [(None, 0), (301, 451), (None, 654)]
