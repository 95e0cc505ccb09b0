"""Syslog to a real rsyslog, over each of the ways; killed, stopped, restarted."""

from __future__ import annotations

import re
import socket
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from suricata.sinks.client import Outgoing, Unavailable
from suricata.sinks.settings import Syslog
from suricata.sinks.syslog import SyslogClient
from tests.support.http_siem import papers
from tests.support.programs import (
    Program,
    answers,
    free_port,
    rsyslog,
    rsyslog_lacks_tls,
    until,
)
from tests.support.sink_load import drive, many, outgoing

pytestmark = pytest.mark.tool("rsyslogd")


def client(address: str, **more: Any) -> SyslogClient:
    return SyslogClient(
        Syslog.model_validate({"address": address, "timeout_seconds": 5, "host": "trap", **more})
    )


def received(directory: Path) -> list[str]:
    """Each whole line; behind them one may just be written."""
    file = directory / "received"
    return file.read_text().split("\n")[:-1] if file.exists() else []


def idents(directory: Path) -> Counter[str]:
    """How often each id was received, also behind a line that a kill has torn."""
    file = directory / "received"
    text = file.read_bytes() if file.exists() else b""
    return Counter(one.decode() for one in re.findall(rb'"id":"([0-9a-f.]+)"\}\}\n', text))


def over(directory: Path, way: str) -> tuple[str, Program]:
    """The address, and an rsyslog that listens there."""
    kind = socket.SOCK_DGRAM if way == "udp" else socket.SOCK_STREAM
    port = free_port(kind)
    at = f'port="{port}" address="127.0.0.1"'
    path = directory / "log"
    more = {}
    if way == "udp":
        inputs = f'module(load="imudp")\ninput(type="imudp" {at} rcvbufSize="8m")'
        # Its port is there as soon as nobody else can have it.
        return f"udp://127.0.0.1:{port}", rsyslog(directory, inputs, lambda: _taken(port))
    if way == "unix":
        inputs = f"""module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{path}" useSpecialParser="off" parseHostname="on"
      rateLimit.Interval="0" createPath="on")"""
        return f"unix:{path}", rsyslog(directory, inputs, path.exists)
    module = ""
    if way == "tls":
        assert not rsyslog_lacks_tls(), "rsyslog has no TLS: apt-get install rsyslog-gnutls"
        papers(directory)
        pem = directory / "server.pem"
        more = {
            "defaultNetstreamDriverCAFile": str(directory / "ca.pem"),
            "defaultNetstreamDriverCertFile": str(pem),
            "defaultNetstreamDriverKeyFile": str(pem),
        }
        driver = {"Name": "gtls", "Mode": "1", "AuthMode": "x509/certvalid"}
        module = " ".join(f'StreamDriver.{key}="{value}"' for key, value in driver.items())
    inputs = f'module(load="imtcp" {module})\ninput(type="imtcp" {at})'
    host = "localhost" if way == "tls" else "127.0.0.1"
    return f"{way}://{host}:{port}", rsyslog(directory, inputs, lambda: answers(port), **more)


def _taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def proof(directory: Path, way: str) -> dict[str, str]:
    """What the other side wants of us."""
    if way != "tls":
        return {}
    return {"ca": str(directory / "ca.pem"), "cert": str(directory / "client.pem")}


@pytest.mark.parametrize("way", ["udp", "tcp", "tls", "unix"])
def test_messages_arrive_whole_over_each_way(tmp_path: Path, way: str) -> None:
    events = [
        *many(50),
        Outgoing("x.1", '{"text":"ünï\\n"}'.encode(), {"event_type": "an odd type"}),
        outgoing(60, payload="x" * 40_000),
    ]
    address, program = over(tmp_path, way)
    with program:
        sink = client(address, app="traps", facility="auth", **proof(tmp_path, way))
        assert address in sink.check()
        assert sink.deliver(events) == []
        until(lambda: len(received(tmp_path)) == len(events), "the messages")
        lines = received(tmp_path)
    start = "<34>1 2026-01-01T00:00:00.000000+00:00 trap traps - alert - "
    assert lines[0] == start + events[0].line.decode()
    assert lines[50] == '<38>1 - trap traps - - - {"text":"ünï\\n"}'
    assert [orjson.loads(line[line.index("{") :]) for line in lines] == [
        orjson.loads(one.line) for one in events
    ]
    status = sink.status()
    assert (status["messages"], status["connections"]) == (len(events), 1)
    sink.close()


MESSAGES = {
    # an event's part -> priority (of local0), time
    "severity 1": ({"alert": {"severity": 1}}, 130, "-"),
    "severity 2": ({"alert": {"severity": 2}}, 132, "-"),
    "severity 3": ({"alert": {"severity": 3}}, 133, "-"),
    "another severity": ({"alert": {"severity": 255}}, 134, "-"),
    "an odd severity": ({"alert": {"severity": {}}}, 134, "-"),
    "an odd alert": ({"alert": []}, 134, "-"),
    "a zone": (
        {"timestamp": "2026-01-01T00:00:00.5-0330"},
        134,
        "2026-01-01T00:00:00.5-03:30",
    ),
    "Z": ({"timestamp": "2026-01-01T00:00:00Z"}, 134, "2026-01-01T00:00:00Z"),
    "no zone": ({"timestamp": "2026-01-01T00:00:00"}, 134, "-"),
    "no time": ({"timestamp": "x> y"}, 134, "-"),
    "too many digits": ({"timestamp": "2026-01-01T00:00:00.0000000+0000"}, 134, "-"),
}


@pytest.mark.parametrize(("event", "priority", "stamp"), MESSAGES.values(), ids=MESSAGES)
def test_the_head_of_a_message(event: dict[str, Any], priority: int, stamp: str) -> None:
    message = client("udp://127.0.0.1:514")._message(Outgoing("x.1", b"{}", event))
    assert message == f"<{priority}>1 {stamp} trap peeltap - - - {{}}".encode()


def test_what_is_too_long_goes_nowhere(tmp_path: Path) -> None:
    events = many(4)
    events[1] = outgoing(1, payload="x" * 70_000)
    for way, most in (("tcp", 65_000), ("udp", 1 << 20)):
        # Of a datagram the socket itself says that it is too long.
        (tmp_path / way).mkdir()
        address, program = over(tmp_path / way, way)
        with program:
            [rejected] = client(address, max_bytes=most).deliver(events)
            assert rejected.index == 1
            assert "longer than the receiver may be sent" in rejected.reason
            place = tmp_path / way
            until(lambda place=place: len(idents(place)) == 3, "the others")  # type: ignore[misc]
            assert set(idents(place)) == {events[at].id for at in (0, 2, 3)}


def test_tls_is_verified_on_both_sides(tmp_path: Path) -> None:
    address, program = over(tmp_path, "tls")
    ca = str(tmp_path / "ca.pem")
    with program:
        with pytest.raises(Unavailable, match=r"no TLS .*; see ca, cert and key"):
            client(address, ca=str(tmp_path / "other.pem")).check()
        # Of TLS 1.3 a client without a certificate learns only afterwards that it is refused.
        sink = client(address, ca=ca)
        with pytest.raises(Unavailable, match=re.escape(f"syslog {address}: ")):
            sink.check()
        sink = client(address, **proof(tmp_path, "tls"))
        assert re.search(r"connected, TLSv1\.[23]; syslog acknowledges nothing", sink.check())
    with pytest.raises(ValueError, match=r"cert: .* cannot be used"):
        client(address, ca=ca, cert=str(tmp_path / "ca.pem"))


@pytest.mark.parametrize(("way", "count"), [("tcp", 20_000), ("unix", 3000)])
def test_a_receiver_that_is_slow_is_waited_for_and_gets_nothing_twice(
    tmp_path: Path, way: str, count: int
) -> None:
    events = many(count)
    address, program = over(tmp_path, way)
    with program:
        sink = client(address, timeout_seconds=5)
        sink.deliver(events[:10])
        program.pause()
        sink._link._settings = sink._settings.model_copy(update={"timeout_seconds": 0.3})
        with pytest.raises(Unavailable, match=r"not all taken within 0\.3 s"):
            sink.deliver(events[10:])
        program.go_on()
        drive(sink, events[10:], size=count)
        until(lambda: set(idents(tmp_path)) >= {one.id for one in events}, "the events")
        assert sink.status()["connections"] == 1
        assert max(idents(tmp_path).values()) == 1


def test_what_a_killed_receiver_had_not_read_is_sent_again(tmp_path: Path) -> None:
    events = many(1000)
    address, program = over(tmp_path, "tcp")
    with program:
        sink = client(address)
        sink.deliver(events[:10])
        until(lambda: len(idents(tmp_path)) == 10, "the first")
        # Its kernel acknowledges all of it, and it reads none of it.
        program.pause()
        assert sink.deliver(events[10:60]) == []
        program.restart()
        assert sink.deliver(events[60:]) == []
        assert sink.status()["resent"] == 60
        until(lambda: set(idents(tmp_path)) == {one.id for one in events}, "all events")
        # Nothing is kept beyond its bound.
        small = client(address, resend_kb=0)
        small.deliver(events)
        assert not small._link._kept


def test_a_receiver_that_is_gone_is_told(tmp_path: Path) -> None:
    address, program = over(tmp_path, "tcp")
    with program:
        sink = client(address)
        sink.deliver(many(1))
    with pytest.raises(Unavailable, match="Connection refused; see whether it runs, and the addr"):
        sink.deliver(many(1))
    with pytest.raises(Unavailable, match="No such file or directory"):
        client(f"unix:{tmp_path}/none").deliver(many(1))
    with pytest.raises(Unavailable, match="Connection refused"):
        client(f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}").deliver(many(1))


def test_a_stop_ends_a_batch_that_waits(tmp_path: Path) -> None:
    address, program = over(tmp_path, "tcp")
    with program:
        sink = client(address, timeout_seconds=60)
        sink.deliver(many(1))
        program.pause()
        timer = threading.Timer(0.2, sink.abort)
        timer.start()
        with pytest.raises(Unavailable, match="stopped amid a batch"):
            sink.deliver(many(50_000))
        with pytest.raises(Unavailable, match="stopped"):
            sink.deliver(many(1))
        program.go_on()
        sink.close()
