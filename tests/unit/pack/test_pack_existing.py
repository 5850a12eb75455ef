"""Outputs that exist already: they count as done if they have the same bytes as the input."""

import os
from pathlib import Path

import pytest

from tests.support import writers
from tests.support.archives import STREAMS, archive, compressed
from tests.support.mounting import names
from tests.support.packed import image_of, reports, zsofs
from tests.unit.discs.test_identify import raw

IMAGE = writers.disc(2048 * 700, ["zeros", "text", "mixed", "noise"], 5)
CHANGED = IMAGE[:-1] + bytes([IMAGE[-1] ^ 1])
LONGER = writers.described(writers.content(2048 * 900, ["mixed"], 3), sectors=650)
"""Longer than its descriptors specify, so that its size in a compressed file is guessed wrong."""

OLD = (86400 * 365, 86400 * 365)
SHEET = 'FILE "Okami.bin" BINARY\n  TRACK 01 MODE1/2352\n    INDEX 01 00:00:00\n'


def made(folder: Path, kind: str, image: bytes) -> Path:
    """An input whose output is ``Okami.zso``."""
    folder.mkdir(exist_ok=True)
    if kind in STREAMS:
        return compressed(folder, "Okami.iso", kind, image)
    if kind in ("7z", "zip", "tar.xz", "rar5"):
        return archive(folder / f"Games.{kind}", kind, {"sub/Okami.iso": image, "a.txt": b"text\n"})
    if kind == "cue":
        (folder / "Okami.bin").write_bytes(raw(image, 1))
        (folder / "Okami.cue").write_text(SHEET)
        return folder / "Okami.cue"
    (folder / "Okami.iso").write_bytes(image)
    if kind == "cso":
        zsofs("pack", "--for", "psp", folder / "Okami.iso")
        (folder / "Okami.iso").unlink()
        return folder / "Okami.cso"
    return folder / "Okami.iso"


KINDS = ["iso", "cso", "cue", "7z", "zip", "tar.xz", "rar5", *STREAMS]


def older(folder: Path, image: bytes) -> Path:
    """A library with ``Okami.zso``, which is older than any input."""
    (folder / "library").mkdir()
    (folder / "hand.iso").write_bytes(image)
    target = folder / "library" / "Okami.zso"
    zsofs("pack", "--for", "console", folder / "hand.iso", "-o", target)
    os.utime(target, OLD)
    return target


@pytest.mark.parametrize("kind", KINDS)
def test_an_older_output_with_the_same_bytes(tmp_path: Path, kind: str) -> None:
    target = older(tmp_path, IMAGE)
    before = target.stat()
    path = made(tmp_path / "in", kind, IMAGE)
    (report,) = reports("pack", path, "-o", f"{target.parent}/")
    assert (report["state"], report["output"]) == ("exists", str(target))
    assert not report["error"]
    assert not report["source_deleted"]
    assert report["stored_bytes"] == before.st_size
    assert path.exists()
    assert (target.stat().st_ino, target.stat().st_mtime) == (before.st_ino, OLD[0])
    assert names(target.parent) == ["Okami.zso"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_output_of_the_same_size_with_other_bytes(tmp_path: Path, kind: str) -> None:
    """The last byte differs. For a deletion, the date of the output proves nothing."""
    target = older(tmp_path, CHANGED)
    before = target.read_bytes()
    path = made(tmp_path / "in", kind, IMAGE)
    # A cue sheet is kept in any case, since the rest of the sectors is nowhere else.
    for options in ((), ("--delete-source",)) if kind != "cue" else ((),):
        (report,) = reports("pack", *options, path, "-o", f"{target.parent}/", code=8)
        assert report["state"] == "failed"
        assert "does not match this image; use --force" in report["error"]
        assert path.exists()
        os.utime(target)
    assert target.read_bytes() == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_older", [True, False])
def test_delete_source_after_the_comparison(tmp_path: Path, kind: str, *, is_older: bool) -> None:
    target = older(tmp_path, IMAGE)
    if not is_older:
        os.utime(target)
    path = made(tmp_path / "in", kind, IMAGE)
    code = 8 if kind == "cue" and is_older else 0
    (report,) = reports("pack", "--delete-source", path, "-o", f"{target.parent}/", code=code)
    assert image_of(target) == IMAGE
    if kind == "cue":  # the rest of the sectors is nowhere else
        assert report["state"] == ("exists" if is_older else "skipped")
        assert "was not deleted" in report["error"] or "the source was kept" in report["error"]
        assert names(tmp_path / "in") == ["Okami.bin", "Okami.cue"]
        return
    assert (report["state"], report["source_deleted"]) == ("exists", True)
    assert names(tmp_path / "in") == []


@pytest.mark.parametrize("way", ["gz", "bz2"])
@pytest.mark.parametrize("image", [LONGER, IMAGE])
def test_a_size_that_is_guessed(tmp_path: Path, way: str, image: bytes) -> None:
    """The volume descriptors have another size: the output is no other image for that."""
    target = older(tmp_path, image)
    path = made(tmp_path / "in", way, image)
    os.utime(path, OLD)
    (report,) = reports("pack", path, "-o", f"{target.parent}/")
    assert report["state"] == "skipped"
    os.utime(path)
    (report,) = reports("pack", "--delete-source", path, "-o", f"{target.parent}/")
    assert (report["state"], report["source_deleted"]) == ("exists", True)
    assert image_of(target) == image


def test_an_archive_with_one_disc_that_exists(tmp_path: Path) -> None:
    """All of it is packed, or was before: it is deleted; not if a disc differs."""
    target = older(tmp_path, IMAGE)
    two = writers.disc(2048 * 60, ["text"], 6)
    for first, deleted in ((CHANGED, False), (IMAGE, True)):
        path = archive(tmp_path / f"{deleted}.zip", "zip", {"Okami.iso": first, "Two.iso": two})
        done = reports(
            "pack", "--delete-source", path, "-o", f"{target.parent}/", code=0 if deleted else 8
        )
        assert [one["state"] for one in done] == (
            ["exists", "exists"] if deleted else ["failed", "packed"]
        )
        assert path.exists() is not deleted
    assert image_of(target.parent / "Two.zso") == two


def test_an_archive_with_something_else_is_kept(tmp_path: Path) -> None:
    target = older(tmp_path, IMAGE)
    path = archive(tmp_path / "a.zip", "zip", {"Okami.iso": IMAGE, "save.dat": b"\1\2\3" * 99})
    (report,) = reports("pack", "--delete-source", path, "-o", f"{target.parent}/", code=8)
    assert report["state"] == "exists"
    assert "but the archive was not deleted: it also has save.dat" in report["error"]
    assert path.exists()


def test_a_truncated_image_is_kept(tmp_path: Path) -> None:
    image = writers.described(writers.content(2048 * 700, ["mixed"], 3), sectors=1000)
    target = older(tmp_path, image)
    for kind in ("iso", "zip"):
        path = made(tmp_path / kind, kind, image)
        (report,) = reports("pack", "--delete-source", path, "-o", f"{target.parent}/", code=8)
        assert report["state"] == "exists"
        assert "the image is truncated" in report["error"]
        assert path.exists()


@pytest.mark.parametrize("kind", ["iso", "zip"])
def test_a_damaged_output_is_no_copy(tmp_path: Path, kind: str) -> None:
    target = older(tmp_path, IMAGE)
    content = bytearray(target.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 100] = bytes(100)
    target.write_bytes(content)
    path = made(tmp_path / "in", kind, IMAGE)
    (report,) = reports("pack", "--delete-source", path, "-o", f"{target.parent}/", code=8)
    assert "does not match this image" in report["error"]
    assert path.exists()


def test_a_damaged_archive_proves_nothing(tmp_path: Path) -> None:
    target = older(tmp_path, IMAGE)
    path = made(tmp_path / "in", "gz", IMAGE)
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # the checksum
    path.write_bytes(content)
    (report,) = reports("pack", "--delete-source", path, "-o", f"{target.parent}/", code=8)
    assert report["state"] == "failed"
    assert "damaged" in report["error"]
    assert path.exists()


def test_unpacked_outputs(tmp_path: Path) -> None:
    target = older(tmp_path, IMAGE)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/Okami.iso").write_bytes(CHANGED)
    os.utime(tmp_path / "out/Okami.iso", (1, 1))
    (report,) = reports("unpack", "--delete-source", target, "-o", f"{tmp_path}/out/", code=8)
    assert "does not match this image" in report["error"]
    (tmp_path / "out/Okami.iso").write_bytes(IMAGE)
    os.utime(tmp_path / "out/Okami.iso", (1, 1))
    (report,) = reports("unpack", target, "-o", f"{tmp_path}/out/")
    assert report["state"] == "exists"
    (report,) = reports("unpack", "--delete-source", target, "-o", f"{tmp_path}/out/")
    assert report["source_deleted"]
    assert not target.exists()


def test_the_summary(tmp_path: Path) -> None:
    target = older(tmp_path, IMAGE)
    made(tmp_path / "in", "iso", IMAGE)
    made(tmp_path / "in", "zip", IMAGE).rename(tmp_path / "in/B.zip")
    (tmp_path / "in/Two.iso").write_bytes(IMAGE)
    done = zsofs("pack", "--delete-source", tmp_path / "in/Okami.iso", "-o", f"{target.parent}/")
    assert f"Okami.iso: {target} already exists and has this image; source deleted" in done.stdout
    done = zsofs("pack", tmp_path / "in", "-o", f"{target.parent}/")
    assert "1 file packed" in done.stdout
    assert "1 existed with the same image" in done.stdout
