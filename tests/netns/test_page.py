"""The page of a living service: a real attack in a real browser, in a network with no way out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.netns import Lab
from fixtures.scenarios import curl
from fixtures.topology import ATTACKER, DECOY, Plan
from tests.support.browser import Browser
from tests.support.live import System
from tests.test_monitoring import exposed_names, wanted_of_service

pytestmark = [
    pytest.mark.netns,
    pytest.mark.suricata,
    pytest.mark.tool("chromium"),
    pytest.mark.xdist_group("live"),
]

TOKEN = "not-to-be-guessed-0123456789"
PAGE, METRICS = "127.0.0.1:8470", "127.0.0.1:9469"
PATH = "/cgi-bin/.%2e/etc/passwd"
SCREENSHOT = Path(__file__).parents[2] / "build" / "screenshots" / "page-live.png"


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with Lab() as lab:
        yield System(lab, Plan())


def test_an_attack_is_seen_by_whoever_looks(system: System, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    sections = {
        "page": {"listen": PAGE, "token": {"file": str(tmp_path / "token")}},
        "metrics": {"listen": METRICS},
        "enrichment": {"decoys": [{"name": "web-1", "addresses": [DECOY[4]]}]},
    }
    with system.peeltap(**sections) as peeltap:
        peeltap.wait_ready()

        def inside(argv: list[str]) -> list[str]:
            return system.host.command(argv, contained=False)

        with Browser(tmp_path, inside) as browser:
            browser.go(f"http://{PAGE}/")
            browser.until("location.pathname == '/login'")
            browser.js(f"document.querySelector('[name=token]').value = '{TOKEN}'")
            browser.js("document.querySelector('button').click()")
            browser.until("document.querySelector('#map .decoy')")
            # Nothing has happened yet; then it has, and the page shows it by itself.
            rows = "document.querySelectorAll('#alerts tbody tr')"
            assert browser.js(f"{rows}.length") == 0
            curl(47001, PATH).play(system.attacker)
            browser.until(f"{rows}.length == 1")
            row = browser.js(f"{rows}[0].innerText")
            for word in (f"{ATTACKER[4]}:47001", "web-1", f"{DECOY[4]}:80", "exact"):
                assert word in row
            browser.until("document.querySelectorAll('#map .alerted').length == 1")
            browser.until("document.querySelector('#service').innerText.includes('Suricata ready')")
            browser.until("document.querySelector('#sinks').innerText.includes('events.json')")
            browser.screenshot(SCREENSHOT)
            assert browser.complaints == []
            assert peeltap.status()["page"]["viewers"] == 1
            # What is shipped for Prometheus and Grafana asks for nothing that is not there.
            text = system.host.run(["curl", "--silent", f"http://{METRICS}/metrics"]).decode()
            assert wanted_of_service() <= exposed_names(text)
            assert peeltap.stop() == 0
            browser.until("document.querySelector('#link').innerText.includes('no connection')")
        assert [line for line in peeltap.log() if line["level"] != "info"] == []
