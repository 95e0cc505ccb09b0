"""The conversation with gateway1: rules come, reports go; begun anew whenever it ends."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Callable
from typing import Any

from diversion.proxy.control import BEAT, PREFACE, Talk
from diversion.proxy.listeners import Listener, read_listeners
from diversion.proxy.loop import Deadline, Loop
from diversion.proxy.pump import End

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0

Connect = Callable[[], End]
"""A socket or TLS end whose connect(2) to gateway1 is under way; OSError."""


class Channel:
    """Keeps the conversation going; the agent is told of rules, and asked for reports."""

    def __init__(
        self,
        loop: Loop,
        connect: Connect,
        *,
        hello: Callable[[], dict[str, Any]],
        rules: Callable[[str, tuple[Listener, ...]], None],
        report: Callable[[], dict[str, Any]],
        say: Callable[..., None],
    ) -> None:
        self._loop = loop
        self._connect = connect
        self._hello = hello
        self._rules = rules
        self._report = report
        self._say = say
        self._talk: Talk | None = None
        self._connecting: End | None = None
        self._pause = FIRST_PAUSE
        self._last_why = ""
        self._again = Deadline(self._begin)
        self._beat = Deadline(self._beats)

    def start(self) -> None:
        """Begin the first conversation."""
        self._begin(self._loop.now)

    def report(self) -> None:
        """Say how the listeners are, if gateway1 is there to hear it."""
        if self._talk is not None:
            self._talk.say({"report": self._report()})

    def stop(self) -> None:
        """End it for good."""
        self._loop.cancel(self._again)
        self._loop.cancel(self._beat)
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            self._loop.unregister(connecting.fd)
            connecting.close()
        talk, self._talk = self._talk, None
        if talk is not None:
            talk.close("stopping")
        self._loop.cancel(self._again)

    def _begin(self, _: float) -> float | None:
        try:
            end = self._connect()
        except OSError as error:
            self._over(error.strerror or str(error))
            return None

        def connected(_: int) -> None:
            self._connecting = None
            self._loop.unregister(end.fd)
            number = end.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                end.close()
                self._over(_reason(number))
                return
            self._talk = Talk(self._loop, end, message=self._message, closed=self._over)
            self._talk.raw(PREFACE)
            if self._talk is not None:
                self._talk.say({"hello": self._hello()})

        self._connecting = end
        self._loop.register(end.fd, connected, select.EPOLLOUT)
        return None

    def _message(self, message: dict[str, Any]) -> None:
        self._pause = FIRST_PAUSE
        self._last_why = ""
        rules = message.get("rules")
        if rules is None:
            return
        try:
            serial = rules["serial"]
            if not isinstance(serial, str):
                raise ValueError("the serial must be text")
            listeners = read_listeners(rules["listeners"])
        except (ValueError, KeyError, TypeError) as error:
            # What is wrong as a whole changes nothing.
            self._say("error", "rules refused", why=str(error)[:1000])
            return
        self._rules(serial, listeners)
        self.report()
        self._loop.at(self._loop.now + BEAT, self._beat)

    def _beats(self, now: float) -> float | None:
        if self._talk is None:
            return None
        self.report()
        return now + BEAT

    def _over(self, why: str) -> None:
        self._talk = None
        self._loop.cancel(self._beat)
        if why != self._last_why:
            self._last_why = why
            self._say("warning", "no conversation with gateway1", why=why)
        self._loop.at(self._loop.now + self._pause, self._again)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)


def _reason(number: int) -> str:
    return {errno.ECONNREFUSED: "nothing listens there"}.get(number) or errno.errorcode[number]
