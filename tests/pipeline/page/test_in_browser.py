"""The page in a real browser: alerts come live, hostile texts stay texts, strangers stay out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.page.decoys import Decoys
from pipeline.page.server import PageServer
from pipeline.page.watch import Watch
from suricata.enrichment.settings import Named
from tests.pipeline.page.parts import TOKEN, line, settings
from tests.pipeline.samples import REPORT
from tests.support.browser import Browser

pytestmark = [pytest.mark.tool("chromium"), pytest.mark.xdist_group("browser")]

SCREENSHOTS = Path(__file__).parents[3] / "build" / "screenshots"

HOSTILE = [
    "<script>document.title = 'taken'</script>",
    "<img src=x onerror=\"document.title = 'taken'\">",
    "</title></td></table><h1 id=taken>",
    "javascript:alert(1)",
    "\u202egnp.exe",
    "a" * 1000,
    "line\r\n\r\nevent: figures\r\ndata: {}",
]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Watch, str]]:
    watch, asked = Watch(), settings(tmp_path)
    decoys = Decoys(
        [
            Named(name="web-1", addresses=["192.168.110.2"]),
            Named(name="<b>mail</b>", addresses=["192.168.110.3"]),
            Named(name="files", addresses=["10.20.0.5"]),
        ],
        [
            Named(name="dmz", addresses=["192.168.110.0/24"]),
            Named(name="office", addresses=["10.20.0.0/16"]),
        ],
    )
    server = PageServer(
        asked, watch, decoys, lambda: REPORT, say=lambda *_: None, wrong_seconds=0.0
    )
    server.start()
    yield watch, f"http://{asked.listen}"
    server.close()


# All elements but those that come and go with alerts.
COUNT = (
    "document.querySelectorAll('*').length"
    " - document.querySelectorAll('#alerts tr, #alerts tr *, svg *').length"
)


def enter(browser: Browser, token: str) -> None:
    browser.js(f"document.querySelector('[name=token]').value = '{token}'")
    browser.js("document.querySelector('button').click()")


def test_a_person_looks(served: tuple[Watch, str], tmp_path: Path) -> None:
    watch, origin = served
    watch.put(line(port=1000))
    with Browser(tmp_path) as browser:
        # A stranger stays outside.
        browser.go(f"{origin}/")
        browser.until("location.pathname == '/login'")
        enter(browser, "x" * 20)
        browser.until("document.querySelector('#wrong')?.checkVisibility()")
        # The browser itself says so of an answer 403.
        assert [one for one in browser.complaints if "403" not in one] == []
        browser.complaints.clear()
        # The token opens, and is nowhere to be found afterwards.
        enter(browser, TOKEN)
        rows = "document.querySelectorAll('#alerts tbody tr')"
        browser.until(f"location.pathname == '/' && {rows}.length == 1")
        assert browser.js("document.cookie") == ""
        assert not any(TOKEN in url for url in browser.asked)
        # Alerts come live, the newest first; decoys are marked.
        watch.put(line(port=1001, alert={"severity": 2, "signature": "SSH scan"}))
        watch.put(line("flow", port=1002, decoy="10.20.0.5", attacker="2001:db8::7"))
        watch.put(line(port=1003, decoy="192.168.110.77", back=True))
        browser.until(f"{rows}.length == 3")
        assert browser.js(f"{rows}[1].innerText.includes('203.0.113.7:1001')")
        assert browser.js(f"{rows}[1].innerText.includes('192.168.110.2:80')")
        browser.until("document.querySelectorAll('#map .alerted').length == 2")
        assert browser.js("document.querySelectorAll('#map .touched').length") == 1
        assert browser.js("document.querySelectorAll('#map .attacker').length") == 2
        for word in ("dmz", "office", "web-1", "<b>mail</b>", "192.168.110.77", "2001:db8::7"):
            assert browser.js(f"document.querySelector('#map').textContent.includes('{word}')")
        # Rates, drops, and the sinks' backlog.
        for where, word in (("tiles", "1,235"), ("drops", "ring full"), ("sinks", "2 KiB")):
            browser.until(f"document.querySelector('#{where}').innerText.includes('{word}')")
        browser.screenshot(SCREENSHOTS / "page.png")
        # Hostile texts stay texts.
        before = browser.js(COUNT)
        for at, text in enumerate(HOSTILE):
            named = {"decoy": {"name": text}, "attacker": {"domain": text}}
            watch.put(
                line(port=2000 + at, alert={"signature": text, "category": text}, peeltap=named)
            )
        browser.until(f"{rows}.length == {3 + len(HOSTILE)}")
        shown = browser.js(
            f"[...{rows}].map((row) => row.cells[4].firstChild.textContent).reverse()"
        )
        assert shown[3:7] == HOSTILE[:4]
        assert shown[7] == "\\u202egnp.exe"
        assert shown[8] == "a" * 160 + "…"
        assert browser.js("document.title") == "Peeltap"
        assert (
            browser.js("document.querySelectorAll('#alerts img, #alerts script, #taken').length")
            == 0
        )
        after = browser.js(COUNT)
        assert after == before
        browser.screenshot(SCREENSHOTS / "page-hostile.png")
        # Nobody else was asked for anything, and nothing was complained of.
        assert [url for url in browser.asked if not url.startswith((f"{origin}/", "data:"))] == []
        assert browser.complaints == []
        # Nor could a mistake of ours make markup of a text.
        assert (
            browser.js("try { document.body.innerHTML = '<i>x</i>'; 'done' } catch { 'refused' }")
            == "refused"
        )
        # Who leaves is outside.
        browser.js("document.querySelector('header button').click()")
        browser.until("location.pathname == '/login'")
