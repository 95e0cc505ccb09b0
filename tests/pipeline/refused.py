"""Topology files that are refused, and what is said of each: file, line, key, remedy."""

from __future__ import annotations

BRIDGE = "name: t\nbridges:\n  br0: {addresses: [203.0.113.1/24]}\n"
SEGMENT = BRIDGE + "segments:\n  - {name: a, on: br0, network: 10.0.0.0/24"

# On a host whose eth0 has 192.0.2.5/24, and which has a file /run/here.
REFUSED = [
    # Unknown keys.
    (BRIDGE + "bridgs: {}", "t.yaml:4: bridgs: unknown key; did you mean bridges?"),
    (
        "name: t\ntap: {nam: x}",
        "t.yaml:2: tap.nam: unknown key; did you mean name?",
    ),
    # Overlapping prefixes: in the file, and with what the host has.
    (
        BRIDGE + "  br1: {addresses: [203.0.113.129/25]}",
        "t.yaml:4: bridges.br1.addresses[0]: 203.0.113.128/25 overlaps 203.0.113.0/24 on br0; give "
        "each bridge a network of its own",
    ),
    (
        BRIDGE + "communication: [{on: br0, vlan: 5, address: 203.0.113.9/24}]",
        "t.yaml:4: communication[0].address: 203.0.113.0/24 overlaps 203.0.113.0/24 on br0; take "
        "another network",
    ),
    (
        "name: t\nbridges:\n  br1: {addresses: [192.0.0.1/16]}",
        "t.yaml:3: bridges.br1.addresses[0]: 192.0.0.0/16 overlaps 192.0.2.0/24 on eth0; take "
        "another network",
    ),
    # Names over 15 characters: written, and made from what is written.
    (
        "name: t\nbridges:\n  a-bridge-of-sixteen: {}",
        "t.yaml:3: bridges.a-bridge-of-sixteen: 'a-bridge-of-sixteen' has 19 characters; an "
        "interface's name has at most 15",
    ),
    (
        "name: t\nbridges: {trunk-of-eth0: {}}\n"
        "communication: [{on: trunk-of-eth0, vlan: 10, address: 10.9.0.5/24}]",
        "t.yaml:3: communication[0].on: makes the interface trunk-of-eth0.10, and a name has at "
        "most 15 characters; take a shorter one",
    ),
    # A missing parent interface, or one that cannot be a parent.
    (
        "name: t\nbridges:\n  br0: {ports: [eth7]}",
        "t.yaml:3: bridges.br0.ports[0]: there is no interface eth7; ip link shows those there are",
    ),
    (
        "name: t\ncommunication: [{on: trunk0, vlan: 5, address: 10.9.0.5/24}]",
        "t.yaml:2: communication[0]: there is no interface trunk0; ip link shows those there are",
    ),
    (
        "name: t\nsegments:\n  - {name: a, on: trunk0, network: 10.0.0.0/24}",
        "t.yaml:3: segments[0]: there is no interface trunk0; ip link shows those there are",
    ),
    (
        "name: t\nsegments:\n  - {name: a, on: eth0, network: 10.0.0.0/24}",
        "t.yaml:3: segments[0]: eth0 is no bridge, but veth; name one that is",
    ),
    (
        "name: t\nsuricata: {on: vtap9}",
        "t.yaml:2: suricata.on: there is no interface vtap9; ip link shows those there are",
    ),
    (
        "name: t\ngateway2:\n"
        "  - {namespace: vm9, listen: '10.0.0.1:9', gateway1: [10.0.0.2/32], decoys: eth0}",
        "t.yaml:3: gateway2[0]: there is no namespace vm9; ip netns shows those there are",
    ),
    # A VLAN's id.
    (SEGMENT + ", vlan: 5000}", "t.yaml:5: segments[0].vlan: 5000 is too large; at most 4094"),
    (
        BRIDGE + "communication: [{on: br0, vlan: 0, address: 10.9.0.5/24}]",
        "t.yaml:4: communication[0].vlan: 0 is too small; at least 1",
    ),
    # Ranges of ports, and of addresses, backwards.
    (
        SEGMENT + ", addresses: [10.0.0.5], "
        "advertise: [{addresses: [10.0.0.5], ports: [8010-8000]}]}",
        "t.yaml:5: segments[0].advertise[0].ports[0]: the port range '8010-8000' runs backwards; "
        "write 8000-8010",
    ),
    (
        SEGMENT + ", addresses: [10.0.0.9-10.0.0.5]}",
        "t.yaml:5: segments[0].addresses[0]: '10.0.0.9-10.0.0.5' runs backwards; write "
        "10.0.0.5-10.0.0.9",
    ),
    # Addresses that are somewhere already: in the file, on the host.
    (
        BRIDGE + "virtual: [{on: br0, to: 10.0.0.2, addresses: [203.0.113.1]}]",
        "t.yaml:4: virtual[0].addresses[0]: 203.0.113.1 is an address of br0 already; take another",
    ),
    (
        "name: t\nbridges:\n  br1: {addresses: [192.0.2.5/32]}",
        "t.yaml:3: bridges.br1.addresses[0]: 192.0.2.5 is in use on eth0; take another address",
    ),
    # Addresses that nobody has.
    (
        SEGMENT + ", addresses: [10.0.1.5]}",
        "t.yaml:5: segments[0].addresses[0]: 10.0.1.5 is not in the segment's network, 10.0.0.0/24",
    ),
    # The management interface would lose its address.
    (
        "name: t\nbridges:\n  br0: {ports: [eth0]}",
        "t.yaml:3: bridges.br0.ports[0]: eth0 has the address 192.0.2.5/24, which it loses as a "
        "port of br0; give the bridge that address (bridges: addresses) and say --yes-cut-me-off, "
        "or take another port",
    ),
    # Names that are given twice, or are somebody else's.
    (
        "name: t\nbridges: {b: {}}\nrouters:\n"
        "  - {name: a, legs: [{on: b, addresses: [10.0.0.1/24]}]}\n"
        "  - {name: a, legs: [{on: b, addresses: [10.1.0.1/24]}]}",
        "t.yaml:5: routers[1].name: the namespace a is that of a router already; rename one",
    ),
    (
        "name: t\nbridges:\n  eth0: {}",
        "t.yaml:3: bridges.eth0: there is an interface eth0 already, and it is of kind veth; take "
        "another name",
    ),
    # Suricata's place.
    (
        "name: t\ntap: {}\nsuricata: {on: vtap0, events: /run/here}",
        "t.yaml:3: suricata.events: there is something called /run/here already, and it is no "
        "directory; take another path",
    ),
    (
        "name: t\ntap: {}\nsuricata: {on: vtap0, events: /run/no/such}",
        "t.yaml:3: suricata.events: there is no directory /run/no; make it, or name another",
    ),
    (
        "name: t\ntap: {}\nsuricata: {on: vtap0, events: /run/x, user: nobody-knows}",
        "t.yaml:3: suricata.user: this machine knows no user 'nobody-knows'; create it, or name "
        "another",
    ),
    (
        "name: t\ntap: {}\nsuricata: {on: vtap0, events: /run/../etc}",
        "t.yaml:3: suricata.events: '/run/../etc' is no path of a directory; allowed: "
        "/var/log/suricata",
    ),
    (
        "name: t\ntap: {}\nsuricata: {on: vtap0}\noffloads: {vtap0: {gro: true}}",
        "t.yaml:4: offloads.vtap0.gro: Suricata listens on vtap0, where it has to be off; take "
        "this out",
    ),
    # Machines.
    (
        "name: t\nmachines:\n  a: {interfaces: {eth0: {}}}",
        "t.yaml:3: machines.a.interfaces.eth0: leads nowhere; give it on, a bridge, or to, "
        "MACHINE/INTERFACE",
    ),
    (
        "name: t\nmachines:\n  a: {interfaces: {eth0: {to: b/eth0}}}",
        "t.yaml:3: machines.a.interfaces.eth0.to: b is none of the file's machines: a",
    ),
    (
        "name: t\nbridges: {b: {}}\nmachines:\n"
        "  a: {interfaces: {eth0: {on: b}}, routes: [{to: 0.0.0.0/0, via: 10.0.0.1}]}",
        "t.yaml:4: machines.a.routes[0].via: 10.0.0.1 is in no network of a; give an interface an "
        "address there",
    ),
]
