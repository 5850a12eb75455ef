"""All commands on mounts take the name of a config; for a source directory, they name its mount."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.support.mounting import DATA
from tests.unit.cli.test_messages import refused

MAIN = """
import os, sys; from pathlib import Path
from zsofs.cli.main import main; from zsofs.system import xdg
xdg.system_folder = xdg.user_folder = lambda: Path(os.environ['CONFIGS'])
sys.exit(main())"""


@pytest.fixture
def library(source: Path) -> Path:
    """A source with one disc."""
    shutil.copy(DATA / "ziso-py.zso", source / "Game.zso")
    return source


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of configs for :func:`zsofs`."""
    folder = tmp_path / "configs"
    folder.mkdir()
    monkeypatch.setenv("CONFIGS", str(folder))
    return folder


def zsofs(code: int, *words: str, cwd: Path) -> str:
    """What a command prints that must end with *code*, in a directory."""
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *words], capture_output=True, text=True, check=False, cwd=cwd
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def write_config(configs: Path, source: Path, point: Path) -> None:
    text = f"source = {json.dumps(str(source))}\nmountpoint = {json.dumps(str(point))}\n"
    (configs / "games.toml").write_text(text)


def test_the_name_of_a_config(
    mount: MountMaker, library: Path, configs: Path, tmp_path: Path
) -> None:
    point = mount(library).path
    write_config(configs, library, point)
    one = json.loads(zsofs(0, "status", "--json", "games", cwd=tmp_path))
    assert one["mount_point"] == str(point)
    (one,) = json.loads(zsofs(0, "top", "--json", "games", cwd=tmp_path))
    assert one["mount_point"] == str(point)
    metrics = zsofs(0, "metrics", "games", cwd=tmp_path).splitlines()
    assert f'zsofs_up{{mountpoint="{point}"}} 1' in metrics
    zsofs(0, "reload", "games", cwd=tmp_path)
    (disc,) = json.loads(zsofs(0, "list", "--json", "games", cwd=tmp_path))
    assert disc["name"] == "Game.iso"
    (tmp_path / "games").mkdir()  # a directory comes first where one is expected
    assert json.loads(zsofs(0, "list", "--json", "games", cwd=tmp_path)) == []
    (one,) = json.loads(zsofs(0, "top", "--json", "games", cwd=tmp_path))
    assert one["mount_point"] == str(point)


def test_the_name_of_a_config_that_is_not_mounted(configs: Path, tmp_path: Path) -> None:
    write_config(configs, tmp_path, tmp_path / "iso")
    for command, code in (("list", 7), ("metrics", 7), ("top --once", 7), ("umount", 6)):
        said = zsofs(code, *command.split(), "games", cwd=tmp_path)
        assert f"nothing is mounted at {tmp_path / 'iso'}; list the mounts with: " in said


@pytest.mark.parametrize("command", ["status", "reload", "top", "metrics", "web", "list", "umount"])
def test_a_config_that_is_not_valid(command: str, configs: Path, tmp_path: Path) -> None:
    (configs / "games.toml").write_text("")
    said = zsofs(2, command, "games", cwd=tmp_path)
    assert f"the config {configs}/games.toml lacks the line: source" in said


def test_a_directory_and_a_config_that_is_not_valid(
    library: Path, configs: Path, tmp_path: Path
) -> None:
    """The directory comes first, so the config does not matter."""
    (configs / "games.toml").write_text("")
    library.rename(tmp_path / "games")
    assert "Game.iso" in zsofs(0, "list", "games", cwd=tmp_path)


@pytest.mark.parametrize(
    ("command", "code"), [("status", 7), ("reload", 7), ("metrics", 7), ("umount", 6)]
)
def test_a_source_directory(
    mount: MountMaker, library: Path, tmp_path: Path, command: str, code: int
) -> None:
    first, second = mount(library).path, mount(library).path
    link = tmp_path / "link"
    link.symlink_to(library)
    for path in (library, link):
        said = refused(code, command, path)
        assert (
            f"nothing is mounted at {library}; it is the source directory of the mount at" in said
        )
        assert said.endswith(f" at {first}, {second}")
    below = library / "below"
    below.mkdir()
    assert "; list the mounts with: " in refused(code, command, below)
