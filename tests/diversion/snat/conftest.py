"""A host with a decoy behind it, for sources that change the kernel's tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.netns import Lab

ROOT = Path(__file__).parents[3]
HERE, DECOY = {4: "192.0.2.1", 6: "2001:db8::1"}, {4: "192.0.2.2", 6: "2001:db8::2"}
PEER = {4: "203.0.113.7", 6: "2001:db8:113::7"}

_DECOY = """
import socket, sys, threading
def talk(sock, seen):
    sock.sendall(("%s %d\\n" % seen[:2]).encode())
    sock.recv(1)
    sock.close()
def serve(listening):
    while True:
        threading.Thread(target=talk, args=listening.accept()).start()
for address in sys.argv[1:]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.create_server((address, 80), family=family, backlog=128)
    threading.Thread(target=serve, args=(listening,)).start()
"""


class Host:
    """Where the source is, and the decoy that says whom it sees."""

    def __init__(self, lab: Lab) -> None:
        self.here, self.decoy = lab.namespace("here"), lab.namespace("decoy")
        lab.connect(
            (self.here, "eth0", [f"{HERE[4]}/24", f"{HERE[6]}/64"]),
            (self.decoy, "eth0", [f"{DECOY[4]}/24", f"{DECOY[6]}/64"]),
        )
        lab.route(self.decoy, "0.0.0.0/0", interface="eth0", via=HERE[4])
        lab.route(self.decoy, "::/0", interface="eth0", via=HERE[6])
        self.decoy.spawn([sys.executable, "-c", _DECOY, DECOY[4], DECOY[6]], log="decoy.log")
        self.decoy.wait_listening(80)

    def python(self, script: str) -> Any:
        """Run a script here that has `loop`, `connect` and `say`; gives what it says, from JSON."""
        path = self.here.directory / "script.py"
        path.write_text(_BEFORE + script)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        argv = self.here.command([sys.executable, path], contained=False)
        done = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=180)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


_BEFORE = """
import json, os, select, socket, sys
from diversion.proxy.addresses import parse_range
from diversion.proxy.loop import Deadline, Loop

loop = Loop()

def say(what):
    json.dump(what, sys.stdout)
    sys.stdout.flush()

def rounds(seconds=0.3):
    loop.at(loop.now + seconds, Deadline(lambda now: loop.stop()))
    loop.run()

def connect(source, peer, decoy):
    '''Connect as the peer; gives what the decoy says, what went wrong, the socket, the end.'''
    sock = socket.socket(socket.AF_INET6 if ":" in decoy[0] else socket.AF_INET)
    answer = []
    over, _ = source.begin(sock, peer, decoy, answer.append)
    if not answer:
        rounds()
    if answer[0] is not None:
        return None, answer[0], sock, over
    sock.settimeout(60)
    try:
        sock.connect(decoy)
        return sock.recv(100).decode().strip(), None, sock, over
    except OSError as error:
        return None, str(error), sock, over
"""


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """A host of its own for each module."""
    with Lab() as lab:
        yield Host(lab)
