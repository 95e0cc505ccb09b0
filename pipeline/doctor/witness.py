"""Those who look on while the canary flies: at a sink's file, and at an interface."""

from __future__ import annotations

import ctypes
import os
import select
import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from reassembly import capture_filter

MAX_LINE: Final = 1 << 20
MAX_FRAME: Final = (1 << 16) + 64

# asm-generic/socket.h, linux/if_ether.h
SO_ATTACH_FILTER: Final = 26
ETH_P_ALL: Final = 3


class Follower:
    """The lines that are added to a file from now on; it may be absent, renamed or cut."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = self._open()
        self._rest = b""
        if self._file is not None:
            self._file.seek(0, os.SEEK_END)

    def _open(self) -> Any:
        try:
            return self._path.open("rb", buffering=0)
        except OSError:
            return None

    def lines(self) -> Iterator[bytes]:
        """Whole lines that came since the last call."""
        while True:
            if self._file is None:
                self._file = self._open()
                if self._file is None:
                    return
            data = self._file.read(MAX_LINE)
            if data:
                *whole, rest = (self._rest + data).split(b"\n")
                self._rest = rest[-MAX_LINE:]
                yield from whole
            elif not self._is_current():
                self.close()
            else:
                return

    def _is_current(self) -> bool:
        ours = os.fstat(self._file.fileno())
        if ours.st_size < self._file.tell():
            self._file.seek(0)
            self._rest = b""
            return True
        try:
            there = self._path.stat()
        except OSError:
            return True
        return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._rest = b""


class Watch:
    """The frames of some TCP ports on an interface, from now on; raises OSError, FilterError."""

    def __init__(self, interface: str, ports: Sequence[int]) -> None:
        expression = " or ".join(f"tcp port {port}" for port in ports)
        program = capture_filter.compile_filter(expression)
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        try:
            # The filter first: a busy tap would fill the socket with what nobody asked for.
            _attach(self._socket, program)
            self._socket.bind((interface, ETH_P_ALL))
        except OSError:
            self._socket.close()
            raise
        self._socket.setblocking(False)

    def frames(self, seconds: float) -> Iterator[bytes]:
        """What came, after waiting for the first of it."""
        ready, _, _ = select.select([self._socket], [], [], seconds)
        while ready:
            try:
                yield self._socket.recv(MAX_FRAME)
            except BlockingIOError:
                return

    def close(self) -> None:
        """Look no longer."""
        self._socket.close()


def _attach(to: socket.socket, program: Sequence[capture_filter.Instruction]) -> None:
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    held = ctypes.create_string_buffer(code)
    # struct sock_fprog: the pointer stands on its own boundary.
    to.setsockopt(
        socket.SOL_SOCKET,
        SO_ATTACH_FILTER,
        struct.pack("=HxxxxxxQ", len(program), ctypes.addressof(held)),
    )
