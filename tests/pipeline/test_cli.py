"""The command line's manners: help, versions, exit codes, one clear message for each mistake."""

import tomllib
from pathlib import Path

import peeltap_core
import pytest

from tests.pipeline.conftest import CONFIG, FIXTURES, RULES, Run, capture, child

HTTP = capture("http-proxy-v2")
ROOT = Path(__file__).parents[2]


def test_without_anything_it_shows_what_there_is(peeltap: Run) -> None:
    said = peeltap()
    assert said.code == 2
    for word in ("replay", "enrich", "run", "status", "demo", "Exit codes"):
        assert word in said.out


def test_version_is_that_of_the_package_and_of_the_core(peeltap: Run) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert peeltap("--version").out == f"peeltap {version}\n"
    assert version == peeltap_core.VERSION


@pytest.mark.parametrize("command", ["replay", "enrich", "run", "status", "demo"])
def test_help_teaches_by_example(peeltap: Run, command: str) -> None:
    said = peeltap(command, "--help")
    assert said.code == 0
    assert said.out.startswith(f"usage: peeltap {command}")
    if command != "demo":
        assert f"\n  peeltap {command} " in said.out or f"| peeltap {command} " in said.out


# The command line, the exit code, and what is said of it.
MISTAKES = {
    "no such command": (["rpelay"], 2, "invalid choice: 'rpelay'"),
    "no such option": (["replay", HTTP, "-c", CONFIG, "--outt", "x"], 2, "--outt"),
    "no input": (["replay", "-c", CONFIG], 2, "required: IN"),
    "no configuration": (["replay", HTTP], 2, "required: -c/--config"),
    "a configuration that is not there": (
        ["replay", HTTP, "-c", "absent.yaml"],
        2,
        "absent.yaml: cannot be read: No such file or directory\n",
    ),
    "a capture for a configuration": (
        ["replay", HTTP, "-c", HTTP],
        2,
        f"{HTTP}:1: not UTF-8 text\n",
    ),
    "an input that is not there": (
        ["replay", "absent.pcap", "-c", CONFIG],
        1,
        "peeltap: absent.pcap: No such file or directory\n",
    ),
    "an input that is no capture": (
        ["replay", CONFIG, "-c", CONFIG],
        1,
        f"peeltap: {CONFIG}: ",
    ),
    "a directory for an input": (
        ["replay", FIXTURES, "-c", CONFIG],
        1,
        f"peeltap: {FIXTURES}: Is a directory\n",
    ),
    "an output where nothing can be": (
        ["replay", HTTP, "-c", CONFIG, "-o", "/absent/clean.pcap"],
        1,
        "peeltap: /absent/clean.pcap: cannot be written: No such file or directory\n",
    ),
    "the input as output": (
        ["replay", HTTP, "-c", CONFIG, "-o", HTTP],
        2,
        f"peeltap: {HTTP}: is also an input ({HTTP}); give another name for the output\n",
    ),
    "the configuration as output": (
        ["replay", HTTP, "-c", CONFIG, "--flows", CONFIG],
        2,
        f"peeltap: {CONFIG}: is also an input ({CONFIG}); give another name for the output\n",
    ),
    "one output twice": (
        ["replay", HTTP, "-c", CONFIG, "-o", "-", "--flows", "-"],
        2,
        "peeltap: -: is named for two outputs; give another name for the output\n",
    ),
    "standard input twice": (
        ["replay", "-", "-", "-c", CONFIG],
        2,
        "peeltap: -: standard input can be read once\n",
    ),
    "--eve without --suricata": (
        ["replay", HTTP, "-c", CONFIG, "--eve", "e.json"],
        2,
        "peeltap: --eve is where corrected events are written and needs --suricata; "
        "to correct an eve.json that exists: peeltap enrich --in eve.json --flows FLOWS\n",
    ),
    "--rules without --suricata": (
        ["replay", HTTP, "-c", CONFIG, "--rules", RULES],
        2,
        "peeltap: --rules are for Suricata and need --suricata\n",
    ),
    "rules that are not there": (
        ["replay", HTTP, "-c", CONFIG, "--suricata", "--rules", "absent.rules"],
        1,
        "peeltap: absent.rules: cannot be read: no such rule file\n",
    ),
    "a filter that is none": (
        ["replay", HTTP, "-c", CONFIG, "--filter", "tcp prot 80"],
        2,
        "peeltap: --filter 'tcp prot 80': can't parse filter expression: syntax error\n",
    ),
    "a service without a configuration": (["run"], 2, "required: -c/--config"),
    "a service's configuration that is not there": (
        ["run", "--config", "absent.yaml"],
        2,
        "absent.yaml: cannot be read: No such file or directory\n",
    ),
    "the status of a service that does not run": (
        ["status", "--socket", "absent.sock"],
        1,
        "peeltap: no service answers on absent.sock: start it with peeltap run --config FILE "
        "(systemctl start peeltap), or name its socket with --socket; workers are asked with "
        "--workers --config FILE\n",
    ),
    "a page for people and machines": (["status", "--watch", "--json"], 2, "not allowed with"),
    "no such mode": (
        ["replay", HTTP, "-c", CONFIG, "--mode", "both"],
        2,
        "invalid choice: 'both' (choose from ",
    ),
    "flows that are not there": (
        ["enrich", "--flows", "absent.jsonl", "-i", "/dev/null"],
        1,
        "peeltap: absent.jsonl: cannot be read: No such file or directory\n",
    ),
    "a store that is not there": (
        ["enrich", "--flows", "absent.sqlite", "-i", "/dev/null"],
        1,
        "peeltap: absent.sqlite: cannot be read: No such file or directory\n",
    ),
    "events that are not there": (
        ["enrich", "--flows", "/dev/null", "-i", "absent.json"],
        1,
        "peeltap: absent.json: cannot be read: No such file or directory\n",
    ),
    "events and flows from standard input": (
        ["enrich", "--flows", "-"],
        2,
        "peeltap: -: standard input is read for --in; name a file for --flows\n",
    ),
    "a seed out of range": (
        ["enrich", "--flows", "/dev/null", "--community-id-seed", "65536"],
        2,
        "65536 is not from 0 to 65535",
    ),
}


@pytest.mark.parametrize(("arguments", "code", "message"), MISTAKES.values(), ids=MISTAKES)
def test_each_mistake_is_one_message(
    peeltap: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[object],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    said = peeltap(*arguments)
    assert said.code == code
    assert message in said.err
    assert "Traceback" not in said.err
    assert list(tmp_path.iterdir()) == []


def test_configuration_errors_are_shown_as_they_are(peeltap: Run, tmp_path: Path) -> None:
    config = tmp_path / "peeltap.yaml"
    config.write_text("gateways: []\nmode: both\n")
    said = peeltap("replay", HTTP, "-c", config)
    assert said.code == 2
    assert said.err.splitlines() == [
        f"{config}:1: gateways: is empty; at least 1 needed",
        f"{config}:2: mode: 'both' is not allowed; allowed: strip, restore",
    ]


def test_captures_may_stand_before_and_behind_options(peeltap: Run, tmp_path: Path) -> None:
    out = tmp_path / "clean.pcap"
    said = peeltap("replay", HTTP, "-c", CONFIG, capture("magic"), "-q", "-o", out)
    assert (said.code, said.out, said.err) == (0, "", "")
    assert out.stat().st_size > Path(HTTP).stat().st_size


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    """`peeltap replay ... --flows - | head -0`."""
    import subprocess

    from tests.pipeline.conftest import ARGV

    program = subprocess.Popen(
        [*ARGV, "replay", capture("magic"), "-c", str(CONFIG), "--flows", "-", "-q"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert program.stdout is not None
    assert program.stderr is not None
    program.stdout.close()
    assert program.wait(60) == 1
    assert program.stderr.read() == b""
    program.stderr.close()


def test_what_is_not_used_is_not_imported(tmp_path: Path) -> None:
    """Start-up stays cheap: a quiet replay needs neither rich nor pydantic nor Suricata's part."""
    config = tmp_path / "peeltap.yaml"
    config.write_text(
        "gateways: [{from: 172.16.23.1, to: 172.16.23.2, headers: [proxy-v2, magic]}]\n"
        'codecs: {magic: {magic: "d1e0c0ffee5eedb5"}}\n'
        "capture: {interface: br1}\nsinks: [{stdout: true}]\nworkers: 2\n"
    )
    script = (
        "import sys\n"
        "from pipeline.cli import main\n"
        "try:\n"
        f"    main(['replay', {HTTP!r}, '-c', {str(config)!r}, '-q'])\n"
        "except SystemExit as ended:\n"
        "    assert ended.code == 0\n"
        "heavy = {'rich', 'scapy', 'dpkt', 'sqlite3', 'subprocess', 'suricata.process',\n"
        "         'suricata.enrich', 'reassembly.store', 'asyncio', 'http', 'pydantic',\n"
        "         'suricata', 'inspect', 'orjson', 'importlib.metadata'}\n"
        "print(*sorted(heavy & set(sys.modules)))\n"
    )
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "\n"


def test_the_program_is_installed_under_its_name() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"peeltap": "pipeline.cli:main"}
    done = child("--version")
    assert done.returncode == 0
    assert done.stdout.startswith(b"peeltap ")
