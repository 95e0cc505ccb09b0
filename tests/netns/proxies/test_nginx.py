"""nginx in the places of the chain, with the very files that docs/proxies.md shows."""

from __future__ import annotations

import itertools
import re
import subprocess
from pathlib import Path

import pytest

from fixtures.chain import ATTACKER, DECOY, ENTRY, ENTRY_PORT, GATEWAY2, LEG_PORT, Chain
from fixtures.netns import LabError, Namespace
from tests.netns.proxies.conftest import RESET, Started

MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"
PAGE = (Path(__file__).parents[3] / "docs/proxies.md").read_text()
AS_AGENT, AS_GATEWAY1, AS_READING_GATEWAY1, AS_GATEWAY2 = re.findall(
    r"```nginx\n(.*?)```", PAGE, re.DOTALL
)

pytestmark = [
    pytest.mark.netns,
    pytest.mark.tool("nft", "nginx", "curl", MODULE),
    pytest.mark.xdist_group("chain-nginx"),
]

_ports = itertools.count(28_000)


@pytest.fixture(scope="module", autouse=True)
def strangers(chain: Chain) -> None:
    """Addresses beside those that may send headers."""
    chain.lab.address(chain.agent, "up0", "172.16.24.66/24")
    chain.lab.address(chain.host, "br1", "172.16.23.9/24")


def start_nginx(chain: Chain, place: Namespace, text: str) -> subprocess.Popen[bytes]:
    """nginx with a file of the page, whose decoy has this chain's addresses."""
    for shown, here in (("198.51.100.7", DECOY[4]), ("2001:db8:100::7", DECOY[6])):
        text = text.replace(shown, here)
    return chain.start_nginx(place, f"load_module {MODULE};\nevents {{ }}\n{text}")


def test_as_the_agent(chain: Chain, started: Started) -> None:
    rule = {"agent": "edge", "destinations": [f"{DECOY[4]}:80", f"[{DECOY[6]}]:80"]}
    chain.rules(services=(), more=[{**rule, "decoy": "http"}])
    started(
        chain.start_gateway(chain.gateway2, chain.gateway2_file()),
        chain.start_gateway(chain.gateway1, chain.gateway1_file(agent_codec="proxy-v1")),
        start_nginx(chain, chain.agent, AS_AGENT),
    )
    chain.wait(chain.gateway2, LEG_PORT)
    chain.wait(chain.gateway1, ENTRY_PORT)
    chain.wait_agent(80)
    for family in (4, 6):
        own = next(_ports)
        assert chain.whom(family, own) == f"{ATTACKER[family]} {own}"


@pytest.mark.parametrize("codec", ["proxy-v2", "magic"])
def test_as_a_gateway1_that_passes_headers_on(chain: Chain, started: Started, codec: str) -> None:
    start(chain, started, AS_GATEWAY1, codec)
    for family in (4, 6):
        own = next(_ports)
        assert chain.whom(family, own) == f"{ATTACKER[family]} {own}"
    refused(chain.agent, "172.16.24.66", ENTRY, ENTRY_PORT)


def test_as_a_gateway1_that_reads_headers(chain: Chain, started: Started) -> None:
    start(chain, started, AS_READING_GATEWAY1, "proxy-v1")
    own = next(_ports)
    assert chain.whom(4, own) == f"{ATTACKER[4]} {own}"
    chain.wait_line("gateway2", destination=f"{ENTRY}:{ENTRY_PORT}", end="closed")
    with pytest.raises(LabError, match=RESET):
        chain.whom(6, next(_ports))
    refused(chain.agent, "172.16.24.66", ENTRY, ENTRY_PORT)


def test_as_gateway2(chain: Chain, started: Started) -> None:
    chain.rules()
    started(
        start_nginx(chain, chain.gateway2, AS_GATEWAY2),
        chain.start_gateway(chain.gateway1, chain.gateway1_file(codec="proxy-v1")),
        chain.start_agent(chain.agent_file()),
    )
    chain.wait(chain.gateway2, LEG_PORT)
    chain.wait(chain.gateway1, ENTRY_PORT)
    chain.wait_agent(80)
    chain.return_route()
    try:
        for family in (4, 6):
            own = next(_ports)
            assert chain.whom(family, own) == f"{ATTACKER[family]} {own}"
        refused(chain.host, "172.16.23.9", GATEWAY2[4], LEG_PORT)
    finally:
        chain.no_return_route()


def start(chain: Chain, started: Started, text: str, codec: str) -> None:
    """nginx as gateway1, ours before and behind it."""
    listeners = [{"listen": f"{DECOY[4]}:80"}, {"listen": f"[{DECOY[6]}]:80"}]
    entry = {"destination": f"{ENTRY}:{ENTRY_PORT}", "decoy": [f"{DECOY[4]}:80"]}
    started(
        chain.start_gateway(chain.gateway2, chain.gateway2_file(codec=codec, more_decoys=[entry])),
        start_nginx(chain, chain.gateway1, text),
        chain.start_agent(chain.agent_file(codec=codec, rules=False, listeners=listeners)),
    )
    chain.wait(chain.gateway2, LEG_PORT)
    chain.wait(chain.gateway1, ENTRY_PORT)
    chain.wait_agent(80)


def refused(place: Namespace, source: str, to: str, port: int) -> None:
    """Whoever may not send headers gets nothing through nginx."""
    forged = f"PROXY TCP4 10.9.9.9 {DECOY[4]} 1 80\r\nGET /whom HTTP/1.0\r\n\r\n"
    nc = ["nc", "-N", "-w", "5", "-s", source, to, str(port)]
    assert place.run(nc, stdin=forged.encode(), ok=(0, 1)) == b""
