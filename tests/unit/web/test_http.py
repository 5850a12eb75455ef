"""The HTTP server with streams that break."""

import logging
import socket
import struct
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from zsofs.web.http import HttpServer
from zsofs.web.messages import Request, Response


async def _endless(_: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1 << 18)

    return Response(stream=parts())


def test_a_stream_that_the_client_resets(caplog: pytest.LogCaptureFixture) -> None:
    """It ends the connection, and is no internal error."""

    async def serve_one() -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        address = listener.socket.getsockname()
        async with trio.open_nursery() as nursery:
            server = HttpServer(_endless)
            nursery.start_soon(server.serve, [listener])
            for _ in range(5):
                line = await trio.open_tcp_stream(*address)
                await line.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                await line.receive_some(100)
                await trio.testing.wait_all_tasks_blocked(0.05)  # it waits for the client
                # closed with a reset
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                await line.aclose()
                await trio.testing.wait_all_tasks_blocked(0.05)
            nursery.cancel_scope.cancel()

    with caplog.at_level(logging.WARNING):
        trio.run(serve_one)
    assert caplog.records == []
