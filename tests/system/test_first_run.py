"""The first command of README.md in a new clone, on a Debian that has git; only with --thorough.

The system has no compiler, no Python and no fuse3: the command installs and builds all.
"""

import shutil
from pathlib import Path

import pytest

from tests.support.mounting import DATA
from tests.support.rounds import rounds
from tests.system.discs import MANIFEST
from tests.system.minimal import add_devices, changed, inside, system
from tests.system.test_install import clone_to
from zsofs import __version__

pytestmark = [
    pytest.mark.system,
    pytest.mark.xdist_group("first run"),
    pytest.mark.timeout(1800),
    pytest.mark.skipif(rounds(0, 1) == 0, reason="takes minutes; run with --thorough"),
]

_PACKAGES = ("ca-certificates", "git", "sudo")
_AS_ME = "setpriv --reuid me --regid me --init-groups env HOME=/home/me USER=me"
# The directories of this run of the tests are none of that user's.
_CLEAN = "env -u XDG_CACHE_HOME -u XDG_CONFIG_HOME -u XDG_DATA_HOME -u XDG_STATE_HOME"


@pytest.mark.parametrize("user", ["root", "me"])
@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_from_a_new_clone_to_a_mount(suite: str, user: str, tmp_path: Path) -> None:
    """Root needs nothing; the other user may use sudo."""
    with changed(tmp_path, system(suite, _PACKAGES)) as root:
        home = root / ("root" if user == "root" else "home/me")
        add_devices(root)
        (root / "etc/mtab").symlink_to("/proc/self/mounts")  # as systemd makes it at the boot
        sudo = root / "etc/sudoers.d/me"
        sudo.write_text("me ALL=(ALL) NOPASSWD: ALL\n")
        sudo.chmod(0o440)
        clone_to(home / "zsofs")
        (home / "zso").mkdir()
        shutil.copy(DATA / "ziso-py.zso", home / "zso")
        inside(root, f"chown -R {user}: ~{user}")

        def run(script: str) -> str:
            """What a script prints for the user in the clone; its mounts end with it."""
            start = f"exec {_CLEAN}" if user == "root" else f"exec {_CLEAN} {_AS_ME}"
            return inside(root, f"cd ~{user}/zsofs; {start} sh -ec '{script}' 2>&1")

        said = run(
            "git init -q; ./bootstrap.sh mount ~/zso ~/iso; sha1sum ~/iso/*;"
            " ./bootstrap.sh umount ~/iso; ./bootstrap.sh mount --demo; ls ~/zsofs-demo;"
            " ./bootstrap.sh status; ./bootstrap.sh umount ~/zsofs-demo"
        )
        assert ("installing with sudo apt-get: " in said) == (user == "me")
        assert MANIFEST["ziso-py.zso"]["sha1"] in said
        assert "Sample (LZ4).iso" in said
        assert "Traceback" not in said
        command = "/usr/local/bin/zsofs" if user == "root" else "~/.local/bin/zsofs"
        said = run(f"./bootstrap.sh install; {command} --version")
        assert f"zsofs {__version__}\n" in said
        assert "installing with" not in said
        assert run("./bootstrap.sh uninstall --purge").count("zsofs: removed: ") > 2
