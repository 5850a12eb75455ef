"""No input of a run is overwritten by the copy of another one, by whatever name it is reached."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support import writers
from tests.support.archives import archive
from tests.support.disks import exfat_mounted
from tests.support.mounting import names
from tests.support.packed import image_of, reports, zsofs
from zsofs.errors import InputError
from zsofs.native.fileio import rename_exchange
from zsofs.pack.atomic_file import new_file
from zsofs.system import renames

IMAGE = writers.disc(98304, ["text", "noise"], 2)
OTHER = writers.disc(98304, ["noise", "text"], 3)
REFUSED = "is another input of this command with a different image"


@pytest.fixture
def discs(tmp_path: Path) -> tuple[Path, Path]:
    """A plain image, and another disc under the name of its copy."""
    (tmp_path / "x").mkdir()
    plain, packed = tmp_path / "a.iso", tmp_path / "x" / "a.zso"
    plain.write_bytes(IMAGE)
    packed.write_bytes(writers.ziso_py(OTHER))
    return plain, packed


@pytest.mark.parametrize("delete", [(), ("--delete-source",)])
def test_another_disc_under_the_name_of_a_copy(
    tmp_path: Path, discs: tuple[Path, Path], delete: tuple[str, ...]
) -> None:
    plain, packed = discs
    done = zsofs("pack", "--force", *delete, *discs, "-o", f"{tmp_path}/x/", code=8)
    assert f"{plain}: {packed} {REFUSED}" in done.stderr
    assert plain.read_bytes() == IMAGE
    assert image_of(packed) == OTHER
    assert packed.read_bytes().startswith(b"ZSOZ"), "its own job has packed it anew in its place"
    assert names(tmp_path / "x") == ["a.zso"]


def test_another_disc_in_the_same_directory(tmp_path: Path) -> None:
    (tmp_path / "Game.iso").write_bytes(IMAGE)
    (tmp_path / "Game.zso").write_bytes(writers.ziso_py(OTHER))
    states = {
        os.path.basename(report["input"]): report["state"]
        for report in reports("pack", "--force", tmp_path, code=8)
    }
    assert states == {"Game.iso": "failed", "Game.zso": "packed"}
    assert image_of(tmp_path / "Game.zso") == OTHER


def test_a_damaged_input_is_not_overwritten_either(tmp_path: Path) -> None:
    """What can be read of it may be all that there is of that disc."""
    (tmp_path / "Game.iso").write_bytes(IMAGE)
    damaged = writers.ziso_py(IMAGE)[:-20000]
    (tmp_path / "Game.zso").write_bytes(damaged)
    zsofs("pack", "--force", tmp_path, code=8)
    assert (tmp_path / "Game.zso").read_bytes() == damaged


def test_the_copy_of_an_input_is_made_anew(tmp_path: Path) -> None:
    """The two hold the same image, so nothing can be lost."""
    (tmp_path / "Game.iso").write_bytes(IMAGE)
    zsofs("pack", "--for", "fast", tmp_path)
    done = reports("pack", "--force", tmp_path)
    assert [report["state"] for report in done] == ["packed", "skipped"]
    assert (tmp_path / "Game.zso").read_bytes().startswith(b"ZSOZ")
    assert image_of(tmp_path / "Game.zso") == IMAGE


@pytest.mark.parametrize("way", ["symlink", "hard link", "linked directory", "dots"])
def test_other_names_of_an_input(tmp_path: Path, discs: tuple[Path, Path], way: str) -> None:
    plain, packed = discs
    out = tmp_path / "out"
    if way == "linked directory":
        out.symlink_to("x")
    elif way == "dots":
        out = tmp_path / "x" / ".." / "x"
    else:
        out.mkdir()
        if way == "symlink":
            (out / "a.zso").symlink_to(packed)
        else:
            (out / "a.zso").hardlink_to(packed)
    done = zsofs("pack", "--force", plain, packed, "-o", f"{out}/", code=8)
    assert f"{out}/a.zso {REFUSED}" in done.stderr
    assert image_of(packed) == OTHER
    assert image_of(out / "a.zso") == OTHER


def test_an_input_that_was_read_already(tmp_path: Path, discs: tuple[Path, Path]) -> None:
    plain, packed = discs
    done = zsofs("pack", "--force", packed, plain, "-o", f"{tmp_path}/x/", code=8)
    assert f"{packed} is also the output of {packed}; rename one of them, or use -o" in done.stderr
    assert image_of(packed) == OTHER


def test_unpacking_over_another_input(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    packed, plain = tmp_path / "a.zso", tmp_path / "x" / "a.iso"
    packed.write_bytes(writers.ziso_py(IMAGE))
    plain.write_bytes(writers.ziso_py(OTHER))
    done = zsofs("unpack", "--force", packed, plain, "-o", f"{tmp_path}/x/", code=8)
    assert f"{packed}: {plain} {REFUSED}" in done.stderr
    assert plain.read_bytes() == OTHER, "its own job has unpacked it in its place"


@pytest.mark.usefixtures("as_root")
def test_another_spelling_on_a_disk_that_ignores_case(tmp_path: Path) -> None:
    """Where the file system has an inode number for each spelling, and no renameat2 flags."""
    version = subprocess.run(
        ["mount.exfat-fuse", "-V"], capture_output=True, text=True, check=False
    )
    if "libfuse3" in version.stdout:
        pytest.skip("this exfat-fuse, as in Debian 13, ends itself at RENAME_EXCHANGE")
    with exfat_mounted(tmp_path, tmp_path / "stick") as point:
        (tmp_path / "GAME.iso").write_bytes(IMAGE)
        (point / "game.zso").write_bytes(writers.ziso_py(OTHER))
        inputs = tmp_path / "GAME.iso", point / "game.zso"
        done = zsofs("pack", "--force", *inputs, "-o", f"{point}/", code=8)
        assert f"{point}/GAME.zso {REFUSED}" in done.stderr
        assert image_of(point / "game.zso") == OTHER


@pytest.mark.usefixtures("as_root")
def test_a_name_that_the_file_system_does_not_accept(tmp_path: Path) -> None:
    """exfat-fuse says of it that there is no such file."""
    (tmp_path / "Jak: X?.iso").write_bytes(IMAGE)
    with exfat_mounted(tmp_path, tmp_path / "stick") as point:
        done = zsofs("pack", tmp_path / "Jak: X?.iso", "-o", f"{point}/", code=8)
        assert "its file system does not accept this name; choose another one" in done.stderr
        assert names(point) == []


@pytest.mark.usefixtures("as_root")
def test_discs_whose_names_differ_in_case_only(tmp_path: Path) -> None:
    """--force does not replace what this run has written, whatever the file system calls it."""
    one, two = tmp_path / "1", tmp_path / "2"
    for folder, name, image in ((one, "Game.iso", IMAGE), (two, "GAME.iso", OTHER)):
        folder.mkdir()
        (folder / name).write_bytes(image)
    both = archive(tmp_path / "a.zip", "zip", {"1/Game.iso": IMAGE, "2/GAME.iso": OTHER})
    with exfat_mounted(tmp_path, tmp_path / "stick") as point:
        for inputs in ((both,), (one / "Game.iso", two / "GAME.iso")):
            out = point / inputs[0].name
            out.mkdir()
            done = zsofs("pack", "--force", "--delete-source", *inputs, "-o", f"{out}/", code=8)
            assert f"{out}/GAME.zso is also the output of" in done.stderr
            assert names(out) == ["Game.zso"]
            assert image_of(out / "Game.zso") == IMAGE
    assert both.exists()
    assert (two / "GAME.iso").exists()


def test_a_target_that_is_replaced_while_the_disc_is_packed(tmp_path: Path) -> None:
    """--force is of the file that was there when the packing began."""
    target = tmp_path / "Game.zso"
    for there in (b"theirs", None):
        target.unlink(missing_ok=True)
        if there is not None:
            target.write_bytes(there)
        with new_file(str(target)) as file:
            file.write(b"ours", 0)
            (tmp_path / "new").write_bytes(b"another disc")
            (tmp_path / "new").rename(target)
            with pytest.raises(InputError, match="it was not overwritten"):
                file.take_name(replace=True)
        assert target.read_bytes() == b"another disc"
        assert names(tmp_path) == ["Game.zso"]
    with new_file(str(target)) as file:
        file.write(b"ours", 0)
        file.take_name(replace=True)
    assert target.read_bytes() == b"ours"
    assert names(tmp_path) == ["Game.zso"]


def test_a_target_that_is_replaced_at_the_last_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the last look and the rename: the other file gets its name back."""
    target, other = tmp_path / "Game.zso", tmp_path / "other"
    target.write_bytes(b"theirs")
    other.write_bytes(b"another disc")
    real = rename_exchange

    def late(old: str, new: str) -> None:
        if other.exists():
            other.replace(new)
        real(old, new)

    monkeypatch.setattr(renames, "rename_exchange", late)
    with new_file(str(target)) as file:
        file.write(b"ours", 0)
        with pytest.raises(InputError, match="it was not overwritten"):
            file.take_name(replace=True)
    assert target.read_bytes() == b"another disc"
    assert names(tmp_path) == ["Game.zso"]
