"""The web page as a service of a real systemd: it answers, is sandboxed, and goes again."""

import json
import re
from typing import Any

import pytest

from tests.support.mounting import wait_until
from tests.system.discs import files, fill
from tests.system.machine import Machine

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("web-service")]

UNIT = "zsofs-web.service"
_ASK = """
import json, sys, urllib.request
path, body, token = sys.argv[1:]
class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *words): return None
def ask(path, body=None, **headers):
    made = urllib.request.Request("http://127.0.0.1:8467" + path, body and body.encode(), headers)
    try:
        return urllib.request.build_opener(Stay).open(made, timeout=20)
    except urllib.error.HTTPError as error:
        return error
origin = {"Origin": "http://127.0.0.1:8467"}
cookie = ask("/login", f"token={token}", **origin).headers.get("Set-Cookie", "").partition(";")[0]
known = {"Cookie": cookie} if token else {}
with ask(path, body, **known, **(origin if body else {})) as reply:
    line = b""
    while path == "/api/events" and not line.startswith(b"data: "):
        line = reply.readline()
    print(json.dumps([reply.status, (line[6:] or reply.read()).decode()]))
"""


class Installed:
    """A machine with a mount that root serves, and the page of another user.

    Attributes:
        machine: where it runs.
        before: all its files before anything was installed.
        said: what the installation of the page has printed.
        token: of the page.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        fill(machine, "/srv/zso")
        fill(machine, "/srv/mine", "me")
        machine.run("groupadd", "--system", "seeing")
        machine.run("useradd", "--create-home", "page")
        self.before = files(machine)
        install = ("zsofs", "service", "install")
        view = ("--allow-other", "--view-group", "seeing")
        machine.run(*install, "games", "/srv/zso", "/srv/iso", "--setuid", "root", *view)
        machine.run(*install, "mine", "/srv/mine", "/srv/own", "--setuid", "page", "--allow-other")
        web = ("--web", "--setuid", "page", "--view-group", "seeing", "--host", "nas.lan")
        self.said = machine.run(*install, *web)
        self.token = machine.run("cat", "/home/page/.config/zsofs/web-token").strip()
        wait_until(lambda: self.ask("/login")[0] == 200, "the page", 60)

    def ask(self, path: str, body: str = "", *, token: bool = False) -> tuple[int, str]:
        """Status and content of a response; of the event stream, its first state."""
        words = ("python3", "-c", _ASK, path, body, self.token if token else "")
        done = self.machine.try_run(*words)
        if done.returncode:
            return 0, done.stderr
        status, text = json.loads(done.stdout)
        return status, text

    def state(self) -> dict[str, Any]:
        """What the page shows now."""
        status, text = self.ask("/api/events", token=True)
        assert status == 200, text
        found: dict[str, Any] = json.loads(text)
        return found

    def mounts(self) -> dict[str, dict[str, Any]]:
        """The mounts that it shows and whose library is known, by path."""
        mounts = self.state()["mounts"]
        return {one["path"]: one for one in mounts if (one["library"] or {}).get("complete")}

    def show(self, name: str) -> str:
        """A property of the unit."""
        return self.machine.run("systemctl", "show", "--value", f"--property={name}", UNIT).strip()


@pytest.fixture(scope="module")
def service(installed: Machine) -> Installed:
    return Installed(installed)


def test_it_is_installed_with_its_token(service: Installed) -> None:
    assert "the web page of the mounts of page is at http://127.0.0.1:8467/" in service.said
    assert "it also shows mounts of other users that have: --view-group seeing" in service.said
    assert 'add to /etc/zsofs/mine.toml: view-group = "seeing"' in service.said
    assert "games.toml" not in service.said
    token = service.machine.run("stat", "-c", "%a %U", "/home/page/.config/zsofs/web-token")
    assert token == "600 page\n"
    assert service.show("ActiveState") == "active"
    assert service.show("UnitFileState") == "enabled"
    verify = ("systemd-analyze", "verify", "--man=no", f"/etc/systemd/system/{UNIT}")
    assert service.machine.run(*verify) == ""


def test_it_asks_for_the_token_and_shows_mounts_of_both_users(service: Installed) -> None:
    assert service.ask("/")[0] == 303  # to the login, because of --host
    assert service.ask("/api/library")[0] == 401
    assert service.ask("/", token=True)[0] == 200
    wait_until(lambda: set(service.mounts()) == {"/srv/iso", "/srv/own"}, "the mounts", 60)
    mounts = service.mounts()
    assert (mounts["/srv/iso"]["own"], mounts["/srv/own"]["own"]) == (False, True)
    text = service.ask("/metrics", token=True)[1]
    assert 'mountpoint="/srv/iso"' in text
    (game,) = [one for one in mounts.values() if not one["own"]]
    status, said = service.ask("/api/reload", json.dumps({"mount": game["id"]}), token=True)
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
    assert group in str(re.search(r"^Groups:(.*)$", said, re.M)).split()[-1] or group in said
    for name, value in (("ProtectSystem", "strict"), ("ProtectHome", "read-only")):
        assert service.show(name) == value


def test_a_disc_is_verified_and_shown_as_such(service: Installed) -> None:
    """By the sandboxed page; the mount of the same user looks for its result where it is kept."""
    wait_until(lambda: "/srv/own" in service.mounts(), "the mount", 60)
    own = service.mounts()["/srv/own"]["id"]
    service.machine.run("touch", "-d", "2020-01-01", "/srv/mine/ziso-py.zso")
    body = json.dumps({"mount": own, "disc": "ziso-py.zso"})
    assert service.ask("/api/verify", body)[0] == 401

    def is_verified() -> bool:  # results of a file that has just changed are not kept
        assert service.ask("/api/verify", body, token=True)[0] == 200
        wait_until(lambda: service.state()["jobs"][-1]["state"] in ("done", "failed"), "it", 60)
        job = service.state()["jobs"][-1]
        assert job["state"] == "done", job
        library = service.machine.run(
            "sh", "-c", "ls /var/cache/zsofs/*/zsofs/verified.sqlite || :"
        )
        return "verified.sqlite" in library

    wait_until(is_verified, "the result", 90)


def test_nothing_is_left_of_it(service: Installed) -> None:
    machine = service.machine
    said = machine.run("zsofs", "service", "remove", "--web")
    assert "the service of the web page is removed" in said
    assert machine.try_run("systemctl", "cat", UNIT).returncode != 0
    assert service.ask("/login")[0] == 0  # nothing listens
    for name in ("games", "mine"):
        machine.run("zsofs", "service", "remove", name)
    assert machine.try_run("ls", "/run/zsofs-view").returncode != 0
    left = {line.partition("\t")[0] for line in files(machine) - service.before}
    assert {path for path in left if "zsofs" in path} <= {
        "/home/page/.config/zsofs",
        "/home/page/.config/zsofs/web-token",  # a new page has the same token
    }
