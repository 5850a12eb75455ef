"""What follows the end of an archive, or of one of its files, is never lost or taken for a disc."""

import gzip
import shutil
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from tests.support.archives import RAR_DATA, archive, compressed, run
from tests.support.mounting import names
from tests.support.packed import image_of, left_in, reports, zsofs
from tests.unit.pack.test_pack_archives import IMAGE, OTHERS_IMAGE, SMALL, STORED


def _tar(*files: tuple[str, bytes]) -> bytes:
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, BytesIO(content))
    return out.getvalue()


def test_a_flipped_byte_in_the_first_disc_of_a_compressed_tar(tmp_path: Path) -> None:
    """Only the checksum at the end of the gzip file shows it, after the second disc."""
    data = bytearray(gzip.compress(_tar(("One.iso", STORED), ("Two.iso", IMAGE)), 0))
    path = tmp_path / "a.tar.gz"
    path.write_bytes(data)
    zsofs("pack", "--measure", path)
    data[len(STORED) // 2] ^= 1
    path.write_bytes(data)
    (report,) = reports("pack", "--delete-source", path, code=8)
    assert "incorrect data check" in report["error"]
    assert names(tmp_path) == ["a.tar.gz"]


@pytest.mark.parametrize("way", ["tar", "tar.gz"])
def test_a_tar_after_a_tar(tmp_path: Path, way: str) -> None:
    """Readers stop at the end of the first one; deleting the file would delete the second one."""
    content = _tar(("One.iso", SMALL)) + _tar(("Two.iso", IMAGE))
    path = tmp_path / f"a.{way}"
    path.write_bytes(content if way == "tar" else gzip.compress(content))
    (report,) = reports("pack", "--delete-source", path, code=8)
    assert "something follows the end of the tar archive" in report["error"]
    assert names(tmp_path) == [path.name]


@pytest.mark.parametrize("way", ["7z", "zip", "rar3", "rar5"])
def test_an_archive_that_something_follows_is_kept(tmp_path: Path, way: str) -> None:
    path = archive(tmp_path / f"a.{way[:3]}", way, {"One.iso": SMALL})
    with path.open("ab") as file:
        file.write(b"more" * 10)
    (report,) = reports("pack", "--delete-source", path, code=8)
    why = "packed, but the archive was not deleted: 40 bytes of the file are not part of it"
    assert (report["state"], report["error"]) == ("packed", why)
    assert names(tmp_path) == sorted([path.name, "One.zso"])


@pytest.mark.parametrize("way", ["7z", "zip", "rar5"])
def test_an_archive_after_an_archive(tmp_path: Path, way: str) -> None:
    """Readers take one of them: a ZIP is found from its end, all others from their beginning."""
    for name, image in (("One", SMALL), ("Two", IMAGE)):
        archive(tmp_path / name, way, {f"{name}.iso": image})
        if not (tmp_path / name).exists():  # programs add an ending
            (tmp_path / f"{name}.{way}").rename(tmp_path / name)
    path = tmp_path / f"a.{way[:3]}"
    path.write_bytes((tmp_path / "One").read_bytes() + (tmp_path / "Two").read_bytes())
    (report,) = reports("pack", "--delete-source", path, code=8)
    assert "bytes of the file are not part of it" in report["error"]
    assert path.exists()


@pytest.mark.parametrize("way", ["a.7z.001", "a.zip.001", "a.zip", "a.part1.rar"])
def test_a_volume_of_another_archive(tmp_path: Path, way: str) -> None:
    """It has the next name, but the archive ends before it: it is not deleted with the others."""
    (tmp_path / "Okami.iso").write_bytes(STORED)
    if way == "a.zip":
        run("zip", "-q", "-s", "300k", "a.zip", "Okami.iso", cwd=tmp_path)
        stray = "a.z05"
    elif way.endswith("rar"):
        for number in (1, 2, 3):
            shutil.copy(RAR_DATA / f"rar5-vols.part{number}.rar", tmp_path / f"a.part{number}.rar")
        stray = "a.part4.rar"
    else:
        run("7z", "a", "-bd", f"-t{way[2:-4]}", "-v300k", way[:-4], "Okami.iso", cwd=tmp_path)
        stray = way[:-1] + "6"
    (tmp_path / "Okami.iso").unlink()
    assert stray not in names(tmp_path)
    (tmp_path / stray).write_bytes(b"of another archive" * 100)
    before = names(tmp_path)
    (report,) = reports("pack", "--delete-source", tmp_path / way, code=8)
    ends_before = "volumes by their names, but ends before the last one" in report["error"]
    assert ends_before or "it has 5 volumes, but 6 are there" in report["error"]
    assert names(tmp_path) == before


@pytest.mark.parametrize("data", [300_000, 1_100_000])
@pytest.mark.parametrize("size", [900_000, 3_000_000])
def test_a_sparse_file_has_all_its_zeros(tmp_path: Path, data: int, size: int) -> None:
    """Also those at its end, of which the archive has no bytes."""
    begun = (SMALL + bytes(size))[: min(data, size)]
    with (tmp_path / "Okami.iso").open("wb") as file:
        file.write(begun)
        file.truncate(size)
    run("tar", "-S", "-cf", "a.tar", "Okami.iso", cwd=tmp_path)
    (tmp_path / "Okami.iso").unlink()
    zsofs("pack", tmp_path / "a.tar")
    assert image_of(tmp_path / "Okami.zso") == begun + bytes(size - len(begun))


def test_names_that_say_nothing_in_a_compressed_tar(tmp_path: Path) -> None:
    path = tmp_path / "Xenosaga.tar.gz"
    path.write_bytes(gzip.compress(_tar(("disc1.iso", SMALL), ("disc2.iso", IMAGE))))
    zsofs("pack", path)
    assert names(tmp_path) == ["Xenosaga.tar.gz", "disc1.zso", "disc2.zso"]


def test_a_file_with_a_name_that_is_no_path(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(_tar(("x" * 200_000 + ".iso", SMALL), ("Good.iso", SMALL)))
    (report,) = reports("pack", "--delete-source", path, code=8)
    assert "its name is longer than any path" in report["remarks"][-1]
    assert "the archive was not deleted" in report["error"]
    assert names(tmp_path) == ["Good.zso", "a.tar"]


def test_a_name_with_o_for_an_image_whose_size_nothing_tells(tmp_path: Path) -> None:
    """The file is read twice, but it is one disc."""
    path = compressed(tmp_path, "Okami.iso", "bz2", OTHERS_IMAGE)
    zsofs("pack", path, "-o", tmp_path / "x.zso")
    assert image_of(tmp_path / "x.zso") == OTHERS_IMAGE


def test_damage_is_reported_once(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", "stored.zip", {"One.iso": STORED})
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    (report,) = reports("pack", path, code=8)
    assert report["input"] == f"{path}/One.iso"
    assert "bad CRC" in report["error"]
    assert left_in(tmp_path) == []
