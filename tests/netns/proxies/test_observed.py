"""The whole chain with an attacker at its one end, observed on br1 by `peeltap run`."""

from __future__ import annotations

import pytest

from fixtures.chain import ATTACKER, DECOY, Chain
from tests.netns.proxies.conftest import Started
from tests.support.live import Peeltap

pytestmark = [
    pytest.mark.netns,
    pytest.mark.suricata,
    pytest.mark.tool("nft", "nginx", "curl"),
    pytest.mark.xdist_group("chain"),
]


@pytest.mark.parametrize(("codec", "source"), [("proxy-v2", "nftables"), ("magic", "transparent")])
def test_events_carry_the_attacker(chain: Chain, started: Started, codec: str, source: str) -> None:
    directory = chain.directory / f"peeltap-{codec}"
    directory.mkdir()
    peeltap = Peeltap(chain.host, directory, {})
    peeltap.start()
    try:
        chain.rules()
        started(
            *chain.start_all(gateway1={"codec": codec}, gateway2={"codec": codec, "source": source})
        )
        chain.wait_agent(80)
        peeltap.wait_ready()
        for family, port in ((4, 45_004), (6, 45_006)):
            url = f"http://{DECOY[4] if family == 4 else f'[{DECOY[6]}]'}/cgi-bin/.%2e/etc/passwd"
            curl = ["curl", "-sS", "-m", "10", "--path-as-is", "--interface", ATTACKER[family]]
            chain.attacker.run([*curl, "--local-port", str(port), url])
        alerts = peeltap.wait_events("alert", 2)
    finally:
        peeltap.close()
    seen = {
        (
            one["src_ip"],
            one["src_port"],
            one["dest_ip"],
            one["dest_port"],
            one["alert"]["signature"],
        )
        for one in alerts
    }
    attack = "PEELTAP HTTP path traversal to /etc/passwd"
    assert seen == {
        (ATTACKER[4], 45_004, DECOY[4], 80, attack),
        (ATTACKER[6], 45_006, DECOY[6], 80, attack),
    }
    assert {one["peeltap"]["verdict"] for one in alerts} == {"stripped"}
    assert {tuple(one["peeltap"]["codec"]) for one in alerts} == {(codec,)}
