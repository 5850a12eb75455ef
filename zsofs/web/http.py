"""The HTTP server: h11 on trio, with limits for connections, sizes and slow clients."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from http import HTTPStatus

import h11
import trio

from zsofs.timings import timings
from zsofs.web.messages import Request, Response, refusal

log = logging.getLogger(__name__)

Answer = Callable[[Request], Awaitable[Response]]

_MAX_CONNECTIONS = 160
_MAX_HEAD = 16384
"""The longest request without its body, in bytes."""

_MAX_BODY = 4096
_PART = 16384
_FAILURES = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError)


@dataclass(eq=False, slots=True)
class _Connection:
    """A connection.

    Attributes:
        stream: the socket.
        http: state of the protocol.
        client: address of the client.
        scope: ends it.
        is_idle: whether no request of it is being answered.
    """

    stream: trio.SocketStream
    client: str
    http: h11.Connection = field(
        default_factory=lambda: h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD)
    )
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    is_idle: bool = True


class HttpServer:
    """Serves connections."""

    def __init__(self, answer: Answer) -> None:
        """Create it; *answer* returns the response to a request, and does not wait for long."""
        self._answer = answer
        self._connections: list[_Connection] = []

    async def serve(self, listeners: list[trio.SocketListener]) -> None:
        """Serve until cancelled."""
        await trio.serve_listeners(self._serve_one, listeners)

    async def _serve_one(self, stream: trio.SocketStream) -> None:
        client = ""
        try:
            client = str(stream.socket.getpeername()[0])
        except OSError:
            await trio.aclose_forcefully(stream)
            return
        connection = _Connection(stream, client)
        if len(self._connections) >= _MAX_CONNECTIONS and not self._drop_idle():
            await trio.aclose_forcefully(stream)
            return
        self._connections.append(connection)
        try:
            with connection.scope:
                while await self._converse(connection):
                    pass
        except* _FAILURES as errors:  # a stream raises them in a group, as it has a nursery
            log.debug("a connection has ended: %s", errors.exceptions[0])
        except* Exception:
            log.exception("internal error in zsofs: a request could not be answered")
        finally:
            if connection in self._connections:
                self._connections.remove(connection)
            await trio.aclose_forcefully(stream)

    def _drop_idle(self) -> bool:
        """Drop the connection that has waited longest without a request; return if there is one."""
        for connection in self._connections:
            if connection.is_idle:
                self._connections.remove(connection)
                connection.scope.cancel()
                return True
        return False

    async def _converse(self, connection: _Connection) -> bool:
        """Answer one request; return whether another one may follow."""
        connection.is_idle = True
        found: Request | Response | None = None
        with trio.move_on_after(timings().web_request):
            found = await _received(connection)
        if found is None:
            return False
        connection.is_idle = False
        response = await self._answer(found) if isinstance(found, Request) else found
        is_head = isinstance(found, Request) and found.method == "HEAD"
        await _send(connection, response, is_head=is_head)
        http = connection.http
        if not isinstance(found, Request) or http.our_state is not h11.DONE:
            return False
        if http.their_state is not h11.DONE:
            return False
        http.start_next_cycle()
        return True


async def _received(connection: _Connection) -> Request | Response | None:
    """Return the next request, a response if it is invalid, or None at the end."""
    try:
        head = await _event(connection)
        if not isinstance(head, h11.Request):
            return None
        body = bytearray()
        while isinstance(part := await _event(connection), h11.Data):
            body += part.data
            if len(body) > _MAX_BODY:
                return refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the request is too long")
    except h11.RemoteProtocolError as error:
        status = HTTPStatus.BAD_REQUEST
        if error.error_status_hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        return refusal(status, "this is not a valid HTTP request")
    headers: dict[str, str] = {}
    for name, value in head.headers:
        headers.setdefault(name.decode("ascii"), value.decode("latin-1"))
    path, _, query = head.target.decode("latin-1").partition("?")
    return Request(
        head.method.decode("ascii"), path, query, headers, connection.client, bytes(body)
    )


async def _event(connection: _Connection) -> h11.Event | type[h11.PAUSED]:
    http = connection.http
    while True:
        event = http.next_event()
        if event is not h11.NEED_DATA:
            return event  # type: ignore[return-value]
        if http.they_are_waiting_for_100_continue:
            await _write(
                connection, http.send(h11.InformationalResponse(status_code=100, headers=[]))
            )
        http.receive_data(await connection.stream.receive_some(_PART))


async def _send(connection: _Connection, response: Response, *, is_head: bool) -> None:
    http = connection.http
    headers = response.all_headers()
    is_stream = response.stream is not None and not is_head
    if is_stream or http.their_state is not h11.DONE:  # whoever follows a stream has its connection
        headers.append(("Connection", "close"))
    head = http.send(h11.Response(status_code=int(response.status), headers=headers))
    if response.stream is None or not is_stream:
        body = b"" if is_head else response.body
        data = http.send(h11.Data(data=body)) if body else b""
        await _write(connection, (head or b"") + (data or b"") + (http.send(_END) or b""))
        return
    await _write(connection, head)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch, connection, nursery.cancel_scope)
        async with aclosing(response.stream) as parts:  # type: ignore[type-var]
            async for part in parts:
                await _write(connection, http.send(h11.Data(data=part)))
        await _write(connection, http.send(_END))
        nursery.cancel_scope.cancel()


_END = h11.EndOfMessage()


async def _watch(connection: _Connection, scope: trio.CancelScope) -> None:
    """End a stream when the client closes its connection; it has nothing more to send."""
    with suppress(*_FAILURES):
        await connection.stream.receive_some(1)
    scope.cancel()


async def _write(connection: _Connection, data: bytes | None) -> None:
    """Send bytes; a client that does not take them in time is dropped.

    Raises:
        OSError: the client is too slow.
        trio.BrokenResourceError: the connection has ended.
    """
    if not data:
        return
    for begin in range(0, len(data), _PART * 4):
        with trio.move_on_after(timings().web_send) as limit:
            await connection.stream.send_all(data[begin : begin + _PART * 4])
        if limit.cancelled_caught:
            raise TimeoutError("the client is too slow")
