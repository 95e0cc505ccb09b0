"""Random topology files leave no trace: on paper for many, in a kernel for some."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diversion.setup.desired import desired
from diversion.setup.journal import Entry
from diversion.setup.observed import Observed
from diversion.setup.plan import plan
from diversion.setup.settings import TopologySettings
from diversion.setup.steps import Make, Remove, Set, Step
from diversion.setup.things import Desired, Wanted
from tests.support.plumbing import plumbed

Kernel = dict[tuple[str, ...], object]


@st.composite
def files(draw: st.DrawFn) -> dict[str, object]:
    """A topology with some of everything, no two parts of which are in each other's way."""
    styles = draw(st.lists(st.sampled_from(["direct", "macvlan", "netns"]), max_size=4))
    virtual = [
        {
            "on": "br0",
            "style": style,
            "addresses": [f"203.0.113.{10 + at}"],
            "to": "172.16.23.2",
            "ports": draw(st.lists(st.sampled_from([22, "80-90", "udp/53"]), max_size=2)),
        }
        for at, style in enumerate(styles)
    ]
    segments = [
        {
            "name": f"s{at}",
            "on": "br0",
            "network": "10.20.0.0/16",
            "addresses": draw(st.sampled_from([[], ["10.20.0.2"], ["10.20.0.2-10.20.0.9"]])),
            "held": draw(st.sampled_from([[], ["10.20.128.0/17"]])),
            "gateway": draw(st.sampled_from([None, "10.20.0.1"])),
            "advertise": draw(
                st.sampled_from([[], [{"addresses": ["10.20.0.2"], "ports": [80, "90-99"]}]])
            ),
        }
        for at in range(draw(st.integers(0, 2)))
    ]
    told: dict[str, object] = {
        "name": draw(st.sampled_from(["one", "two"])),
        "firewall": draw(st.sampled_from(["nftables", "iptables"])),
        "bridges": {"br0": {"addresses": ["203.0.113.1/24"]}, "br1": {}},
        "virtual": virtual,
        "segments": segments,
    }
    if draw(st.booleans()):
        told["tap"] = {}
    if draw(st.booleans()):
        legs = [{"on": "br1", "addresses": ["10.2.0.1/24"]}]
        told["routers"] = [{"name": "win", "legs": legs}]
    return told


@st.composite
def files_with_vrfs(draw: st.DrawFn) -> dict[str, object]:
    """The same, with networks that overlap: kernels without VRFs are for paper only."""
    names = draw(st.lists(st.sampled_from(["red", "blue", "green"]), max_size=3, unique=True))
    vrfs = {
        name: {
            "on": f"card-{name}",
            "addresses": draw(st.sampled_from([[], ["10.0.0.1/24"]])),
            "network": "10.0.0.0/24",
            "mapped": f"10.9.{at}.0/24",
            "routes": draw(st.sampled_from([[], [{"to": "10.5.0.0/16", "via": "10.0.0.9"}]])),
        }
        for at, name in enumerate(names)
    }
    told = draw(files())
    bridges = told["bridges"]
    assert isinstance(bridges, dict)
    return told | {"vrfs": vrfs, "bridges": bridges | {f"card-{name}": {} for name in names}}


def of(file: dict[str, object]) -> list[Desired]:
    backend = file["firewall"]
    return desired(TopologySettings.model_validate(file), backend)  # type: ignore[arg-type]


def do(kernel: Kernel, step: Step) -> None:
    match step:
        case Make(thing):
            assert thing.key not in kernel
            kernel[thing.key] = thing
        case Remove(thing):
            kernel.pop(thing.key, None)
            for key in [key for key, one in kernel.items() if thing.key in ground(one)]:
                kernel.pop(key, None)
        case Set(setting, value):
            kernel[setting.key] = Wanted(setting, value)


def ground(one: object) -> tuple[tuple[str, ...], ...]:
    return one.stands_on  # type: ignore[attr-defined,no-any-return]


def look(kernel: Kernel) -> Observed:
    observed = Observed()
    for key, one in kernel.items():
        if isinstance(one, Wanted):
            observed.settings[key] = one.value
        elif key[0] == "firewall":
            observed.fingerprints[key] = "seen"
        else:
            observed.things[key] = one
    return observed


def run(kernel: Kernel, asked: list[Desired], journal: list[Step]) -> list[Step]:
    """Carry a plan out on paper; the journal afterwards."""
    entries = dict(enumerate((Entry(at, step, done=True) for at, step in enumerate(journal)), 0))
    seen = {step.key: "seen" for step in journal}
    found = plan(asked, look(kernel), entries, seen)
    for action in found.actions:
        do(kernel, action.step)
        for number in (action.cancels, action.replaces):
            if number is not None:
                entries.pop(number)
        if action.cancels is None:
            at = max(entries, default=-1) + 1
            entries[at] = Entry(at, action.step, done=True)
    return [entry.step for entry in entries.values()]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(files_with_vrfs(), files_with_vrfs())
def test_on_paper_one_file_becomes_another_and_both_go(
    one: dict[str, object], other: dict[str, object]
) -> None:
    other = other | {"name": one["name"]}
    kernel: Kernel = {}
    journal: list[Step] = []
    for file in (one, other):
        asked = of(file)
        journal = run(kernel, asked, journal)
        # Everything is there, and a second time there is nothing to do.
        assert {want.key for want in asked} <= set(kernel)
        again = run(kernel, asked, journal)
        assert again == journal
    for step in reversed(journal):
        if (inverse := step.inverse) is not None:
            do(kernel, inverse)
    assert {key for key, thing in kernel.items() if not isinstance(thing, Wanted)} == set()


SCRIPT = """
import json
from pathlib import Path
from pipeline import setup, topology_file
from tests.support import network_state

files = {files}
directory = Path("/run/state")
before = network_state.state()
told = []
for text in files:
    file = topology_file.parse(text, "random.yaml")
    setup.up(file, directory)
    again = setup.up(file, directory).steps
    state = setup.status(file, directory).state
    setup.down(file, directory)
    trace = network_state.differences(before, network_state.state())
    told.append([again, state, trace, text if trace or again else ""])
print(json.dumps(told))
"""


@pytest.mark.netns
@pytest.mark.tool("nft", "iptables", "ipset")
def test_in_a_kernel_some_leave_no_trace() -> None:
    texts: list[str] = []

    @settings(max_examples=8, deadline=None, database=None, derandomize=True)
    @given(files())
    def collect(file: dict[str, object]) -> None:
        texts.append(json.dumps(file))

    collect()
    with plumbed(vms=0) as host:
        told = json.loads(host.python(SCRIPT.format(files=texts)))
    assert told == [[[], "up", [], ""]] * len(texts)
