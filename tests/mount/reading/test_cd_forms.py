"""CDs in each form of `--cd` through a mount: what chdman extracts, byte for byte."""

import errno
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MountMaker
from tests.mount.reading.test_chd_mount import random_reads
from tests.support import writers
from tests.support.chd_writer import PARENT_HERE, PLAIN, Hunk, chd
from tests.support.mounting import DATA, ZSOFS, Mount, mounted, names, status_of, wait_until
from tests.unit.discs.test_identify import PS2_IMAGE, made, raw
from zsofs.formats.cd_tracks import split_cue_sheet
from zsofs.formats.cue_sheet import parse_cue_sheet, tracks_of_file

pytestmark = pytest.mark.xdist_group("cds")  # they share mounts

CHDS = DATA / "chd"
ALL = json.loads((CHDS / "manifest.json").read_text())
CDS = {name: about for name, about in ALL.items() if name != "_" and about["kind"] == "cd"}
FORMS = ("auto", "iso", "bin", "tracks")
BY_DEFAULT = {"cd-mixed.chd": "bin", "cd-mode1-pregap.chd": "bin"}
"""The form in which a CD is shown with `--cd auto`, if that is not iso."""

RAW = raw(PS2_IMAGE, 2)


@pytest.fixture(scope="module")
def mounts(module_path: Path) -> Iterator[dict[str, Mount]]:
    """A mount of all fixtures for each form."""
    source = module_path / "source"
    source.mkdir()
    for name in ALL:
        if name != "_":
            shutil.copy(CHDS / name, source)
    with ExitStack() as stack:
        yield {
            form: stack.enter_context(mounted(source, module_path / form, "--cd", form))
            for form in FORMS
        }


@pytest.fixture(scope="module")
def bins(module_path: Path) -> dict[str, bytes]:
    """The .bin of each CD as chdman extracts it: its SHA-1 is in the manifest."""
    found = {}
    for name, about in CDS.items():
        with mounted_copy(CHDS / name, module_path / "one", "bin") as mount:
            image = (mount.path / f"{Path(name).stem}.bin").read_bytes()
        assert len(image) == about["bin_size"]
        assert hashlib.sha1(image).hexdigest() == about["bin_sha1"]
        found[name] = image
    return found


@contextmanager
def mounted_copy(file: Path, folder: Path, form: str) -> Iterator[Mount]:
    """A mount of a directory with one file."""
    source = folder / file.stem / "source"
    source.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, source)
    with mounted(source, folder / file.stem / "mnt", "--cd", form) as mount:
        yield mount


def expected(name: str, form: str, bins: dict[str, bytes]) -> dict[str, bytes]:
    """The files of a CD in a form, by chdman's cue sheet and .bin."""
    stem = Path(name).stem
    sheet = (CHDS / CDS[name]["cue"]).read_bytes()
    image = bins[name]
    (file,) = parse_cue_sheet(sheet)
    tracks = tracks_of_file(file, len(image))
    form = BY_DEFAULT.get(name, "iso") if form == "auto" else form
    if form == "iso":
        track, begin = tracks[0]
        assert track.type.user_data is not None
        size, skip = track.type.sector_size, track.type.user_data
        sectors = (image[at : at + size] for at in range(begin, begin + track.size, size))
        return {f"{stem}.iso": b"".join(sector[skip : skip + 2048] for sector in sectors)}
    if form == "bin":
        return {f"{stem}.cue": sheet, f"{stem}.bin": image}
    found = {
        f"{stem} (Track {track.number}).bin": image[begin : begin + track.size]
        for track, begin in tracks
    }
    text = split_cue_sheet([track for track, _ in tracks], stem.encode())
    return found | {f"{stem}.cue": text}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CDS)
def test_each_cd_in_each_form(
    mounts: dict[str, Mount], bins: dict[str, bytes], name: str, form: str
) -> None:
    files = expected(name, form, bins)
    if form == "iso" and "iso_sha1" in CDS[name]:
        (image,) = files.values()
        assert hashlib.sha1(image).hexdigest() == CDS[name]["iso_sha1"]
    for file, content in files.items():
        path = mounts[form].path / file
        assert path.stat().st_size == len(content)
        assert path.stat().st_mode & 0o222 == 0
        assert path.read_bytes() == content


@pytest.mark.parametrize("form", FORMS)
def test_nothing_else_is_shown(mounts: dict[str, Mount], bins: dict[str, bytes], form: str) -> None:
    wanted = {"hd.chd"}
    for name, about in ALL.items():
        if name in CDS:
            wanted |= expected(name, form, bins).keys()
        elif name != "_" and about["kind"] == "dvd":
            wanted.add(f"{Path(name).stem}.iso")
    assert set(os.listdir(mounts[form].path)) == wanted
    wait_until(lambda: not status_of(mounts[form])["counting"], "the count")
    found = status_of(mounts[form])
    assert (found["discs"], found["compressed_discs"], found["cd"]) == (11, 11, form)


def test_random_reads_from_eight_threads(mounts: dict[str, Mount], bins: dict[str, bytes]) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = [
            pool.submit(random_reads, mounts[form].path / file, content, seed)
            for seed in range(2)
            for form in ("iso", "bin", "tracks")
            for name in CDS
            for file, content in expected(name, form, bins).items()
        ]
        for run in runs:
            run.result(300)


@pytest.mark.parametrize("form", FORMS)
def test_list_shows_what_the_mount_shows(mounts: dict[str, Mount], form: str) -> None:
    source = mounts[form].source
    for arguments in ([str(mounts[form].path)], ["--cd", form, str(source)]):
        command = [*ZSOFS, "list", "--json", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        rows = json.loads(done.stdout)
        discs = [row for row in rows if row["is_disc"]]
        assert len(discs) == 11
        files = [file for row in discs for file in row["files"]]
        assert {*files, "hd.chd"} == set(os.listdir(mounts[form].path))
        for row in discs:
            assert row["files"][0] == row["name"]
            sizes = [
                (mounts[form].path / file).stat().st_size
                for file in row["files"]
                if not file.endswith(".cue")
            ]
            assert row["plain_bytes"] == sum(sizes)


def test_inode_numbers_are_the_same_after_a_remount(tmp_path: Path) -> None:
    file = CHDS / "cd-mixed.chd"
    found: dict[str, set[tuple[str, int]]] = {}
    for form in ("bin", "tracks", "bin", "tracks"):
        with mounted_copy(file, tmp_path, form) as mount:
            os.utime(mount.source / file.name, ns=(1, 1))
            numbers = {(name, (mount.path / name).stat().st_ino) for name in names(mount.path)}
        assert len({number for _, number in numbers}) == len(numbers)
        found.setdefault(form, numbers)
    cue = "cd-mixed.cue"
    assert dict(found["bin"])[cue] != dict(found["tracks"])[cue]


def test_a_writable_mount_protects_the_files_of_a_cd(tmp_path: Path, mount: MountMaker) -> None:
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(CHDS / "cd-mixed.chd", source / "Game.chd")
    (source / "Card.bin").write_bytes(bytes(1000))
    made_at = mount(source, "--writable")
    assert names(made_at.path) == ["Card.bin", "Game.bin", "Game.cue"]
    for name in ("Game.bin", "Game.cue"):
        path = made_at.path / name
        before = path.read_bytes()
        for act in (
            lambda path=path: path.write_bytes(b"new"),
            lambda path=path: path.unlink(),
            lambda path=path: path.rename(made_at.path / "Other.bin"),
            lambda path=path: (made_at.path / "Card.bin").rename(path),
            lambda path=path: os.truncate(path, 0),
            lambda path=path: path.chmod(0o600),
        ):
            with pytest.raises(OSError) as caught:
                act()
            assert caught.value.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
        assert path.read_bytes() == before
    (made_at.path / "Card.bin").write_bytes(b"changed")
    assert sorted(os.listdir(source)) == ["Card.bin", "Game.chd"]
    assert (source / "Game.chd").read_bytes() == (CHDS / "cd-mixed.chd").read_bytes()


def test_names_follow_the_files_of_the_source(tmp_path: Path, mount: MountMaker) -> None:
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(CHDS / "cd-mixed.chd", source / "Game.chd")
    path = mount(source).path
    assert names(path) == ["Game.bin", "Game.cue"]
    (source / "Game.cue").write_text("my own")
    wanted = ["Game.chd.bin", "Game.chd.cue", "Game.cue"]
    wait_until(lambda: names(path) == wanted, "the longer names")
    assert (path / "Game.chd.cue").read_text().startswith('FILE "Game.chd.bin" BINARY\n')
    assert (path / "Game.cue").read_text() == "my own"
    (source / "Game.cue").unlink()
    wait_until(lambda: names(path) == ["Game.bin", "Game.cue"], "the names")
    assert (path / "Game.cue").read_text().startswith('FILE "Game.bin" BINARY\n')
    (source / "Game.chd").rename(source / "New name.chd")
    wait_until(lambda: names(path) == ["New name.bin", "New name.cue"], "the new names")
    assert (path / "New name.cue").read_text().startswith('FILE "New name.bin" BINARY\n')
    found = hashlib.sha1((path / "New name.bin").read_bytes()).hexdigest()
    assert found == CDS["cd-mixed.chd"]["bin_sha1"]


NOT_TOLD = (
    *(sys.executable, "-m", "tests.support.faulty_start"),
    *("zsofs.fuse.kernel_cache:Invalidations", "send", "nothing"),
)
"""A mount that does not tell the kernel of changes: as if it were slow to do so."""


@pytest.mark.parametrize("command", [ZSOFS, NOT_TOLD], ids=["zsofs", "slow to tell the kernel"])
def test_a_cd_that_is_replaced_has_another_sheet(
    tmp_path: Path, mount: MountMaker, command: tuple[str, ...]
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(CHDS / "cd-mixed.chd", source / "Game.chd")
    path = mount(source, command=command).path
    with (path / "Game.bin").open("rb", buffering=0) as old:
        assert (path / "Game.cue").read_text().count("TRACK") == 3
        shutil.copy(CHDS / "cd-mode1-pregap.chd", tmp_path / "new")
        (path / "Game.bin").stat()
        (tmp_path / "new").rename(source / "Game.chd")

        def has_new_sheet() -> bool:
            try:
                return (path / "Game.cue").read_text().count("TRACK") == 2
            except OSError as error:
                assert error.errno in (errno.ESTALE, errno.ENOENT)  # noqa: PT017
                return False

        wait_until(has_new_sheet, "the new sheet")
        about = CDS["cd-mode1-pregap.chd"]
        assert hashlib.sha1((path / "Game.bin").read_bytes()).hexdigest() == about["bin_sha1"]
        image = os.pread(old.fileno(), CDS["cd-mixed.chd"]["bin_size"], 0)
    assert hashlib.sha1(image).hexdigest() == CDS["cd-mixed.chd"]["bin_sha1"]


def test_a_cd_that_is_still_being_copied(tmp_path: Path, mount: MountMaker) -> None:
    source = tmp_path / "source"
    source.mkdir()
    data = (CHDS / "cd-mixed.chd").read_bytes()
    path = mount(source).path
    with (source / "Game.chd").open("wb") as copy:
        copy.write(data[:300_000])
        copy.flush()
        wait_until(lambda: names(path) == ["Game.chd"], "the file")
        copy.write(data[300_000:])
        copy.flush()
        assert names(path) == ["Game.chd"]
    wait_until(lambda: names(path) == ["Game.bin", "Game.cue"], "the disc")
    found = hashlib.sha1((path / "Game.bin").read_bytes()).hexdigest()
    assert found == CDS["cd-mixed.chd"]["bin_sha1"]


def test_a_cd_that_is_rewritten_while_it_is_read(tmp_path: Path, mount: MountMaker) -> None:
    source = tmp_path / "source"
    source.mkdir()
    file = source / "Game.chd"
    shutil.copy(CHDS / "cd-mixed.chd", file)
    path = mount(source).path
    with (path / "Game.bin").open("rb", buffering=0) as reader:
        reader.read(4096)
        with file.open("r+b") as writer:
            writer.seek(300_000)
            writer.write(b"other bytes")
        with pytest.raises(OSError) as caught:
            os.pread(reader.fileno(), 4096, 1_000_000)
        assert caught.value.errno in (errno.EIO, errno.ESTALE)


def test_raw_images_of_ps2_cds_as_iso(tmp_path: Path) -> None:
    """A .bin, with audio behind it, in a container, and one with another system's disc."""
    source = tmp_path / "source"
    source.mkdir()
    sheet = b'FILE "A.bin" BINARY\n  TRACK 01 MODE2/2352\n    INDEX 01 00:00:00\n'
    audio = random.Random(3).randbytes(2352) * 20
    contents = {
        "A.bin": RAW,
        "A.cue": sheet,
        "Audio.bin": RAW + audio,
        "Set (Track 1).bin": RAW,
        "Set (Track 2).bin": audio,
        "Set.cue": sheet.replace(b"A.bin", b"Set (Track 1).bin"),
        "Mode1.img": raw(PS2_IMAGE, 1),
        "Packed.zso": writers.danixu(RAW, block_size=2352),
        "Large.zso": writers.zstd_ziso(RAW + audio, block_size=16384),
        "Other.bin": raw(made({"/README.TXT": b"x"}), 1),
        "Other.cue": sheet.replace(b"A.bin", b"Other.bin"),
    }
    for name, content in contents.items():
        (source / name).write_bytes(content)
    for form in ("auto", "bin", "tracks"):
        with mounted(source, tmp_path / form, "--cd", form) as mount:
            shown = {*contents, "Packed.bin", "Large.bin"} - {"Packed.zso", "Large.zso"}
            assert set(names(mount.path)) == shown
            assert (mount.path / "A.bin").read_bytes() == RAW
            assert (mount.path / "Large.bin").read_bytes() == RAW + audio
    isos = ["A.iso", "Audio.iso", "Large.iso", "Mode1.iso", "Packed.iso", "Set (Track 1).iso"]
    with mounted(source, tmp_path / "iso", "--cd", "iso") as mount:
        assert names(mount.path) == sorted([*isos, "Other.bin", "Other.cue", "Set (Track 2).bin"])
        with ThreadPoolExecutor(8) as pool:
            runs = []
            for name in isos:
                assert (mount.path / name).read_bytes() == PS2_IMAGE
                runs.append(pool.submit(random_reads, mount.path / name, PS2_IMAGE, 5))
            for run in runs:
                run.result(300)
        for name in ("Other.bin", "Other.cue"):
            assert (mount.path / name).read_bytes() == contents[name]
        assert status_of(mount)["discs"] == 6
    with mounted(source, tmp_path / "iso", "--cd", "iso", "--show-raw") as mount:
        assert set(names(mount.path)) == {*isos, *contents}


def test_a_damaged_hunk_costs_its_range_alone(tmp_path: Path) -> None:
    file = tmp_path / "Game.chd"
    data = bytearray((CHDS / "cd-mixed.chd").read_bytes())
    data[300_000] ^= 1
    file.write_bytes(data)
    with (
        mounted_copy(CHDS / "cd-mixed.chd", tmp_path / "good", "bin") as good,
        mounted_copy(file, tmp_path / "bad", "bin") as bad,
    ):
        right = (good.path / "cd-mixed.bin").read_bytes()
        assert (bad.path / "Game.cue").read_bytes().count(b"TRACK") == 3
        failed = []
        with (bad.path / "Game.bin").open("rb", buffering=0) as reader:
            os.posix_fadvise(reader.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            for offset in range(0, len(right), 2352):
                try:
                    found = os.pread(reader.fileno(), 2352, offset)
                except OSError as error:
                    if error.errno != errno.EIO:
                        raise
                    failed.append(offset // 2352)
                else:
                    assert found == right[offset : offset + len(found)]
                    if len(found) < 2352:  # up to the page in front of the hunk
                        failed.append(offset // 2352)
    assert 8 <= len(failed) <= 12  # a hunk has 8 sectors, and pages are read as a whole
    assert failed == list(range(failed[0], failed[-1] + 1))


def cd_with_child(folder: Path) -> tuple[Path, Path]:
    """A CHD of a CD, and another one whose hunks are all those of its parent."""
    frames = 16
    tracks = [
        (b"CHT2", f"TRACK:{number} TYPE:{kind} SUBTYPE:NONE FRAMES:{frames} PREGAP:0 PGTYPE:MODE1"
         " PGSUB:NONE POSTGAP:0".encode())
        for number, kind in ((1, "MODE1_RAW"), (2, "AUDIO"))
    ]  # fmt: skip
    data = random.Random(8).randbytes(2 * frames * 2448)
    hunk_size = 8 * 2448
    hunks = [Hunk(PLAIN, data[at : at + hunk_size]) for at in range(0, len(data), hunk_size)]
    shape: dict[str, Any] = {
        "hunk_size": hunk_size, "unit_size": 2448, "codecs": [b"cdzl"], "image": data,
        "metadata": tracks,
    }  # fmt: skip
    parent = chd(hunks, **shape)
    child = chd([Hunk(PARENT_HERE)] * len(hunks), parent_sha1=parent[84:104].hex(), **shape)
    paths = folder / "parent", folder / "child"
    for path, content in zip(paths, (parent, child), strict=True):
        path.write_bytes(content)
    return paths


def test_a_child_becomes_a_cd_when_its_parent_arrives(tmp_path: Path, mount: MountMaker) -> None:
    source = tmp_path / "source"
    source.mkdir()
    parent, child = cd_with_child(tmp_path)
    shutil.copy(child, source / "Child.chd")
    path = mount(source).path
    assert names(path) == ["Child.chd"]
    shutil.copy(parent, source / "Parent.chd")
    wanted = ["Child.bin", "Child.cue", "Parent.bin", "Parent.cue"]
    wait_until(lambda: names(path) == wanted, "the disc")
    assert (path / "Child.bin").read_bytes() == (path / "Parent.bin").read_bytes()
    (source / "Parent.chd").unlink()
    wait_until(lambda: names(path) == ["Child.chd"], "the file")
