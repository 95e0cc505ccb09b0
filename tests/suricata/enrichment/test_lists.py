from __future__ import annotations

from pathlib import Path

import pytest

from suricata.enrichment.lists import PeerList, load_peers
from suricata.enrichment.settings import PeerSettings
from suricata.enrichment.watched import EnrichmentError


def test_addresses_and_a_file_together(tmp_path: Path) -> None:
    path = tmp_path / "peers"
    path.write_text("# ours\n198.51.100.0/24   # scanner\n\n2001:db8::1\n")
    peers = PeerList("allow", PeerSettings(addresses=["203.0.113.7"], file=path))
    assert len(peers) == 3
    for ip in ("203.0.113.7", "198.51.100.200", "2001:0db8:0000:0000:0000:0000:0000:0001"):
        assert peers.holds(ip)
    assert not peers.holds("203.0.113.8")
    path.write_text("203.0.113.8\n203.0.113.9\n")
    peers.refresh(1)
    assert peers.holds("203.0.113.8")
    assert not peers.holds("198.51.100.200")
    path.unlink()
    peers.refresh(100)
    assert peers.trouble is not None
    assert peers.holds("203.0.113.8")


def test_a_mistake_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "peers"
    path.write_text("192.0.2.1\nnobody\n")
    with pytest.raises(EnrichmentError, match="line 2: 'nobody' is no address and no network"):
        load_peers(path)
    with pytest.raises(EnrichmentError, match="cannot be read"):
        load_peers(tmp_path)


def test_bits_below_a_prefix_are_forgiven_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "peers"
    path.write_text("192.0.2.1/24\n")
    assert load_peers(path).find("192.0.2.77")
