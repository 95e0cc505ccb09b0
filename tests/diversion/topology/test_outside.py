"""What Docker, libvirt and Open vSwitch say, as they say it; and what is no such thing."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from diversion.topology import outside
from diversion.topology.draw import tree
from diversion.topology.graph import Graph, Node

# `docker network inspect bridge`, of Docker 24, shortened.
DOCKER = [
    {
        "Name": "bridge",
        "Id": "7d86d31b1478e7cca9ebed7e73aa0fdeec46c5ca29497431d3007d2d9e15ed99",
        "Driver": "bridge",
        "IPAM": {"Config": [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]},
        "Containers": {
            "39b3": {
                "Name": "web-decoy",
                "MacAddress": "02:42:ac:11:00:02",
                "IPv4Address": "172.17.0.2/16",
                "IPv6Address": "",
            }
        },
        "Options": {"com.docker.network.bridge.name": "docker0"},
    },
    {"Name": "host", "Id": "aa", "Driver": "host", "Containers": {}},
    {"Name": "inner", "Id": "0123456789abcdef", "Driver": "bridge", "Containers": {}},
]

# `virsh net-dumpxml default` and `virsh dumpxml win`, shortened.
NETWORK = """<network><name>default</name><bridge name='virbr0' stp='on'/>
<ip address='192.168.122.1' netmask='255.255.255.0'/></network>"""
DOMAIN = """<domain type='kvm'><name>win</name><devices>
<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br-win'/></interface>
<interface type='network'><mac address='52:54:00:00:00:02'/><source network='default'/></interface>
</devices></domain>"""

# RFC 7047's JSON, as ovs-vsctl 3 prints it.
BRIDGES = {
    "headings": ["_uuid", "name", "ports"],
    "data": [[["uuid", "b0"], "ovs0", ["set", [["uuid", "p0"], ["uuid", "p1"]]]]],
}
PORTS = {
    "headings": ["_uuid", "name"],
    "data": [[["uuid", "p0"], "ovs0"], [["uuid", "p1"], "eth3"]],
}


def test_docker() -> None:
    graph = Graph()
    graph.add(Node("docker0", "bridge", "", ("172.17.0.1/16",)))
    outside.docker(graph, DOCKER)
    assert tree(graph) == (
        "host\n"
        "├── br-0123456789ab (bridge)\n"
        "│   └── docker:inner (docker network)\n"
        "└── docker0 (bridge)  172.17.0.1/16\n"
        "    └── docker:bridge (docker network)  172.17.0.0/16\n"
        "        └── web-decoy (container)  172.17.0.2/16, 02:42:ac:11:00:02\n"
    )


def test_libvirt() -> None:
    graph = Graph()
    graph.add(Node("br-win", "bridge"))
    for text in (NETWORK, DOMAIN):
        outside.libvirt(graph, text)
    assert tree(graph) == (
        "host\n"
        "├── br-win (bridge)\n"
        "│   └── win (domain)  52:54:00:00:00:01\n"
        "└── virbr0 (bridge)\n"
        "    └── libvirt:default (libvirt network)  192.168.122.1\n"
        "        └── win (domain)  52:54:00:00:00:01\n"
    )


def test_open_vswitch() -> None:
    graph = Graph()
    graph.add(Node("ovs0", "openvswitch"))
    outside.open_vswitch(graph, BRIDGES, PORTS)
    assert tree(graph) == "host\n└── ovs0 (ovs bridge)\n    └── eth3 (ovs port)\n"


ODD: list[Any] = [None, 5, "x", [], {}, [None], [[]], [{"Driver": "bridge"}], {"headings": 5}]


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_what_does_not_look_as_expected_is_left_out(odd: Any) -> None:
    graph = Graph()
    outside.docker(graph, odd)
    outside.open_vswitch(graph, odd, odd)
    outside.libvirt(graph, json.dumps(odd))
    tree(graph)


@pytest.mark.parametrize(
    "text",
    [
        "<domain",
        "<domain/>",
        "<network><bridge/></network>",
        "<!DOCTYPE x [<!ENTITY a 'aaaa'>]><domain><name>&a;</name></domain>",
        "<domain><devices><interface/></devices></domain>",
    ],
)
def test_xml_that_is_none_of_libvirts(text: str) -> None:
    graph = Graph()
    outside.libvirt(graph, text)
    assert graph.edges == []


def test_json_that_is_none() -> None:
    with pytest.raises(outside.OutsideError, match=r"saved\.json: not JSON"):
        outside.parse("{", "saved.json")


def test_an_engine_is_asked_over_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    answers = [[{"Id": "7d86"}], DOCKER[0]]
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            for answer in answers:
                connection, _ = server.accept()
                with connection:
                    connection.recv(4096)
                    body = json.dumps(answer).encode()
                    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
                    connection.sendall(head.encode() + body)

        engine = threading.Thread(target=serve)
        engine.start()
        assert outside.ask_docker(path) == [DOCKER[0]]
        engine.join()


def test_no_engine_is_no_containers(tmp_path: Path) -> None:
    assert outside.ask_docker(tmp_path / "none") == []
    (tmp_path / "file").touch()
    assert outside.ask_docker(tmp_path / "file") == []


def test_libvirts_files_are_read_networks_first(tmp_path: Path) -> None:
    (tmp_path / "networks").mkdir()
    (tmp_path / "win.xml").write_text(DOMAIN)
    (tmp_path / "networks/default.xml").write_text(NETWORK)
    assert list(outside.libvirt_files(tmp_path)) == [NETWORK, DOMAIN]
    assert list(outside.libvirt_files(tmp_path / "none")) == []
