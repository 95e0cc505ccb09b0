"""The analysis tap: in quarantine before the service starts, and adopted by it."""

from __future__ import annotations

import json

import pytest

from tests.support.plumbing import ROOT, plumbed, with_backend

pytestmark = [pytest.mark.netns, pytest.mark.tool("nft", "iptables", "ipset")]

EXAMPLE = ROOT / "fixtures/topologies/host-tap.yaml"

# What Suricata says it does not want, and switches off itself where it is on.
SURICATAS = (
    "scatter-gather",
    "tcp-segmentation-offload",
    "generic-segmentation-offload",
    "generic-receive-offload",
    "large-receive-offload",
)

# The service's own way to its tap, in the host's namespace: opens it, and says what does not hold.
ADOPT = """
import json
from pyroute2 import IPRoute
from tap.drop import dropped
from tap.links import find, snapshot
from tap.quarantine import breaches
from tap.settings import TapSettings
from tap.device import open_device
with IPRoute() as netlink:
    links = snapshot(netlink)
    link = find(links, "vtap0")
    before = list(breaches(links, link, dropped(netlink, link.index, "vtap0")))
device = open_device(TapSettings(), 1500, 1)
print(json.dumps({"before": before, "adopted": device.adopted, "drift": device.quarantine.drift()}))
device.close()
"""


@pytest.mark.parametrize("backend", ["nftables", "iptables"])
def test_the_tap_is_quiet_and_the_service_adopts_it(backend: str) -> None:
    with plumbed() as host:
        topology = host.written("tap.yaml", with_backend(EXAMPLE, backend))
        assert host.setup("up", topology)["state"] == "up"
        [shown] = json.loads(host.host.run(["ethtool", "--json", "-k", "br1"]))
        assert shown["generic-receive-offload"]["active"] is False
        [shown] = json.loads(host.host.run(["ethtool", "--json", "-k", "vtap0"]))
        assert [name for name in SURICATAS if shown[name]["active"]] == []
        for path in ("/run/suricata", "/var/log/suricata"):
            assert (
                host.host.run(["stat", "-c", "%U %G %a %F", path]) == b"root root 755 directory\n"
            )
        told = json.loads(host.python(ADOPT))
        # The service's drop is nftables' or BPF's; iptables' is in force until it comes.
        here = [one for one in told["before"] if "is not dropped" not in one]
        assert here == []
        assert (told["before"] == []) is (backend == "nftables")
        assert told["adopted"] is True
        assert told["drift"] == []
        undone = host.setup("down", topology)
        assert undone["again"] == undone["trace"] == []
        assert undone["state"] == "up"


def test_what_suricata_wrote_is_left_to_its_owner() -> None:
    with plumbed(vms=0) as host:
        host.setup("up", EXAMPLE)
        host.host.run(["touch", "/var/log/suricata/eve.json"])
        undone = host.setup("down", EXAMPLE)
        assert (undone["again"], undone["state"], undone["after"]) == ([], "up", "down")
        assert host.host.run(["ls", "/var/log/suricata"]) == b"eve.json\n"
        # It is there now, and gets back whom it belonged to.
        host.host.run(["chmod", "0700", "/var/log/suricata"])
        made = host.setup("up", EXAMPLE)
        assert made["state"] == "up"
        assert ["chown root:root /var/log/suricata && chmod 0755 /var/log/suricata"] in made["done"]
        assert host.setup("down", EXAMPLE)["trace"] == []
