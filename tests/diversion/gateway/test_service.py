"""A gateway's process: files that change, signals, what it says when it cannot run."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from diversion.gateway import service
from diversion.gateway.rules import Rules
from diversion.gateway.service import Gateway, ServiceError
from diversion.gateway.settings import GatewaySettings
from diversion.proxy.loop import Loop
from diversion.snat.source import OwnSource, SourceError


def load(path: Path) -> Rules:
    """Rules as JSON, which pydantic reads itself."""
    return Rules.model_validate_json(path.read_text())


def settings(rules: Path, *, log: str = "-", metrics: str | None = None) -> GatewaySettings:
    data: dict[str, object] = {
        "gateway1": {"agents": {"edge": {"from": ["127.0.0.1"]}}, "rules": str(rules)},
        "log": log,
    }
    if metrics is not None:
        data["metrics"] = {"listen": metrics}
    return GatewaySettings.model_validate(data)


RULES = '{"decoys": {"a": {"gateway2": "127.0.0.1:9"}}, "rules": [%s]}'


def test_rules_are_read_anew_when_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "WATCH", 0.1)
    path = tmp_path / "rules.json"
    path.write_text(RULES % "")
    loop = Loop()
    read, write = os.pipe()
    gateway = Gateway(settings(path), loop, write, load)
    gateway.start()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    steps = iter(
        [
            ("", "rules refused, the old ones stay"),
            (RULES % '{"listen": ["127.0.0.1:0"], "decoy": "a"}', "port 0 is no port"),
            (RULES % '{"listen": ["127.0.0.1:%d"], "decoy": "a"}' % port, "rules read"),
        ]
    )
    said = b""
    wanted = "started"

    def look() -> None:
        nonlocal said, wanted
        os.set_blocking(read, False)
        try:
            said += os.read(read, 65536)
        except BlockingIOError:
            time.sleep(0.01)
        if wanted.encode() in said:
            step = next(steps, None)
            if step is None:
                gateway.stop()
                return
            draft = tmp_path / "draft"
            draft.write_text(step[0])
            draft.replace(path)
            wanted = step[1]
        loop.soon(look)

    loop.soon(look)
    assert gateway.gateway1 is not None
    loop.run()
    [listener] = gateway.gateway1.listeners()
    assert listener["listen"] == f"127.0.0.1:{port}"
    gateway.close()
    loop.close()


def test_whatever_happens_at_a_look_there_is_a_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "WATCH", 0.1)
    path = tmp_path / "rules.json"
    path.write_text(RULES % "")
    loop = Loop()
    gateway = Gateway(settings(path), loop, os.open(os.devnull, os.O_WRONLY), load)
    looks = 0

    def reload() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            gateway.stop()
            loop.stop()
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(gateway, "reload", reload)
    loop.failed = lambda _: None
    gateway.start()
    path.write_text(RULES % " ")
    loop.run()
    assert looks == 2
    gateway.close()
    loop.close()


def test_rules_that_are_wrong_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    path.write_text(RULES % '{"agent": "egde", "listen": ["127.0.0.1:1"], "decoy": "a"}')
    with pytest.raises(ServiceError, match=r"rules\.json: rules\[0\]\.agent: 'egde' is not in"):
        service.run(settings(path, log=str(tmp_path / "log")), load)


def test_an_address_that_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    path.write_text(RULES % "")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ServiceError, match="in use"):
            service.run(settings(path, metrics=at, log=str(tmp_path / "log")), load)


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"log: .*No such file or directory"):
        service.run(settings(tmp_path, log=str(tmp_path / "no/log")), load)


def test_a_source_that_cannot_be_set_up_is_taken_down_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        at = f"127.0.0.1:{free.getsockname()[1]}"
    two = {
        "listen": [{"address": at, "decoy": ["127.0.0.1:9"]}],
        "trusted": ["127.0.0.1"],
        "source": "own",
    }
    loop = Loop()
    read, write = os.pipe()
    gateway = Gateway(GatewaySettings.model_validate({"gateway2": two}), loop, write, load)
    closed: list[str] = []

    class Half(OwnSource):
        def open(self) -> None:
            raise SourceError("half of it")

        def close(self) -> None:
            closed.append("it")

    assert gateway.gateway2 is not None
    gateway.gateway2.source = Half()
    with pytest.raises(ServiceError, match="half of it"):
        gateway.start()
    assert closed == ["it"]
    loop.close()
    for end in (read, write):
        os.close(end)
