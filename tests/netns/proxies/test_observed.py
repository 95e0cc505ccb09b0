"""The whole chain with an attacker at its one end, observed on br1 by `peeltap run`."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from fixtures.chain import ATTACKER, DECOY, GATEWAY2, Chain
from tests.netns.proxies.conftest import Started
from tests.support.live import Peeltap

pytestmark = [
    pytest.mark.netns,
    pytest.mark.suricata,
    pytest.mark.tool("nft", "nginx", "curl"),
    pytest.mark.xdist_group("chain-observed"),
]


@pytest.mark.parametrize(
    ("codec", "source", "leg", "port"),
    [("proxy-v2", "nftables", 4, 25_000), ("magic", "transparent", 6, 25_100)],
)
def test_events_carry_the_attacker(
    chain: Chain, started: Started, codec: str, source: str, leg: int, port: int
) -> None:
    directory = chain.directory / f"peeltap-{codec}"
    directory.mkdir()
    peeltap = Peeltap(chain.host, directory, {})
    peeltap.start()
    try:
        chain.rules(leg=leg)
        two = {"codec": codec, "source": source, "leg": leg}
        started(*chain.start_all(gateway1={"codec": codec}, gateway2=two))
        chain.wait_agent(80)
        peeltap.wait_ready()
        for family in (4, 6):
            url = f"http://{DECOY[4] if family == 4 else f'[{DECOY[6]}]'}/cgi-bin/.%2e/etc/passwd"
            curl = ["curl", "-sS", "-m", "30", "--path-as-is", "--interface", ATTACKER[family]]
            chain.attacker.run([*curl, "--local-port", str(port + family), url])
        alerts = peeltap.wait_events("alert", 2)
    finally:
        peeltap.close()
    # Suricata writes IPv6 addresses in full.
    assert {
        (str(ip_address(one["src_ip"])), one["src_port"], str(ip_address(one["dest_ip"])))
        for one in alerts
    } == {(ATTACKER[4], port + 4, DECOY[4]), (ATTACKER[6], port + 6, DECOY[6])}
    attack = "PEELTAP HTTP path traversal to /etc/passwd"
    assert {(one["dest_port"], one["alert"]["signature"]) for one in alerts} == {(80, attack)}
    assert {one["peeltap"]["verdict"] for one in alerts} == {"stripped"}
    observed = [one["peeltap"]["observed"] for one in alerts]
    assert {str(ip_address(one["dest_ip"])) for one in observed} == {GATEWAY2[leg]}
    assert {tuple(one["peeltap"]["codec"]) for one in alerts} == {(codec,)}
