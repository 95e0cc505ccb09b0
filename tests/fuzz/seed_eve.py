"""Makes the EVE target's corpus and dictionary anew: `python -m tests.fuzz.seed_eve`.

One real event of each type, and lines of the kinds that are mended or rejected.
"""

from __future__ import annotations

import json
import re

from tests.suricata.samples import lines

from .eve import CORPUS


def main() -> None:
    """Write every input."""
    CORPUS.mkdir(parents=True, exist_ok=True)
    events: dict[str, bytes] = {}
    for line in lines():
        kind = json.loads(line)["event_type"]
        # The shortest of each type says as much to a fuzzer as the longest.
        events[kind] = min(line, events.get(kind, line), key=len)
    inputs = {kind: line for kind, line in events.items() if len(line) < 3000}
    alert, http = events["alert"], events["http"]
    inputs |= {
        "cut": http[: len(http) // 2],
        "two-on-a-line": http[:60] + http,
        "three-lines": b"\n".join((http, alert, http)),
        "blank-lines": b"\n \n\r\n" + http + b"\r",
        "control-character": http.replace(b"HTTP/1.1", b"HTTP\x01/1.1"),
        "invalid-utf8": http.replace(b"HTTP/1.1", b"HTTP\xff/1.1"),
        "byte-order-mark": b"\xef\xbb\xbf" + http,
        "big-number": re.sub(rb'"flow_id":\d+', b'"flow_id":123456789012345678901', http),
        "spaced": json.dumps(json.loads(alert)).encode(),
        "repeated-key": http[:-1] + b',"src_ip":"172.16.23.1","src_ip":"172.16.23.2"}',
        "escaped-key": http.replace(b'"src_ip"', b'"src\\u005fip"'),
        "lone-surrogate": http.replace(b"HTTP/1.1", b"\\ud800"),
        "not-a-number": http[:-1] + b',"x":NaN}',
        "deep": b'{"a":' * 300 + b"1" + b"}" * 300,
        "not-an-object": b"[1,2]",
        "not-json": b"garbage",
    }
    for name, data in inputs.items():
        # The first byte is that of the pieces' size.
        (CORPUS / name).write_bytes(bytes((len(name),)) + data)
    keys = sorted({key for line in lines() for key in re.findall(rb'"[a-z_]+":', line)})
    extra = [b'{"timestamp":"', b'"proto":"TCP"', b'"172.16.23.1"', b"\xef\xbb\xbf", b"\\u0000"]
    words = ["".join(f"\\x{byte:02x}" for byte in word) for word in (*keys, *extra)]
    text = "".join(f'"{word}"\n' for word in words)
    (CORPUS.parent / "eve.dict").write_text(text)


if __name__ == "__main__":
    main()
