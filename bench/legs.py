"""The proxied leg that every capture of the benchmark shows, and peeltap's config for it."""

from __future__ import annotations

import json

GATEWAY1_MAC = bytes.fromhex("02000000a001")
GATEWAY2_MAC = bytes.fromhex("02000000a002")
GATEWAY1_NET = "172.16.0.0/16"
GATEWAY2_NET = "172.16.23.128/29"
GATEWAY2_PORT = 9000

MAGIC = bytes.fromhex("d1e0c0ffee5eedb5")
PROXY_V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

CONFIG = f"""\
gateways:
  - from: {GATEWAY1_NET}
    to: {GATEWAY2_NET}:{GATEWAY2_PORT}
    headers: [proxy-v2, proxy-v1, magic]
codecs:
  magic: {{magic: "{MAGIC.hex()}"}}
"""


def engine_config(mode: str) -> bytes:
    """The same config in the form that the core takes, for runs without the command line."""
    layout = [
        {"bytes": MAGIC.hex()},
        {"u8": "family"},
        {"ip": "peer"},
        {"u16be": "peer_port"},
        {"ip": "destination"},
        {"u16be": "destination_port"},
    ]
    gateway = {
        "from": GATEWAY1_NET,
        "from_port": None,
        "to": GATEWAY2_NET,
        "to_port": GATEWAY2_PORT,
        "headers": ["proxy-v2", "proxy-v1", "magic"],
        "required": False,
        "depth": 1,
    }
    codecs = [
        {"name": "proxy-v2", "kind": "proxy-v2"},
        {"name": "proxy-v1", "kind": "proxy-v1"},
        {"name": "magic", "kind": "layout", "encoding": "binary", "layout": layout},
    ]
    return json.dumps({"mode": mode, "codecs": codecs, "gateways": [gateway]}).encode()
