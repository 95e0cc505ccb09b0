"""The page over HTTP: what is answered to whom, under which policy, and what nobody can take."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from pipeline.page.decoys import Decoys
from pipeline.page.feed import QUEUE
from pipeline.page.server import HEADERS, WRONG_AT_A_TIME, PageError, PageServer
from pipeline.page.watch import Watch
from tests.pipeline.page.parts import TOKEN, line, settings
from tests.pipeline.samples import REPORT
from tests.support.programs import until


class Page:
    """A page that is served, and what a client without manners can ask of it."""

    def __init__(
        self,
        directory: Path,
        wrong_seconds: float = 0.0,
        **more: Any,
    ) -> None:
        self.said: list[tuple[int, str]] = []
        self.watch = Watch()
        asked = settings(directory, **more)
        self.port = int(asked.listen.rpartition(":")[2])
        self.server = PageServer(
            asked,
            self.watch,
            Decoys(),
            lambda: REPORT,
            say=lambda level, text: self.said.append((level, text)),
            wrong_seconds=wrong_seconds,
        )
        self.server.start()

    def ask(
        self, method: str, path: str, body: str | None = None, **headers: str
    ) -> tuple[HTTPResponse, str]:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        if body is not None:
            headers.setdefault("Content_Type", "application/x-www-form-urlencoded")
        client.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        answer = client.getresponse()
        text = answer.read().decode()
        client.close()
        return answer, text

    def login(self, token: str = TOKEN, **headers: str) -> tuple[HTTPResponse, str]:
        return self.ask("POST", "/login", urlencode({"token": token}), **headers)

    def cookie(self) -> str:
        answer, _ = self.login()
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        return str(answer.headers["Set-Cookie"]).partition(";")[0]

    @contextmanager
    def events(self, cookie: str) -> Iterator[HTTPResponse]:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        client.request("GET", "/events", headers={"Cookie": cookie})
        try:
            yield client.getresponse()
        finally:
            client.close()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    page = Page(tmp_path, viewers=2)
    yield page
    page.server.close()


def value_of(stream: HTTPResponse, kind: str) -> Any:
    """The next event of a kind in a stream."""
    while True:
        if stream.readline() == f"event: {kind}\n".encode():
            return json.loads(stream.readline().removeprefix(b"data: "))


def test_from_the_token_to_an_alert(page: Page) -> None:
    answer, _ = page.ask("GET", "/")
    assert (answer.status, answer.headers["Location"]) == (303, "/login")
    _, form = page.ask("GET", "/login")
    assert 'action="/login"' in form
    answer, _ = page.login()
    kept = str(answer.headers["Set-Cookie"])
    assert set(kept.split("; ")[1:]) == {"HttpOnly", "Path=/", "SameSite=Strict"}
    assert TOKEN not in kept
    cookie = kept.partition(";")[0]
    _, text = page.ask("GET", "/", Cookie=cookie)
    assert 'id="alerts"' in text
    with page.events(cookie) as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        assert value_of(stream, "figures")["tracked"] == 4
        page.watch.put(line())
        assert value_of(stream, "alerts")[0]["attacker"]["ip"] == "203.0.113.7"
        # Who leaves sees nothing more.
        page.ask("POST", "/logout", "", Cookie=cookie)
        stream.read()
    answer, _ = page.ask("GET", "/", Cookie=cookie)
    assert answer.headers["Location"] == "/login"


def test_without_the_key_there_is_nothing_to_see(page: Page) -> None:
    answer, text = page.login("x" * 20)
    assert (answer.status, answer.headers["Set-Cookie"]) == (403, None)
    assert '<p id="wrong" class="bad">' in text
    assert page.login("")[0].status == 403
    for cookie in ("", f"peeltap-{page.port}=", f"peeltap-{page.port}={TOKEN}", TOKEN):
        assert page.ask("GET", "/events", Cookie=cookie)[0].status == 401
    assert page.server.status()["wrong_tokens"] == 2


REQUESTS = {
    "the form": ("GET", "/login", 200),
    "its script": ("GET", "/page.js", 200),
    "its style": ("GET", "/page.css", 200),
    "the way to the form": ("GET", "/", 303),
    "no key": ("GET", "/events", 401),
    "no such page": ("GET", "/nothing", 404),
    "a file beside": ("GET", "/../server.py", 404),
    "another method": ("PUT", "/login", 405),
}


@pytest.mark.parametrize(("method", "path", "status"), REQUESTS.values(), ids=REQUESTS)
def test_every_answer_has_the_policy(page: Page, method: str, path: str, status: int) -> None:
    answer, _ = page.ask(method, path)
    assert answer.status == status
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS


def test_strange_names_and_strange_forms_are_refused(page: Page) -> None:
    cookie = page.cookie()
    for path in ("/", "/login", "/events", "/page.js"):
        answer, text = page.ask("GET", path, Host="attacker.example", Cookie=cookie)
        assert (answer.status, "page.names" in text) == (421, True)
    for headers in ({"Origin": "http://attacker.example"}, {"Sec_Fetch_Site": "cross-site"}):
        assert page.login(**headers)[0].status == 403
        assert page.ask("POST", "/logout", "", Cookie=cookie, **headers)[0].status == 403
    assert page.ask("GET", "/", Cookie=cookie)[0].status == 200
    assert page.login(Origin=f"http://127.0.0.1:{page.port}")[0].status == 303


def test_only_so_many_may_look(page: Page) -> None:
    cookie = page.cookie()
    with page.events(cookie) as one, page.events(cookie):
        answer, _ = page.ask("GET", "/events", Cookie=cookie)
        assert answer.status == 503
        assert page.server.status()["turned_away"] == 1
        value_of(one, "figures")
    until(lambda: page.server.status()["viewers"] == 0, "the viewers to be gone")
    assert not page.watch.is_looked_at
    with page.events(cookie) as stream:
        value_of(stream, "figures")


def test_a_browser_that_takes_nothing_holds_nobody(page: Page) -> None:
    cookie = page.cookie()
    with socket.socket() as slow, page.events(cookie) as quick:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", page.port))
        slow.sendall(
            f"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\n\r\n".encode()
        )
        until(lambda: page.server.status()["viewers"] == 2, "both viewers")
        seen = 0
        while page.server.status()["missed"] == 0:
            page.watch.put(b"".join(line(port=port) for port in range(1, QUEUE + 1)))
            seen += len(value_of(quick, "alerts"))
        assert page.server.status()["viewers"] == 2
        assert seen >= QUEUE


def test_whoever_only_connects_is_let_go_and_a_viewer_is_not(page: Page) -> None:
    server = page.server
    with page.events(page.cookie()) as stream:
        value_of(stream, "figures")
        server._connection_seconds = 0.0
        with socket.create_connection(("127.0.0.1", page.port), timeout=60) as silent:
            assert silent.recv(100) == b""
        # A viewer's time comes as well, and nothing comes of it.
        [viewer] = server._streams
        assert server._loop is not None
        server._loop.call_soon_threadsafe(server._end_unless_viewer, viewer)
        for _ in range(2):
            value_of(stream, "figures")


def test_nonsense_and_large_forms_end_their_sender_only(
    page: Page, capfd: pytest.CaptureFixture[str]
) -> None:
    # It may be hung up on before it has said, or read, all.
    with (
        contextlib.suppress(ConnectionError),
        socket.create_connection(("127.0.0.1", page.port), timeout=60) as odd,
    ):
        odd.sendall(b"\xff" * 70_000 + b"\r\n\r\n")
        odd.recv(1000)
    assert page.login("x" * 100_000)[0].status == 413
    assert page.ask("POST", "/login", "nothing", Cookie="\x01=;;;=")[0].status == 400
    assert page.ask("POST", "/login", "nothing", Cookie='a="b;;;=')[0].status == 403
    form = "application/x-www-form-urlencoded"
    for kind, body, status in (
        ("multipart/form-data; boundary=b", "nothing", 415),
        ("application/json", "{}", 415),
        (f"{form}; charset=none-such", "token=x", 400),
        (f"{form}; charset=utf-8", "token=%ff", 403),
    ):
        assert page.ask("POST", "/login", body, Content_Type=kind)[0].status == status, kind
    assert page.ask("GET", "/login")[0].status == 200
    # Whoever reaches the port must not write the log.
    assert (page.said, capfd.readouterr().err) == ([], "")


def test_a_fault_of_ours_is_said_once(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page.server._door, "enter", lambda given: 1 / 0)
    for _ in range(2):
        answer, text = page.login()
        assert (answer.status, "ZeroDivision" in text) == (500, False)
        assert answer.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]
    assert page.said == [(logging.ERROR, "page: ZeroDivisionError: division by zero")]


def test_a_token_that_is_gone_is_said_in_the_log_and_not_to_strangers(
    page: Page, tmp_path: Path
) -> None:
    (tmp_path / "token").unlink()
    answer, text = page.login()
    assert (answer.status, str(tmp_path) in text) == (503, False)
    [(level, sentence)] = page.said
    assert (level, str(tmp_path) in sentence) == (logging.WARNING, True)


def test_guesses_do_not_keep_out_who_knows(tmp_path: Path) -> None:
    page = Page(tmp_path, wrong_seconds=3600.0)
    waiting = []
    try:
        for _ in range(WRONG_AT_A_TIME):
            guess = http.client.HTTPConnection("127.0.0.1", page.port, timeout=60)
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            guess.request("POST", "/login", "token=guess", form)
            waiting.append(guess)
        wrong = page.server.status
        until(lambda: wrong()["wrong_tokens"] == WRONG_AT_A_TIME, "the guesses to be looked at")
        assert page.login("another-guess")[0].status == 429
        assert page.login()[0].status == 303
    finally:
        for guess in waiting:
            guess.close()
        page.server.close()


def test_it_ends_while_somebody_looks(tmp_path: Path) -> None:
    page = Page(tmp_path)
    with page.events(page.cookie()) as stream:
        value_of(stream, "figures")
        page.server.close()
        with contextlib.suppress(http.client.IncompleteRead):
            stream.read()
    assert not page.server._thread.is_alive()
    with pytest.raises(ConnectionRefusedError):
        page.ask("GET", "/")


def test_what_keeps_it_from_being_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Page(tmp_path)
    taken = settings(tmp_path, listen=f"127.0.0.1:{first.port}")
    with pytest.raises(OSError, match="in use"):
        PageServer(taken, Watch(), Decoys(), dict, say=lambda *_: None)
    first.server.close()
    (tmp_path / "token").write_text("short")
    with pytest.raises(PageError, match="fewer than 16 characters"):
        PageServer(taken, Watch(), Decoys(), dict, say=lambda *_: None)
    monkeypatch.setitem(sys.modules, "aiohttp.web", None)
    with pytest.raises(PageError, match=r"install it, or peeltap\[page\]"):
        PageServer(taken, Watch(), Decoys(), dict, say=lambda *_: None)
