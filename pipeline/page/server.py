"""The page over HTTP: aiohttp in a thread of its own, with bounds of its own.

    GET /         the page, or to the login         GET  /events   what it shows, without end
    GET /login    a form                            POST /login    token -> cookie
    GET /page.js, /page.css                         POST /logout

Whoever reaches the port can take no more than this: so many connections; each of them so long,
unless it is a viewer's; so many viewers; a wrong token costs a second, and only a few may wait for
theirs at a time. A browser that takes nothing
for a while is let go.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.page.decoys import Decoys
from pipeline.page.door import Door, DoorError
from pipeline.page.feed import Feed
from pipeline.page.settings import PageSettings
from pipeline.page.watch import Watch
from pipeline.service_settings import Address
from suricata.notices import Notices

if TYPE_CHECKING:
    from aiohttp import web

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

STATIC: Final = Path(__file__).parent / "static"
FILES: Final = {"page.js": "text/javascript", "page.css": "text/css"}

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
        " img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none';"
        " require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Without a referrer at all browsers would call our own forms' origin `null`.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "peeltap",
}

CONNECTIONS: Final = 64
"""Beside the viewers'."""

CONNECTION_SECONDS: Final = 30.0
KEEPALIVE_SECONDS: Final = 10.0
WRONG_SECONDS: Final = 1.0
WRONG_AT_A_TIME: Final = 4
WRITE_SECONDS: Final = 30.0
SEND_BYTES: Final = 1 << 16
BODY_BYTES: Final = 4096
CLOSE_SECONDS: Final = 3.0

# The library would tell of every odd request; whoever reaches the port would write the log.
_log = logging.getLogger("peeltap.page")
_log.addHandler(logging.NullHandler())
_log.propagate = False


class PageError(Exception):
    """The page cannot be served; one sentence with the remedy."""


def preload() -> None:
    """Import and read what the page needs, before privileges are given up. Raises PageError."""
    try:
        importlib.import_module("aiohttp.web")
    except ImportError:
        raise PageError(
            "page: the Python package aiohttp is not installed; install it, or peeltap[page],"
            " into Peeltap's environment"
        ) from None
    for name in (*FILES, "page.html", "login.html"):
        _file(name)


def open_door(settings: PageSettings) -> Door:
    """Check what the settings name: the library, and the token. Raises PageError."""
    preload()
    try:
        return Door(settings.token, settings.names)
    except DoorError as error:
        raise PageError(str(error)) from None


class PageServer:
    """Serves the page; listens at once, answers from `start` on.

    `report` gives the service's whole report. Raises PageError, OSError if it cannot listen.
    """

    def __init__(
        self,
        settings: PageSettings,
        watch: Watch,
        decoys: Decoys,
        report: Callable[[], Mapping[str, Any]],
        *,
        say: Callable[[int, str], None],
        wrong_seconds: float = WRONG_SECONDS,
    ) -> None:
        self._door = open_door(settings)
        self._most_viewers = settings.viewers
        self._say = say
        self._wrong_seconds = wrong_seconds
        self._connection_seconds = CONNECTION_SECONDS
        self._notices = Notices(say)
        self._feed = Feed(watch, decoys, report, say=say)
        self._streams: set[asyncio.BaseTransport] = set()
        self._wrong = self._wrong_now = self._turned_away = 0
        host, port = Address.parse(settings.listen)
        self._cookie = f"peeltap-{port}"
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=16)
        self._socket.setblocking(False)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)
        self._begun = threading.Event()
        self._trouble: str | None = None

    # From other threads.

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Let everybody go, and end."""
        if self._thread.ident is not None:
            self._begun.wait(CLOSE_SECONDS)
            loop, main = self._loop, self._main
            if loop is not None and main is not None:
                with contextlib.suppress(RuntimeError):  # it has ended by itself
                    loop.call_soon_threadsafe(main.cancel)
            self._thread.join(CLOSE_SECONDS)
        self._socket.close()

    def status(self) -> dict[str, Any]:
        """Counters, and `trouble`."""
        return {
            **self._feed.status(),
            "wrong_tokens": self._wrong,
            "turned_away": self._turned_away,
            "trouble": self._trouble,
        }

    # The thread.

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except asyncio.CancelledError:
            pass
        except Exception as error:
            self._trouble = f"the page has ended ({type(error).__name__}: {error})"
            self._say(logging.ERROR, self._trouble)
        finally:
            self._begun.set()

    async def _serve(self) -> None:
        from aiohttp import web

        self._main, self._loop = asyncio.current_task(), asyncio.get_running_loop()
        self._begun.set()
        self._loop.set_exception_handler(lambda _, told: self._fault(told.get("exception")))
        runner = web.AppRunner(
            self._application(),
            access_log=None,
            logger=_log,
            handle_signals=False,
            # A viewer who is gone ends its stream.
            handler_cancellation=True,
            keepalive_timeout=KEEPALIVE_SECONDS,
            shutdown_timeout=0.5,
        )
        await runner.setup()
        try:
            await self._accept(runner)
        finally:
            for transport in list(self._streams):
                transport.close()
            await runner.cleanup()

    async def _accept(self, runner: web.AppRunner) -> None:
        server, loop = runner.server, asyncio.get_running_loop()
        assert server is not None  # noqa: S101 - for the type checker; `setup` made it
        while True:
            # Who comes while all places are taken waits in the kernel's queue, which is short.
            while len(server.connections) >= CONNECTIONS + self._most_viewers:
                await asyncio.sleep(0.1)
            try:
                client, _ = await loop.sock_accept(self._socket)
            except OSError as error:
                self._notices.say("accept", f"page: nobody can be let in: {error.strerror}")
                await asyncio.sleep(1.0)
                continue
            try:
                # What the kernel would hold for a slow browser is no queue of ours.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
                transport, _ = await loop.connect_accepted_socket(server, client)
            except OSError:  # gone again
                client.close()
                continue
            loop.call_later(self._connection_seconds, self._end_unless_viewer, transport)

    def _fault(self, error: BaseException | None) -> None:
        self._notices.say("fault", f"page: {type(error).__name__}: {error}", logging.ERROR)

    def _end_unless_viewer(self, transport: asyncio.BaseTransport) -> None:
        if transport not in self._streams and isinstance(transport, asyncio.Transport):
            transport.abort()

    def _application(self) -> web.Application:
        from aiohttp import web

        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                if not self._door.is_name_of_ours(request.headers.get("Host")):
                    raise web.HTTPMisdirectedRequest(
                        text="This is not a name of this page; add it to page.names.\n"
                    )
                if request.method == "POST" and not self._door.is_from_us(
                    request.headers.get("Origin"),
                    request.headers.get("Sec-Fetch-Site"),
                    request.headers.get("Host"),
                ):
                    raise web.HTTPForbidden(text="This form was not sent by this page.\n")
                response = await handler(request)
            except web.HTTPException as error:
                error.headers.update(HEADERS)
                raise
            except Exception as error:
                self._fault(error)
                raise web.HTTPInternalServerError(headers=HEADERS) from error
            if not response.prepared:
                response.headers.update(HEADERS)
            return response

        app = web.Application(middlewares=[guarded], client_max_size=BODY_BYTES)
        app.router.add_get("/", self._page, allow_head=False)
        app.router.add_get("/login", self._form, allow_head=False)
        app.router.add_post("/login", self._login)
        app.router.add_post("/logout", self._logout)
        app.router.add_get("/events", self._events, allow_head=False)
        for name in FILES:
            app.router.add_get(f"/{name}", self._static, allow_head=False)
        return app

    def _is_in(self, request: web.Request) -> bool:
        return self._door.knows(request.cookies.get(self._cookie))

    async def _page(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        if not self._is_in(request):
            raise web.HTTPSeeOther("/login")
        return _html(_file("page.html"))

    async def _form(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        if self._is_in(request):
            raise web.HTTPSeeOther("/")
        return _html(_file("login.html"))

    async def _static(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        name = request.path[1:]
        return web.Response(text=_file(name), content_type=FILES[name], charset="utf-8")

    async def _login(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        if request.content_type != "application/x-www-form-urlencoded":
            raise web.HTTPUnsupportedMediaType
        try:
            given = (await request.post()).get("token")
        except (ValueError, LookupError):
            raise web.HTTPBadRequest from None
        try:
            key = self._door.enter(given) if isinstance(given, str) else None
        except DoorError as error:
            self._notices.say("token", str(error))
            raise web.HTTPServiceUnavailable(
                text="The token cannot be read; the service's log says why.\n"
            ) from None
        if key is None:
            self._wrong += 1
            # After the token was looked at: nobody's guesses keep out who knows it.
            if self._wrong_now >= WRONG_AT_A_TIME:
                raise web.HTTPTooManyRequests(text="Too many wrong tokens; try again.\n")
            self._wrong_now += 1
            try:
                await asyncio.sleep(self._wrong_seconds)
            finally:
                self._wrong_now -= 1
            return _html(_file("login.html").replace(" hidden>", ">", 1), status=403)
        response = web.HTTPSeeOther("/")
        response.set_cookie(self._cookie, key, httponly=True, samesite="Strict", path="/")
        raise response

    async def _logout(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        self._door.leave(request.cookies.get(self._cookie))
        response = web.HTTPSeeOther("/login")
        response.del_cookie(self._cookie, path="/", httponly=True, samesite="Strict")
        raise response

    async def _events(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        if not self._is_in(request):
            raise web.HTTPUnauthorized(text="The token is needed.\n")
        transport = request.transport
        if len(self._streams) >= self._most_viewers or transport is None:
            self._turned_away += 1
            raise web.HTTPServiceUnavailable(text="Too many are looking already.\n")
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        transport.set_write_buffer_limits(high=SEND_BYTES)
        self._streams.add(transport)
        viewer = self._feed.join()
        try:
            await response.prepare(request)
            # Figures come every second, so a key that ends is noticed.
            while self._is_in(request):
                out = await viewer.next()
                await asyncio.wait_for(response.write(out), WRITE_SECONDS)
        except (TimeoutError, ConnectionError):
            transport.abort()
        finally:
            self._feed.part(viewer)
            self._streams.discard(transport)
        return response


def _html(text: str, status: int = 200) -> web.Response:
    from aiohttp import web

    return web.Response(text=text, content_type="text/html", charset="utf-8", status=status)


@cache
def _file(name: str) -> str:
    return (STATIC / name).read_text("utf-8")
