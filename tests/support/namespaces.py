"""Scripts in a mount namespace of their own, whose FUSE connections are always aborted at the end.

A mount that waits for itself cannot be killed; an aborted connection lets go of everything.
"""

import shlex
import subprocess
from pathlib import Path

from tests.support.fork_server import in_scripts

SECONDS = 90

LET_GO = "umount -a -l -t fuse,fuse.zsofs,fuse.passthrough 2> /dev/null || :"
"""Lets go of the mounts of other tests, which do not end while this namespace has them, too.

To be the first line of each script for `unshare --mount`.
"""

_BEGIN = """\
mount --make-rprivate /
LET_GO
ctl=$D/ctl; mkdir -p $ctl; mount -t fusectl none $ctl
abort_all() {
    grep -e ' - fuse' /proc/self/mountinfo | grep -F " $D/" | cut -d' ' -f3 | cut -d: -f2 |
        sort -u | while read -r n; do
            [ -e $ctl/$n/abort ] && echo 1 > $ctl/$n/abort
        done
    # What was detached is not in the table, but its daemon has it open.
    for p in /proc/[0-9]*; do
        [ "$(readlink $p/ns/mnt)" = "$(readlink /proc/$$/ns/mnt)" ] || continue
        tr '\\0' ' ' < $p/cmdline | grep -q " $D/" && [ ${p#/proc/} != $$ ] || continue
        for n in $(sed -n 's/^fuse_connection:[^0-9]*//p' $p/fdinfo/*); do
            echo 1 > $ctl/$n/abort
        done
        kill -KILL ${p#/proc/}
    done 2> /dev/null
}
# Looks at nothing that is mounted; ends everything that hangs.
( for _ in $(seq SECONDS); do sleep 1; [ -e $D/done ] && exit; done
  echo "aborted: it took longer than SECONDS seconds" >&2; abort_all ) > /dev/null &
trap 'touch $D/done; abort_all; wait' EXIT
list() { timeout -s KILL 30 ls -A "$1"; echo "exit $?"; }
"""


def run_in_namespace(script: str, folder: Path, seconds: int = SECONDS, *, allowed: int = 0) -> str:
    """Run a script of bash as root; returns what it prints.

    It has ``$D``, a directory, ``$Z``, the command zsofs, and ``list``.

    Args:
        script: what to run.
        folder: an empty directory for it.
        seconds: after which all FUSE connections are aborted, and this fails.
        allowed: an exit code of the script that is as good as 0.
    """
    words = shlex.join(in_scripts())
    begin = _BEGIN.replace("SECONDS", str(seconds)).replace("LET_GO", LET_GO)
    done = subprocess.run(
        [
            "unshare",
            "-m",
            "bash",
            "-c",
            f'D={shlex.quote(str(folder))}; Z="{words}"\n{begin}{script}',
        ],
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=False,
    )
    assert "aborted:" not in done.stderr, done.stdout + done.stderr
    assert done.returncode in (0, allowed), done.stdout + done.stderr
    return done.stdout
