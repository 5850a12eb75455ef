"""What a console and a PC get of a mount over Samba, beside a plain folder of ISOs."""

import json
import random
import subprocess
import sys
import time

from bench.measure import Figure, Figures, Occasion, Workload, per_second_mb
from bench.payload import MB
from bench.servers import Served
from bench.shares import (
    AS_DOCUMENTED,
    DISC,
    GAMES,
    Setting,
    Shared,
    copy_by_smb3,
    list_by_smb3,
    mounts_shared_with,
    shares,
)
from bench.system import BenchError, drop_pages
from tests.support.samba import SHARE
from tests.support.smb1 import READ_SIZE, Console

_CARD = 2 * MB
_SAVED = 512
"""Bytes that a game writes to a memory card at once."""


def _share(served: Served) -> Shared:
    if not isinstance(served, Shared):
        raise BenchError("nothing is shared")
    return served


def _read_as_console(served: Served, occasion: Occasion, size: int) -> Figures:
    server = _share(served).server
    start = occasion.places("samba", 1, size, MB)[0]
    command = [*server.inside, sys.executable, "-m", "bench.console", str(server.port), SHARE]
    command += [f"\\DVD\\{DISC}", str(start), str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"the console failed: {done.stderr.strip()}")
    took = json.loads(done.stdout)
    return {
        "mbs": per_second_mb(size, took["seconds"]),
        "p99_us": took["p99"] * 1e6,
        "worst_ms": took["worst"] * 1e3,
    }


def _opl(served: Served, occasion: Occasion) -> Figures:
    return _read_as_console(
        served, occasion, min(occasion.pick(64 * MB, 16 * MB), occasion.image_size)
    )


def _opl_held(served: Served, occasion: Occasion) -> Figures:
    return _read_as_console(served, occasion, 16 * MB)


def _smb3(served: Served, occasion: Occasion) -> Figures:
    share = _share(served)
    figures = {}
    for name in ("first_mbs", "again_mbs"):
        before = time.perf_counter()
        copy_by_smb3(share)
        figures[name] = per_second_mb(occasion.image_size, time.perf_counter() - before)
    return figures


def _smb3_held(served: Served, occasion: Occasion) -> Figures:
    before = time.perf_counter()
    copy_by_smb3(_share(served))
    return {"first_mbs": per_second_mb(occasion.image_size, time.perf_counter() - before)}


def _list_as_console(share: Shared) -> float:
    with Console(share.server.port) as console:
        console.connect(SHARE)
        before = time.perf_counter()
        count = sum(entry.name.endswith(".iso") for entry in console.entries("\\DVD"))
        took = time.perf_counter() - before
    if count != GAMES + 1:
        raise BenchError(f"the console lists {count} discs")
    return took


def _listing(served: Served, occasion: Occasion) -> Figures:
    share = _share(served)
    figures = {"opl_s": _list_as_console(share)}
    before = time.perf_counter()
    list_by_smb3(share)
    return figures | {"smb3_s": time.perf_counter() - before}


def _saves(served: Served, occasion: Occasion) -> Figures:
    """A new memory card, and what a game then writes to it."""
    generator = random.Random(occasion.round)
    path, count = "\\bench.bin", occasion.pick(1000, 200)
    with Console(_share(served).server.port) as console:
        console.connect(SHARE)
        handle, _ = console.open(path, write=True, create=True)
        try:
            before = time.perf_counter()
            for offset in range(0, _CARD, READ_SIZE):
                console.write(handle, offset, b"\xff" * READ_SIZE)
            filled = time.perf_counter()
            for _ in range(count):
                place = generator.randrange(_CARD // _SAVED) * _SAVED
                console.write(handle, place, generator.randbytes(_SAVED))
            saved = time.perf_counter()
        finally:
            console.close_file(handle)
            console.delete(path)
    return {"new_mbs": per_second_mb(_CARD, filled - before), "saves": count / (saved - filled)}


def _setting(served: Served, occasion: Occasion) -> Figures:
    share = _share(served)
    size = min(occasion.pick(32 * MB, 8 * MB), occasion.image_size)
    console = _read_as_console(served, occasion, size)
    drop_pages(share.discs[0])
    before = time.perf_counter()
    copy_by_smb3(share)
    smb3 = per_second_mb(occasion.image_size, time.perf_counter() - before)
    saves = _saves(served, occasion)["saves"]
    return {"mbs": console["mbs"], "smb3": smb3, "opl_s": _list_as_console(share), "saves": saves}


_HOW = (
    "Debian's smbd with the share definition of docs/opl-samba.md, over a zsofs mount and over a"
    " plain folder with the same discs; a new mount and a new server for each run, client and"
    " server on this machine. What zsofs reads, and the plain folder, are in memory; the mount's"
    " own pages are not. "
)
_MBS = Figure("throughput", "MB/s")
_OPL_FIGURES = {
    "mbs": _MBS,
    "p99_us": Figure("99th percentile", "µs"),
    "worst_ms": Figure("worst", "ms", 1),
}

_SETTINGS = (
    AS_DOCUMENTED,
    Setting("aio-1", ("aio read size = 1",)),
    Setting("aio-0", ("aio read size = 0", "aio write size = 0")),
    Setting("synced", ("strict sync = yes",)),
    Setting("no-dos-attributes", ("store dos attributes = no", "map archive = no")),
    Setting("no-oplocks", ("oplocks = no",)),
    Setting("no-level2-oplocks", ("level2 oplocks = no",)),
    Setting("kernel-oplocks", ("kernel oplocks = yes",)),
    Setting("sendfile", ("use sendfile = yes",)),
    Setting("no-strict-locking", ("strict locking = no",)),
    Setting("strict-allocate", ("strict allocate = yes",)),
    Setting("case-sensitive", ("case sensitive = yes",)),
    Setting("no-attributes", ("ea support = no",)),
)

SAMBA = (
    Workload(
        "samba-opl",
        "OPL over Samba: 8 KiB reads in order, one at a time",
        _HOW + "64 MiB from some place on by SMB1, each request sent when the last is answered.",
        _OPL_FIGURES,
        _opl,
        shares(),
        fresh=True,
    ),
    Workload(
        "samba-opl-100mbit",
        "The same over a link of 100 Mbit/s, which is all that a console has",
        _HOW + "16 MiB; both directions share the link.",
        _OPL_FIGURES,
        _opl_held,
        shares("-100mbit", "100mbit"),
        fresh=True,
    ),
    Workload(
        "samba-smb3",
        "A PC copies a disc over Samba",
        _HOW + "smbclient by SMB3, to /dev/null; «again» finds the mount's pages in memory.",
        {"first_mbs": Figure("first", "MB/s"), "again_mbs": Figure("again", "MB/s")},
        _smb3,
        shares(),
        fresh=True,
    ),
    Workload(
        "samba-smb3-1gbit",
        "The same over a link of 1 Gbit/s",
        _HOW + "smbclient by SMB3, to /dev/null.",
        {"first_mbs": Figure("first", "MB/s")},
        _smb3_held,
        shares("-1gbit", "1gbit"),
        fresh=True,
    ),
    Workload(
        "samba-listing",
        f"Listing {GAMES:,} games over Samba",
        _HOW + "OPL asks for one entry at a time; smbclient lists the same folder by SMB3.",
        {"opl_s": Figure("OPL", "s", 3), "smb3_s": Figure("smbclient", "s", 3)},
        _listing,
        shares(),
        fresh=True,
    ),
    Workload(
        "samba-saves",
        "Memory cards over Samba",
        _HOW + "A card of 2 MB is made by writes of 8 KiB; then a game writes 512 bytes at a time,"
        " anywhere in it.",
        {"new_mbs": Figure("made", "MB/s"), "saves": Figure("saves", "per s")},
        _saves,
        shares(),
        fresh=True,
    ),
    Workload(
        "samba-settings",
        "What each line of a share definition does",
        "A zsofs mount under Debian's smbd, shared as docs/opl-samba.md says and with one thing"
        " said otherwise: reads of 8 KiB by SMB1, a copy by smbclient, OPL's listing of"
        f" {GAMES:,} games, and a game's writes of 512 bytes.",
        {
            "mbs": Figure("OPL", "MB/s"),
            "smb3": Figure("smbclient", "MB/s"),
            "opl_s": Figure("listing", "s", 3),
            "saves": Figure("saves", "per s"),
        },
        _setting,
        mounts_shared_with(_SETTINGS),
        fresh=True,
    ),
)
