"""Which requests are answered: hosts (DNS rebinding), origins (CSRF), addresses."""

import socket

import pytest

from zsofs.cli.parser import parser
from zsofs.errors import UsageError
from zsofs.web.access import Access, Listen, checked_host, parse_listen
from zsofs.web.messages import Request
from zsofs.web.tokens import Tokens

TOKENS = Tokens("a" * 20)
HERE = Access(Listen("127.0.0.1", 8467), [], TOKENS)
EVERYWHERE = Access(Listen("0.0.0.0", 8467), [], TOKENS)
PROXIED = Access(Listen("127.0.0.1", 8467), ["discs.example.org"], TOKENS)


def request(host: str, method: str = "GET", path: str = "/", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, path, headers={"host": host, **named})


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("127.0.0.1:8467", "127.0.0.1", 8467),
        ("0.0.0.0:80", "0.0.0.0", 80),
        ("192.168.1.2", "192.168.1.2", 8467),
        ("[::1]:99", "::1", 99),
        ("[::]", "::", 8467),
        ("::1", "::1", 8467),
    ],
)
def test_addresses(text: str, address: str, port: int) -> None:
    assert parse_listen(text) == Listen(address, port)


@pytest.mark.parametrize(
    "text", ["", "here", "localhost:80", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "1.2:3:4"]
)
def test_invalid_addresses(text: str) -> None:
    with pytest.raises(UsageError, match="is not an IP address"):
        parse_listen(text)


@pytest.mark.parametrize("name", ["nas", "Discs.example.org", "192.168.1.2", "fd00::1", "a_b-c"])
def test_host_names(name: str) -> None:
    assert checked_host(name) == name


@pytest.mark.parametrize(
    "name", ["", "https://nas", "nas/", "a b", "nas:", "-x", "%h", "$(x)", '"', "a\n"]
)
def test_invalid_host_names(name: str) -> None:
    """Some of them would be something else in a unit."""
    with pytest.raises(UsageError, match="is not a host name"):
        checked_host(name)


def test_only_this_computer_by_default() -> None:
    options = parser("web").parse_args(["web"])
    assert parse_listen(options.listen) == Listen("127.0.0.1", 8467)
    assert options.host == []


def test_only_this_computer_needs_no_token() -> None:
    assert not HERE.needs_token
    assert not Access(Listen("127.8.8.8", 1), [], TOKENS).needs_token
    assert not Access(Listen("::1", 1), [], TOKENS).needs_token
    assert EVERYWHERE.needs_token
    assert Access(Listen("192.168.1.2", 1), [], TOKENS).needs_token
    assert Access(Listen("::", 1), [], TOKENS).needs_token
    assert PROXIED.needs_token


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8467", "localhost:8467", "LOCALHOST", "[::1]:8467", "127.0.0.1:9000"]
)
def test_hosts_of_this_computer(host: str) -> None:
    assert HERE.refused(request(host)) is None


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:8467", "localhost.evil.example", "127.0.0.1.evil.example"]
    + ["192.168.1.2:8467", "localhost@evil.example", "localhost/x", "[::1", "localhost:port"]
    + ["127.0.0.1#.evil.example", "::1", "discs.example.org"],
)
def test_other_hosts_are_refused(host: str) -> None:
    found = HERE.refused(request(host))
    assert found is not None
    assert found.status == 421


def test_the_address_that_is_told_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "NAS.example.org")
    for address in ("127.8.8.8", "::1", "192.168.1.2", "0.0.0.0", "::"):
        listen = Listen(address, 8467)
        access = Access(listen, [], TOKENS)
        told = listen.url().removeprefix("http://").rstrip("/")
        assert access.refused(request(told)) is None, told
    everywhere = Access(Listen("::", 8467), [], TOKENS)
    for name in ("nas", "nas.local", "nas.example.org"):
        assert everywhere.refused(request(f"{name}:8467")) is None
    assert everywhere.refused(request("nas.evil.example:8467")) is not None


def test_an_address_cannot_be_rebound_a_name_can() -> None:
    for host in ("192.168.1.2:8467", "[fd00::1]:8467", socket.gethostname()):
        assert EVERYWHERE.refused(request(host)) is None
    assert EVERYWHERE.refused(request("evil.example:8467")) is not None
    assert PROXIED.refused(request("Discs.example.org")) is None
    assert PROXIED.refused(request("192.168.1.2:8467")) is not None


def test_actions_need_the_origin_of_the_page() -> None:
    host = "127.0.0.1:8467"
    assert HERE.refused(request(host, "POST", origin="http://127.0.0.1:8467")) is None
    assert HERE.refused(request(host, "POST", origin="https://127.0.0.1:8467")) is None
    for origin in ("http://evil.example", "null", "http://127.0.0.1:80", "http://127.0.0.1"):
        assert HERE.refused(request(host, "POST", origin=origin)) is not None
        assert HERE.refused(request(host, origin=origin)) is not None
    assert HERE.refused(request(host, "POST")) is not None


def test_other_pages_cannot_embed_what_is_read() -> None:
    host = "127.0.0.1:8467"
    for site in ("cross-site", "same-site"):
        assert HERE.refused(request(host, path="/api/library", sec_fetch_site=site)) is not None
        visit = request(host, sec_fetch_site=site, sec_fetch_mode="navigate")
        assert HERE.refused(visit) is None  # a link to the page
        login = request(host, path="/login", sec_fetch_site=site, sec_fetch_mode="navigate")
        assert HERE.refused(login) is None  # where it leads on to without a session
    assert HERE.refused(request(host, path="/api/library", sec_fetch_site="same-origin")) is None
