"""A recording made on the spot is as true as those that are committed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fixtures import programs
from fixtures.record import record
from fixtures.scenarios import SCENARIOS
from fixtures.truth import Connection, Truth
from fixtures.verdicts import record_verdicts
from tests.golden.harness import address, bad_checksums, known, replay, tshark

pytestmark = [pytest.mark.netns, pytest.mark.suricata, pytest.mark.tool("tshark")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("site")
    programs.site(path)
    return path


def _without_leg_ports(truth: Truth) -> Truth:
    """The kernel chooses the ports of the leg; all else must come out alike."""

    def blind(connection: Connection) -> Connection:
        (source, _), target = connection.observed
        return replace(connection, observed=((source, 0), target))

    return replace(truth, connections=[blind(connection) for connection in truth.connections])


@pytest.mark.parametrize("name", ["http-proxy-v1", "http-proxy-v2-tlvs", "magic"])
@pytest.mark.parametrize("mode", ["strip", "restore"])
def test_a_fresh_recording_replays_to_its_truth(
    name: str, mode: str, site: Path, tmp_path: Path
) -> None:
    [scenario] = [scenario for scenario in SCENARIOS if scenario.name == name]
    truth = record(scenario, tmp_path, site)
    assert _without_leg_ports(truth) == _without_leg_ports(known(name))

    result = replay(tmp_path / f"{name}.pcap", mode, truth.config, suricata=True)
    seen = {
        (record["true"]["src_ip"], record["true"]["src_port"])
        for record in result.flows
        if record["true"] is not None
    }
    assert seen == {step.source for step in scenario.steps}
    alerts = {
        (event["alert"]["signature_id"], (address(event["src_ip"]), event["src_port"]))
        for event in result.events
        if event["event_type"] == "alert"
    }
    assert alerts == {(alert.sid, alert.source) for alert in truth.alerts if mode in alert.modes}
    assert bad_checksums(result.clean) == []


def test_offloads_make_large_frames_with_partial_checksums(site: Path, tmp_path: Path) -> None:
    [scenario] = [one for one in SCENARIOS if one.name == "offloads-proxy-v2"]
    record(scenario, tmp_path, site)
    capture = tmp_path / "offloads-proxy-v2.pcap"
    assert max(int(row["length"]) for row in tshark(capture) if row["length"]) > 16384
    assert bad_checksums(capture) != []


def test_the_recording_of_verdicts_is_as_the_committed_one(site: Path, tmp_path: Path) -> None:
    truth = record_verdicts(tmp_path, site)
    assert {
        (connection.observed[0][0], connection.verdict) for connection in truth.connections
    } == {
        (connection.observed[0][0], connection.verdict)
        for connection in known("verdicts").connections
    }
