"""What a disc is: real and made images, and images that nobody would make."""

import io
import struct
from collections.abc import Mapping, Sequence

import pycdlib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.mounting import DATA
from tests.support.rounds import rounds
from zsofs.discs.identify import Identity, Media, System, identify

SECTOR = 2048
MOST_READS = 8
MOST_BYTES = 64 * 2352
NOTHING = Identity(System.OTHER, "", "", "", Media.CD)
PS2_BOOT = b"BOOT2 = cdrom0:\\SLUS_209.63;1\r\nVER = 1.00\r\nVMODE = NTSC\r\n"
ROOT_RECORD = 16 * SECTOR + 156


def made(files: Mapping[str, bytes], *, xa: bool = False, udf: bool = False) -> bytes:
    """An image with these files; folders are made as their files need them."""
    disc = pycdlib.PyCdlib()
    disc.new(
        interchange_level=1,
        sys_ident="PLAYSTATION",
        vol_ident="A_LABEL",
        xa=xa,
        udf="2.60" if udf else None,
    )
    for folder in sorted({path.rpartition("/")[0] for path in files} - {""}):
        disc.add_directory(folder)
    for path, content in files.items():
        disc.add_fp(io.BytesIO(content), len(content), f"{path};1")
    image = io.BytesIO()
    disc.write_fp(image)
    disc.close()
    return image.getvalue()


def sfo(texts: Mapping[bytes, bytes], *, number: int = 1) -> bytes:
    """A PARAM.SFO with these texts, behind a number."""
    names = b"CATEGORY\0"
    values = struct.pack("<I", number)
    entries = struct.pack("<HHIII", 0, 0x0404, 4, 4, 0)
    for name, text in texts.items():
        entries += struct.pack("<HHIII", len(names), 0x0204, len(text) + 1, 128, len(values))
        names += name + b"\0"
        values += text.ljust(128, b"\0")
    count = 1 + len(texts)
    head = struct.pack("<4sIIII", b"\0PSF", 0x101, 20 + len(entries), 0, count)
    head = head[:12] + struct.pack("<I", 20 + len(entries) + len(names)) + head[16:]
    return head + entries + names + values


def raw(image: bytes, mode: int) -> bytes:
    """The image as raw CD sectors of this mode."""
    sectors = []
    for at in range(0, len(image), SECTOR):
        head = b"\x00" + b"\xff" * 10 + b"\x00" + b"\x00\x02\x00" + bytes([mode])
        data = image[at : at + SECTOR].ljust(SECTOR, b"\0")
        sectors.append((head + bytes(8 if mode == 2 else 0) + data).ljust(2352, b"\xee"))
    return b"".join(sectors)


def identified(image: bytes, *, size: int | None = None, raw_cd: bool = False) -> Identity:
    """What the image is, with the promises on reads checked; *size* to claim another one."""
    claimed = len(image) if size is None else size
    reads = []

    def read(offset: int, wanted: int) -> bytes:
        assert 0 <= offset < claimed
        assert 0 < wanted <= MOST_BYTES
        assert offset + wanted <= claimed
        reads.append((offset, wanted))
        return image[offset : offset + wanted]

    identity = identify(read, claimed, raw_cd=raw_cd)
    assert len(reads) <= MOST_READS
    for text in (identity.game_id, identity.title, identity.label):
        assert text == text.strip()
        assert text.isprintable()
    return identity


PSP_FILES = {
    "/UMD_DATA.BIN": b"ULUS-10041|0123456789ABCDEF|0001|G",
    "/PSP_GAME/PARAM.SFO": sfo({b"DISC_ID": b"ULUS10041", b"TITLE": "Café 2".encode()}),
    "/PSP_GAME/SYSDIR/EBOOT.BIN": b"~PSP",
    "/PSP_GAME/ICON0.PNG": b"\x89PNG",
}
PS2_FILES = {"/SYSTEM.CNF": PS2_BOOT, "/SLUS_209.63": b"\x7fELF", "/DATA/ONE.BIN": b"1" * 5000}
PSP_IMAGE = made({"/PSP_GAME/SYSDIR/EBOOT.BIN": b""} | PSP_FILES)
PS2_IMAGE = made(PS2_FILES)


def with_boot(text: bytes) -> Identity:
    return identified(made({"/SYSTEM.CNF": text}))


def test_the_sample_discs() -> None:
    ps2 = Identity(System.PS2, "SLUS_209.63", "", "SAMPLE_11", Media.CD)
    assert identified((DATA / "ps2.iso").read_bytes()) == ps2
    assert identified((DATA / "odd.iso").read_bytes()) == ps2
    psp = identified((DATA / "psp.iso").read_bytes())
    assert psp.system is System.PSP
    assert psp.label == "SAMPLE_12"
    assert psp.game_id


def test_ps2() -> None:
    assert identified(PS2_IMAGE) == Identity(
        System.PS2, "SLUS_209.63", "", "A_LABEL", Media.CD
    )  # fmt: skip


def test_ps1() -> None:
    found = with_boot(b"BOOT = cdrom:\\SCES_000.03;1\r\nTCB = 4\r\nEVENT = 16\r\n")
    assert (found.system, found.game_id) == (System.PS1, "SCES_000.03")


def test_psp() -> None:
    assert identified(PSP_IMAGE) == Identity(
        System.PSP, "ULUS-10041", "Café 2", "A_LABEL", Media.UMD
    )  # fmt: skip


def test_psp_by_its_parameters_alone() -> None:
    found = identified(made({"/PSP_GAME/PARAM.SFO": PSP_FILES["/PSP_GAME/PARAM.SFO"]}))
    assert (found.system, found.game_id, found.title) == (System.PSP, "ULUS-10041", "Café 2")


def test_psp_by_its_umd_data_alone() -> None:
    found = identified(made({"/UMD_DATA.BIN": PSP_FILES["/UMD_DATA.BIN"]}))
    assert (found.system, found.game_id, found.title) == (System.PSP, "ULUS-10041", "")


def test_a_psp_title_of_several_lines_is_one() -> None:
    files = {"/PSP_GAME/PARAM.SFO": sfo({b"TITLE": b" Two\nlines\x07 here "})}
    found = identified(made(files))
    assert (found.system, found.game_id, found.title) == (System.PSP, "", "Two lines here")


def test_something_else() -> None:
    assert identified(made({"/README.TXT": b"BOOT2 = cdrom0:\\SLUS_209.63;1"})) == Identity(
        System.OTHER, "", "", "A_LABEL", Media.CD
    )


@pytest.mark.parametrize("image", [b"", b"x", bytes(16 * SECTOR), bytes(40 * SECTOR)])
def test_no_disc_at_all(image: bytes) -> None:
    assert identified(image) == NOTHING
    assert identified(image, raw_cd=True) == NOTHING


@pytest.mark.parametrize(
    "text",
    [
        b"BOOT2 = cdrom0:\\SLUS_209.63;1",
        b"BOOT2=cdrom0:\\SLUS_209.63;1\n",
        b"  boot2\t=  CDROM0:\\slus_209.63;1  \r\n",
        b"BOOT2 = cdrom0:\\SLUS_209.63\r\nVER = 1.00",
        b"BOOT2 = cdrom0:\\SLUS_209.63 ;1\r\n",
        b"BOOT2 = cdrom0:\\\\SLUS_209.63;1\r\n",
        b"BOOT2 = cdrom0:\\GAME\\SUB\\SLUS_209.63;1\r\n",
        b"BOOT2 = cdrom0:/SLUS_209.63;1\r\n",
        b"BOOT2 = cdrom0:SLUS_209.63;1\r\n",
        b"BOOT2 = SLUS_209.63\r\n",
        b"VER = 1.00\rVMODE = PAL\rBOOT2 = cdrom0:\\SLUS_209.63;1\r",
        b"BOOT = cdrom:\\MAIN.EXE;1\r\nBOOT2 = cdrom0:\\SLUS_209.63;1\r\n",
        b"\xff\xfe\x00\r\nBOOT2 = cdrom0:\\SLUS_209.63;1\r\n",
        b"BOOT2 = cdrom0:\\SLUS_209.63;1\r\nBOOT2 = cdrom0:\\SLES_111.11;1\r\n",
    ],
)  # fmt: skip
def test_ways_to_write_the_boot_line(text: bytes) -> None:
    found = with_boot(text)
    assert (found.system, found.game_id) == (System.PS2, "SLUS_209.63")


@pytest.mark.parametrize(
    "text",
    [
        b"BOOT2 = cdrom0:\\MAIN.ELF;1\r\n",
        b"BOOT2 = cdrom0:\\SLUS_209.63\\MAIN.ELF;1\r\n",
        b"BOOT2 = cdrom0:\\XSLUS_209.63;1\r\n",
        b"BOOT2 = cdrom0:\\SLUS_209.633;1\r\n",
        b"BOOT2 = cdrom0:\\SLUS-20963;1\r\n",
        b"BOOT2 =\r\n",
        b"BOOT2 = ;1\r\n",
    ],
)
def test_homebrew_has_no_id(text: bytes) -> None:
    found = with_boot(text)
    assert (found.system, found.game_id) == (System.PS2, "")


@pytest.mark.parametrize(
    "text", [b"", b"VER = 1.00\r\n", b"REBOOT2 = x", b"BOOT22 = x", b"BOOT2", b"\xff" * 3000]
)
def test_a_system_cnf_without_a_boot_line(text: bytes) -> None:
    assert with_boot(text).system is System.OTHER


def test_system_cnf_is_looked_at_up_to_2_kib() -> None:
    line = b"BOOT2 = cdrom0:\\SLUS_209.63;1\r\n"
    assert with_boot(b"\n" * (2048 - len(line)) + line).game_id == "SLUS_209.63"
    assert with_boot(b"\n" * 2048 + line).system is System.OTHER


def test_a_root_folder_of_many_sectors() -> None:
    files = {f"/A{number:05}.BIN": b"" for number in range(1500)} | PS2_FILES
    image = made(files)
    assert struct.unpack_from("<I", image, ROOT_RECORD + 10)[0] > 30 * SECTOR
    assert identified(image).game_id == "SLUS_209.63"


def test_a_root_folder_is_looked_at_up_to_its_64th_sector() -> None:
    """The folder is moved behind the image and made as long as the test wants."""
    place = struct.unpack_from("<I", PS2_IMAGE, ROOT_RECORD + 2)[0]
    records = PS2_IMAGE[place * SECTOR : (place + 1) * SECTOR]
    for empty, wanted in ((63, System.PS2), (64, System.OTHER)):
        image = bytearray(PS2_IMAGE)
        image += bytes(empty * SECTOR) + records
        end = len(PS2_IMAGE) // SECTOR
        struct.pack_into("<I", image, ROOT_RECORD + 2, end)
        struct.pack_into("<I", image, ROOT_RECORD + 10, (empty + 1) * SECTOR)
        assert identified(bytes(image)).system is wanted


# The media


def test_an_xa_mark_is_a_cd_whatever_the_size() -> None:
    image = made(PS2_FILES, xa=True)
    assert image[16 * SECTOR + 1024 :].startswith(b"CD-XA001")
    assert identified(image, size=4 << 30).media is Media.CD
    assert identified(PS2_IMAGE, size=4 << 30).media is Media.DVD


@pytest.mark.parametrize("mark", [b"NSR02", b"NSR03"])
@pytest.mark.parametrize("xa", [False, True])
def test_a_udf_descriptor_is_a_dvd_whatever_the_size(mark: bytes, xa: bool) -> None:
    image = made(PS2_FILES, udf=True, xa=xa)
    assert image[19 * SECTOR :].startswith(b"\0NSR02")
    found = identified(image.replace(b"\0NSR02", b"\0" + mark, 1))
    assert found == Identity(System.PS2, "SLUS_209.63", "", "A_LABEL", Media.DVD)
    assert identified(image.replace(b"\0NSR02", b"\0NSR99", 1)).media is Media.CD


def test_without_a_mark_it_goes_by_the_size() -> None:
    largest_cd = 360_000 * SECTOR
    assert identified(PS2_IMAGE, size=largest_cd).media is Media.CD
    assert identified(PS2_IMAGE, size=largest_cd + 1).media is Media.DVD
    assert identified(b"", size=largest_cd + 1).media is Media.DVD


def test_the_primary_descriptor_may_come_later() -> None:
    boot_record = b"\x00CD001\x01EL TORITO SPECIFICATION".ljust(SECTOR, b"\0")
    image = PS2_IMAGE[: 16 * SECTOR] + boot_record + PS2_IMAGE[16 * SECTOR : 17 * SECTOR]
    image += PS2_IMAGE[18 * SECTOR :]
    assert identified(image) == identified(PS2_IMAGE)


# Raw sectors


@pytest.mark.parametrize("mode", [1, 2])
@pytest.mark.parametrize("image", [PS2_IMAGE, PSP_IMAGE, made(PS2_FILES, udf=True)])
def test_raw_sectors(image: bytes, mode: int) -> None:
    found, plain = identified(raw(image, mode), raw_cd=True), identified(image)
    assert found.media is Media.CD
    assert plain.system is not System.OTHER
    for name in ("system", "game_id", "title", "label"):
        assert getattr(found, name) == getattr(plain, name)


def test_raw_sectors_that_nobody_announced() -> None:
    assert identified(raw(PS2_IMAGE, 2)).system is System.OTHER
    assert identified(PS2_IMAGE, raw_cd=True) == NOTHING


# Images that nobody would make


def record(
    name: bytes, first: int, size: int, *, length: int | None = None, folder: bool = False
) -> bytes:
    """A directory record, perhaps with another length than it has."""
    fields = (0, 0, first, size, 2 * folder, len(name))
    whole = (struct.pack("<BBI4xI4x7xB6xB", *fields) + name).ljust(34, b"\0")
    return bytes([len(whole) if length is None else length]) + whole[1:]


def with_root(records: bytes, size: int | None = None) -> bytes:
    """The PS2 image with another root folder behind it, and SYSTEM.CNF's text behind that."""
    image = bytearray(PS2_IMAGE) + records.ljust(-(-len(records) // SECTOR) * SECTOR, b"\0")
    struct.pack_into("<I", image, ROOT_RECORD + 2, len(PS2_IMAGE) // SECTOR)
    struct.pack_into("<I", image, ROOT_RECORD + 10, len(records) if size is None else size)
    return bytes(image)


BOOT_PLACE = PS2_IMAGE.index(PS2_BOOT) // SECTOR
GOOD = record(b"SYSTEM.CNF;1", BOOT_PLACE, len(PS2_BOOT))


def test_a_good_record_in_a_made_root() -> None:
    """What the tests below change one thing of."""
    assert identified(with_root(GOOD)).game_id == "SLUS_209.63"


@pytest.mark.parametrize("name", [b"SYSTEM.CNF", b"system.cnf;1", b"System.CNF;12", b"SYSTEM.CNF."])
def test_ways_to_write_a_file_name(name: bytes) -> None:
    found = identified(with_root(record(name, BOOT_PLACE, len(PS2_BOOT))))
    assert found.game_id == "SLUS_209.63"


@pytest.mark.parametrize("name", [b"SYSTEM.CNF.A", b"SYSTEM", b";1", b"", b"ASYSTEM.CNF"])
def test_other_file_names(name: bytes) -> None:
    found = identified(with_root(record(name, BOOT_PLACE, len(PS2_BOOT))))
    assert found.system is System.OTHER


def test_a_folder_is_not_taken_for_a_file() -> None:
    found = identified(with_root(record(b"SYSTEM.CNF", BOOT_PLACE, len(PS2_BOOT), folder=True)))
    assert found.system is System.OTHER


@pytest.mark.parametrize("folder", [False, True])
def test_a_file_is_not_taken_for_a_folder(folder: bool) -> None:
    """PSP_GAME as a record of the real folder's place, with the bit and without."""
    extra = len(PS2_IMAGE) // SECTOR + 1
    parameters = record(b"PARAM.SFO", extra + 1, len(PSP_FILES["/PSP_GAME/PARAM.SFO"]))
    image = with_root(record(b"PSP_GAME", extra, SECTOR, folder=folder))
    image += parameters.ljust(SECTOR, b"\0") + PSP_FILES["/PSP_GAME/PARAM.SFO"]
    assert identified(image).system is (System.PSP if folder else System.OTHER)


@pytest.mark.parametrize("length", [0, 1, 33, 255])
def test_a_record_of_a_bad_length_ends_its_sector_only(length: int) -> None:
    bad = record(b"SYSTEM.CNF;1", 0, 5, length=length)
    if length == 255:  # reaches over the end of its sector
        bad = record(b"A", 0, 0) * 58 + bad  # of which each has 34 bytes
    assert identified(with_root(bad + GOOD)).system is System.OTHER
    assert identified(with_root(bad.ljust(SECTOR, b"\0") + GOOD)).game_id == "SLUS_209.63"


@pytest.mark.parametrize("length", [0, 1, 33])
def test_what_is_in_a_record_of_a_bad_length_is_none(length: int) -> None:
    assert identified(with_root(bytes([length]) + GOOD)).system is System.OTHER


def test_a_name_longer_than_its_record_is_cut() -> None:
    bad = bytearray(GOOD)
    bad[32] = 255
    assert identified(with_root(bytes(bad))).game_id == "SLUS_209.63"


@pytest.mark.parametrize(
    ("first", "size"), [(0xFFFFFFFF, 100), (0xFFFFFFFF, 0xFFFFFFFF), (17, 0), (0, 0xFFFFFFFF)]
)
def test_a_file_that_is_not_there(first: int, size: int) -> None:
    found = identified(with_root(record(b"SYSTEM.CNF;1", first, size)))
    assert (found.system, found.label) == (System.OTHER, "A_LABEL")


def test_a_file_that_claims_to_be_huge() -> None:
    found = identified(with_root(record(b"SYSTEM.CNF;1", BOOT_PLACE, 0xFFFFFFFF)))
    assert found.game_id == "SLUS_209.63"


@pytest.mark.parametrize("size", [0, 1, 20, 33, 0xFFFFFFFF])
def test_a_root_folder_of_a_bad_size(size: int) -> None:
    found = identified(with_root(GOOD, size))
    assert found.game_id == ("SLUS_209.63" if size else "")


def test_a_folder_inside_itself() -> None:
    itself = record(b"PSP_GAME", len(PS2_IMAGE) // SECTOR, SECTOR, folder=True)
    assert identified(with_root(itself)).system is System.OTHER


@pytest.mark.parametrize("at", [8, 12, 16, 20, 24, 32, 36, 40, 48, 52])
@pytest.mark.parametrize("value", [0, 1, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_param_sfo_with_a_bad_number(at: int, value: int) -> None:
    data = bytearray(PSP_FILES["/PSP_GAME/PARAM.SFO"])
    struct.pack_into("<I", data, at, value)
    found = identified(made(PSP_FILES | {"/PSP_GAME/PARAM.SFO": bytes(data)}))
    assert (found.system, found.game_id) == (System.PSP, "ULUS-10041")


@pytest.mark.parametrize("data", [b"", b"\0PSF", PSP_FILES["/PSP_GAME/PARAM.SFO"][:19], b"x" * 99])
def test_a_param_sfo_that_is_none(data: bytes) -> None:
    found = identified(made({"/PSP_GAME/PARAM.SFO": data}))
    assert found == Identity(System.OTHER, "", "", "A_LABEL", Media.CD)


def test_a_title_has_an_end() -> None:
    found = identified(made({"/PSP_GAME/PARAM.SFO": sfo({b"TITLE": b"x" * 5000})}))
    assert found.title == "x" * 512


def test_a_param_sfo_of_16_kib_of_entries() -> None:
    entries = struct.pack("<HHIII", 0, 0x0204, 0xFFFFFFFF, 0, 0) * 2000
    head = struct.pack("<4sIIII", b"\0PSF", 0x101, 0, 4, 0xFFFFFFFF)
    found = identified(made({"/PSP_GAME/PARAM.SFO": head + entries, "/UMD_DATA.BIN": b"?"}))
    assert found == Identity(System.PSP, "", "", "A_LABEL", Media.UMD)


def test_what_read_raises_comes_through() -> None:
    def read(offset: int, size: int) -> bytes:
        raise OSError(5, f"no {size} bytes at {offset}")

    with pytest.raises(OSError, match="no 32768 bytes at 32768"):
        identify(read, 1 << 20)


IMAGES = {
    "ps2": PS2_IMAGE,
    "psp": PSP_IMAGE,
    "udf": made(PS2_FILES, udf=True),
    "raw": raw(PS2_IMAGE, 2),
}


def interesting(image: bytes, sector: int) -> list[int]:
    """Where the bytes are that something is made of: not in the zeros between."""
    return [at for at in range(16 * sector, len(image)) if image[at]]


PLACES = {
    name: interesting(image, 2352 if name == "raw" else SECTOR) for name, image in IMAGES.items()
}


@st.composite
def broken_images(draw: st.DrawFn) -> tuple[bytes, bool]:
    """One of the images with some of its bytes and fields changed; whether it has raw sectors."""
    name = draw(st.sampled_from(sorted(IMAGES)))
    image = bytearray(IMAGES[name])
    places = st.sampled_from(PLACES[name]) | st.integers(16 * SECTOR, len(image) - 1)
    for at in draw(st.lists(places, min_size=1, max_size=8)):
        value = draw(
            st.sampled_from(
                [b"\0", b"\xff", b"\x01", b"\x22", bytes(4), b"\xff" * 4, b"\0\0\0\x80"]
            )
            | st.binary(min_size=1, max_size=8)
        )
        image[at : at + len(value)] = value
    if draw(st.booleans()):
        del image[draw(st.integers(0, len(image))) :]
    return bytes(image), name == "raw"


@settings(max_examples=rounds(150, 600))
@given(broken=broken_images())
def test_broken_images_raise_nothing(broken: tuple[bytes, bool]) -> None:
    image, raw_cd = broken
    identified(image, raw_cd=raw_cd)
    identified(image, size=len(image) + (5 << 30), raw_cd=raw_cd)


def test_a_root_of_random_records_raises_nothing() -> None:
    lengths = st.sampled_from([0, 1, 33, 34, 46, 48, 60, 254, 255]) | st.integers(0, 255)
    records = st.builds(
        record,
        st.sampled_from([b"SYSTEM.CNF;1", b"UMD_DATA.BIN", b"PSP_GAME", b"PARAM.SFO", b"", b"A"]),
        st.integers(0, 200) | st.integers(0, 0xFFFFFFFF),
        st.integers(0, 5000) | st.integers(0, 0xFFFFFFFF),
        length=st.none() | lengths,
        folder=st.booleans(),
    )
    systems = set()

    @given(st.lists(records, min_size=1, max_size=200), st.none() | st.integers(0, 0xFFFFFFFF))
    def check(found: Sequence[bytes], size: int | None) -> None:
        systems.add(identified(with_root(b"".join(found), size)).system)

    check()
    assert systems >= {System.OTHER, System.PSP}, "some of the records are found, some are not"


@given(
    area=st.binary(max_size=3 * SECTOR),
    root=st.binary(max_size=3 * SECTOR),
    size=st.integers(0, 1 << 40),
    raw_cd=st.booleans(),
)
def test_random_bytes_raise_nothing(area: bytes, root: bytes, size: int, raw_cd: bool) -> None:
    head = b"\x01CD001\x01" + area
    identified(bytes(16 * SECTOR) + head + root, size=size, raw_cd=raw_cd)
    identified(bytes(16 * 2352 + 24) + head + root, size=size, raw_cd=raw_cd)


# Directories


def test_a_directory_whose_record_gives_less_than_a_sector() -> None:
    files = {f"/AAAA{number:04}.DAT": b"x" for number in range(8)} | {"/SYSTEM.CNF": PS2_BOOT}
    image = bytearray(made(files))
    size = SECTOR * 16 + 156 + 10
    assert int.from_bytes(image[size : size + 4], "little") == SECTOR
    for said in (300, 1, SECTOR - 1):
        image[size : size + 4] = said.to_bytes(4, "little")
        assert identified(bytes(image)).game_id == "SLUS_209.63", said


def test_a_psp_disc_is_a_umd() -> None:
    found = identified(made(PSP_FILES))
    assert (found.system, found.media) == (System.PSP, Media.UMD)
