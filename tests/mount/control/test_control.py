"""Asking a running mount: the command line's side, the daemon's, and peers that are neither."""

import ctypes
import json
import logging
import os
import select
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.conftest import TimingsSetter
from tests.support.ends import join, spawned
from tests.support.mounting import open_to_others, unmount, wait_until
from tests.support.namespaces import LET_GO
from tests.support.rounds import rounds
from zsofs.errors import ControlError, SourceError
from zsofs.mount.control import client, protocol, server
from zsofs.mount.control.client import ask, running
from zsofs.mount.control.protocol import socket_name
from zsofs.mount.control.server import ControlSocket
from zsofs.system import xdg

NOBODY = 65534
Answer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The runtime folder of this user, for the length of a test."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


@pytest.fixture
def point(tmp_path: Path, runtime: Path) -> Iterator[bytes]:
    """A mount that the kernel lists as one of zsofs, and behind which nobody is."""
    with mounted(tmp_path / "mnt") as path:
        yield path


@contextmanager
def mounted(path: Path) -> Iterator[bytes]:
    """Have the kernel mount a FUSE file system at *path*; no request to it is ever answered."""
    path.mkdir()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        subprocess.run(
            ["fusermount3", "-o", "subtype=zsofs,fsname=nobody", "--", path],
            env=os.environ | {"_FUSE_COMMFD": str(theirs.fileno())},
            pass_fds=[theirs.fileno()],
            check=True,
        )
        space = socket.CMSG_SPACE(array("i").itemsize)
        _, [(_, _, content)], _, _ = ours.recvmsg(1, space)
        (device,) = array("i", content)
    try:
        yield os.fsencode(path)
    finally:
        os.close(device)
        unmount(path)


async def agree(request: dict[str, Any]) -> dict[str, Any]:
    return {"asked": request}


@contextmanager
def answering(mount_point: bytes, answer: Answer = agree) -> Iterator[ControlSocket]:
    """A daemon's control socket, on an event loop of its own, which is cancelled at the end."""
    control_socket = ControlSocket(mount_point, answer)
    started = threading.Event()
    tools: list[tuple[trio.lowlevel.TrioToken, trio.CancelScope]] = []
    ended_by_itself: list[bool] = []

    async def serve() -> None:
        with trio.CancelScope() as scope, control_socket:
            tools.append((trio.lowlevel.current_trio_token(), scope))
            started.set()
            await control_socket.serve()
        ended_by_itself.append(not scope.cancelled_caught)

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    try:
        assert started.wait(20)
        yield control_socket
    finally:
        token, scope = tools[0]
        token.run_sync_soon(scope.cancel)
        join(thread)
    assert ended_by_itself == [False]


def place(runtime: Path, mount_point: bytes) -> Path:
    return runtime / "zsofs" / socket_name(mount_point)


@contextmanager
def peer_of(runtime: Path, mount_point: bytes) -> Iterator[socket.socket]:
    """A connection to whoever listens for a mount."""
    with xdg.opened(runtime / "zsofs", os.geteuid()) as folder:
        peer = protocol.connect(folder, socket_name(mount_point), time.monotonic() + 20)
    with peer:
        peer.settimeout(20)
        yield peer


@contextmanager
def listening(runtime: Path, mount_point: bytes, queue: int = 8) -> Iterator[socket.socket]:
    """A socket in the place of a daemon's."""
    path = place(runtime, mount_point)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        with xdg.opened(path.parent, os.geteuid()) as folder:
            listener.bind(protocol.socket_address(folder, path.name))
        listener.listen(queue)
        yield listener


def asked() -> list[bytes]:
    """Where the mounts are that this user may ask."""
    return [one.path for one in running()]


def leave_stale(runtime: Path, mount_point: bytes) -> Path:
    """What a killed daemon leaves."""
    with listening(runtime, mount_point):
        pass
    return place(runtime, mount_point)


def refused(mount_point: bytes, command: str = "status") -> str:
    """The one sentence of a question that gets no answer."""
    with pytest.raises(ControlError) as caught:
        ask(mount_point, command)
    sentence = str(caught.value)
    assert sentence.isprintable()
    assert caught.value.exit_code == 7
    return sentence


def test_a_question_and_its_answer(point: bytes) -> None:
    with answering(point):
        for command in ("status", "reload"):
            assert ask(point, command) == {"ok": True, "asked": {"command": command}}


def test_only_the_owner_reaches_the_socket(runtime: Path, point: bytes) -> None:
    folder = runtime / "zsofs"
    folder.mkdir(mode=0o755)
    before = os.umask(0)
    try:
        with answering(point):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert stat.S_IMODE(place(runtime, point).stat().st_mode) == 0o600
            assert os.listdir(folder) == [socket_name(point)]
    finally:
        os.umask(before)


def test_the_socket_goes_with_the_daemon(runtime: Path, point: bytes) -> None:
    with answering(point):
        assert place(runtime, point).is_socket()
    assert os.listdir(runtime / "zsofs") == []
    with ControlSocket(point, agree):  # and if it is never served
        assert place(runtime, point).is_socket()
    assert os.listdir(runtime / "zsofs") == []


def test_long_paths(
    tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch, point: bytes
) -> None:
    """The kernel takes no more than 107 bytes as the address of a socket."""
    deep = runtime / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    with answering(point):
        assert place(deep, point).is_socket()
        assert ask(point, "status")["ok"]
    with mounted(tmp_path / ("\N{HIRAGANA LETTER A}" * 85)) as wide, answering(wide):
        assert ask(wide, "status")["ok"]
    odd = tmp_path / os.fsdecode(b"\xff\xfe \\ \xe3\x81\n")
    with mounted(odd) as path, answering(path):
        assert path == os.fsencode(odd)
        assert ask(path, "status")["ok"]


def test_a_stale_socket_is_replaced(runtime: Path, point: bytes) -> None:
    leave_stale(runtime, point)
    assert "nothing is listening" in refused(point)
    with answering(point):
        assert ask(point, "status")["ok"]
    assert os.listdir(runtime / "zsofs") == []


def test_a_later_daemon_takes_over(runtime: Path, point: bytes) -> None:
    """An earlier one lives on where its mount was detached while in use."""

    async def earlier(_: dict[str, Any]) -> dict[str, Any]:
        return {"who": "earlier"}

    async def later(_: dict[str, Any]) -> dict[str, Any]:
        return {"who": "later"}

    with ExitStack() as stack:
        with answering(point, earlier):
            stack.enter_context(answering(point, later))
            assert ask(point, "status")["who"] == "later"
        assert place(runtime, point).is_socket(), "the earlier one must leave it alone"
        assert ask(point, "status")["who"] == "later"
    assert os.listdir(runtime / "zsofs") == []


@pytest.mark.usefixtures("as_root", "own_mounts")
def test_a_daemon_in_another_mount_namespace_is_left_alone(
    runtime: Path, point: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (runtime / "zsofs").mkdir(mode=0o700)
    code = (
        "import os, socket, sys; os.chdir(sys.argv[1])\n"
        f"os.system({LET_GO!r})\n"
        "listener = socket.socket(socket.AF_UNIX); listener.bind(sys.argv[2])\n"
        "listener.listen(); print(flush=True); sys.stdin.read()"
    )
    with spawned(
        ["unshare", "-m", sys.executable, "-c", code, runtime / "zsofs", socket_name(point)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdout.readline()
        before = place(runtime, point).lstat()
        with answering(point):
            assert os.path.samestat(before, place(runtime, point).lstat())
        assert os.path.samestat(before, place(runtime, point).lstat())
        other.stdin.close()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "another daemon" in caplog.text


def test_no_folder_for_the_socket(
    tmp_path: Path,
    point: bytes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The mount continues without it."""
    (tmp_path / "file").touch()
    monkeypatch.setattr(server, "folders", lambda _: [tmp_path / "file" / "zsofs"])
    with answering(point):
        assert "nothing is listening" in refused(point)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "its control socket cannot be created: " in caplog.text


def test_a_folder_that_went_and_came_back(
    runtime: Path, point: bytes, set_timings: TimingsSetter
) -> None:
    """As runtime folders do when a user logs out, and in again."""
    set_timings(socket_check=0.01)
    with answering(point):
        first = place(runtime, point).lstat()
        shutil.rmtree(runtime)
        assert "nothing is listening" in refused(point)
        runtime.mkdir(mode=0o700)
        wait_until(place(runtime, point).is_socket, "the new socket")
        assert not os.path.samestat(first, place(runtime, point).lstat())
        assert ask(point, "status")["ok"]
    assert os.listdir(runtime / "zsofs") == []


@pytest.mark.parametrize("last_bind", [0.0, 20.0])
def test_a_mount_that_ends_while_its_socket_is_bound_again(
    runtime: Path,
    point: bytes,
    set_timings: TimingsSetter,
    monkeypatch: pytest.MonkeyPatch,
    last_bind: float,
) -> None:
    """The new socket is removed: by the end of the mount, or by the thread if a disk hangs."""
    set_timings(socket_check=0.01, last_bind=last_bind)
    listen = server._listen
    has_begun, is_bound, may_go_on = (threading.Event() for _ in range(3))

    def listen_and_wait(folder: Path, name: str, *, is_view: bool) -> server._Bound:
        bound = listen(folder, name, is_view=is_view)
        if has_begun.is_set():
            is_bound.set()
            may_go_on.wait(20)
        return bound

    monkeypatch.setattr(server, "_listen", listen_and_wait)
    with answering(point):
        has_begun.set()
        shutil.rmtree(runtime)
        runtime.mkdir(mode=0o700)
        assert is_bound.wait(20)
        assert place(runtime, point).is_socket()
        if last_bind:
            threading.Timer(0.2, may_go_on.set).start()
    may_go_on.set()
    wait_until(lambda: not os.listdir(runtime / "zsofs"), "the end of the socket")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"\0\xff\xfe\n", "a JSON object on one line"),
        (b'"status"\n', "a JSON object on one line"),
        (b"[" * 60_000 + b"\n", "a JSON object on one line"),
        (b"9" * 60_000 + b"\n", "a JSON object on one line"),
        (b"{" * 200_000, "a JSON object on one line"),
        (b'{"command": "status"', "a JSON object on one line"),
    ],
)
def test_garbage(runtime: Path, point: bytes, said: bytes, why: str) -> None:
    with answering(point):
        for _ in range(server._MAX_PEERS + 1):
            with peer_of(runtime, point) as peer:
                threading.Thread(target=send_what_it_takes, args=(peer.dup(), said)).start()
                reply = json.loads(peer.makefile("rb").readline())
            assert reply["ok"] is False
            assert why in reply["error"]
        assert ask(point, "status")["ok"]


def send_what_it_takes(peer: socket.socket, said: bytes) -> None:
    with peer:
        try:
            peer.sendall(said)
            peer.shutdown(socket.SHUT_WR)
        except OSError:  # it has heard enough
            pass


def test_a_request_without_end(runtime: Path, point: bytes) -> None:
    def babble(peer: socket.socket) -> None:
        with peer:
            try:
                while True:
                    peer.sendall(b"{" * 1000)
            except OSError:  # it has heard enough
                pass

    with answering(point), peer_of(runtime, point) as peer:
        thread = threading.Thread(target=babble, args=(peer.dup(),))
        thread.start()
        said = peer.makefile("rb").readline()
        join(thread)
        assert "a JSON object on one line" in json.loads(said)["error"]
        assert ask(point, "status")["ok"]


def test_peers_that_say_nothing(runtime: Path, point: bytes) -> None:
    with answering(point):
        for said in (b"", b"\n"):
            for _ in range(server._MAX_PEERS + 1):
                with peer_of(runtime, point) as peer:
                    peer.sendall(said)
        assert ask(point, "status")["ok"]


def test_slow_peers(runtime: Path, point: bytes, set_timings: TimingsSetter) -> None:
    set_timings(peer=600.0, answer=60.0)
    with answering(point), ExitStack() as stack:
        peers = [stack.enter_context(peer_of(runtime, point)) for _ in range(server._MAX_PEERS * 3)]
        for peer in peers:
            with suppress(BrokenPipeError):  # the first of them are dropped already
                peer.sendall(b'{"command"')
        assert ask(point, "status")["ok"]
        dropped = len(peers) - server._MAX_PEERS + 1  # for the one that was answered, too
        assert all(b"too many connections" in peer.recv(1000) for peer in peers[:dropped])
        set_timings(peer=0.3)
        late = stack.enter_context(peer_of(runtime, point))
        late.sendall(b'{"command"')
        assert b"did not arrive within" in late.recv(1000)


@pytest.mark.parametrize("said", [b"", b'{"comm', b'{"command": "long"}\n'], ids=repr)
def test_connections_that_stay_do_not_keep_others_waiting(
    runtime: Path, point: bytes, said: bytes, set_timings: TimingsSetter
) -> None:
    """They ask nothing, half of something, or do not take the answer; and none is given up here."""
    set_timings(peer=600.0, answer=60.0)

    async def answer(request: dict[str, Any]) -> dict[str, Any]:
        return {"text": "x" * 1_000_000 if request["command"] == "long" else ""}

    with answering(point, answer), ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(peer_of(runtime, point)).sendall(said)
        for _ in range(3):
            assert ask(point, "status") == {"ok": True, "text": ""}


def test_the_process_that_has_most_connections_loses_one(runtime: Path, point: bytes) -> None:
    code = (
        "import os, socket, sys, time; os.chdir(sys.argv[1])\n"
        "kept = []\n"
        "while True:\n"
        "    kept = kept[-100:] + [socket.socket(socket.AF_UNIX)]\n"
        "    kept[-1].connect(sys.argv[2])\n"
        "    if len(kept) == 100: print(flush=True)\n"
        "    if len(kept) > 100: time.sleep(0.001)\n"
    )
    words = [sys.executable, "-c", code, str(runtime / "zsofs"), socket_name(point)]
    with answering(point), peer_of(runtime, point) as peer:
        peer.sendall(b'{"command": "sta')
        with spawned(words, stdout=subprocess.PIPE) as other:
            try:
                assert other.stdout is not None
                assert select.select([other.stdout.fileno()], [], [], 20)[0], "100 connections"
                peer.sendall(b'tus"}\n')
                assert json.loads(peer.recv(1000))["asked"] == {"command": "status"}
            finally:
                other.kill()


def test_connections_by_the_thousand_do_not_keep_others_waiting(
    runtime: Path, point: bytes, set_timings: TimingsSetter
) -> None:
    """The queue of the kernel is full all the time."""
    set_timings(answer=60.0)
    code = (
        "import os, socket, sys; os.chdir(sys.argv[1])\n"
        "while True:\n"
        "    with socket.socket(socket.AF_UNIX) as one: one.connect(sys.argv[2])\n"
    )
    words = [sys.executable, "-c", code, str(runtime / "zsofs"), socket_name(point)]
    with answering(point), ExitStack() as stack:
        storm = [subprocess.Popen(words) for _ in range(3)]
        for one in storm:
            stack.callback(one.wait)
            stack.callback(one.kill)
        for _ in range(rounds(8, 20)):
            assert ask(point, "status")["ok"]


def test_peers_that_do_not_listen(runtime: Path, point: bytes, set_timings: TimingsSetter) -> None:
    """A reply that does not fit into the kernel's buffers, and nobody who takes it."""
    set_timings(peer=0.3, answer=60.0)

    async def at_length(request: dict[str, Any]) -> dict[str, Any]:
        return {"text": "x" * 1_000_000 if "long" in request else ""}

    with answering(point, at_length), ExitStack() as stack:
        for _ in range(server._MAX_PEERS * 3):
            stack.enter_context(peer_of(runtime, point)).sendall(b'{"long": 1}\n')
        assert ask(point, "status") == {"ok": True, "text": ""}


def test_answers_that_fail(point: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(request: dict[str, Any]) -> dict[str, Any]:
        if request["command"] == "reload":
            raise SourceError("the source is away:\n\x1b[31mplug it in")
        if request["command"] == "odd":
            return {"path": Path()}
        raise ZeroDivisionError

    with answering(point, fail):
        assert refused(point, "reload").endswith("the source is away:\\n\\x1b[31mplug it in")
        assert not caplog.records
        assert "internal error in zsofs" in refused(point, "status")
        assert "internal error in zsofs" in refused(point, "odd")
    assert [record.exc_info is not None for record in caplog.records] == [True, True]


def test_answers_that_do_not_end(point: bytes, set_timings: TimingsSetter) -> None:
    set_timings(peer=0.5)

    async def wait(_: dict[str, Any]) -> dict[str, Any]:
        await trio.sleep_forever()
        raise AssertionError

    with answering(point, wait):
        for _ in range(server._MAX_PEERS + 1):
            assert "it took longer than" in refused(point)


def test_an_answer_that_is_too_long(point: bytes) -> None:
    async def at_length(request: dict[str, Any]) -> dict[str, Any]:
        return {"text": "x" * int(request["command"])}

    with answering(point, at_length):
        fitting = protocol.MAX_REPLY - len('{"ok": true, "text": ""}\n')
        assert len(ask(point, str(fitting))["text"]) == fitting
        assert "longer than" in refused(point, str(fitting + 1))


def test_it_answers_while_every_thread_hangs(point: bytes) -> None:
    end = threading.Event()
    hanging = threading.Semaphore(0)

    def hang() -> None:
        hanging.release()
        end.wait(300)

    async def answer(request: dict[str, Any]) -> dict[str, Any]:
        if request["command"] == "hang":
            for _ in range(int(trio.to_thread.current_default_thread_limiter().total_tokens) + 1):
                trio.lowlevel.spawn_system_task(trio.to_thread.run_sync, hang)
        return {}

    with answering(point, answer):
        assert ask(point, "hang")["ok"]
        try:
            assert hanging.acquire(timeout=20)
            assert ask(point, "status")["ok"]
        finally:
            end.set()


@pytest.mark.usefixtures("as_root")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_another_user_is_refused(tmp_path: Path, runtime: Path, point: bytes) -> None:
    """By the rights of the folder, by who it is if those were wide, and before by the client."""
    open_to_others(tmp_path)

    def attempt() -> str:
        with peer_of(runtime, point) as peer:
            peer.sendall(b'{"command": "status"}\n')
            return peer.recv(1000).decode()

    with answering(point):
        assert "Permission denied" in as_nobody(attempt)
        runtime.chmod(0o755)
        (runtime / "zsofs").chmod(0o755)
        place(runtime, point).chmod(0o666)
        descriptor = os.open(runtime / "zsofs", os.O_RDONLY)

        def attempt_again() -> str:
            with protocol.connect(descriptor, socket_name(point), time.monotonic() + 20) as peer:
                return peer.recv(1000).decode()

        said = as_nobody(attempt_again)
        os.close(descriptor)
        assert json.loads(said)["ok"] is False
        assert "belongs to another user" in said
        assert "belongs to another user (number 0)" in as_nobody(lambda: str(ask(point, "status")))


def as_nobody(attempt: Callable[[], str]) -> str:
    """What *attempt* returns, or raises, in a process of another user."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(write_end, attempt().encode())
        except BaseException as error:
            os.write(write_end, str(error).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as said:
        text = said.read().decode()
    os.waitpid(child, 0)
    return text


def test_nothing_to_ask(tmp_path: Path, runtime: Path, point: bytes) -> None:
    assert "nothing is mounted at" in refused(os.fsencode(tmp_path))
    assert "is not zsofs but proc" in refused(b"/proc")
    said = refused(point)
    assert "does not answer: nothing is listening" in said
    assert f"umount {os.fsdecode(point)}" in said


def test_a_daemon_that_does_not_answer(
    runtime: Path, point: bytes, set_timings: TimingsSetter
) -> None:
    set_timings(answer=0.2)
    with listening(runtime, point), ExitStack() as stack:
        assert "does not answer within" in refused(point)
        assert point in asked()
    place(runtime, point).unlink()
    with listening(runtime, point, queue=0), ExitStack() as stack:
        stack.enter_context(peer_of(runtime, point))  # its queue is full now
        assert "does not answer within" in refused(point)
        assert point in asked()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "it closed the connection"),
        (b'{"ok": true', "it closed the connection"),
        (b"x" * (protocol.MAX_REPLY + (1 << 20)), "its reply is too long"),
        (b"\xff\0\n", "does not understand"),
        (b"[" * 100_000 + b"\n", "does not understand"),
        (b"[true]\n", "does not understand"),
        (b'{"ok": 1}\n', "does not understand"),
        (b'{"ok": false}\n', "reported an error: no reason was given"),
        (b'{"ok": false, "error": ["\\ud800\\u001b"]}\n', "reported an error: ['\\ud800\\x1b']"),
    ],
)
def test_a_daemon_that_answers_nonsense(runtime: Path, point: bytes, said: bytes, why: str) -> None:
    def answer(listener: socket.socket) -> None:
        peer, _ = listener.accept()
        peer.recv(1000)
        send_what_it_takes(peer, said)

    with listening(runtime, point) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        assert why in refused(point)
        join(thread)


def test_a_daemon_that_refuses_before_it_is_asked(
    point: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(b'{"ok": false, "error": "not to you"}\n')
    monkeypatch.setattr(client, "_reach", lambda *_: ours)
    assert refused(point).endswith("reported an error: not to you")


def test_many_mounts_that_do_not_answer_take_no_longer_than_one(
    tmp_path: Path, runtime: Path, set_timings: TimingsSetter
) -> None:
    """Of one user's, so many are asked as can be at once, and the others not at all."""
    set_timings(answer=1.0)
    count = client._AT_ONCE + 5
    with ExitStack() as stack:
        points = [stack.enter_context(mounted(tmp_path / str(number))) for number in range(count)]
        listeners = [stack.enter_context(listening(runtime, point)) for point in points]
        ours = [one for one in running() if one.path in points]
        answered = list(client.ask_statuses(ours))
        assert [one.path for one, _ in answered] == points
        assert all("does not answer within" in str(reply) for _, reply in answered)
        connections = 0
        for listener in listeners:
            listener.setblocking(False)
            try:
                listener.accept()[0].close()
            except BlockingIOError:
                continue
            connections += 1
        assert connections == client._AT_ONCE


def test_replies_of_one_user_that_are_long_together(
    tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_length(_: dict[str, Any]) -> dict[str, Any]:
        return {"text": "x" * 1_000_000}

    monkeypatch.setattr(client, "_ALL_REPLIES", 2_500_000)
    with ExitStack() as stack:
        points = [stack.enter_context(mounted(tmp_path / str(number))) for number in range(5)]
        for point in points:
            stack.enter_context(answering(point, at_length))
        ours = [one for one in running() if one.path in points]
        replies = [reply for _, reply in client.ask_statuses(ours)]
    refusals = [str(reply) for reply in replies if isinstance(reply, ControlError)]
    assert 1 <= len(refusals) <= 5
    assert all("its reply is too long" in said for said in refusals)


def test_running_removes_what_killed_daemons_left(tmp_path: Path, runtime: Path) -> None:
    with mounted(tmp_path / "a") as alive, mounted(tmp_path / "b") as dead, answering(alive):
        kept = leave_stale(runtime, dead)
        stale = leave_stale(runtime, b"/gone")
        other = runtime / "zsofs" / "notes.sock"
        other.write_text("not a socket")
        (runtime / "zsofs" / "mount.log").touch()
        with listening(runtime, b"/elsewhere"):  # a mount in another namespace, say
            mine = asked()
            assert place(runtime, b"/elsewhere").is_socket()
        assert [path for path in mine if path in (alive, dead)] == [alive, dead]
        assert not stale.exists()
        assert kept.is_socket()
        assert other.exists()
        assert (runtime / "zsofs" / "mount.log").exists()


@pytest.mark.usefixtures("as_root")
def test_a_mount_that_is_shown_elsewhere_too(tmp_path: Path, point: bytes) -> None:
    """As `mount --bind` does: the same daemon, asked once."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    bind = 4096
    assert libc.mount(point, os.fsencode(elsewhere), None, bind, None) == 0, ctypes.get_errno()
    try:
        with answering(point):
            assert ask(os.fsencode(elsewhere), "status")["ok"]
            mine = asked()
        assert point in mine
        assert os.fsencode(elsewhere) not in mine
    finally:
        unmount(elsewhere)


def test_where_sockets_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    me = os.geteuid()
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert xdg.folders(me)[0] == tmp_path / "zsofs"
    assert xdg.folders(me)[-1] == Path("/state/zsofs")
    for useless in ("", "relative", str(tmp_path / "missing")):
        monkeypatch.setenv("XDG_RUNTIME_DIR", useless)
        assert all(folder.is_relative_to("/run") for folder in xdg.runtime_folders(me))
    for useless in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", useless)
        monkeypatch.setenv("HOME", "/home/somebody")
        assert xdg.folders(me)[-1] == Path("/home/somebody/.local/state/zsofs")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    another = 3_999_999_999
    assert xdg.folders(another) == [
        Path(f"/run/zsofs-{another}/zsofs"),
        Path(f"/run/user/{another}/zsofs"),
    ]


@pytest.mark.usefixtures("as_root")
def test_somebody_elses_folders_are_not_used(
    tmp_path: Path, runtime: Path, point: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """As `sudo -E` hands them on."""
    assert xdg.runtime_folders(0) == [runtime / "zsofs", Path("/run/zsofs")]
    os.chown(runtime, NOBODY, NOBODY)
    assert xdg.runtime_folders(0) == [Path("/run/zsofs")]
    os.chown(runtime, 0, 0)
    (runtime / "zsofs").mkdir()
    os.chown(runtime / "zsofs", NOBODY, NOBODY)
    with pytest.raises(PermissionError), xdg.opened(runtime / "zsofs", 0):
        pass


def test_names_of_sockets() -> None:
    wide = "/\N{HIRAGANA LETTER A}".encode()
    names = [socket_name(path) for path in (b"/", b"/a/iso", b"/b/iso", b"/\xff", b"/\xfe", wide)]
    assert len(set(names)) == len(names)
    assert all("/" not in name and name.isascii() for name in names)
    longest = socket_name(b"/" + b"a" * 255)
    address = protocol.socket_address(9_999_999, longest)
    assert len(os.fsencode(address)) <= 107


def test_a_connection_that_cannot_be_taken(
    point: bytes,
    monkeypatch: pytest.MonkeyPatch,
    set_timings: TimingsSetter,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """For want of descriptors, say: it is tried again."""
    caplog.set_level(logging.WARNING)
    set_timings(retry_accept=0.01)
    left = [server._MAX_PEERS + 1]
    with socket.socket(socket.AF_UNIX) as any_socket:
        kind = type(trio.socket.from_stdlib_socket(any_socket))
    kept = kind.accept

    async def accept(self: trio.socket.SocketType) -> object:
        if left[0]:
            left[0] -= 1
            raise OSError(24, "Too many open files")
        return await kept(self)

    monkeypatch.setattr(kind, "accept", accept)
    with answering(point):
        assert ask(point, "status")["ok"]
    assert left == [0]
    assert "Too many open files" in caplog.text
