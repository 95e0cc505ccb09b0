"""Makes the seed corpora anew: `PYTHONPATH=. python core/fuzz/seed.py`.

PROXY protocol headers are what a real HAProxy sent on loopback; the other formats have no program
here that speaks them, so their seeds are what the codecs emit. Each good header also seeds a broken
one: cut, lengthened, one byte changed.
"""

import contextlib
import json
import tempfile
from pathlib import Path

import peeltap_core

from tests.core import haproxy

HERE = Path(__file__).parent
V4 = ("203.0.113.7", 46421, "192.168.110.2", 80)
V6 = ("2001:db8::7", 46421, "2001:db8:0:1::2", 22)
PAYLOAD = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def write(target: str, name: str, data: bytes) -> None:
    """Write one input of ``target``'s corpus."""
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def seed(target: str, name: str, header: bytes) -> None:
    """Write a good header and what it can break into."""
    middle = len(header) // 2
    write(target, name, header + PAYLOAD)
    write(target, f"{name}-cut", header[:-1])
    write(target, f"{name}-long", header[:-2] + b"00" + header[-2:])
    write(target, f"{name}-changed", header[:middle] + b"\xff" + header[middle + 1 :] + PAYLOAD)


def from_haproxy() -> None:
    """What HAProxy sends on each of its legs."""
    with tempfile.TemporaryDirectory() as folder, haproxy.running(Path(folder)) as proxy:
        for leg in haproxy.LEGS:
            if leg.startswith("accept"):
                continue
            with contextlib.ExitStack() as stack:
                if leg == "v2-check":
                    server = stack.enter_context(proxy.accepted(leg))
                elif leg == "v2-ssl":
                    tls = proxy.tls(proxy.connect(leg), "decoy.example", identity=True)
                    stack.enter_context(tls)
                    server = stack.enter_context(proxy.accepted(leg))
                else:
                    _, server = stack.enter_context(proxy.through(leg))
                seed("proxy_" + leg[:2], f"haproxy-{leg}", server.recv(65536))


def from_codecs() -> None:
    """What our own codecs emit."""
    position = json.dumps({"name": "s", "kind": "sslproxy"}).encode()
    for name, truth in [("v4", V4), ("v6", V6)]:
        line = peeltap_core.emit_header(position, *truth)
        seed("sslproxy", f"front-{name}", line)
        write("sslproxy", f"request-{name}", b"GET / HTTP/1.1\r\n" + line + b"Host: a\r\n\r\n")
        user = line.replace(b",p\r", b",s,soner\r")
        write("sslproxy", f"user-{name}", user + PAYLOAD)

    for codec in json.loads((HERE / "src" / "layouts.json").read_text()):
        spec = json.dumps(codec).encode()
        for name, truth in [("v4", V4), ("v6", V6)]:
            with contextlib.suppress(ValueError):  # a layout of IPv4 alone
                header = peeltap_core.emit_header(spec, *truth)
                seed("layouts", f"{codec['name']}-{name}", header)
                write("declarations", f"{codec['name']}-{name}", spec + b"\0" + header + PAYLOAD)
    for kind in ("proxy-v1", "proxy-v2", "sslproxy"):
        spec = json.dumps({"name": "a", "kind": kind}).encode()
        header = peeltap_core.emit_header(spec, *V4)
        write("declarations", kind, spec + b"\0" + header + PAYLOAD)


if __name__ == "__main__":
    from_haproxy()
    from_codecs()
