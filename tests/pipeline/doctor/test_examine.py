"""The whole examination, before a run and during one, and the canary through a living service."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fixtures.netns import Lab, Namespace, wait_until
from pipeline import config, config_check
from pipeline.control import Client, ControlError
from pipeline.doctor.examine import directories, examine, fly, load
from pipeline.doctor.finding import Finding
from tests.support.programs import Program, free_port, redis_server

ROOT = Path(__file__).parents[3]
PEELTAP = Path(sys.executable).with_name("peeltap")

GATEWAYS = "gateways: [{from: 172.16.23.1, to: 172.16.23.2:9000, headers: [proxy-v2]}]\n"
NO_SURICATA = "suricata: {external: {eve: eve.json}}\n"
WITHOUT_CLOCK = {"clock"}  # nobody keeps that of a laboratory


def _config(directory: Path, more: str = NO_SURICATA) -> Path:
    path = directory / "peeltap.yaml"
    path.write_text(
        f"{GATEWAYS}state: {{directory: state}}\ncontrol: {{socket: control.sock}}\n"
        f"sinks: [{{file: events.json}}]\n{more}"
        + ("" if "capture:" in more else "capture: {interface: br1}\n")
    )
    (directory / "eve.json").touch()
    return path


def _whole(path: Path) -> config_check.Whole:
    return config.load_live(path)[1]


def _states(findings: list[Finding], state: str) -> set[str]:
    return {one.topic for one in findings if one.state == state} - WITHOUT_CLOCK


def test_where_the_service_writes(tmp_path: Path) -> None:
    whole = _whole(_config(tmp_path))
    assert directories(whole) == {
        "state": tmp_path / "state",
        "control socket": tmp_path,
        "events: events.json": tmp_path,
    }


WORKERS = """
events: {{redis: {{url: "redis://127.0.0.1:{port}", partitions: 4, timeout_seconds: 5}}}}
flows: {{redis: {{url: "redis://127.0.0.1:{port}"}}}}
sinks: [{{file: events.json}}]
state: {{directory: state}}
metrics: {{listen: "127.0.0.1:{listen}"}}
"""


@pytest.mark.tool("redis-server")
def test_of_workers_redis_is_looked_at_and_nothing_of_a_capture(
    tmp_path: Path, server: Program, port: int
) -> None:
    path = tmp_path / "workers.yaml"
    path.write_text(WORKERS.format(port=port, listen=free_port()))
    whole = load(str(path))
    found = examine(whole)
    assert _states(found, "fail") == set()
    assert {one.topic for one in found} == {
        *("service", "clock", "directories", "redis", "inbox", "metrics")
    }
    [told] = [one for one in found if one.topic == "redis"]
    assert told.text.startswith(f"events.redis and flows.redis: redis://127.0.0.1:{port} answers")
    server.kill()
    assert _states(examine(whole), "fail") == {"redis"}


@pytest.mark.netns
@pytest.mark.tool("redis-server")
def test_of_a_sensor_redis_page_and_metrics_are_looked_at() -> None:
    port, taken, listen = 6390, 8470, 9469
    more = f"""
suricata: {{eve_redis: {{port: {port}}}}}
events: {{redis: {{url: "redis://127.0.0.1:{port}"}}}}
flows: {{redis: {{url: "redis://127.0.0.1:{port}"}}}}
page: {{listen: "127.0.0.1:{taken}", token: {{file: token}}}}
metrics: {{listen: "127.0.0.1:{listen}"}}
"""
    with (
        _host(more) as (lab, host, path),
        host.entered(),
        redis_server(lab.directory, port),
        socket.create_server(("127.0.0.1", taken)),
    ):
        found = examine(_whole(path), test_rules=False)
        (lab.directory / "token").write_text("0123456789abcdef")
        (lab.directory / "token").chmod(0o640)
        later = examine(_whole(path), test_rules=False)
    told = {(one.topic, one.state): one.text for one in found}
    assert told["page", "fail"].startswith(f"page.listen: 127.0.0.1:{taken} cannot be listened on")
    assert [one for one in found if "token cannot be read" in one.text]
    assert told["metrics", "ok"] == f"127.0.0.1:{listen} is free to listen on"
    redis = [one.text for one in found if one.topic == "redis"]
    assert [text for text in redis if "which Suricata writes to, is the same" in text]
    assert ("inbox", "ok") in told
    assert [one.text for one in later if one.topic == "page" and one.state == "ok"] == [
        f"its token is in the file {lab.directory / 'token'}"
    ]


@contextmanager
def _host(more: str = NO_SURICATA) -> Iterator[tuple[Lab, Namespace, Path]]:
    with Lab() as lab:
        host, guest = lab.namespace("host"), lab.namespace("guest")
        lab.attach(guest, "eth0", lab.bridge(host, "br1"))
        yield lab, host, _config(lab.directory, more)


@contextmanager
def _service(lab: Lab, host: Namespace, path: Path) -> Iterator[None]:
    """The service as a program of its own, in the host's namespace."""
    program = host.spawn([PEELTAP, "run", "-c", path], log="run.log", contained=False)

    def ready() -> bool:
        assert program.poll() is None, (lab.directory / "run.log").read_text()
        try:
            with Client(lab.directory / "control.sock") as client:
                status = client.ask("status")
        except ControlError:
            return False
        capturing = status["capture"].get("state") == "up" and status["workers"]
        return bool(capturing) and status["suricata"].get("state") in ("ready", "external")

    wait_until(ready, "the service", seconds=60)
    yield
    program.terminate()
    assert program.wait(timeout=60) == 0


@pytest.mark.netns
@pytest.mark.suricata
def test_before_the_first_run_nothing_is_wrong() -> None:
    with _host("suricata: {}\n") as (_, host, path), host.entered():
        found = examine(_whole(path))
    assert _states(found, "fail") == set()
    # It does not run, and alerts nobody of anything.
    assert _states(found, "warn") == {"service", "rules"}


@pytest.mark.netns
def test_without_any_privilege_it_says_so_and_looks_on() -> None:
    script = """
import ctypes, struct, sys
from pathlib import Path
from pipeline import config
from pipeline.doctor.examine import examine, fly
whole = config.load_live(sys.argv[1])[1]
data = struct.pack("=6I", 0, 0, 0, 0, 0, 0)
assert ctypes.CDLL(None).capset(struct.pack("=Ii", 0x20080522, 0), data) == 0
for one in [*examine(whole), *fly(whole, seconds=1.0)]:
    if one.state == "fail":
        print(one.topic, one.text, sep=": ")
"""
    with _host() as (_, host, path), host.entered():
        done = subprocess.run(
            [sys.executable, "-c", script, path], cwd=ROOT, capture_output=True, text=True
        )
    assert done.stderr == ""
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        "privileges",
        "kernel",
        "canary",
    ]
    assert "no network namespace can be made here" in done.stdout


@pytest.mark.netns
@pytest.mark.suricata
@pytest.mark.parametrize("mode", ["strip", "restore"])
def test_the_canary_comes_back_through_a_living_service(mode: str) -> None:
    with _host(f"suricata: {{}}\nmode: {mode}\n") as (lab, host, path), _service(lab, host, path):
        done = host.run([PEELTAP, "doctor", "-c", path, "--canary", "--json", "--seconds", "60"])
        with host.netlink() as netlink:
            links = {message.get_attr("IFLA_IFNAME") for message in netlink.get_links()}
    told: dict[str, Any] = json.loads(done)
    assert _failed(told) == []
    findings = {one["topic"]: one for one in told["findings"]}
    assert findings["canary"]["state"] == "ok"
    assert "(stripped)" in findings["canary"]["text"]
    assert findings["tap"]["text"] == "vtap0 is in quarantine"
    assert {"br1", "vtap0"} <= links
    assert not {name for name in links if name.startswith("pt-canary")}


def _failed(told: dict[str, Any]) -> list[str]:
    return [one["text"] for one in told["findings"] if one["state"] == "fail"]


@pytest.mark.netns
def test_where_it_is_lost_is_said() -> None:
    with _host() as (lab, host, path), _service(lab, host, path), host.entered():
        # Nobody listens on the tap.
        [unheard] = fly(_whole(path), seconds=3.0)
        # The service knows another leg.
        path.write_text(path.read_text().replace("172.16.23.1", "172.16.99.1"))
        [unknown] = fly(_whole(path), seconds=60.0)
        # Somebody gives the tap an address meanwhile.
        with host.netlink() as netlink:
            [index] = netlink.link_lookup(ifname="vtap0")
            netlink.addr("add", index=index, address="192.0.2.7", prefixlen=24)
        breaches = [one for one in examine(_whole(path)) if one.topic == "tap"]
    assert "on vtap0, without its header, but no event" in unheard.text
    assert "on vtap0 with its header still in front" in unknown.text
    assert [(one.state, one.remedy) for one in breaches] == [
        ("fail", "ip address delete 192.0.2.7/24 dev vtap0")
    ]


@pytest.mark.netns
def test_what_the_capture_leaves_out_does_not_come_to_the_tap() -> None:
    more = f"{NO_SURICATA}capture: {{interface: br1, filter: udp}}\n"
    with _host(more) as (lab, host, path), _service(lab, host, path), host.entered():
        [found] = fly(_whole(path), seconds=1.0)
    assert (found.state, "did not come to vtap0" in found.text) == ("fail", True)


@pytest.mark.netns
def test_as_a_table_and_only_what_is_not_well() -> None:
    with _host("capture: {interface: br7}\n" + NO_SURICATA) as (_, host, path):
        table = host.run([PEELTAP, "doctor", "-c", path, "--quick"], ok=(1,)).decode()
        short = host.run([PEELTAP, "doctor", "-c", path, "--quick", "-q"], ok=(1,)).decode()
        path.write_text(GATEWAYS)
        host.run([PEELTAP, "doctor", "-c", path], ok=(2,))
    assert "there is no br7" in table
    assert "-> make it (ip link add br7 type bridge)" in table
    assert "ok    privileges" in table
    assert "there is no br7" in short
    assert "privileges" not in short
