"""The command line of `zsofs watch`, its units, and its notifications."""

import os
import pty
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.support import writers
from tests.support.ends import join, spawned
from tests.support.mounting import ZSOFS, mounted, wait_until
from tests.support.packed import zsofs
from tests.support.watching import watching
from zsofs.watch import service
from zsofs.watch.settings import DELETE, MOVE, WatchSettings
from zsofs.watch.units import units_of

IMAGE = writers.disc(2048 * 100, ["text", "mixed"], 5)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Directories for a watch."""
    for name in ("inbox/below", "library/below"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["nowhere", "-o", "library"], 3, "nowhere does not exist; create it, or mount its disk"),
        (["inbox", "-o", "nowhere"], 3, "nowhere does not exist; create it, or mount its disk"),
        (["library", "-o", "library"], 2, "outputs would be inputs"),
        (["library/below", "-o", "library"], 2, "outputs would be inputs"),
        (["inbox", "inbox/below", "-o", "library"], 2, "omit one of them"),
        (["inbox", "--move-source", "library/below", "-o", "library"], 2, "outside of it"),
        (["inbox", "--move-source", "/dev/shm", "-o", "library"], 2, "not on the file system"),
        (["inbox", "--move-source", "inbox/.", "-o", "library"], 2, "packed again"),
        (["inbox", "--move-failed", "inbox", "-o", "library"], 2, "packed again"),
        (["inbox", "--dat", "none.dat", "-o", "library"], 2, "it is not a file"),
        (["inbox", "--delete-source", "--move-source", "x", "-o", "library"], 2, "not allowed"),
        (["inbox", "--for", "psp", "--codec", "zstd", "-o", "library"], 2, "only deflate"),
        (["inbox"], 2, "-o/--output"),
    ],
)
def test_what_cannot_be_watched(folders: Path, words: list[str], code: int, expected: str) -> None:
    assert expected in zsofs("watch", *words, code=code).stderr


def test_a_mount_cannot_be_watched(folders: Path) -> None:
    with mounted(folders / "library", folders / "mnt"):
        said = zsofs("watch", "mnt", "-o", "library", code=2).stderr
    assert "is in a mount of zsofs" in said


def test_a_terminal_shows_what_is_watched(folders: Path) -> None:
    ours, its = pty.openpty()
    words = [*ZSOFS, "watch", "inbox", "-o", "library"]
    try:
        with spawned(words, stdin=subprocess.DEVNULL, stdout=its) as process:
            os.close(its)
            said = b""
            while b"\n" not in said:
                said += os.read(ours, 4096)
            process.send_signal(signal.SIGINT)
    finally:
        os.close(ours)
    assert said.startswith(b"watching ")
    assert said.endswith(b"/inbox; end it with Ctrl-C\r\n")
    assert process.returncode == 0


def test_two_watches_of_the_same_directories(tmp_path: Path) -> None:
    with watching(tmp_path) as watch:
        words = ("watch", watch.inbox, "-o", watch.library)
        said = zsofs(*words, code=2, env=watch.environment).stderr
    assert "another process already watches these inboxes" in said


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--delete-source"], "require --watch"),
        (["--for", "small"], "require --watch"),
        (["--watch", "--writable"], "--writable is an option of mounts"),
    ],
)
def test_options_of_a_service(folders: Path, words: list[str], expected: str) -> None:
    said = zsofs("service", "install", "x", "inbox", "library", *words, code=2).stderr
    assert expected in said


def test_files_that_are_packed_together() -> None:
    names = [
        "A.iso", "B.part1.rar", "B.part2.rar", "C.rar", "C.r00", "D.7z.002", "E.zip", "E.z01",
        "F.iso.gz", "F.txt", "G.ISO", "H.iso", "H.iso.aria2", "I.bin", "J.gz",
        "K.chd",
    ]  # fmt: skip
    found = {
        os.path.basename(unit.path): (len(unit.files), unit.lacks, unit.may_grow)
        for unit in units_of("/nowhere", sorted(names))
    }
    assert found == {
        "A.iso": (1, "", False),
        "B.part1.rar": (2, "", True),
        "C.rar": (2, "", True),
        "D.7z.002": (1, "its volume D.7z.001 is missing", True),
        "E.zip": (2, "", True),
        "F.iso.gz": (1, "", False),
        "G.ISO": (1, "", False),
        "H.iso": (1, "it is being downloaded: H.iso.aria2 is beside it", False),
        "I.bin": (1, "", True),
        "K.chd": (1, "", True),
    }


# ---- Units


@pytest.mark.parametrize("user", ["root", ""])
@pytest.mark.parametrize("name", ["inbox", "50%h", 'a "b" $HOME', "a;b \\ c", "\xe4 {name}"])
def test_systemd_finds_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, user: str
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.setattr(sys, "argv", ["/usr/bin/zsofs"])
    settings = WatchSettings((str(tmp_path / name),), str(tmp_path), DELETE)
    text = service._text("arrivals", settings, user).replace("/usr/bin/zsofs", "/bin/sh")
    text = text.replace(sys.executable, "/bin/sh")
    unit = tmp_path / service.unit("arrivals")
    unit.write_text(text)
    kind = "--system" if user else "--user"
    words = ["systemd-analyze", "verify", "--man=no", kind, str(unit)]
    with tempfile.TemporaryDirectory() as run:  # a short path: other units have sockets there
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": run}
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_command_line_of_a_unit() -> None:
    settings = WatchSettings(
        ("/a", "/b"), "/c", MOVE, "/d", "/e", ("console", None, 9, None), ("/x.dat",), True
    )
    assert " ".join(service._words(settings)) == (
        "watch --for console --level 9 --move-source /d --move-failed /e --dat /x.dat --notify"
        " -o /c -- /a /b"
    )


# ---- Notifications


class Desktop:
    """A desktop that listens for notifications: the part of D-Bus that is needed for that.

    Attributes:
        texts: title and body of each notification.
    """

    def __init__(self, address: str) -> None:
        self.texts: list[bytes] = []
        self._socket = socket.socket(socket.AF_UNIX)
        wait_until(lambda: self._socket.connect_ex(address) == 0, "the bus to listen")
        self._socket.sendall(b"\0AUTH EXTERNAL %s\r\n" % str(os.geteuid()).encode().hex().encode())
        assert self._socket.recv(1000).startswith(b"OK")
        self._socket.sendall(b"BEGIN\r\n")
        self._serial = 0
        self._call("Hello", "", b"")
        name = b"org.freedesktop.Notifications"
        body = struct.pack("<I", len(name)) + name + b"\0"
        self._call("RequestName", "su", body.ljust(-(-len(body) // 4) * 4, b"\0") + bytes(4))

    def _call(self, member: str, signature: str, body: bytes) -> None:
        fields = [
            (1, "o", "/org/freedesktop/DBus"),
            (2, "s", "org.freedesktop.DBus"),
            (3, "s", member),
            (6, "s", "org.freedesktop.DBus"),
        ]
        self._send(1, fields + ([(8, "g", signature)] if signature else []), body)
        self._receive(lambda kind: kind == 2)

    def _send(self, kind: int, fields: Sequence[tuple[int, str, str | int]], body: bytes) -> None:
        self._serial += 1
        array = b""
        for code, signature, value in fields:
            array = array.ljust(-(-len(array) // 8) * 8, b"\0")
            array += bytes([code, 1]) + signature.encode() + b"\0"
            if isinstance(value, int):
                array += struct.pack("<I", value)
            elif signature == "g":
                array += bytes([len(value)]) + value.encode() + b"\0"
            else:
                array += struct.pack("<I", len(value)) + value.encode() + b"\0"
        head = struct.pack("<cBBBIII", b"l", kind, 0, 1, len(body), self._serial, len(array))
        head += array
        self._socket.sendall(head.ljust(-(-len(head) // 8) * 8, b"\0") + body)

    def _receive(self, is_wanted: Callable[[int], bool]) -> tuple[int, bytes, bytes]:
        """Return the serial, the header and the body of the next message of a kind."""
        while True:
            head = self._exactly(16)
            order = "<" if head[:1] == b"l" else ">"
            kind = head[1]
            size, serial, length = struct.unpack(order + "III", head[4:])
            fields = self._exactly(-(-length // 8) * 8)
            body = self._exactly(size)
            if is_wanted(kind):
                return serial, fields, body

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            assert part, "the bus has closed the connection"
            data += part
        return data

    def take_one(self) -> None:
        """Wait for a notification, and answer it."""
        serial, fields, body = self._receive(lambda kind: kind == 1)
        self.texts.append(body)
        start = fields.index(b"\x07\x01s\0") + 4  # the sender
        (length,) = struct.unpack_from("<I", fields, start)
        sender = fields[start + 4 : start + 4 + length].decode()
        self._send(2, [(5, "u", serial), (6, "s", sender), (8, "g", "u")], struct.pack("<I", 1))

    def close(self) -> None:
        """Leave the bus."""
        self._socket.close()


@pytest.mark.skipif(
    not (shutil.which("dbus-daemon") and shutil.which("busctl")), reason="needs D-Bus and busctl"
)
def test_a_desktop_is_notified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = tmp_path / "bus"
    words = [
        "dbus-daemon",
        "--session",
        "--nofork",
        "--nopidfile",
        f"--address=unix:path={address}",
    ]
    with spawned(words) as bus:
        try:
            wait_until(address.exists, "the bus")
            desktop = Desktop(str(address))
            thread = threading.Thread(target=desktop.take_one)
            thread.start()
            monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={address}")
            with watching(tmp_path, "--notify") as watch:
                (watch.inbox / "Okami.iso").write_bytes(IMAGE)
                join(thread)
            desktop.close()
        finally:
            bus.terminate()
    (body,) = desktop.texts
    assert b"zsofs packed a disc" in body
    assert b"Okami.zso" in body


def test_no_desktop_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    with watching(tmp_path, "--notify") as watch:
        (watch.inbox / "Okami.iso").write_bytes(IMAGE)
        assert watch.wait_for_results("Okami.iso")["Okami.iso"]["state"] == "packed"
