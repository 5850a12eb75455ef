"""HTTP requests and responses of the web page."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qs

PLAIN, JSON, HTML = "text/plain; charset=utf-8", "application/json", "text/html; charset=utf-8"

_MAX_FIELDS = 8

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

_ALWAYS = (
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
)


def form_field(form: str, name: str) -> str:
    """Return a field of a query or form; empty if it is missing, or if there are too many."""
    try:
        found = parse_qs(form, max_num_fields=_MAX_FIELDS, errors="surrogateescape")
    except ValueError:
        return ""
    return found.get(name, [""])[0]


@dataclass(frozen=True, slots=True)
class Request:
    """A request.

    Attributes:
        method: such as ``GET``.
        path: without the query, as sent.
        query: the query, as sent.
        headers: values by lowercase name; the first of several.
        client: address of the client, for limits.
        body: its content.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    client: str = ""
    body: bytes = b""

    def argument(self, name: str) -> str:
        """Return an argument of the query; empty if it is missing."""
        return form_field(self.query, name)

    def fields(self) -> dict[str, object]:
        """Return the JSON object in the body; empty if it is something else."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Response:
    """A response: a body, or a stream of parts.

    Attributes:
        status: HTTP status.
        body: its content.
        kind: its media type.
        headers: further headers.
        stream: yields the parts of a body without a known end.
    """

    status: HTTPStatus = HTTPStatus.OK
    body: bytes = b""
    kind: str = PLAIN
    headers: tuple[tuple[str, str], ...] = ()
    stream: AsyncIterator[bytes] | None = None

    def all_headers(self) -> list[tuple[str, str]]:
        """Return all headers, with those that every response has."""
        names = {name.lower() for name, _ in self.headers}
        found = [("Content-Type", self.kind), *_ALWAYS, *self.headers]
        if "cache-control" not in names:
            found.append(("Cache-Control", "no-store"))
        if self.stream is None:
            found.append(("Content-Length", str(len(self.body))))
        return found


def refusal(status: HTTPStatus, why: str, **headers: str) -> Response:
    """Return a response that says why a request is not answered."""
    more = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Response(status, f"{why}\n".encode(errors="backslashreplace"), headers=more)


def json_response(found: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return a response with an object as JSON."""
    return Response(status, json.dumps(found).encode(), JSON)
