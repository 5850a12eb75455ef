"""Covers: where they are found, and what is never served."""

import os
from pathlib import Path

import pytest

from zsofs.web.covers import MAX_SIZE, Covers, media_type, read_cover

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
JPEG = b"\xff\xd8\xff\xe0" + bytes(20)
WEBP = b"RIFF\x20\0\0\0WEBPVP8 " + bytes(20)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "ART").mkdir(parents=True)
    (folder / "rpg" / "covers").mkdir(parents=True)
    return folder


def found(source: Path, disc: str, game_id: str = "") -> str | None:
    covers = Covers(str(source))
    covers.look([os.path.dirname(disc)])
    return covers.path_for(disc, game_id)


def test_names_of_opl_and_of_the_disc(source: Path) -> None:
    (source / "ART" / "SLUS_209.63_COV.png").write_bytes(PNG)
    assert found(source, "rpg/Okami.zso", "SLUS_209.63") == "ART/SLUS_209.63_COV.png"
    assert found(source, "rpg/Okami.zso", "SLUS_209.64") is None
    (source / "rpg" / "covers" / "slus_209.63.jpg").write_bytes(JPEG)
    assert found(source, "rpg/Okami.zso", "SLUS_209.63") == "rpg/covers/slus_209.63.jpg"
    (source / "rpg" / "covers" / "OKAMI.webp").write_bytes(WEBP)
    assert found(source, "rpg/Okami.zso", "SLUS_209.63") == "rpg/covers/OKAMI.webp"
    assert found(source, "Okami.zso") is None


@pytest.mark.parametrize(
    ("data", "kind"),
    [(PNG, "image/png"), (JPEG, "image/jpeg"), (WEBP, "image/webp")]
    + [(b"<svg xmlns=", None), (b"<html>", None), (b"", None), (b"GIF89a", None), (b"RIFF", None)],
)
def test_the_bytes_decide(source: Path, data: bytes, kind: str | None) -> None:
    (source / "ART" / "one.png").write_bytes(data)
    assert media_type(data) == kind
    expected = None if kind is None else (data, kind)
    assert read_cover(str(source), "ART/one.png") == expected


@pytest.mark.parametrize(
    "path", ["../secret.png", "ART/../../secret.png", "/etc/passwd", "", ".", "ART", "ART/\0.png"]
)
def test_nothing_outside_the_source(source: Path, path: str) -> None:
    (source.parent / "secret.png").write_bytes(PNG)
    assert read_cover(str(source), path) is None


def test_no_symlink_is_followed(source: Path) -> None:
    outside = source.parent / "outside"
    outside.mkdir()
    (outside / "a_cov.png").write_bytes(PNG)
    (source / "ART" / "link.png").symlink_to(outside / "a_cov.png")
    (source / "linked").symlink_to(outside)
    (source / "rpg" / "covers").rmdir()
    (source / "rpg" / "covers").symlink_to(outside)
    assert read_cover(str(source), "ART/link.png") is None
    assert read_cover(str(source), "linked/a_cov.png") is None
    assert found(source, "rpg/a_cov.zso") is None
    (source / "ART").rename(source / "was")
    (source / "ART").symlink_to(outside)
    assert found(source, "x.zso", "A") is None


def test_what_is_no_regular_file_or_too_large(source: Path) -> None:
    os.mkfifo(source / "ART" / "pipe.png")
    assert read_cover(str(source), "ART/pipe.png") is None
    with (source / "ART" / "large.png").open("wb") as file:
        file.write(PNG)
        file.truncate(MAX_SIZE + 1)
    assert read_cover(str(source), "ART/large.png") is None
