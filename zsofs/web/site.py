"""The addresses of the web page, and what is answered."""

import os
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from importlib.resources import files
from typing import TypeVar

import trio

from zsofs.errors import ControlError
from zsofs.mount.control.activity import PROTOCOL, DiscDetails
from zsofs.mount.control.client import ask, ask_each, check_mount
from zsofs.mount.control.metrics import open_metrics, page
from zsofs.system.own_processes import module_command
from zsofs.timings import timings
from zsofs.watch.state_file import hold
from zsofs.web.access import COOKIE, Access, too_many
from zsofs.web.covers import read_cover
from zsofs.web.disc_files import disc_files
from zsofs.web.jobs import Jobs, with_cache
from zsofs.web.live import Live
from zsofs.web.messages import HTML, JSON, Request, Response, form_field, json_response, refusal
from zsofs.web.shelf import Shelf

_KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".html": HTML,
}
_METRICS = "text/plain; version=0.0.4; charset=utf-8"
_OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_OF_OTHERS = "another user serves this mount, so its discs are not opened here"

Handler = Callable[[Request], Awaitable[Response]]
R = TypeVar("R")


class Site:
    """Answers requests."""

    def __init__(self, access: Access, live: Live, jobs: Jobs) -> None:
        self._access = access
        self._live = live
        self._jobs = jobs
        self._threads = trio.CapacityLimiter(8)
        self._assets = {
            f"/{one.name}": (one.read_bytes(), _KINDS[os.path.splitext(one.name)[1]])
            for one in files("zsofs.web").joinpath("static").iterdir()
            if os.path.splitext(one.name)[1] in _KINDS
        }
        self._reads: dict[str, Handler] = {
            "/": self._index,
            "/api/session": self._session,
            "/api/events": self._events,
            "/api/library": self._library,
            "/api/slow": self._slow,
            "/api/disc": self._disc,
            "/api/reads": self._reads_of,
            "/cover": self._cover,
            "/metrics": self._metrics,
        }
        self._acts: dict[str, Handler] = {
            "/api/reload": self._reload,
            "/api/verify": self._verify,
            "/api/end": self._end,
            "/api/watch": self._watch,
        }

    async def answer(self, request: Request) -> Response:
        """Return the response to a request."""
        if request.method not in ("GET", "HEAD", "POST"):
            allowed = "GET, HEAD, POST"
            return refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"{allowed} only", Allow=allowed)
        refused = self._access.refused(request)
        if refused is not None:
            return refused
        if request.method == "POST":
            return await self._post(request)
        return await self._get(request)

    async def _get(self, request: Request) -> Response:
        asset = "/login.html" if request.path == "/login" else request.path
        if asset in self._assets and asset != "/index.html":
            return self._asset(asset)
        handler = self._reads.get(request.path)
        if handler is None:
            return refusal(HTTPStatus.NOT_FOUND, "there is no such page")
        if self._access.needs_token:
            why = self._not_known(request)
            if why is not None:
                return why
        return await handler(request)

    def _not_known(self, request: Request) -> Response | None:
        """Return why a request needs a token; None if it has one, or a session."""
        if self._access.is_known(request):
            return None
        found = self._access.bearer(request)
        if isinstance(found, Response):
            return found
        if found:
            return None
        if request.path == "/":
            return Response(HTTPStatus.SEE_OTHER, headers=(("Location", "/login"),))
        return refusal(
            HTTPStatus.UNAUTHORIZED, "log in first, or send the token", WWW_Authenticate="Bearer"
        )

    async def _post(self, request: Request) -> Response:
        if request.path == "/login":
            return self._login(request)
        if request.path == "/logout":
            return _with_session("", 0)
        handler = self._acts.get(request.path)
        if handler is None:
            return refusal(HTTPStatus.NOT_FOUND, "there is no such action")
        why = self._not_known(request)  # also where reading needs no token
        return why if why is not None else await handler(request)

    def _login(self, request: Request) -> Response:
        tokens = self._access.tokens
        if not tokens.may_try(request.client):
            return too_many()
        if not tokens.is_right(form_field(request.body.decode("latin-1"), "token").strip()):
            tokens.failed(request.client)
            return Response(HTTPStatus.SEE_OTHER, headers=(("Location", "/login?wrong"),))
        return _with_session(*tokens.session())

    def _asset(self, path: str) -> Response:
        body, kind = self._assets[path]
        return Response(body=body, kind=kind, headers=(("Cache-Control", "no-cache"),))

    # What is read

    async def _index(self, _: Request) -> Response:
        return self._asset("/index.html")

    async def _session(self, request: Request) -> Response:
        return json_response({"may_act": self._access.is_known(request)})

    async def _events(self, _: Request) -> Response:
        return Response(kind="text/event-stream", stream=self._live.events())

    async def _library(self, request: Request) -> Response:
        mount = self._live.mount(request.argument("mount"))
        shelf = None if mount is None else self._live.shelf(mount.path)
        if shelf is None:
            return refusal(HTTPStatus.NOT_FOUND, "the library of this mount is not known yet")
        tag = f'"{shelf.version}"'
        headers: tuple[tuple[str, str], ...] = (
            ("ETag", tag),
            ("Cache-Control", "private, no-cache"),
        )
        if request.headers.get("if-none-match") == tag:
            return Response(HTTPStatus.NOT_MODIFIED, headers=headers)
        headers += (("Content-Encoding", "gzip"),)
        return Response(body=shelf.body, kind=JSON, headers=headers)

    async def _slow(self, request: Request) -> Response:
        mount = self._live.mount(request.argument("mount"))
        if mount is None:
            return refusal(HTTPStatus.NOT_FOUND, "there is no such mount")
        reads = mount.slow_reads
        return json_response([reads[number].to_json() for number in sorted(reads)])

    async def _disc(self, request: Request) -> Response:
        """Return the files of a disc, which are read from it, and where it was read."""
        found = self._listed(request.argument("mount"), request.argument("disc"))
        if isinstance(found, Response):
            return found
        point, shelf, path, shown = found
        try:
            image: dict[str, object] = {"error": _OF_OTHERS}
            if shelf.source:
                file = os.path.join(shelf.source, path)
                image = await self._from_disk(shelf, disc_files, file)
        except TimeoutError as error:
            image = {"error": str(error), "again": True}
        return json_response(
            {"image": image, "reads": await self._in_thread(_details, point, shown)}
        )

    async def _reads_of(self, request: Request) -> Response:
        """Return where a disc was read, without reading it."""
        found = self._listed(request.argument("mount"), request.argument("disc"))
        if isinstance(found, Response):
            return found
        point, _, _, shown = found
        return json_response({"reads": await self._in_thread(_details, point, shown)})

    async def _cover(self, request: Request) -> Response:
        found = self._listed(request.argument("mount"), request.argument("disc"))
        if isinstance(found, Response):
            return found
        _, shelf, path, _ = found
        cover, picture = shelf.cover(path), None
        try:
            if cover is not None:
                picture = await self._from_disk(shelf, read_cover, shelf.source, cover)
        except TimeoutError as error:
            return refusal(HTTPStatus.SERVICE_UNAVAILABLE, str(error), Retry_After="10")
        if picture is None:
            return refusal(HTTPStatus.NOT_FOUND, "this disc has no cover")
        body, kind = picture
        return Response(body=body, kind=kind, headers=(("Cache-Control", "private, max-age=600"),))

    async def _metrics(self, request: Request) -> Response:
        text = await self._in_thread(lambda: page(self._live.mounted(), per_disc=False))
        if "application/openmetrics-text" in request.headers.get("accept", ""):
            return Response(body=open_metrics(text).encode(), kind=_OPEN_METRICS)
        return Response(body=text.encode(), kind=_METRICS)

    # What acts

    async def _reload(self, request: Request) -> Response:
        mount = self._live.mount(str(request.fields().get("mount", "")))
        if mount is None:
            return refusal(HTTPStatus.NOT_FOUND, "there is no such mount")
        try:
            await self._in_thread(ask, os.fsencode(mount.path), "reload")
        except ControlError as error:
            return refusal(HTTPStatus.BAD_GATEWAY, str(error))
        return json_response({})

    async def _verify(self, request: Request) -> Response:
        fields = request.fields()
        found = self._listed(str(fields.get("mount", "")), str(fields.get("disc", "")))
        if isinstance(found, Response):
            return found
        point, shelf, path, shown = found
        if not shelf.source:
            return refusal(HTTPStatus.FORBIDDEN, _OF_OTHERS)
        command = module_command(
            "zsofs.web.verify_worker", str(os.getpid()), os.path.join(shelf.source, path)
        )
        command = with_cache(command, self._live.cache_folder(point))
        if not self._jobs.add("verify", shown, command):
            return refusal(HTTPStatus.TOO_MANY_REQUESTS, "too many jobs are waiting")
        return json_response({})

    async def _end(self, request: Request) -> Response:
        """End a job."""
        if not self._jobs.cancel(request.fields().get("job")):
            return refusal(HTTPStatus.NOT_FOUND, "this job has ended")
        return json_response({})

    async def _watch(self, request: Request) -> Response:
        """Pause a watch, or let it continue."""
        fields = request.fields()
        one = self._live.watch_at(str(fields.get("watch", "")))
        if one is None:
            return refusal(HTTPStatus.NOT_FOUND, "there is no such watch")
        try:
            await self._in_thread(hold, one, is_held=fields.get("hold") is True)
        except ControlError as error:
            return refusal(HTTPStatus.BAD_GATEWAY, str(error))
        return json_response({})

    def _listed(self, number: str, path: str) -> Response | tuple[str, Shelf, str, str]:
        """Return mount point and library of a disc in it, its path, and that for display.

        Only what the library lists has an address: no path of a request is opened otherwise.
        """
        mount = self._live.mount(number)
        shelf = None if mount is None else self._live.shelf(mount.path)
        disc = None if shelf is None else shelf.disc(path)
        if mount is None or shelf is None or disc is None:
            return refusal(HTTPStatus.NOT_FOUND, "there is no such disc")
        return mount.path, shelf, path, disc.shown

    async def _from_disk(self, shelf: Shelf, function: Callable[..., R], *args: object) -> R:
        """Call a function that reads the source of a mount.

        A disk that hangs keeps the few threads of its own library, and no others.

        Raises:
            TimeoutError: the disk does not answer.
        """
        with trio.move_on_after(timings().web_disk):
            return await trio.to_thread.run_sync(
                partial(function, *args), abandon_on_cancel=True, limiter=shelf.readers
            )
        raise TimeoutError("the disk of this disc does not answer")

    async def _in_thread(self, function: Callable[..., R], *args: object, **options: object) -> R:
        return await trio.to_thread.run_sync(
            partial(function, *args, **options), abandon_on_cancel=True, limiter=self._threads
        )


def _with_session(value: str, seconds: int) -> Response:
    cookie = f"{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}"
    headers = (("Location", "/"), ("Set-Cookie", cookie))
    return Response(HTTPStatus.SEE_OTHER, headers=headers)


def _details(point: str, shown: str) -> dict[str, object] | None:
    """Return histograms and map of a disc; None if it was not read."""
    request = {"command": "disc", "protocol": PROTOCOL, "disc": shown}
    try:
        ((_, reply),) = ask_each([check_mount(os.fsencode(point), views=True)], request)
    except ControlError:
        return None
    return None if isinstance(reply, ControlError) else DiscDetails.from_json(reply).to_json()
