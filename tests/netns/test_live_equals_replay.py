"""The same attacks give the same events live on vtap0 as `replay` gives from the recording."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fixtures import programs
from fixtures.netns import Lab, wait_until
from fixtures.scenarios import SCENARIOS
from fixtures.topology import GATEWAY2
from tests.golden import test_events
from tests.golden.harness import replay
from tests.support.live import System

pytestmark = [pytest.mark.netns, pytest.mark.suricata]

# In which field an event may differ beside those that differ between any two recordings, and why.
MAY_DIFFER = {
    "in_iface": "a file has none",
    "pcap_cnt": "an interface has none",
    "pcap_filename": "an interface has none",
}


def comparable(events: list[dict[str, Any]]) -> Counter[str]:
    """The events of proxied connections, without what may differ."""
    found: Counter[str] = Counter()
    for event in events:
        if event.get("proto") == "TCP":
            normal = {key: value for key, value in event.items() if key not in MAY_DIFFER}
            found[json.dumps(test_events.normal(normal), sort_keys=True)] += 1
    return found


def end_of_recording(system: System) -> None:
    """Has a last, refused attempt recorded; what was recorded before is then in the file."""
    ports = (61001).to_bytes(2, "big") + (1).to_bytes(2, "big")
    argv = ["nc", "-z", "-w", "1", "-p", "61001", GATEWAY2[4], "1"]
    system.network.namespaces["gateway1"].run(argv, ok=(1,))
    draft = system.directory / "recording-br1.pcap"
    wait_until(lambda: ports in draft.read_bytes(), "the end of the recording")


@pytest.mark.parametrize("name", ["magic", "offloads-proxy-v2"])
def test_live_equals_replay(tmp_path: Path, name: str) -> None:
    [scenario] = [one for one in SCENARIOS if one.name == name]
    recording = tmp_path / "br1.pcap"
    with Lab() as lab:
        system = System(lab, scenario.plan)
        with system.peeltap() as peeltap:
            peeltap.wait_ready()
            with programs.on_bridge(system.network.bridge, recording, "tcp"):
                for step in scenario.steps:
                    step.play(system.attacker)
                system.network.wait_idle()
                end_of_recording(system)
            assert peeltap.stop() == 0
            live = peeltap.events()
    alerts = Counter(event["alert"]["signature_id"] for event in live if "alert" in event)
    expected = Counter(
        alert.sid for step in scenario.steps for alert in step.alerts if "strip" in alert.modes
    )
    assert expected <= alerts
    replayed = comparable(replay(recording, "strip", scenario.config).events)
    assert comparable(live) - replayed == Counter()
    assert replayed - comparable(live) == Counter()
