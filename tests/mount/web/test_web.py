"""`zsofs web` with real mounts: what it answers, to whom, and within which limits."""

import gzip
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.conftest import MountMaker
from tests.mount.control.test_activity import (
    IMAGE,
    hanging_read,
    read_by_another,
    sample_on_hanging_disk,
)
from tests.mount.control.test_metrics import parsed
from tests.mount.control.test_status import runtime as runtime
from tests.support import writers
from tests.support.mounting import DATA, ZSOFS, mounted, timed, wait_until
from tests.support.pages import FAST, Page, mount_number, served, wait_for_state
from tests.unit.cli.test_messages import refused, run
from tests.unit.discs.test_identify import PS2_IMAGE
from tests.unit.web.test_covers import PNG
from zsofs.timings import Timings
from zsofs.web import live

QUICK = timed(library_check=0.05, quiet_file=0.1)
HOSTILE = '<img src=x onerror="document.title=1">&"\'.zso'


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "Game.zso").write_bytes(writers.maxcso_zso(PS2_IMAGE))
    (folder / "Plain.iso").write_bytes(IMAGE)
    (folder / HOSTILE).write_bytes(writers.maxcso_zso(IMAGE))
    return folder


def jobs_of(state: dict[str, Any]) -> list[tuple[str, str]]:
    return [(job["kind"], job["state"]) for job in state["jobs"]]


def library(page: Page, number: str) -> dict[str, list[object]]:
    found = page.ask(f"/api/library?mount={number}")
    assert found.headers["content-encoding"] == "gzip"
    return {row[0]: row for row in json.loads(gzip.decompress(found.body))["discs"]}


def test_the_library_and_its_covers(mount: MountMaker, tmp_path: Path, source: Path) -> None:
    (source / "covers").mkdir()
    (source / "covers" / "game.png").write_bytes(PNG)
    (source / "covers" / "Plain.jpg").write_bytes(b"<script>alert(1)</script>")
    made = mount(source, command=QUICK)
    with served(tmp_path, made.path) as page:
        number = mount_number(page, made.path)
        wait_until(lambda: library(page, number)["Game.zso"][-1], "the cover")
        rows = library(page, number)
        assert set(rows) == {"Game.zso", "Plain.iso", HOSTILE}
        assert rows["Game.zso"][8] == "ZSO"
        found = page.ask(f"/cover?mount={number}&disc=Game.zso")
        assert (found.status, found.body) == (200, PNG)
        assert found.headers["content-type"] == "image/png"
        assert found.headers["x-content-type-options"] == "nosniff"
        for disc in ("Plain.iso", HOSTILE, "../x", "/etc/passwd", "covers/game.png", ""):
            assert page.ask(f"/cover?mount={number}&disc={quote(disc)}").status == 404, disc
        tag = page.ask(f"/api/library?mount={number}").headers["etag"]
        again = page.ask(f"/api/library?mount={number}", If_None_Match=tag)
        assert (again.status, again.body) == (304, b"")


def test_discs_are_identified_once_without_the_daemon(
    mount: MountMaker, tmp_path: Path, source: Path
) -> None:
    for path in source.iterdir():
        os.utime(path, (1e9, 1e9))
    time.sleep(2.1)  # a file that was just written is not kept in the scan cache
    made = mount(source, command=QUICK)
    with served(tmp_path, made.path) as page:
        number = mount_number(page, made.path)
        with page.events() as states:
            for state in states:
                jobs = [one for one in state["jobs"] if one["kind"] == "identify"]
                if jobs and jobs[0]["state"] == "done":
                    break
            # Without a browser, nothing asks the mount for changes.
            wait_until(lambda: library(page, number)["Game.zso"][3], "the ID")
        assert library(page, number)["Game.zso"][3:6] == ["SLUS_209.63", "America", "PS2"]


def test_a_disc_with_files_and_where_it_was_read(
    mount: MountMaker, tmp_path: Path, source: Path
) -> None:
    made = mount(source, command=QUICK)
    read_by_another(made.path / "Game.iso", 0, 4096)
    with served(tmp_path, made.path) as page:
        number = mount_number(page, made.path)
        found = page.ask(f"/api/disc?mount={number}&disc=Game.zso").json()
        names = {name for name, _, _ in found["image"]["files"]}
        assert names == {"/SYSTEM.CNF", "/SLUS_209.63", "/DATA/ONE.BIN"}
        begins = [begin for _, begin, _ in found["image"]["files"]]
        assert begins == sorted(begins)
        assert found["image"]["size"] == len(PS2_IMAGE)
        assert len(found["image"]["blocks"]["shares"]) == 128
        assert found["reads"]["disc"]["counts"]["requests"] == 2
        assert len(found["reads"]["ages"]) == 1024
        assert max(found["reads"]["ages"]) >= 0
        never = page.ask(f"/api/disc?mount={number}&disc=Plain.iso").json()
        assert never["reads"] is None


def test_a_scripted_load_has_the_same_numbers_everywhere(
    mount: MountMaker, tmp_path: Path, source: Path
) -> None:
    made = mount(source, "--slow-ms", "1", command=QUICK)
    read_by_another(made.path / "Game.iso", *(4096 * at for at in range(12)))
    with served(tmp_path, made.path) as page:
        state = wait_for_state(
            page, lambda one: one["mounts"] and one["mounts"][0].get("discs"), "it"
        )
        (one,) = state["mounts"]
        counts = one["activity"]["reads"]["counts"]
        assert (counts["requests"], counts["bytes"]) == (12, 12 * 4096)
        assert [(disc["disc"], disc["counts"]["requests"]) for disc in one["discs"]] == [
            ("Game.zso", 12)
        ]
        number = one["id"]
        assert len(page.ask(f"/api/slow?mount={number}").json()) == counts["slow"]
        text = page.ask("/metrics")
        assert text.headers["content-type"].startswith("text/plain; version=0.0.4")
        samples = parsed(text.body.decode())
        point = frozenset({("mountpoint", str(made.path))})
        assert samples["zsofs_reads_total", point] == 12
        done = run("top", "--once", "--json", made.path)
        (shown,) = json.loads(done.stdout)
        assert shown["reads"]["counts"] == counts
        assert [disc["counts"] for disc in shown["discs"]] == [one["discs"][0]["counts"]]
        alone = parsed(run("metrics", made.path).stdout)
        totals = {key: value for key, value in alone.items() if key[0].endswith("_total")}
        assert totals
        assert {key: samples[key] for key in totals} == totals
        wanted = "application/openmetrics-text; version=1.0.0"
        other = page.ask("/metrics", Accept=wanted)
        assert other.headers["content-type"].startswith(wanted)
        assert other.body.endswith(b"# EOF\n")
        assert b"# TYPE zsofs_reads counter\n" in other.body
        assert b"zsofs_reads_total{" in other.body


def test_actions_need_the_token(mount: MountMaker, tmp_path: Path, source: Path) -> None:
    made = mount(source, command=QUICK)
    with served(tmp_path, made.path) as page:
        number = mount_number(page, made.path)
        body = json.dumps({"mount": number, "disc": "Game.zso"}).encode()
        for path in ("/api/verify", "/api/reload", "/api/end", "/api/watch"):
            assert page.ask(path, "POST", body).status == 401
            assert page.ask(path, "POST", body, Cookie="zsofs_session=1.2").status == 401
        assert page.ask("/api/session").json()["may_act"] is False
        page.log_in()
        assert page.ask("/api/session").json()["may_act"] is True
        assert page.ask("/api/reload", "POST", body).status == 200
        assert page.ask("/api/verify", "POST", body, Origin="http://evil.example").status == 403
        assert page.ask("/api/verify", "POST", body, Origin=None).status == 403
        other = json.dumps({"mount": number, "disc": "../../etc/passwd"}).encode()
        assert page.ask("/api/verify", "POST", other).status == 404
        assert page.ask("/api/verify", "POST", b"[" * 4000).status == 404
        assert page.ask("/api/verify", "POST", body).status == 200
        state = wait_for_state(
            page, lambda one: ("verify", "done") in jobs_of(one), "the end of the job"
        )
        job = next(job for job in state["jobs"] if job["kind"] == "verify")
        assert job["title"] == "Game.zso"
        assert job["result"].startswith("whole: ")


def test_the_session_cookie_and_the_end_of_a_session(tmp_path: Path) -> None:
    with served(tmp_path, "--host", "discs.example.org") as page:
        assert page.ask("/").headers["location"] == "/login"
        assert page.ask("/login").status == 200
        for path in (
            "/api/events",
            "/api/session",
            "/api/library",
            "/api/slow",
            "/metrics",
            "/cover",
        ):
            assert page.ask(path).status == 401, path
        found = page.ask("/login", "POST", f"token={page.token}".encode())
        cookie = found.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert page.token not in cookie
        page.log_in()
        assert page.ask("/").status == 200
        assert page.ask("/?token=" + page.token, Cookie=None).status == 303  # never in an address
        out = page.ask("/logout", "POST", b"")
        assert "Max-Age=0" in out.headers["set-cookie"]


def test_the_token_as_a_bearer_for_metrics(tmp_path: Path) -> None:
    with served(tmp_path, "--host", "discs.example.org") as page:
        assert page.ask("/metrics", Authorization=f"Bearer {page.token}").status == 200
        host = "discs.example.org"
        assert page.ask("/metrics", Host=host, Authorization=f"bearer {page.token}").status == 200
        assert page.ask("/metrics", Authorization="Bearer wrong").status == 401
        assert page.ask("/metrics", Authorization=f"Basic {page.token}").status == 401


def test_guesses_are_limited(tmp_path: Path) -> None:
    with served(tmp_path, "--host", "discs.example.org") as page:
        for _ in range(10):
            found = page.ask("/login", "POST", b"token=wrong")
            assert found.headers["location"] == "/login?wrong"
        assert page.ask("/login", "POST", b"token=wrong").status == 429
        assert page.ask("/login", "POST", f"token={page.token}".encode()).status == 429
        assert page.ask("/metrics", Authorization=f"Bearer {page.token}").status == 429


def test_other_addresses_need_the_token_and_say_so(tmp_path: Path) -> None:
    with served(tmp_path, "--listen", "0.0.0.0:0") as page:
        assert page.ask("/api/session").status == 401
        assert "it asks for the token in" in page.said[1]
        assert "it is plain HTTP, which others on the network can read" in page.said[2]
    with served(tmp_path) as page:
        assert page.ask("/api/session").status == 200
        assert "actions need the token in" in page.said[1]


def test_names_of_other_sites_are_refused(tmp_path: Path) -> None:
    """DNS rebinding: a page of an attacker under its own name, at our address."""
    with served(tmp_path) as page:
        for path in ("/", "/login", "/app.js", "/api/session", "/metrics"):
            assert page.ask(path, Host="evil.example").status == 421
        assert page.ask("/", Host=None).status == 400
        assert page.ask("/api/session", Origin="http://evil.example").status == 403
        assert page.ask("/api/session", Sec_Fetch_Site="cross-site").status == 403


def test_every_response_has_the_policy(tmp_path: Path) -> None:
    with served(tmp_path) as page:
        pages = dict.fromkeys(("/", "/login", "/app.js"), 200)
        nothing = ("/none", "/../x", "/index.html", "/static/app.js", "/%2e%2e/x", "//app.js")
        for path, status in (pages | dict.fromkeys(nothing, 404)).items():
            found = page.ask(path)
            assert found.status == status, path
            policy = found.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert found.headers["x-content-type-options"] == "nosniff"
            assert found.headers["referrer-policy"] == "no-referrer"
        for method in ("PUT", "DELETE", "OPTIONS", "TRACE"):
            assert page.ask("/", method).status == 405


def test_head_is_get_without_a_body(mount: MountMaker, tmp_path: Path, source: Path) -> None:
    """As monitors of web pages use it: without an Origin, and on one connection."""
    made = mount(source, command=QUICK)
    with served(tmp_path, made.path) as page:
        mount_number(page, made.path)
        for path in ("/", "/app.js", "/none", "/login", "/api/session"):
            long, short = page.ask(path), page.ask(path, "HEAD")
            assert short == replace(long, body=b""), path
            assert long.body
        line = http.client.HTTPConnection("127.0.0.1", page.port, timeout=30)
        with closing(line):
            for path in ("/api/events", "/metrics"):  # a stream has an end then
                line.request("HEAD", path)
                assert line.getresponse().read() == b""
        assert page.ask("/api/reload", "HEAD").status == 404  # it acts on nothing
    with served(tmp_path, "--host", "discs.example.org") as page:
        assert page.ask("/api/library", "HEAD").status == 401


def test_sizes_and_slow_clients_are_limited(tmp_path: Path) -> None:
    with served(tmp_path, seconds=FAST | {"web_request": 0.5}) as page:
        assert page.ask("/login", "POST", b"x" * 5000).status == 413
        assert page.ask("/" + "x" * 60000).status in (400, 431)
        for text in (
            b"\0\1\2\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            b"GET /\r\n\r\n",
        ):
            with closing(socket.create_connection(("127.0.0.1", page.port), 20)) as line:
                line.sendall(text)
                assert line.recv(100).startswith(b"HTTP/1.1 400")
        for text in (
            b"",
            b"GET / HTTP/1.1\r\n",
            b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n",
        ):
            with closing(socket.create_connection(("127.0.0.1", page.port), 20)) as line:
                line.sendall(text)
                assert line.recv(100) == b""  # closed by the server
        assert page.ask("/api/session").status == 200


def test_a_client_that_does_not_read_is_dropped(
    mount: MountMaker, tmp_path: Path, source: Path
) -> None:
    made = mount(source, command=QUICK)
    with served(tmp_path, made.path, seconds=FAST | {"web_send": 0.3}) as page:
        mount_number(page, made.path)
        with closing(socket.socket()) as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.connect(("127.0.0.1", page.port))
            many = f"GET /app.js HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\n\r\n".encode() * 3000

            def is_dropped() -> bool:
                try:
                    line.sendall(many)
                except OSError:
                    return True
                return False

            wait_until(is_dropped, "the end of the connection")
        assert page.ask("/api/session").status == 200


def test_idle_connections_give_way(tmp_path: Path) -> None:
    with served(tmp_path, seconds=FAST | {"web_request": 60}) as page:
        lines = [socket.create_connection(("127.0.0.1", page.port), 20) for _ in range(200)]
        try:
            assert page.ask("/api/session").status == 200
            assert lines[0].recv(1) == b""
        finally:
            for line in lines:
                line.close()


def test_more_streams_than_there_may_be(tmp_path: Path) -> None:
    """They come again later; the others go on."""
    with served(tmp_path) as page, ExitStack() as lines:
        first = lines.enter_context(page.events())
        next(first)
        for _ in range(live._MAX_STREAMS - 1):
            next(lines.enter_context(page.events()))
        assert page.ask("/api/events").body == b"retry: 30000\n\n"
        assert page.ask("/api/session").status == 200


def test_a_text_for_all_streams(mount: MountMaker, tmp_path: Path, source: Path) -> None:
    made = mount(source, command=QUICK)
    with served(tmp_path, made.path) as page:
        mount_number(page, made.path)
        lines = [http.client.HTTPConnection("127.0.0.1", page.port, timeout=30) for _ in range(20)]
        replies = []
        for line in lines:
            line.request("GET", "/api/events")
            replies.append(line.getresponse())
        read_by_another(made.path / "Game.iso", 0)

        def wanted(reply: http.client.HTTPResponse) -> dict[str, object]:
            while True:
                text = reply.readline()
                if text.startswith(b"data: "):
                    state = json.loads(text[6:])
                    if state["mounts"][0]["activity"]["reads"]["counts"]["requests"]:
                        return dict(state["mounts"][0]["activity"]["reads"]["counts"])

        found = [wanted(reply) for reply in replies]
        assert all(one["requests"] == 1 for one in found)
        for reply, line in zip(replies, lines, strict=True):
            reply.close()
            line.close()


def test_mounts_that_come_end_or_die(tmp_path: Path, source: Path, runtime: Path) -> None:
    point = str(tmp_path / "mnt")

    def of_it(state: dict[str, Any]) -> list[dict[str, Any]]:
        return [one for one in state["mounts"] if one["path"] == point]  # others may be mounted

    seconds = FAST | {"web_silent": 0.7}
    with served(tmp_path, seconds=seconds) as page, page.events() as states:
        assert of_it(next(states)) == []
        with mounted(source, tmp_path / "mnt", command=QUICK) as made:
            next(state for state in states if any(one.get("activity") for one in of_it(state)))
            os.kill(made.daemon.pid, signal.SIGSTOP)
            state = next(state for state in states if any(one["error"] for one in of_it(state)))
            assert "does not answer" in of_it(state)[0]["error"]
            os.kill(made.daemon.pid, signal.SIGCONT)
            next(state for state in states if not of_it(state)[0]["error"])
        next(state for state in states if not of_it(state))


def test_what_goes_wrong_shows_within_two_seconds(
    tmp_path: Path, source: Path, runtime: Path
) -> None:
    """By the waits of the page, whatever this machine adds to them."""
    real = Timings()
    script = Path(str(files("zsofs.web"))).joinpath("static/store.js").read_text()
    (disk_hangs,) = re.findall(r"^const WAIT_SHOWN = ([\d.]+);", script, re.MULTILINE)
    for seconds in (real.web_silent, float(disk_hangs), real.web_poll / 2):
        assert real.web_poll + seconds + 2 * real.web_poll / live._TICKS < 2
    with (
        mounted(source, tmp_path / "mnt", command=QUICK) as made,
        served(tmp_path, made.path, seconds=FAST | {"answer": 3600, "web_silent": 0.7}) as page,
        page.events() as states,
    ):
        next(one for one in states if one["mounts"] and one["mounts"][0].get("activity"))
        os.kill(made.daemon.pid, signal.SIGSTOP)
        # Long before its answer is given up.
        state = next(one for one in states if one["mounts"][0]["error"])
        assert state["mounts"][0]["error"] == "the mount does not answer"
        assert "activity" not in state["mounts"][0]
        os.kill(made.daemon.pid, signal.SIGCONT)
        next(one for one in states if not one["mounts"][0]["error"])
        made.may_end = True
        os.kill(made.daemon.pid, signal.SIGKILL)
        state = next(one for one in states if one["mounts"][0]["error"])
        assert "does not answer: " in state["mounts"][0]["error"]
        made.daemon.wait(60)
        made.daemon.returncode = 0


def test_a_disk_that_hangs_is_shown(tmp_path: Path, runtime: Path) -> None:
    with (
        sample_on_hanging_disk(tmp_path) as (disk, made),
        served(tmp_path, made.path) as page,
        page.events() as states,
    ):
        next(one for one in states if one["mounts"] and one["mounts"][0].get("activity"))
        with hanging_read(disk, made.path / "Game.iso", 901120):
            state = next(
                one
                for one in states
                if any(
                    x["longest_wait_seconds"] > 0.2 for x in one["mounts"][0]["activity"]["disks"]
                )
            )
            assert state["mounts"][0]["activity"]["waiting"][0]["disc"] == "Game.zso"
            assert page.ask("/api/session").status == 200


def test_without_h11_the_other_commands_work(tmp_path: Path) -> None:
    (tmp_path / "h11.py").write_text("raise ImportError('no h11')\n")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{os.getcwd()}"}
    command = ("env", *ZSOFS)

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*command, *words], env=environment, capture_output=True, text=True, check=False
        )

    done = run("web", "--token-file", str(tmp_path / "token"))
    assert done.returncode == 2
    assert "needs the Python package h11" in done.stderr
    assert run("info", str(DATA / "ziso-py.zso")).returncode == 0
    assert run("metrics").returncode == 0


def test_an_address_in_use(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        said = refused(2, "web", "--listen", where, "--token-file", tmp_path / "token")
    assert "choose another address with --listen" in said


def test_forms_with_many_fields(tmp_path: Path) -> None:
    """They are refused like any wrong token or argument, without a traceback in the log."""
    many = "&".join(f"a{number}=1" for number in range(50))
    with served(tmp_path) as page:
        assert page.ask("/login", "POST", many.encode()).headers["location"] == "/login?wrong"
        assert page.ask(f"/api/library?{many}").status == 404


def test_a_disk_that_hangs_does_not_stop_the_rest(tmp_path: Path, runtime: Path) -> None:
    """However often the page of its disc is opened."""
    with (
        sample_on_hanging_disk(tmp_path) as (disk, made),
        served(
            tmp_path, made.path, seconds=FAST | {"web_disk": 0.3, "web_job_silent": 0.5}
        ) as page,
    ):
        number = mount_number(page, made.path)
        where = f"mount={number}&disc=Game.zso"
        with hanging_read(disk, made.path / "Game.iso", 901120):
            for _ in range(10):
                found = page.ask(f"/api/disc?{where}").json()
                assert found["image"]["error"] == "the disk of this disc does not answer"
            assert page.ask(f"/api/reads?{where}").json()["reads"]["disc"]["disc"] == "Game.zso"
            assert b"zsofs_" in page.ask("/metrics").body
            page.log_in()
            body = json.dumps({"mount": number, "disc": "Game.zso"}).encode()
            assert page.ask("/api/verify", "POST", body).status == 200
            state = wait_for_state(
                page,
                lambda one: any(job["silent"] for job in one["jobs"]),
                "the job that hangs",
            )
            job = next(one for one in state["jobs"] if one["silent"])
            ended = json.dumps({"job": job["number"]}).encode()
            assert page.ask("/api/end", "POST", ended).status == 200
        wait_until(lambda: "size" in page.ask(f"/api/disc?{where}").json()["image"], "the files")


def test_a_disc_page_reads_its_disc_once(mount: MountMaker, tmp_path: Path, source: Path) -> None:
    made = mount(source, command=QUICK)
    with served(tmp_path, made.path) as page:
        where = f"mount={mount_number(page, made.path)}&disc=Game.zso"
        assert page.ask(f"/api/disc?{where}").json()["image"]["files"]
        assert set(page.ask(f"/api/reads?{where}").json()) == {"reads"}
