"""The commands of docs/opl-samba.md, run in a system of their own that ends with the test."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mount.opl.test_samba import game
from tests.support import writers
from tests.support.namespaces import LET_GO
from tests.support.samba import DOCUMENT

pytestmark = pytest.mark.system

PRELUDE = """\
set -eu
ip link set lo up
mount -t tmpfs tmpfs {top}
mkdir {top}/upper {top}/work
mount -t overlay -o lowerdir=/etc,upperdir={top}/upper,workdir={top}/work overlay /etc
for folder in /run /srv /var/lib/samba /var/cache/samba /var/log/samba; do
    mount -t tmpfs tmpfs $folder
done
mkdir -p /run/samba /var/lib/samba/private
"""

SHIMS = {
    # The packages are there already, by the tests' own list; the document has to name the same.
    "apt-get": """\
for word; do
    case $word in
    install) installs=1 ;;
    -* | update) ;;
    *) [ "$installs" ] && dpkg-query -W -f '${Package} ${db:Status-Status}\\n' $word ;;
    esac
done
""",
    # There is no systemd that would do it.
    "systemctl": """\
[ "$*" = 'restart smbd' ]
smbd --daemon
for try in $(seq 200); do
    grep -q ':01BD 00000000:0000 0A' /proc/net/tcp && exit
    sleep 0.1
done
exit 1
""",
    "zsofs": 'exec "$ZSOFS_PYTHON" -m zsofs "$@"\n',
}

VISIT = """
import sys
from tests.support.smb1 import Console, Refused
port, share, user = int(sys.argv[1]), sys.argv[2], sys.argv[3]
with Console(port, user) as console:
    console.connect(share)
    print("listed", console.names("\\\\DVD"))
    handle = console.open_in_game("\\\\DVD\\\\SLUS_200.01.Alpha.iso")
    print("begins", console.read(handle, 16 * 2048, 6).hex())
    console.make_folder("\\\\CFG")
    handle, _ = console.open("\\\\CFG\\\\conf.cfg", write=True, create=True)
    console.write(handle, 0, b"from the console")
    console.close_file(handle)
"""


def blocks() -> list[tuple[str, str]]:
    """Language and text of all fenced blocks, in order."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", DOCUMENT.read_text(), re.M | re.S)


def field(name: str) -> str:
    """What is to be typed into a field of OPL."""
    found = re.search(rf"^\| {name} \| (.*) \|$", DOCUMENT.read_text(), re.M)
    assert found is not None
    return found[1]


def script(top: Path, visit: Path) -> str:
    """All commands, and then a console that does what the document has people type."""
    lines = [PRELUDE.format(top=shlex.quote(str(top)))]
    for language, text in blocks():
        if language == "ini":
            lines.append(f"cat >/etc/samba/smb.conf <<'END OF FILE'\n{text}END OF FILE\n")
        else:
            assert language == "sh"
            lines.append(text)
    console = [str(visit), field("Port"), field("Share"), field("User")]
    lines.append(f'"$ZSOFS_PYTHON" {shlex.join(console)}\n')
    lines.append("stat -c 'owner %U:%G %a' /srv/zso/CFG/conf.cfg /srv/ps2/CFG/conf.cfg\n")
    lines.append("echo kept: $(cat /srv/zso/CFG/conf.cfg)\n")
    # As after a restart of the machine: Samba is there before the mount is.
    mount = next(text for _, text in blocks() if text.startswith("zsofs mount"))
    lines.append(f"zsofs umount /srv/ps2\nmkdir -p /srv/ps2\n{mount}")
    lines.append(next(text for _, text in blocks() if text.startswith("smbclient")))
    lines.append("zsofs umount /srv/ps2\n")
    return "".join(lines)


@pytest.mark.usefixtures("as_root", "own_mounts")
def test_from_an_empty_debian_to_a_listed_game(tmp_path: Path) -> None:
    shims = tmp_path / "shims"
    shims.mkdir()
    for name, text in SHIMS.items():
        (shims / name).write_text(f"#!/bin/sh\nset -eu\ninstalls=\n{text}")
        (shims / name).chmod(0o755)
    home, top, visit = tmp_path / "home", tmp_path / "top", tmp_path / "visit.py"
    (home / "zso").mkdir(parents=True)
    image = game("SLUS_200.01", 100_000, 1, udf=True)
    (home / "zso" / "Alpha.zso").write_bytes(writers.ziso_py(image))
    top.mkdir()
    visit.write_text(VISIT)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        # In a namespace of processes, whatever is still running ends with the script.
        ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh"],
        input=f"{LET_GO}\n{script(top, visit)}",
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        timeout=120,
        env=os.environ
        | {
            "HOME": str(home),
            "PATH": f"{shims}:{os.environ['PATH']}",
            "PYTHONPATH": str(root),
            "ZSOFS_PYTHON": sys.executable,
            "XDG_RUNTIME_DIR": "/run",
        },
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    said = done.stdout
    assert "samba installed\nsmbclient installed\n" in said
    assert said.count("  SLUS_200.01.Alpha.iso") == 2, said
    assert "listed ['SLUS_200.01.Alpha.iso']" in said
    assert f"begins {image[16 * 2048 : 16 * 2048 + 6].hex()}" in said
    assert said.count("owner ps2:ps2 644") == 2, said
    assert "kept: from the console" in said
