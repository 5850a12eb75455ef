"""The web page as a service of a real systemd: it answers, is sandboxed, and goes again."""

import json
import re
from typing import Any

import pytest

from tests.support.mounting import wait_until
from tests.system.discs import files, fill
from tests.system.machine import Machine

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("web-service")]  # they share a machine

UNIT = "zsofs-web.service"
DISC = "ziso-py.zso"
INSTALL = ("zsofs", "service", "install")
REMOVE = ("zsofs", "service", "remove")
WEB = ("--web", "--setuid", "page", "--view-group", "seeing", "--host", "nas.lan")
_ASK = """
import gzip, json, sys, urllib.request
port, path, body, session, bearer = sys.argv[1:]
class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *words): return None
address = f"http://127.0.0.1:{port}"
headers = {"Cookie": session, "Authorization": bearer and "Bearer " + bearer}
headers["Origin"] = address if body else ""
headers = {name: value for name, value in headers.items() if value}
asked = urllib.request.Request(address + path, body.encode() if body else None, headers)
try:
    reply = urllib.request.build_opener(Stay).open(asked, timeout=20)
except urllib.error.HTTPError as error:
    reply = error
with reply:
    if reply.headers["Content-Type"] == "text/event-stream":
        found = next(line for line in reply if line.startswith(b"data: "))
    else:
        found = reply.read()
    if reply.headers["Content-Encoding"] == "gzip":
        found = gzip.decompress(found)
cookie = (reply.headers["Set-Cookie"] or "").partition(";")[0]
print(json.dumps([reply.status, found.removeprefix(b"data: ").decode(), cookie]))
"""


class Installed:
    """A machine with a mount that root serves, and the page of another user.

    Attributes:
        machine: where it runs.
        before: all its files before anything was installed.
        said: what the installation of the page has printed.
        token: of the page.
        session: cookie of a browser that has logged in.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        fill(machine, "/srv/zso")
        fill(machine, "/srv/mine", "me")
        machine.run("touch", "-d", "2020-01-01", f"/srv/mine/{DISC}")
        machine.run("groupadd", "--system", "seeing")
        machine.run("useradd", "--create-home", "page")
        self.before = files(machine)
        view = ("--allow-other", "--view-group", "seeing")
        machine.run(*INSTALL, "games", "/srv/zso", "/srv/iso", "--setuid", "root", *view)
        machine.run(*INSTALL, "mine", "/srv/mine", "/srv/own", "--setuid", "page", "--allow-other")
        self.said = machine.run(*INSTALL, *WEB)
        self.token = machine.run("cat", "/home/page/.config/zsofs/web-token").strip()
        status, _, self.session = self.send("/login", f"token={self.token}")
        assert (status, bool(self.session)) == (303, True)

    def send(
        self, path: str, body: str = "", *, session: str = "", bearer: str = "", port: int = 8467
    ) -> tuple[int, str, str]:
        """Status, content and cookie of a response; of the event stream, its first state.

        The status is 0 if there is none.
        """
        words = ("python3", "-c", _ASK, str(port), path, body, session, bearer)
        done = self.machine.try_run(*words)
        if done.returncode:
            assert "Connection refused" in done.stderr, done.stderr
            return 0, "", ""
        status, text, cookie = json.loads(done.stdout)
        return status, text, cookie

    def ask(self, path: str, body: str = "") -> tuple[int, str]:
        """Status and content of a response to the browser."""
        return self.send(path, body, session=self.session)[:2]

    def state(self) -> dict[str, Any]:
        """What the page shows now; the last state that it showed if no browser was connected."""
        status, text = self.ask("/api/events")
        assert status == 200, text
        found: dict[str, Any] = json.loads(text)
        return found

    def mounts(self) -> dict[str, dict[str, Any]]:
        """The mounts that it shows, by path."""
        return {one["path"]: one for one in self.state()["mounts"]}

    def number(self, path: str) -> str:
        """The ID of a mount in addresses, once its library is known."""
        wait_until(
            lambda: (self.mounts().get(path, {}).get("library") or {}).get("complete"), path, 60
        )
        return str(self.mounts()[path]["id"])

    def show(self, name: str) -> str:
        """A property of the unit."""
        return self.machine.run("systemctl", "show", "--value", f"--property={name}", UNIT).strip()


@pytest.fixture(scope="module")
def service(installed: Machine) -> Installed:
    return Installed(installed)


def test_it_is_installed_with_its_token(service: Installed) -> None:
    assert "the web page of the mounts of page is at http://127.0.0.1:8467/" in service.said
    assert "it asks for the token in /home/page/.config/zsofs/web-token" in service.said
    assert "plain HTTP" not in service.said  # only this computer can connect
    assert "it also shows mounts of other users that have: --view-group seeing" in service.said
    assert 'add to /etc/zsofs/mine.toml: view-group = "seeing"' in service.said
    assert "games.toml" not in service.said
    token = service.machine.run("stat", "-c", "%a %U", "/home/page/.config/zsofs/web-token")
    assert token == "600 page\n"
    assert service.show("ActiveState") == "active"
    assert service.show("UnitFileState") == "enabled"
    verify = ("systemd-analyze", "verify", "--man=no", f"/etc/systemd/system/{UNIT}")
    assert service.machine.run(*verify) == ""


def test_it_asks_for_the_token(service: Installed) -> None:
    assert service.send("/")[0] == 303  # to the login, because of --host
    assert service.send("/login")[0] == 200
    assert service.send("/api/events")[0] == 401
    assert service.send("/login", "token=wrong-token-of-20-x")[2] == ""
    assert service.ask("/")[0] == 200
    assert service.send("/metrics")[0] == 401
    assert service.send("/metrics", bearer="wrong-token-of-20-x")[0] == 401
    status, text, _ = service.send("/metrics", bearer=service.token)
    assert status == 200
    for point in ("/srv/iso", "/srv/own"):
        assert f'mountpoint="{point}"' in text


def test_it_shows_mounts_of_both_users_and_others_see_none(service: Installed) -> None:
    number = service.number("/srv/iso")
    service.number("/srv/own")
    mounts = service.mounts()
    assert (mounts["/srv/iso"]["own"], mounts["/srv/own"]["own"]) == (False, True)
    status, said = service.ask("/api/reload", json.dumps({"mount": number}))
    assert (status, "belongs to another user" in said) == (502, True)
    done = service.machine.try_run("zsofs", "top", "--once", "--json", user="me")
    assert json.loads(done.stdout) == []  # not in the group


def test_it_is_sandboxed(service: Installed) -> None:
    said = service.machine.run("cat", f"/proc/{service.show('MainPID')}/status")
    for field, value in (("NoNewPrivs", "1"), ("Seccomp", "2"), ("CapEff", "0+"), ("CapBnd", "0+")):
        assert re.search(rf"^{field}:\s*{value}$", said, re.M), field
    page = service.machine.run("id", "-u", "page").strip()
    assert re.search(rf"^Uid:\s*{page}\s", said, re.M)
    group = service.machine.run("getent", "group", "seeing").split(":")[2]
    groups = re.search(r"^Groups:(.*)$", said, re.M)
    assert groups is not None
    assert group in groups[1].split()
    for name, value in (("ProtectSystem", "strict"), ("ProtectHome", "read-only")):
        assert service.show(name) == value
    enter = ("nsenter", f"--target={service.show('MainPID')}", "--mount")
    touch = (*enter, "setpriv", f"--reuid={page}", "--clear-groups", "touch")
    for place in ("/home/page/x", "/home/page/.cache/x", "/tmp/x", "/srv/x"):
        assert service.machine.try_run(*touch, place).returncode, place


def test_what_it_finds_of_a_disc_is_shown_and_kept(service: Installed) -> None:
    """Also of a mount that its user makes later, without root: there was no cache before it."""
    machine = service.machine
    machine.linger("page")
    machine.run("cp", "-rp", "/srv/mine", "/home/page/zso")
    machine.run("mkdir", "/home/page/iso", user="page")
    machine.run("zsofs", "mount", "/home/page/zso", "/home/page/iso", user="page")
    for point in ("/srv/own", "/home/page/iso"):
        number = service.number(point)
        body = json.dumps({"mount": number, "disc": DISC})
        assert service.send("/api/verify", body)[0] == 401

        def is_verified(number: str = number, body: str = body) -> bool:
            status, text = service.ask(f"/api/library?mount={number}")
            assert status == 200
            if any(row[0] == DISC and row[15] for row in json.loads(text)["discs"]):
                return True
            jobs = [one for one in service.state()["jobs"] if one["kind"] == "verify"]
            if all(one["state"] == "done" for one in jobs):
                # The result of a file that has just changed is not kept.
                assert service.ask("/api/verify", body)[0] == 200
            return False

        wait_until(is_verified, f"the verified disc of {point}", 60)
    machine.run("zsofs", "umount", "/home/page/iso", user="page")


def test_what_does_not_answer_is_shown(service: Installed) -> None:
    wait_until(lambda: not service.mounts()["/srv/iso"]["error"], "the mount")
    pid = str(service.mounts()["/srv/iso"]["activity"]["mount"]["pid"])
    service.machine.run("kill", "-STOP", pid)
    try:
        wait_until(lambda: service.mounts()["/srv/iso"]["error"], "the mount that hangs")
        mounts = service.mounts()
        assert mounts["/srv/iso"]["error"] == "the mount does not answer"
        assert mounts["/srv/own"]["error"] == ""
    finally:
        service.machine.run("kill", "-CONT", pid)
    wait_until(lambda: not service.mounts()["/srv/iso"]["error"], "the mount that answers")


def test_it_is_back_when_it_is_killed(service: Installed) -> None:
    pid = service.show("MainPID")
    service.machine.run("kill", "-KILL", pid)
    wait_until(lambda: service.show("NRestarts") == "1", "the next start", 30)
    wait_until(lambda: service.show("ActiveState") == "active", "the page", 60)
    assert service.show("MainPID") != pid
    assert service.ask("/")[0] == 200  # the session is valid as before


def test_an_address_that_is_taken(service: Installed) -> None:
    """It is said by the command that installs it; a page at another address is not touched."""
    machine = service.machine
    machine.linger("me")
    words = ("--user", "--web", "--listen")
    done = machine.try_run(*INSTALL, *words, "127.0.0.1:8467", user="me")
    assert done.returncode == 11
    assert "the page cannot be served at 127.0.0.1:8467: Address already in use" in done.stderr
    assert "remove it with: zsofs service remove --web --user" in done.stderr
    assert service.ask("/")[0] == 200
    said = machine.run(*INSTALL, *words, "127.0.0.1:8468", user="me")
    assert "the web page of the mounts of me is at http://127.0.0.1:8468/" in said
    assert "everyone on this computer can read it; actions need the token in" in said
    assert service.send("/", port=8468)[0] == 200  # without --host, reading needs no token
    machine.run("mkdir", "/home/me/iso", user="me")
    machine.run("zsofs", "mount", "/srv/mine", "/home/me/iso", user="me")

    def shown() -> set[str]:
        text = service.send("/api/events", port=8468)[1]
        return {one["path"] for one in json.loads(text)["mounts"]}

    wait_until(lambda: shown() == {"/home/me/iso"}, "the mount of the user")
    assert "/home/me/iso" not in service.mounts()
    machine.run("zsofs", "umount", "/home/me/iso", user="me")
    assert "is removed" in machine.run(*REMOVE, "--user", "--web", user="me")
    assert service.send("/", port=8468)[0] == 0
    assert machine.run("find", "/home/me/.config", "-name", "*zsofs-web*") == ""


def test_nothing_is_left_of_it(service: Installed) -> None:
    machine = service.machine
    said = machine.run(*REMOVE, "--web")
    assert "the service of the web page is removed" in said
    assert machine.try_run("systemctl", "cat", UNIT).returncode != 0
    assert machine.run("systemctl", "list-units", "--all", "--plain", "-q", "zsofs-web*") == ""
    assert service.send("/login")[0] == 0  # nothing listens
    for name in ("games", "mine"):
        machine.run(*REMOVE, name)
    assert machine.try_run("ls", "/run/zsofs-view").returncode != 0
    left = {line.partition("\t")[0] for line in files(machine) - service.before}
    # Without what the mounts of the two users have kept: caches and logs.
    kept = re.compile(r"/home/\w+/\.(cache|local)/")
    assert {path for path in left if "zsofs" in path and not kept.match(path)} == {
        f"/home/{user}/.config/zsofs{name}"
        for user in ("me", "page")
        for name in ("", "/web-token")  # a new page has the same token
    }
