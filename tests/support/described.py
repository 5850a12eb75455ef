"""Describes its own process, and ends as told: ``described END [WORDS]``."""

import json
import os
import resource
import signal
import sys
from pathlib import Path

LIMITS = (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE)
SHOWN = (
    *("Umask", "SigBlk", "SigIgn", "NoNewPrivs", "Uid", "Gid", "Groups", "Threads"),
    *("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"),
)


def kind(fd: int) -> str:
    """What a descriptor is, if it is one."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}").split(":")[0]
    except FileNotFoundError:
        return ""


def described() -> dict[str, object]:
    """What a parent can choose, and what the interpreter makes of it."""
    status = dict(
        line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines()
    )
    fds = (int(fd) for fd in os.listdir("/proc/self/fd"))  # with that of the list, gone meanwhile
    streams = (sys.stdin, sys.stdout, sys.stderr)
    return {
        "words": sys.argv[1:],
        "command line": Path("/proc/self/cmdline").read_bytes().rstrip(b"\0").decode(),
        "program": os.readlink("/proc/self/exe"),
        "environment": dict(sorted(os.environ.items())),
        "directory": os.getcwd(),
        "descriptors": {fd: kind(fd) for fd in sorted(fds) if kind(fd)},
        "status": {name: status[name] for name in SHOWN},
        "limits": [resource.getrlimit(which) for which in LIMITS],
        "handlers": [
            number for number in signal.valid_signals() if callable(signal.getsignal(number))
        ],
        "leads": [os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid()],
        "parent": os.getppid(),
        "owner": [os.stat("/proc/self").st_uid, os.stat("/proc/self").st_gid],
        "streams": [
            [
                one.fileno(),
                one.encoding,
                one.errors,
                one.isatty(),
                getattr(one, "write_through", None),
                getattr(one, "line_buffering", None),
                one is getattr(sys, f"__{name}__"),
            ]
            for one, name in zip(streams, ("stdin", "stdout", "stderr"), strict=True)
            if one is not None
        ],
        "name": __name__,
    }


if __name__ == "__main__":
    print(json.dumps(described()), flush=True)
    end = sys.argv[1]
    if end == "signal":
        os.kill(os.getpid(), signal.SIGTERM)
    if end == "wait":
        signal.pause()
    if end == "error":
        raise ValueError("an error")
    sys.exit(int(end) if end.isdigit() else end)
