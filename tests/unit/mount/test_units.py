"""The units: without fault, nothing that hides the mount, and each restriction explained."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from zsofs.mount.systemd_units import changed_by_others
from zsofs.mount.systemd_units import program as start_words

UNITS = Path(__file__).parents[3] / "systemd"
PATHS = sorted(UNITS.glob("*/*.service"))

# What gives a service a table of mounts of its own (systemd.exec(5)), in which alone ours would be.
HIDES = re.compile(
    r"^(Private(Tmp|Devices|Mounts|IPC)|Protect(System|Home|Proc|Kernel\w+|ControlGroups)|ProcSubset"
    r"|(ReadOnly|ReadWrite|Inaccessible|Exec|NoExec)Paths|Bind(ReadOnly)?Paths|TemporaryFileSystem"
    r"|MountFlags|MountAPIVFS|RootDirectory|RootImage|DynamicUser|MountImages|ExtensionImages)=",
    re.M,
)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.parent.name)
def test_systemd_finds_no_fault(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / path.name
    text = path.read_text()
    assert "\nExecStart=zsofs mount -f --nofail %i\n" in text
    copy.write_text(text.replace("ExecStart=zsofs ", "ExecStart=/bin/sh "))  # it must be there
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    words = ["systemd-analyze", "verify", "--man=no", f"--{path.parent.name}", str(copy)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "name", ["games", "50%h", "my games", "50% of it", "a;b", "a$HOME", "\xe4"]
)
def test_systemd_finds_the_program_wherever_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    program = tmp_path / name / "zsofs"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    unit = tmp_path / "zsofs-test.service"
    unit.write_text(f"[Service]\nExecStart={start_words()} mount\n")
    words = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    program.unlink()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode != 0, "it is the program that is looked for"


def test_there_is_one_for_the_system_and_one_for_users() -> None:
    assert [path.parent.name for path in PATHS] == ["system", "user"]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.parent.name)
def test_the_mount_is_not_hidden(path: Path) -> None:
    assert HIDES.search(path.read_text()) is None
    assert HIDES.search("[Service]\nPrivateTmp=yes\n") is not None


def test_every_restriction_says_what_it_prevents() -> None:
    text = (UNITS / "system" / "zsofs@.service").read_text()
    start = text.index("# Child processes cannot gain")
    restrictions = text[start : text.index("[Install]")]
    blocks = re.findall(r"(?:^# .*\n)+(?:^[^#\n].*\n)*", restrictions, re.MULTILINE)
    assert "".join(blocks).strip() == restrictions.strip(), "each setting has its comment"
    assert len(blocks) > 10
    for block in blocks:
        settings = [line for line in block.splitlines() if re.match(r"[A-Z]\w+=", line)]
        assert settings, block
        assert len({line.partition("=")[0] for line in settings}) <= 2, block


def test_a_program_that_a_user_can_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "zsofs"
    program.parent.mkdir()
    program.touch()
    monkeypatch.setattr("sys.argv", [str(program)])
    owner = tmp_path.stat().st_uid
    if owner == 0:
        assert changed_by_others() is None
        os.chown(program.parent, 1234, 1234)
        owner = 1234
    found = changed_by_others()
    assert found is not None
    assert found[1] == owner
