"""The packet side of Peeltap, written in Rust: it takes proxy headers out of TCP streams."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

VERSION: str

_Link = Literal["ethernet", "raw", "sll", "sll2", "null"]

class Engine:
    """One frame at a time: packet in, packets out, flow records. Opens nothing, reads no clock.

    `config` is the engine's JSON configuration; ValueError names the key that is wrong.
    """

    def __init__(self, config: bytes) -> None: ...
    def push(
        self,
        ts_ns: int,
        frame: bytes,
        *,
        link: _Link = "ethernet",
        orig_len: int | None = None,
        partial_checksum: bool = False,
        gso_size: int = 0,
    ) -> list[tuple[int, bytes]]:
        """Take a frame captured at `ts_ns` (nanoseconds since the epoch).

        Returns the packets that leave now as (slot, frame), in order. A frame's slot is the number
        of frames pushed before it. `orig_len` is its length on the wire in bytes.
        `partial_checksum` says that its checksum field covers the pseudo-header only and shall stay
        so; `gso_size` is the payload bytes a segment of an offloaded frame, 0 if not known.
        """

    def advance(self, ts_ns: int) -> list[tuple[int, bytes]]:
        """Tell the time: what waited too long leaves, silent connections expire."""

    def finish(self) -> list[tuple[int, bytes]]:
        """End the input: everything that waits leaves, every connection's record is made."""

    def checkpoint(self, *, full: bool, slots: int = 65536) -> bytes:
        """What a restarted engine has to know of all connections, or of those that changed.

        Changed is what had a packet since the last checkpoint began. `slots` is how much of the
        table goes into one piece; the result is all pieces, one behind the other.
        """

    def resume(self, checkpoint: bytes, *, shared: bool = False) -> int:
        """Take over the connections of a checkpoint, the newest first; how many were not known yet.

        `shared`: some of them may be other workers', whose records are made there. Raises
        ValueError if these bytes are no checkpoint, damaged, or of another version.
        """

    def take_records(self) -> bytes:
        """The flow records made since the last call, as JSON lines."""

    def stats(self) -> dict[str, Any]:
        """The counters; `in == emitted + merged + dropped + held` in `packets` at all times."""

_Program = Sequence[tuple[int, int, int, int]]

class Replay:
    """Captures through the engine into a capture: the way of whole files.

    `config` is as for `Engine`. `inputs` are pcap or pcapng files, merged by time; `-` is standard
    input. `output` is pcapng where its name ends so, else pcap; `-` is standard output; None writes
    nothing, for records alone. It is never one of the inputs. Packets leave in the inputs' order
    with their own timestamps; `window_bytes` bounds what waits in memory behind a packet that the
    engine holds, and one that it holds for longer leaves late (`stats()["capture"]["late"]`).

    `filter` is a classic BPF program, instructions (code, jt, jf, k) as libpcap compiles them, or
    one program for each LINKTYPE_ value.

    Raises OSError with the file's name; ValueError where an input is no capture, link types do not
    fit together, or a program could not be run.
    """

    def __init__(
        self,
        config: bytes,
        inputs: Sequence[str],
        output: str | None,
        *,
        filter: _Program | Mapping[int, _Program] | None = None,  # noqa: A002 - the command's word
        window_bytes: int = 67108864,
    ) -> None: ...
    def step(self, packets: int) -> bool:
        """Handle about `packets` packets; at the end of the input, close as many connections.

        Returns False when everything is done and written. Returns early when a signal came in, so
        that its handler runs. Releases the GIL. Raises like the constructor.
        """

    def progress(self) -> tuple[int, int, int | None]:
        """Packets read, bytes read, bytes in all (None where an input is a pipe).

        May be called from another thread while one steps.
        """

    def take_records(self) -> bytes:
        """The flow records made since the last call, as JSON lines."""

    def stats(self) -> dict[str, Any]:
        """The counters of the engine, and under `capture` those of the files.

        `packets` and `bytes` read, `filtered` out, of an `unknown_link` type (passed unread),
        `late` (out of order), `shortened_timestamps`, whether an input was `truncated`, and
        `skipped` blocks by name.
        """

    def warnings(self) -> list[str]:
        """One sentence for each thing that a person should know, such as a truncated input."""

_State = Literal["up", "down", "gone"]

class Live:
    """Capture ring through the engine to a tap, one worker: the way of packets on the wire.

    One thread steps; `stats`, `state` and `wake` may be called from others and never wait for it.
    All other methods take turns with a step.

    `config` is as for `Engine`. The ring opens on `interface`, with `ring_bytes` shared with the
    kernel (1 MiB to 2 GiB), whose blocks are handed over when full or after `block_timeout_ms`
    (1 to 1000). `filter` is a classic BPF program as for `Replay`. `fanout` is (group id, number of
    workers): each worker sees its own connections, both directions of each.

    `output_fd` is copied, and made non-blocking: a tap made with IFF_NO_PI and IFF_VNET_HDR, or an
    AF_PACKET socket of SOCK_RAW bound to an interface, with PACKET_VNET_HDR. It cannot lead to
    `interface`. The constructor and `reopen` are called in the network namespace of both.

    Raises OSError (ENODEV if the interface is absent) with the name of what failed, and ValueError
    for settings that cannot be.
    """

    def __init__(
        self,
        config: bytes,
        interface: str,
        *,
        output_fd: int,
        output: Literal["tap", "packet"],
        ring_bytes: int = 67108864,
        block_timeout_ms: int = 20,
        promiscuous: bool = True,
        filter: _Program | None = None,  # noqa: A002 - the configuration's word
        fanout: tuple[int, int] | None = None,
    ) -> None: ...
    def step(self, timeout_ms: int) -> None:
        """Move packets for up to `timeout_ms`, asleep while there are none.

        Returns sooner when flow records wait (50 ms after the first of them), when the state of a
        device changes, on `wake`, and when a signal came in. Releases the GIL. What is wrong with
        the devices is a state, not an error: OSError is for what should not happen.
        """

    def wake(self) -> None:
        """End the step that runs now, or the next one."""

    def state(self) -> tuple[_State, _State]:
        """How the interface and the output are: "down" is switched off, "gone" deleted.

        Known within a second. What is down comes back by itself; what is gone needs `reopen` or
        `set_output`.
        """

    def reopen(self) -> bool:
        """Open the ring anew where its interface was deleted; the engine keeps what it knows.

        True where the ring is open, at once where nothing was wrong; False while there is no
        interface of that name. Raises like the constructor.
        """

    def set_output(self, output_fd: int, output: Literal["tap", "packet"]) -> None:
        """Go on with another output, copied as by the constructor. Raises like it."""

    def take_records(self) -> bytes:
        """The flow records made since the last call, as JSON lines."""

    def checkpoint_begin(self, *, full: bool) -> None:
        """Begin a checkpoint of all connections, or of those that changed since the last one."""

    def checkpoint_some(self, slots: int = 16384) -> bytes | None:
        """The next piece of it, from so many slots of the table; None when it is complete.

        A piece takes some milliseconds at most; steps come in between. It is empty where nothing
        changed. All pieces, one behind the other, are the checkpoint.
        """

    def take_checkpoint(self, *, full: bool) -> bytes:
        """A whole checkpoint at once, where no packets come any more: at a stop."""

    def resume(self, checkpoint: bytes, *, shared: bool = False) -> int:
        """Before the first step: take over the connections of a checkpoint, as `Engine.resume`."""

    def finish(self) -> None:
        """Let everything leave that waits; connections stay known."""

    def close_some(self, count: int) -> bool:
        """Close up to `count` connections and make their records; False when none are left."""

    def stats(self) -> dict[str, Any]:
        """The engine's counters as of `Engine.stats`, and those of both ends, up to 100 ms old.

        `capture`: the `interface` and its `state`; `packets` and `bytes` taken out of the ring;
        `kernel_received` (dropped ones among them), `kernel_drops` and `freezes` as the kernel
        counts them; frames `cut` by the filter's or a block's size, `tagged` (a VLAN tag put back),
        `damaged` (0, or the kernel's ring is not what it should be); `ring_bytes`; how often
        `reopened`; `offline_seconds` without the interface.

        `output`: its `name` and `state`; `frames` and `bytes` that left; writes `retried` for want
        of room; frames that left `without_offloads` for the kernel refused those; `dropped` by
        reason: full, down, gone, too_long, refused.

        `packets["frames_out"] == output["frames"] + sum(output["dropped"].values())`, and
        `capture["packets"] == packets["in"]`.
        """

class MalformedHeaderError(ValueError):
    """The bytes began as the codec's format and then broke the rule that the message names."""

def parse_header(codec: bytes, stream: bytes) -> dict[str, Any] | None:
    """Read the front of ``stream`` with one codec.

    ``codec`` is one object of the engine configuration's ``codecs``, as JSON.

    Returns ``None`` if these bytes cannot become a header of this codec; ``{"complete": False}``
    if all bytes so far fit and more are needed; else ``{"complete": True, "codec": name, "start":
    offset of the header's first byte, "length": bytes, "true": {"src_ip", "src_port", "dest_ip",
    "dest_port"} | None, "tlvs": what else the header says}``.

    Raises ``MalformedHeaderError``, and ``ValueError`` if ``codec`` is not a codec; the message
    names the key.
    """

def emit_header(
    codec: bytes, peer: str, peer_port: int, destination: str, destination_port: int
) -> bytes:
    """Return the header that announces this peer and destination.

    Raises ``ValueError`` if ``codec`` is not a codec, an address is not one, or the format cannot
    carry them.
    """

def emit_proxy_v2(
    peer: str,
    peer_port: int,
    destination: str,
    destination_port: int,
    *,
    tlvs: Sequence[tuple[int, bytes]] = ...,
    crc32c: bool = False,
    dgram: bool = False,
) -> bytes:
    """Return a PROXY header of version 2 with these TLVs, in order; a CRC32C goes last.

    Raises ``ValueError`` if an address is not one, the two are of two families, or the TLVs do not
    fit. No rule is applied to the TLVs.
    """

def count_lines(data: bytes) -> int:
    """How many newlines there are in `data`; several times as fast as `bytes.count`."""

class FlowIndex:
    """Flow records as `KnownEvents` finds them; a record is any object, told by its identity."""

    def __init__(self) -> None: ...
    def __len__(self) -> int:
        """How many records there are."""

    def put(
        self,
        record: object,
        observed: tuple[str, int, str, int],
        true: tuple[str, int, str, int] | None,
        name: str,
        vlan: tuple[int, ...],
        start: int,
        end: int | None,
        codecs: Sequence[str],
        verdict: str,
        /,
    ) -> None:
        """Keep a TCP connection's record, which is found by its observed ends only.

        Ends are the client's address and port and the server's; `true` is what a header told.
        `start` and `end` are nanoseconds since 1970, `end` None while it is open.
        """

    def put_odd(self, record: object, ends: tuple[str, int, str, int], /) -> None:
        """Keep in mind that of `ends` only the store knows what to say, since it has `record`."""

    def remove(self, record: object, ends: tuple[str, int, str, int], /) -> None:
        """Forget what was put for this very object under these ends."""

    def clear(self) -> None:
        """Forget all."""

class KnownEvents:
    """Suricata's usual events, corrected by their connections' records, a block at a time.

    By those in `flows`, and by answers about others that it was taught. `seed` is Suricata's own of
    the Community ID. Without `tells_alerts` alerts are only counted.
    """

    def __init__(
        self, flows: FlowIndex | None = None, *, seed: int = 0, tells_alerts: bool = True
    ) -> None: ...
    def __len__(self) -> int:
        """How many answers there are."""

    def clear(self) -> None:
        """Forget all answers."""

    def allow(self, kind: str) -> None:
        """Events of this type may be corrected from now on."""

    def hold(self, flow: int) -> None:
        """Events of this `flow_id` wait: what follows them is for others."""

    def release(self, flow: int) -> None:
        """None of this flow waits any more."""

    def release_all(self) -> None:
        """None waits any more."""

    def learn(
        self,
        line: bytes,
        since: int,
        until: int,
        ends: tuple[bytes, bytes, bytes, bytes] | None,
        community_id: bytes | None,
        member: bytes,
        record: object,
    ) -> bool:
        """Keep what was decided of the event `line`; False if it is none that can be treated here.

        It holds for events of the same ends, Community ID and VLAN tags whose moment lies from
        `since` to `until` (nanoseconds since 1970, both included). What stands in their place is
        JSON: `ends`, source and destination, each an address and a port, or None if nothing
        changes; `community_id`; `member`, the `peeltap` object up to where its confidence stands.
        `record` is given back with alerts.
        """

    def correct(
        self, data: bytes, at: int, file: bytes | None = None, offset: int = 0
    ) -> tuple[bytes, int, int]:
        """Correct the lines of `data` from `at` on, up to the first that is for others.

        Returns them with their newlines, where that one begins (or the end), and how many they are.
        With `file` each has an id at the end of `peeltap`: the file's name and the line's place in
        it, `data` beginning at `offset`.
        """

    def take(
        self,
    ) -> tuple[int, int, int, dict[str, int], int, list[tuple[Any | None, int, int]]]:
        """Counters since the last call.

        Events told by their flow's start, by their own time, of another protocol, by type, and how
        many were alerts; and if it is to tell them, each alert's record (None: of another protocol)
        and from where to where it stands in its block.
        """
