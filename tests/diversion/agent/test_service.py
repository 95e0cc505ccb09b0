"""The agent as its users have it: one file, run by a Python that has nothing else."""

from __future__ import annotations

import ast
import json
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from diversion.agent import service
from diversion.agent.config import AgentConfig
from diversion.proxy.hub import raise_file_limit
from diversion.proxy.loop import Loop
from tests.diversion.running import read_exactly, reset, server

ROOT = Path(__file__).parents[3]
AGENT = sorted([*(ROOT / "diversion/proxy").glob("*.py"), *(ROOT / "diversion/agent").glob("*.py")])


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """peeltap-agent.pyz, as `make agent` builds it."""
    path = tmp_path_factory.mktemp("agent") / "peeltap-agent.pyz"
    subprocess.run([sys.executable, ROOT / "scripts/make_agent.py", path], check=True)
    return path


# Isolated and without site-packages: the standard library is all there is.
ALONE = ("-I", "-S")
BARE = [sys.executable, *ALONE]


def pythons() -> list[str]:
    """This machine's own python3, and the oldest that is promised where it is here: 3.9."""
    found = [path for path in ("/usr/bin/python3",) if Path(path).exists()] or [sys.executable]
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for path in (shutil.which("python3.9"), *sorted(root.glob("versions/3.9.*/bin/python3.9"))):
        # A shim of pyenv is there also where its Python is not.
        if path and subprocess.run([path, *ALONE, "-c", ""], capture_output=True).returncode == 0:
            return [*found, str(path)]
    return found


@pytest.fixture(scope="module", params=pythons(), ids=lambda path: Path(path).name)
def python(request: pytest.FixtureRequest) -> str:
    """Each Python that users may have."""
    return str(request.param)


def test_help_on_a_bare_python(archive: Path, python: str) -> None:
    argv: list[str | Path] = [python, *ALONE, archive, "--help"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "--config" in done.stdout
    assert "gateway1" in done.stdout


def test_python_3_9_knows_everything_that_it_uses() -> None:
    """vermin knows since when each name of the standard library is there."""
    vermin = Path(sys.executable).with_name("vermin")
    command: list[str | Path] = [vermin, "-t=3.9-", "--violations", "--no-tips"]
    # Guarded by hasattr: without it bytes are copied.
    for name in ("os.splice", "os.SPLICE_F_MOVE", "os.SPLICE_F_NONBLOCK"):
        command += ["--exclude", name]
    done = subprocess.run([*command, *AGENT], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", AGENT, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_its_grammar_is_that_of_python_3_9(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    # Outside annotations, which stay text, `X | None` would be evaluated.
    first = tree.body[1] if len(tree.body) > 1 else None
    if first is not None:
        assert isinstance(first, ast.ImportFrom)
        assert first.module == "__future__"


def test_wrong_use_is_a_message(archive: Path, tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    path.write_text('{"name": "edge"}')
    done = subprocess.run([*BARE, archive, "-c", path], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"{path}: gateway1: missing; ADDRESS:PORT\n"
    path.write_text('{"name": "edge", "gateway1": "192.0.2.1:1"}')
    assert subprocess.run([*BARE, archive, "-c", path, "--check"]).returncode == 0


class Agent:
    """The agent's process with one listener on loopback."""

    def __init__(
        self, archive: Path, directory: Path, gateway1: tuple[str, int], python: str
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.at = free.getsockname()
        config = {
            "name": "edge",
            "gateway1": f"{gateway1[0]}:{gateway1[1]}",
            "rules": False,
            "listeners": [{"name": "web", "listen": f"127.0.0.1:{self.at[1]}"}],
            "log": str(directory / "agent.log"),
            "limits": {"connections": 15_000, "per_peer": 15_000},
        }
        path = directory / "agent.json"
        path.write_text(json.dumps(config))
        self.process = subprocess.Popen([python, *ALONE, archive, "--config", path])
        for _ in range(6000):
            try:
                socket.create_connection(self.at, timeout=60).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.02)


@pytest.fixture
def agent(archive: Path, tmp_path: Path, python: str) -> Iterator[tuple[Agent, socket.socket]]:
    with server() as (listening, to):
        made = Agent(archive, tmp_path, to, python)
        listening.accept()[0].close()
        yield made, listening
        made.process.kill()
        made.process.wait()


def test_sigterm_drains(agent: tuple[Agent, socket.socket], tmp_path: Path) -> None:
    made, listening = agent
    with socket.create_connection(made.at, timeout=60) as peer:
        decoy, _ = listening.accept()
        assert read_exactly(decoy, 28)[:12] == b"\r\n\r\n\0\r\nQUIT\n"
        made.process.send_signal(signal.SIGTERM)
        while b'"draining"' not in (tmp_path / "agent.log").read_bytes():
            time.sleep(0.02)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(made.at, timeout=60)
        peer.sendall(b"still here")
        assert decoy.recv(100) == b"still here"
        decoy.close()
    assert made.process.wait(60) == 0
    lines = [json.loads(line) for line in (tmp_path / "agent.log").read_text().splitlines()]
    assert lines[-1]["bytes_to_decoy"] == 10


def test_it_relays(agent: tuple[Agent, socket.socket]) -> None:
    """Both ways, few bytes and many, a half-close, and a reset."""
    made, listening = agent
    many = bytes(range(256)) * 8192
    with socket.create_connection(made.at, timeout=60) as peer:
        decoy, _ = listening.accept()
        decoy.settimeout(60)
        with decoy:
            header = read_exactly(decoy, 28)
            assert header[16:20] == socket.inet_aton("127.0.0.1")
            assert header[24:] == struct.pack("!HH", peer.getsockname()[1], made.at[1])
            # The sockets' buffers do not hold all of it.
            sender = threading.Thread(target=peer.sendall, args=(many,))
            sender.start()
            assert read_exactly(decoy, len(many)) == many
            sender.join()
            peer.shutdown(socket.SHUT_WR)
            assert decoy.recv(1) == b""
            decoy.sendall(b"after your end")
            assert peer.recv(100) == b"after your end"
            reset(decoy)
            with pytest.raises(ConnectionResetError):
                peer.recv(1)


def test_10_000_connections_take_less_than_300_mib(agent: tuple[Agent, socket.socket]) -> None:
    """Half of them have said something that nobody reads, so that it has to be held."""
    made, listening = agent
    listening.listen(4096)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    raise_file_limit(10_000)
    # Only CAP_SYS_RESOURCE lets a process go beyond its hard limit.
    count = min(10_000, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100) // 2)
    held: list[socket.socket] = []
    try:
        while len(held) < 2 * count:
            some = min(100, count - len(held) // 2)
            for _ in range(some):
                peer = socket.create_connection(made.at, timeout=60)
                held.append(peer)
                if len(held) % 4:
                    peer.sendall(b"x" * 2000)
            held += [listening.accept()[0] for _ in range(some)]
        status = Path(f"/proc/{made.process.pid}/status").read_text()
        [resident] = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")]
        assert int(resident) < 300 * 1024
    finally:
        for sock in held:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_gateway1_to_which_connect_itself_refuses_to_go(tmp_path: Path) -> None:
    """Its reason is said, and nothing waits for an answer that cannot come."""
    config = AgentConfig("edge", ("255.255.255.255", 7000), log=str(tmp_path / "log"))
    loop = Loop()
    read, write = os.pipe()
    made = service.Agent(config, loop, write)
    made.start()
    made.hub.lines.flush()
    assert b"no conversation with gateway1" in os.read(read, 4096)
    with pytest.raises(OSError, match=r"unreachable|denied"):
        made._connect_channel()
    made.stop()
    loop.close()
    for fd in (read, write):
        os.close(fd)
