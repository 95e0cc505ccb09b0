"""The proxied leg that every capture of the benchmark shows, and peeltap's config for it."""

from __future__ import annotations

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
