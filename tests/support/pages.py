"""`zsofs web` as a process, and requests of any form to it."""

import http.client
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.mounting import timed, wait_until

PATIENT: dict[str, float] = {"web_silent": 60.0}
"""On a busy machine, a mount takes longer for its reply than one that hangs may take."""

FAST: dict[str, float] = {"web_poll": 0.1, "web_covers": 0.2} | PATIENT


@dataclass
class Answer:
    """A response: its status, headers by lowercase name, and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Page:
    """A page that is served.

    Attributes:
        port: where, at 127.0.0.1.
        token: its token.
        process: the process.
        said: what it printed at its start.
        headers: sent with each request.
    """

    port: int
    token: str
    process: "subprocess.Popen[str]"
    said: list[str]
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: str | None
    ) -> Answer:
        """Send a request; a header with the value None is not sent, also not a usual one."""
        wanted: dict[str, str | None] = {"Host": f"127.0.0.1:{self.port}"}
        if method not in ("GET", "HEAD"):
            wanted["Origin"] = self.url
        wanted |= self.headers
        wanted |= {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as line:
            line.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in wanted.items():
                if value is not None:
                    line.putheader(name, value)
            if body is not None:
                line.putheader("Content-Length", str(len(body)))
            line.endheaders(body)
            reply = line.getresponse()
            found = {name.lower(): value for name, value in reply.getheaders()}
            return Answer(reply.status, found, reply.read())

    def log_in(self) -> None:
        """Log in, and send the session with all further requests."""
        found = self.ask("/login", "POST", f"token={self.token}".encode())
        assert found.status == 303, found
        self.headers["Cookie"] = found.headers["set-cookie"].partition(";")[0]

    @contextmanager
    def events(self) -> Iterator[Iterator[dict[str, Any]]]:
        """The states that the event stream reports."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as line:
            line.request("GET", "/api/events", headers=self.headers)
            reply = line.getresponse()
            assert reply.status == 200

            def states() -> Iterator[dict[str, Any]]:
                while text := reply.readline():
                    if text.startswith(b"data: "):
                        yield json.loads(text[6:])

            yield states()
            if line.sock is not None:
                line.sock.close()


@contextmanager
def served(
    folder: Path,
    *arguments: str | Path,
    seconds: Mapping[str, float] = FAST,
    is_forked: bool = True,
    user: int | None = None,
    groups: tuple[int, ...] | None = None,
) -> Iterator[Page]:
    """Serve the page at a free port of 127.0.0.1, with its token in *folder*.

    Args:
        folder: its directory.
        arguments: of the command.
        seconds: its timings.
        is_forked: whether it may be a fork of another process, with whose memory it begins.
        user: number of the user and group it runs as, if it is another one.
        groups: the other groups of that user.
    """
    token = folder / "token"
    listen = [] if "--listen" in arguments else ["--listen", "127.0.0.1:0"]
    environment = dict(os.environ)
    if user is not None:  # who cannot write where coverage is counted
        environment = {k: v for k, v in environment.items() if not k.startswith("COVERAGE")}
    start = () if is_forked else ("env",)
    command = [*start, *timed(**seconds), "web", "--token-file", token, *listen, *arguments]
    with (folder / "web.log").open("w") as log:
        process = subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
            user=user,
            group=user,
            extra_groups=groups,
        )
    with process:
        try:
            assert process.stdout is not None
            said = [process.stdout.readline()]
            place = re.search(r":(\d+)/", said[0])
            assert place is not None, (said, (folder / "web.log").read_text())
            said.append(process.stdout.readline())
            if "--listen" in arguments:
                said.append(process.stdout.readline())
            page = Page(int(place[1]), token.read_text().strip(), process, said)
            yield page
            assert process.poll() is None, (folder / "web.log").read_text()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    assert process.returncode == 0
    assert "Traceback" not in (folder / "web.log").read_text()


def mount_number(page: Page, path: Path) -> str:
    """The ID of a mount in addresses, once its library is there."""
    with page.events() as states:
        for state in states:
            for one in state["mounts"]:
                if one["path"] == os.fspath(path) and one["library"] and one["library"]["complete"]:
                    return str(one["id"])
    raise AssertionError("the event stream has ended")


def wait_for_state(page: Page, condition: Any, what: str) -> dict[str, Any]:
    """Wait for a state that fulfills a condition; return it."""
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        with page.events() as states:
            state = next(states)
            found.append(state)
            return bool(condition(state))

    wait_until(is_there, what)
    return found[-1]
