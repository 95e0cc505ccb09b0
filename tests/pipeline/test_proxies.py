"""The proxies' files: the line of each mistake, names beside the file, YAML for the agent too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline import cli, proxies
from pipeline.errors import ConfigError

GATEWAY = """\
gateway1:
  listen:
    - {address: "172.16.24.1:7000", tls: {certificate: g.pem, key: g.key, ca: ca.pem}}
  agents: {edge: {headers: [proxy-v2, magic]}}
  rules: rules.yaml
codecs:
  magic: {magic: "d1e0c0ffee5eedb5"}
"""
RULES = """\
decoys:
  web: {gateway2: "172.16.23.2:9080"}
rules:
  - {agent: edge, listen: ["192.0.2.1:80"], decoy: web}
"""


def test_files_that_a_file_names_lie_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(GATEWAY)
    one = proxies.load_gateway(path).gateway1
    assert one is not None
    assert one.rules == str(tmp_path / "rules.yaml")
    assert one.listen[0].tls is not None
    assert one.listen[0].tls.ca == str(tmp_path / "ca.pem")
    (tmp_path / "rules.yaml").write_text(RULES)
    assert list(proxies.load_rules(Path(one.rules)).decoys) == ["web"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", ["1: needs gateway1, gateway2 or both"]),
        (
            GATEWAY.replace("address", "adress"),
            ["3: gateway1.listen[0].address: missing", "3: gateway1.listen[0].adress: unknown key"],
        ),
        (GATEWAY.replace("7000", "70000"), ["3: gateway1.listen[0].address: .*is not a port"]),
        (GATEWAY.replace("[proxy-v2, magic]", "[]"), ["4: gateway1.agents.edge.headers: is empty"]),
        (GATEWAY + "log: 7\n", ["8: log: must be text, not the number 7"]),
        (GATEWAY + "log: [\n", ["9: not YAML"]),
        (GATEWAY + "log: a\nlog: b\n", ["9: log: given twice, first in line 8"]),
    ],
)
def test_each_mistake_has_its_line(tmp_path: Path, text: str, lines: list[str]) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        proxies.load_gateway(path)
    said = str(raised.value).splitlines()
    assert len(said) == len(lines)
    for one, wanted in zip(said, lines, strict=True):
        assert re.match(re.escape(f"{path}:") + wanted.replace("[", r"\[", 1), one), one


def test_the_agents_file_may_be_yaml(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text('name: edge\ngateway1: "172.16.24.1:7000"\n')
    assert proxies.load_agent(path).name == "edge"
    path.write_text("name: edge\n")
    with pytest.raises(ConfigError, match="gateway1: missing"):
        proxies.load_agent(path)


def test_check_and_print(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gateway, agent = tmp_path / "gateway.yaml", tmp_path / "agent.json"
    gateway.write_text(GATEWAY.replace(", magic]", "]"))
    (tmp_path / "rules.yaml").write_text(RULES)
    agent.write_text('{"name": "edge", "gateway1": "172.16.24.1:7000"}')
    for command, path, extra, code in (
        ("gateway", gateway, "--check", 0),
        ("agent", agent, "--check", 0),
        ("gateway", gateway, "--print-haproxy", 0),
        ("agent", agent, "--print-haproxy", 1),
    ):
        with pytest.raises(SystemExit) as ended:
            cli.main([command, "--config", str(path), extra])
        assert ended.value.code == code
    said = capsys.readouterr()
    assert "server decoy-web 172.16.23.2:9080 send-proxy-v2" in said.out
    assert said.err == "peeltap: there is no listener yet: gateway1 has sent no rules\n"


def test_check_knows_the_agents_of_the_rules(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(GATEWAY)
    (tmp_path / "rules.yaml").write_text(RULES.replace("edge", "egde"))
    with pytest.raises(SystemExit) as ended:
        cli.main(["gateway", "--config", str(path), "--check"])
    assert ended.value.code == 2
    assert "rules.yaml: rules[0].agent: 'egde' is not in gateway1.agents" in capsys.readouterr().err
