"""`peeltap run` as far as it gets without a network of its own; tests/netns has the rest."""

import os
import subprocess
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, RunError
from pipeline.run import check
from tests.pipeline.conftest import ARGV, Run

LIVE = (
    "gateways: [{from: 172.16.23.1, to: 172.16.23.2, headers: [proxy-v2]}]\n"
    "capture: {interface: br1}\n"
)


def written(directory: Path, text: str) -> str:
    path = directory / "peeltap.yaml"
    path.write_text(text)
    return str(path)


MISTAKES = {
    "a filter that is none": (
        LIVE.replace("br1}", "br1, filter: tcp prot 80}"),
        "capture.filter: 'tcp prot 80': can't parse filter expression: syntax error",
    ),
    "rules that are not there": (
        LIVE + "suricata: {rules: [absent.rules]}\n",
        "absent.rules cannot be read: No such file or directory",
    ),
    "a Suricata that is not there": (
        LIVE + "suricata: {binary: no-suricata}\n",
        "there is no program 'no-suricata'",
    ),
    "a user who is not there": (
        LIVE + "suricata: external\nrun_as: no-such-user\n",
        "run_as: there is no user 'no-such-user'",
    ),
}


@pytest.mark.suricata
@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES)
def test_what_a_configuration_names_is_looked_at(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RunError) as caught:
        check(written(tmp_path, text))
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_mistakes_in_the_file_come_first(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        check(written(tmp_path, "capture: {}\n"))


def test_a_right_file_is_said_to_be_right(peeltap: Run, tmp_path: Path) -> None:
    path = written(tmp_path, LIVE + "suricata: external\n")
    said = peeltap("run", "--config", path, "--check")
    assert (said.code, said.out, said.err) == (0, f"{path} is right\n", "")
    assert [entry.name for entry in tmp_path.iterdir()] == ["peeltap.yaml"]


def test_a_wrong_file_is_exit_code_2(peeltap: Run, tmp_path: Path) -> None:
    path = written(tmp_path, "gateways: []\n")
    said = peeltap("run", "--config", path)
    assert said.code == 2
    assert said.err.splitlines()[0] == (
        f"{path}:1: capture: missing; name the interface that carries the proxied legs: "
        "capture: {interface: br1}"
    )


@pytest.mark.netns
def test_an_ordinary_user_is_told_what_it_needs(tmp_path: Path) -> None:
    path = written(tmp_path, LIVE + "suricata: external\n")
    tmp_path.chmod(0o755)
    # Root without its capabilities is as powerless as anybody, and can read this checkout.
    done = subprocess.run(
        ["setpriv", "--bounding-set=-all", *ARGV, "run", "--config", path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 1
    assert done.stderr.startswith("peeltap: CAP_NET_ADMIN and CAP_NET_RAW needed to capture")
    assert "Traceback" not in done.stderr
