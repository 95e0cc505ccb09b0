"""Dialogues as text, driven through the engine.

A line is a packet that goes in, an arrow, and what comes out at once:

    c>s [S]                       -> c>s [S]
    s>c [S.] ack 0                -> s>c [S.] ack 0
    c>s [P.] 0:46 ack 0           -> c>s [P.] 0:18 ack 0
    c>s [.] 46 ack 0 <sack 0:5>   -> c>s [.] 18 ack 0 <sack 0:5>

`c` is the client. Flags are tcpdump's ([.] is a bare ACK). Every number is an offset in a stream:
0 is the first byte behind the SYN, so a SYN stands at -1 and needs no number. `0:46` are the
payload's bytes [0, 46) of the sender's stream, which in what comes out is the stream without its
header; a payload that is anything else is written out: `0:3 "abc"`, in Python's escapes. Then in
any order: `ack N`, `win N`, `urg N`, `<options>` with NOPs left out.

Out is `same` for the identical frame, `held` for nothing yet, `gone` for merged or dropped,
`nothing` where time passed for nothing; a packet with a wrong checksum has `bad ...:` in front of
it. A line that begins with `->` is one more packet out. An input is also `wait 5s` (time passes)
or `end` (of the input). A line without an arrow asserts nothing about what comes out.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import Any

from tests.support import packets
from tests.support.dissect import NotTcp, Segment, dissect, options_of, sack_blocks
from tests.support.driver import Driver
from tests.support.packets import ACK, FIN, PSH, RST, SYN, URG, Leg, Packet
from tests.support.reassembler import signed

FLAGS = {"F": FIN, "S": SYN, "R": RST, "P": PSH, "U": URG, ".": ACK}

_PACKET = re.compile(
    r"""(?P<who>c>s|s>c)\s+\[(?P<flags>[FSRPU.]+)\]
    (?:\s+(?P<left>-?\d+)(?::(?P<right>-?\d+))?)?
    (?:\s+(?P<literal>"(?:[^"\\]|\\.)*"))?
    (?P<rest>(?:\s+(?:ack|win|urg)\s+-?\d+|\s+<[^>]*>)*)\s*$""",
    re.VERBOSE,
)
_DETAIL = re.compile(r"(ack|win|urg)\s+(-?\d+)|<([^>]*)>")


@dataclass
class Talk:
    """A connection to write transcripts of, and the engine that reads it.

    `client` is what the client sends behind its header. Several talks may share one driver.
    """

    driver: Driver
    header: bytes = b""
    client: bytes = b""
    server: bytes = b""
    leg: Leg = field(default_factory=Leg)
    # The leg of the packets that come out, where it is another one (restore).
    out_leg: Leg | None = None
    client_isn: int = 1_000_000
    server_isn: int = 5_000_000
    # What the header's excision leaves of the client's stream; None: `client`.
    stripped: bytes | None = None

    def check(self, text: str) -> None:
        """Runs the transcript; a difference is reported as the whole transcript as it was."""
        wanted: list[str] = []
        actual: list[str] = []
        for line in (line.strip() for line in text.strip().splitlines()):
            if not line or line.startswith("#"):
                continue
            if line.startswith("->"):
                wanted.append(line)
                continue
            given, arrow, expected = (part.strip() for part in line.partition("->"))
            out, frame = self._step(given)
            shown = [self._shown(part, frame) for _, part in out]
            if not arrow:
                wanted.append(given)
                actual.append(given)
                continue
            wanted.append(f"{given} -> {expected}")
            if not shown:
                shown = ["nothing" if frame is None else "held" if self._was_held else "gone"]
            actual.append(f"{given} -> {shown[0]}")
            actual += [f"-> {line}" for line in shown[1:]]
        assert actual == wanted, "\n" + "\n".join(actual)

    def packet(self, line: str) -> Packet:
        """The packet that a transcript's line describes, as the sender sends it."""
        match = _PACKET.match(line)
        assert match, f"not a packet: {line}"
        from_client = match["who"] == "c>s"
        isn, peer_isn = self._isns(from_client)
        flags = sum(FLAGS[letter] for letter in match["flags"])
        left = int(match["left"] or (-1 if flags & SYN else 0))
        payload = b""
        if match["literal"]:
            payload = ast.literal_eval("b" + match["literal"])
        elif match["right"]:
            stream = self.header + self.client if from_client else self.server
            payload = stream[left : int(match["right"])]
            assert len(payload) == int(match["right"]) - left, f"{line}: the stream is too short"
        # In a SYN, the offset names its payload.
        seq = isn if flags & SYN else isn + 1 + left
        packet = Packet(from_client, seq, 0, flags, payload)
        for name, number, options in _DETAIL.findall(match["rest"]):
            if name == "ack":
                packet = packet.with_(ack=peer_isn + 1 + int(number))
            elif name:
                packet = packet.with_(**{{"win": "window", "urg": "urgent"}[name]: int(number)})
            else:
                packet = packet.with_(options=self._options(options, peer_isn))
        return packet

    def frame(self, line: str) -> bytes:
        return self.leg.frame(self.packet(line))

    def line(self, frame: bytes) -> str:
        """The transcript of a frame that came out. Raises `NotTcp`."""
        return self.show(dissect(frame, self.driver.link))

    def show(self, segment: Segment) -> str:
        leg = self.out_leg or self.leg
        from_client = segment.source == (leg.client, leg.client_port)
        if not from_client:
            assert segment.source == (leg.server, leg.server_port), segment
        isn, peer_isn = self._isns(from_client)
        stream = self.client if self.stripped is None else self.stripped
        stream = stream if from_client else self.server
        syn = segment.flags & SYN
        left = signed(segment.seq - isn - (0 if syn else 1))
        names = "".join(letter for letter, bit in FLAGS.items() if segment.flags & bit)
        text = f"{'c>s' if from_client else 's>c'} [{names}]"
        if segment.payload:
            right = left + len(segment.payload)
            text += f" {left}:{right}"
            if left < 0 or stream[left:right] != segment.payload:
                text += " " + repr(segment.payload)[1:].replace('"', '\\"').replace("'", '"')
        elif not syn:
            text += f" {left}"
        if segment.flags & ACK:
            text += f" ack {signed(segment.ack - peer_isn - 1)}"
        if segment.flags & URG:
            text += f" urg {segment.urgent}"
        if segment.window != Packet(True, 0, 0, 0).window:
            text += f" win {segment.window}"
        if options := self._options_shown(segment, peer_isn):
            text += f" <{options}>"
        return "".join(f"bad {fault}: " for fault in segment.faults) + text

    _was_held: bool = field(default=False, init=False)

    def _step(self, given: str) -> tuple[list[tuple[int, bytes]], bytes | None]:
        if given == "end":
            return self.driver.finish(), None
        if given.startswith("wait "):
            return self.driver.wait(float(given[5:].rstrip("s"))), None
        frame = self.frame(given)
        before = self.driver.packets["held"]
        out = self.driver.push(frame)
        self._was_held = self.driver.packets["held"] > before
        return out, frame

    def _shown(self, out: bytes, given: bytes | None) -> str:
        if out == given:
            return "same"
        try:
            return self.line(out)
        except NotTcp as reason:
            return f"not TCP ({reason})"

    def _isns(self, from_client: bool) -> tuple[int, int]:
        isns = (self.client_isn, self.server_isn)
        return isns if from_client else isns[::-1]

    def _options(self, text: str, peer_isn: int) -> bytes:
        row = []
        for option in text.split(","):
            name, *words = option.split()
            if name == "sack":
                edges = [[peer_isn + 1 + int(edge) for edge in word.split(":")] for word in words]
                row.append(packets.sack([(left, right) for left, right in edges]))
            else:
                row.append(_BUILD[name](*map(int, words)))
        return packets.join_options(*row)

    def _options_shown(self, segment: Segment, peer_isn: int) -> str:
        shown = []
        for kind, value in options_of(segment):
            if kind == 5:
                edges = [
                    f"{signed(left - peer_isn - 1)}:{signed(right - peer_isn - 1)}"
                    for left, right in sack_blocks(segment)
                ]
                shown.append(" ".join(["sack", *edges]))
            else:
                shown.append(_SHOW[kind](value) if kind in _SHOW else f"{kind}={value.hex()}")
        return ",".join(shown)


def _words(value: bytes) -> str:
    return f"{int.from_bytes(value[:4], 'big')} {int.from_bytes(value[4:], 'big')}"


_BUILD: dict[str, Any] = {
    "mss": packets.mss,
    "wscale": packets.window_scale,
    "sackok": lambda: packets.SACK_PERMITTED,
    "ts": packets.timestamps,
    "md5": packets.md5_signature,
    "ao": packets.tcp_ao,
    "tfo": packets.fast_open,
}
_SHOW: dict[int, Any] = {
    2: lambda value: f"mss {int.from_bytes(value, 'big')}",
    3: lambda value: f"wscale {value[0]}",
    4: lambda value: "sackok",
    8: lambda value: f"ts {_words(value)}",
    19: lambda value: "md5",
    29: lambda value: "ao",
    34: lambda value: "tfo",
}
