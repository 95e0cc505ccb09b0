"""Suricata, its configuration and its rules: facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pipeline.doctor.finding import Finding, fail, ok, warn

SUPERFRAME_BLOCK: Final = 131_072
"""A TPACKET_V3 block that holds a frame of 64 KiB; 32,768 cut it (measured with Suricata 7)."""

_YES: Final = ("yes", "true", "on", "1")


@dataclass(frozen=True, slots=True)
class Sensor:
    """The one Suricata. Errors are sentences of `suricata.process` or clauses.

    `values` is what `suricata --dump-config` says of the configuration that it gets, flat; None if
    it was not asked. For another's Suricata (`external`) only EVE and command socket are known.
    """

    external: bool = False
    version: str | None = None
    error: str | None = None
    values: Mapping[str, str] | None = None
    values_error: str | None = None
    rules: Sequence[str] = ()
    rules_errors: Sequence[str] = ()
    test_error: str | None = None
    tested: bool = False
    eve: str | None = None
    eve_error: str | None = None
    answers_error: str | None = None
    superframes: str = "keep"
    warnings: Sequence[str] = field(default=())


def findings(sensor: Sensor) -> Iterator[Finding]:
    """All about Suricata."""
    if sensor.external:
        yield from _external(sensor)
        return
    if sensor.error is not None:
        yield fail(
            "suricata",
            sensor.error,
            "install Suricata 7 or later (Debian: from backports), or name it under "
            "suricata.binary; or suricata: external",
        )
        return
    yield ok("suricata", f"version {sensor.version}")
    if sensor.values_error is not None:
        yield fail(
            "suricata",
            f"it does not read its configuration: {sensor.values_error}",
            "see suricata.base and suricata.extra",
        )
    elif sensor.values is not None:
        found = list(_values(sensor.values, sensor.superframes))
        yield from found
        if not found:
            yield ok("suricata", "its configuration is as a tap needs it")
    yield from _rules(sensor)


def _external(sensor: Sensor) -> Iterator[Finding]:
    topic = "suricata"
    if sensor.answers_error is not None:
        yield fail(
            topic,
            f"it does not answer: {sensor.answers_error}",
            "start it; see suricata.external.command_socket",
        )
    elif sensor.version is not None:
        yield ok(topic, f"version {sensor.version}, run by others, answers")
    if sensor.eve_error is not None:
        yield fail(
            topic,
            f"its events {sensor.eve} cannot be read: {sensor.eve_error}",
            "let Suricata write there, and the service's user read it",
        )
    elif sensor.eve is not None:
        yield ok(topic, f"its events come from {sensor.eve}")
    yield warn(
        topic,
        "it is configured by others, so that this cannot be looked at",
        "af-packet on the tap with tpacket-v3: yes, checksum-checks: kernel"
        + (f", block-size: {SUPERFRAME_BLOCK}" if sensor.superframes == "keep" else "")
        + "; stream.midstream and stream.async-oneside off",
    )


def _values(values: Mapping[str, str], superframes: str) -> Iterator[Finding]:
    """What in Suricata's own words would make it see less, or otherwise, than was on the wire."""
    topic = "suricata"

    def on(key: str) -> bool:
        return values.get(key, "").lower() in _YES

    interface = "af-packet.0."
    remedy = "take it out of suricata.extra and of the file under suricata.base"
    if not on(f"{interface}tpacket-v3"):
        yield fail(topic, "af-packet without tpacket-v3 cuts frames of 64 KiB", remedy)
    block = values.get(f"{interface}block-size", "")
    if superframes == "keep" and block.isdigit() and int(block) < SUPERFRAME_BLOCK:
        yield fail(
            topic,
            f"af-packet's block-size of {block} cuts frames of 64 KiB",
            f"block-size: {SUPERFRAME_BLOCK}, or tap: {{superframes: segment}}",
        )
    checks = values.get(f"{interface}checksum-checks", "auto")
    if checks not in ("kernel", "no", "false"):
        yield warn(
            topic,
            f"af-packet's checksum-checks is {checks}: packets that the kernel has yet to complete "
            "count as damaged",
            "checksum-checks: kernel",
        )
    if f"{interface}copy-mode" in values:
        yield fail(
            topic, "af-packet's copy-mode sends packets on: Suricata must not answer here", remedy
        )
    if f"{interface}bpf-filter" in values:
        yield warn(
            topic,
            f"af-packet's bpf-filter '{values[f'{interface}bpf-filter'][:80]}' hides packets",
            "filter at the capture, where it costs less: capture.filter",
        )
    snap = values.get("snaplen", "")
    if snap.isdigit() and 0 < int(snap) < 65_535:
        yield warn(topic, f"snaplen {snap} cuts packets", remedy)
    if on("stream.midstream"):
        yield warn(
            topic,
            "stream.midstream takes up connections in the middle: what belongs to a header that "
            "was not seen is then taken for the attacker's",
            "stream.midstream: no",
        )
    if on("stream.async-oneside"):
        yield warn(
            topic,
            "stream.async-oneside expects one direction; a tap shows both, and packets in order",
            "stream.async-oneside: no",
        )
    if on("stream.inline"):
        yield warn(
            topic,
            "stream.inline reads packets before they are acknowledged, as for an IPS",
            "stream.inline: no",
        )
    if not on("vlan.use-for-tracking") and "vlan.use-for-tracking" in values:
        yield warn(
            topic,
            "vlan.use-for-tracking is off: equal addresses in two VLANs become one connection",
            "vlan.use-for-tracking: true",
        )
    depth = values.get("stream.reassembly.depth", "")
    if depth in ("0", "0mb"):
        yield warn(
            topic,
            "stream.reassembly.depth is without bound: one long download costs memory",
            "stream.reassembly.depth: 1mb",
        )


def _rules(sensor: Sensor) -> Iterator[Finding]:
    topic = "rules"
    for error in sensor.rules_errors:
        yield fail(topic, error, "correct suricata.rules, or the file's permissions")
    if sensor.rules_errors:
        return
    if sensor.test_error is not None:
        yield fail(topic, sensor.test_error, "correct the rule; Suricata starts without a bad one")
    elif not sensor.rules:
        yield warn(
            topic,
            "none are named: there will be events of protocols, and no alerts",
            "suricata: {rules: [FILE, ...]}",
        )
    else:
        names = ", ".join(sensor.rules[:3]) + (" and more" if len(sensor.rules) > 3 else "")
        yield ok(topic, f"{names}: {'Suricata takes them' if sensor.tested else 'readable'}")
