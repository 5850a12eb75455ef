"""Who may see the page, and who may act: addresses, hosts, origins, sessions and tokens."""

import ipaddress
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from zsofs.errors import UsageError
from zsofs.web.messages import Request, Response, refusal
from zsofs.web.tokens import Tokens

COOKIE = "zsofs_session"

_LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the page is served: an IP address and a port."""

    address: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only programs of this computer can connect."""
        return ipaddress.ip_address(self.address).is_loopback

    @property
    def is_every(self) -> bool:
        """Whether it stands for all addresses of this computer."""
        return ipaddress.ip_address(self.address).is_unspecified

    def url(self) -> str:
        """Return an address of the page, with a name of this computer if it is all addresses."""
        if self.is_every:
            return f"http://{socket.gethostname()}:{self.port}/"
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"http://{host}:{self.port}/"


def parse_listen(text: str) -> Listen:
    """Return the address in ``ADDRESS:PORT``, ``ADDRESS`` or ``[IPV6]:PORT``.

    Raises:
        UsageError: it is invalid.
    """
    address, port = text, "8467"
    if text.startswith("["):
        address, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    is_port = port.isascii() and port.isdigit() and int(port[:6]) < 65536
    if not (_is_address(address) and is_port):
        raise UsageError(
            f"{text!r} is not an IP address with a port, such as 127.0.0.1:8467; 0.0.0.0 is every"
            " IPv4 address of this computer"
        )
    return Listen(address, int(port))


def checked_host(name: str) -> str:
    """Return the name of a host, without a port.

    Raises:
        UsageError: it is invalid, such as an address of a page.
    """
    if re.fullmatch(r"[A-Za-z0-9_](?:[A-Za-z0-9._:-]*[A-Za-z0-9_])?", name) is None:
        raise UsageError(f"{name!r} is not a host name such as discs.example.org")
    return name


def needs_token(listen: Listen, names: Sequence[str]) -> bool:
    """Return whether reading needs the token; *names*: further host names of the page."""
    return not listen.is_loopback or bool(names)


def remarks(listen: Listen, names: Sequence[str], token_file: Path) -> Iterator[str]:
    """Yield who can read the page, for its user; *names*: further host names of it."""
    if needs_token(listen, names):
        yield f"it asks for the token in {token_file}"
    else:
        yield f"everyone on this computer can read it; actions need the token in {token_file}"
    if not listen.is_loopback:
        yield (
            "it is plain HTTP, which others on the network can read, with the token; put a reverse"
            " proxy with TLS in front of it if you do not trust them"
        )


class Access:
    """Decides whether a request is answered."""

    def __init__(self, listen: Listen, names: Sequence[str], tokens: Tokens) -> None:
        """Create it.

        Args:
            listen: where the page is served.
            names: further host names of it, such as that of a reverse proxy.
            tokens: of the page.
        """
        own = socket.gethostname().lower()
        self.needs_token = needs_token(listen, names)
        self.tokens = tokens
        self._names = {*_LOOPBACK_NAMES, listen.address.lower(), *(name.lower() for name in names)}
        if not listen.is_loopback:
            short = own.partition(".")[0]  # some systems have their whole name there
            self._names |= {own, short, f"{short}.local"}
        self._any_address = not listen.is_loopback

    def refused(self, request: Request) -> Response | None:
        """Return why a request may come from a page of another site; None if it does not.

        A page of an attacker reaches this server under its own name (DNS rebinding) or with its
        own origin (CSRF).
        """
        host = request.headers.get("host", "")
        name = _host_name(host)
        if name not in self._names and not (self._any_address and _is_address(name)):
            return refusal(
                HTTPStatus.MISDIRECTED_REQUEST,
                "this page has no such host name; allow it with: zsofs web --host NAME",
            )
        origin = request.headers.get("origin")
        if origin is None:
            if request.method not in ("GET", "HEAD"):
                return refusal(HTTPStatus.FORBIDDEN, "a request that acts needs an Origin")
            site = request.headers.get("sec-fetch-site", "none")
            # A link of another page may lead here, also on to the login.
            is_page = request.path in ("/", "/login")
            is_visit = is_page and request.headers.get("sec-fetch-mode") == "navigate"
            if site not in ("none", "same-origin") and not is_visit:
                return refusal(HTTPStatus.FORBIDDEN, "requests of other pages are not answered")
        elif origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
            return refusal(HTTPStatus.FORBIDDEN, "requests of other pages are not answered")
        return None

    def is_known(self, request: Request) -> bool:
        """Return whether a request has a valid session."""
        return self.tokens.is_session(_cookie(request))

    def bearer(self, request: Request) -> bool | Response:
        """Return whether a request has the token as a bearer; a response if it is refused."""
        given = request.headers.get("authorization", "")
        if not given:
            return False
        kind, _, token = given.partition(" ")
        if not self.tokens.may_try(request.client):
            return too_many()
        if kind.lower() == "bearer" and self.tokens.is_right(token.strip()):
            return True
        self.tokens.failed(request.client)
        return refusal(HTTPStatus.UNAUTHORIZED, "wrong token", WWW_Authenticate="Bearer")


def too_many() -> Response:
    """Return the response after too many wrong tokens."""
    return refusal(
        HTTPStatus.TOO_MANY_REQUESTS, "too many wrong tokens; wait a minute", Retry_After="60"
    )


def _cookie(request: Request) -> str:
    for part in request.headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def _host_name(host: str) -> str:
    """Return the name in a Host header, without port and brackets; empty if it is invalid."""
    try:
        found = urlsplit(f"//{host}")
        _ = found.port  # which may be invalid
    except ValueError:
        return ""
    is_plain = not (found.path or found.query or found.fragment or "@" in host)
    return (found.hostname or "") if is_plain else ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
