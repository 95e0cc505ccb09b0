"""Many attacks in a row, or one connection that is kept: a client in the attacker's place.

    attacks.py many FIRST COUNT PAUSE    connections from ports FIRST.., PAUSE seconds between them
    attacks.py keep PORT                 one connection; a request for each line of standard input

Each request asks for a path that sets off the traversal rule, and says on standard output when it
has been answered: `PORT STATUS`.
"""

from __future__ import annotations

import socket
import sys
import time

SOURCE, TARGET = "203.0.113.7", ("192.168.110.2", 80)
# Not above the root: to that nginx says 400 and hangs up.
PATH = "/cgi-bin/.%2e/{}"


def connect(port: int) -> socket.socket:
    stream = socket.socket()
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    stream.settimeout(60)
    stream.bind((SOURCE, port))
    stream.connect(TARGET)
    return stream


def receive(stream: socket.socket) -> bytes:
    data = stream.recv(65536)
    if not data:
        raise ConnectionError("hung up")
    return data


def ask(stream: socket.socket, port: int, number: int, more: bool) -> None:
    ending = "keep-alive" if more else "close"
    path = PATH.format(f"{port}-{number}")
    stream.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: {ending}\r\n\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += receive(stream)
    head, _, body = answer.partition(b"\r\n\r\n")
    fields = head.lower().split(b"\r\n")
    [length] = [int(one.split(b":")[1]) for one in fields if one.startswith(b"content-length:")]
    while len(body) < length:
        body += receive(stream)
    print(port, head.split()[1].decode(), flush=True)


def many(first: int, count: int, pause: float) -> None:
    for port in range(first, first + count):
        with connect(port) as stream:
            ask(stream, port, 0, more=False)
        time.sleep(pause)


def keep(port: int) -> None:
    with connect(port) as stream:
        print(port, "connected", flush=True)
        for number, _line in enumerate(sys.stdin):
            ask(stream, port, number, more=True)


if __name__ == "__main__":
    if sys.argv[1] == "many":
        many(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
    else:
        keep(int(sys.argv[2]))
