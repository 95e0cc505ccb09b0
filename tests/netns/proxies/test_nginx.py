"""nginx's stream module in the places of the chain, as docs/proxies.md shows it."""

from __future__ import annotations

import itertools

import pytest

MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"

pytestmark = [
    pytest.mark.netns,
    pytest.mark.tool("nft", "nginx", "curl", MODULE),
    pytest.mark.xdist_group("chain-decoys"),
]

_ports = itertools.count(48_000)
