"""Inputs whose output has a name that is taken: by the same disc, or by another one."""

import os
import shutil
from pathlib import Path

import pytest

from tests.support import writers
from tests.support.archives import archive, compressed
from tests.support.mounting import names, wait_until
from tests.support.packed import image_of, zsofs
from tests.support.watching import Watching, watching

IMAGE = writers.disc(2048 * 300, ["zeros", "text", "mixed"], 5)
OTHER = writers.disc(2048 * 300, ["text", "noise"], 6)
"""As large as the other one, so that only the bytes tell them apart."""

OPTIONS = ("-o", "--force", "--any")
"""What a watch has not, so that its messages must not name it."""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A library with a disc that was packed by hand, long ago."""
    folder = tmp_path / "library"
    folder.mkdir()
    (tmp_path / "hand.iso").write_bytes(IMAGE)
    zsofs("pack", "--for", "console", tmp_path / "hand.iso", "-o", folder / "Okami.zso")
    os.utime(folder / "Okami.zso", (86400, 86400))
    return folder


def arrive(watch: Watching, path: Path) -> None:
    """Copy a file to the inbox, as a file manager does."""
    shutil.copy(path, watch.inbox / f".{path.name}")
    (watch.inbox / f".{path.name}").rename(watch.inbox / path.name)


def made(folder: Path, kind: str, image: bytes) -> Path:
    """An input whose output is ``Okami.zso``."""
    if kind == "iso":
        (folder / "Okami.iso").write_bytes(image)
        return folder / "Okami.iso"
    if kind == "gz":
        return compressed(folder, "Okami.iso", "gz", image)
    return archive(folder / f"Games.{kind}", kind, {"Okami.iso": image, "a.txt": b"text\n"})


def told(watch: Watching, name: str) -> str:
    """Why an input failed, as the status and the text beside it tell it."""
    error = str(watch.wait_for_results(name)[name]["error"])
    beside = watch.inbox / f"{name}.zsofs-error.txt"
    wait_until(beside.exists, "the text beside it")
    assert error in beside.read_text()
    assert not [option for option in OPTIONS if f" {option}" in error], error
    return error


@pytest.mark.parametrize("kind", ["iso", "gz", "zip", "7z"])
@pytest.mark.usefixtures("library")
def test_a_disc_that_is_in_the_library(tmp_path: Path, kind: str) -> None:
    """It counts as packed, after all bytes were compared, and the input is deleted."""
    path = made(tmp_path, kind, IMAGE)
    with watching(tmp_path, "--delete-source") as watch:
        arrive(watch, path)
        result = watch.wait_for_results(path.name)[path.name]
    assert (result["state"], result["error"]) == ("packed", "")
    assert result["outputs"] == [str(watch.library / "Okami.zso")]
    assert names(watch.inbox) == []
    assert (watch.library / "Okami.zso").stat().st_mtime == 86400


@pytest.mark.parametrize("kind", ["iso", "gz", "zip"])
@pytest.mark.usefixtures("library")
def test_another_disc_of_that_name(tmp_path: Path, kind: str) -> None:
    """It fails with what its user can do; done, it is packed."""
    path = made(tmp_path, kind, OTHER)
    with watching(tmp_path, "--delete-source") as watch:
        arrive(watch, path)
        error = told(watch, path.name)
        assert "already exists and has another image" in error
        assert "subdirectory of the inbox" in error
        assert image_of(watch.library / "Okami.zso") == IMAGE
        (watch.inbox / "PS2").mkdir()
        (watch.inbox / path.name).rename(watch.inbox / "PS2" / path.name)
        wait_until((watch.library / "PS2/Okami.zso").exists, "the disc")
        wait_until(lambda: names(watch.inbox) == ["PS2"], "the deletion of the text")
        wait_until(lambda: names(watch.inbox / "PS2") == [], "the deletion")
    assert image_of(watch.library / "PS2/Okami.zso") == OTHER


@pytest.mark.usefixtures("library")
def test_a_failed_input_is_tried_again_under_another_name(tmp_path: Path) -> None:
    with watching(tmp_path) as watch:
        arrive(watch, made(tmp_path, "iso", OTHER))
        assert "rename the input" in told(watch, "Okami.iso")
        (watch.inbox / "Okami.iso").rename(watch.inbox / "Okami 2.iso")
        watch.wait_for_results("Okami 2.iso")
        wait_until(lambda: names(watch.inbox) == ["Okami 2.iso"], "the deletion of the text")
    assert image_of(watch.library / "Okami 2.zso") == OTHER


def test_the_text_goes_with_its_input(tmp_path: Path) -> None:
    with watching(tmp_path) as watch:
        (watch.inbox / "Okami.iso").write_bytes(b"This is no disc.\n" * 500)
        told(watch, "Okami.iso")
        (watch.inbox / "Okami.iso").unlink()
        wait_until(lambda: names(watch.inbox) == [], "the deletion of the text")


def test_two_discs_of_one_name_in_an_archive(tmp_path: Path) -> None:
    path = archive(tmp_path / "Games.zip", "zip", {"1/Okami.iso": IMAGE, "2/Okami.iso": OTHER})
    with watching(tmp_path, "--delete-source") as watch:
        arrive(watch, path)
        error = told(watch, "Games.zip")
        assert "is also the output of" in error
        assert "extract the archive and rename the disc" in error
        assert names(watch.inbox) == ["Games.zip", "Games.zip.zsofs-error.txt"]
    assert names(watch.library) == ["Okami.zso"]


def test_what_is_not_recognized(tmp_path: Path) -> None:
    """A watch has no `--any`: the message names the command that has it."""
    with watching(tmp_path) as watch:
        (watch.inbox / "Homebrew.iso").write_bytes(writers.content(2048 * 90, ["noise"], 7))
        error = watch.wait_for_results("Homebrew.iso")["Homebrew.iso"]["error"]
    assert error.endswith("; if it is one, pack it with: zsofs pack --any")


def test_the_text_beside_a_name_that_is_long(tmp_path: Path) -> None:
    """Its own name is shortened, and differs for inputs that begin in the same way."""
    inputs = [f"{'é' * 125}{end}.iso" for end in "ab"]
    with watching(tmp_path) as watch:
        for name in inputs:
            (watch.inbox / name).write_bytes(f"The text {name}.\n".encode() * 50)
        watch.wait_for_results(*inputs)
        wait_until(lambda: len(names(watch.inbox)) == 4, "the texts")
        texts = list(watch.inbox.glob("*.zsofs-error.txt"))
        assert len({path.read_text() for path in texts}) == 2
        for name in inputs:
            (watch.inbox / name).write_bytes(IMAGE)
        wait_until(lambda: names(watch.inbox) == sorted(inputs), "the deletion of the texts")
