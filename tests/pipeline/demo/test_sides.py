"""What one Suricata said: the client's half is told from the server's."""

import json
from pathlib import Path

from pipeline.demo.sides import UNDERSTOOD, read_side


def test_what_was_understood_is_the_clients_half(tmp_path: Path) -> None:
    eve = tmp_path / "eve.json"
    events = [
        {"event_type": "http", "http": {"http_method": "GET"}},
        {"event_type": "http", "http": {"http_method": "\u0000"}},
        {"event_type": "http", "http": {"status": 200}},
        {"event_type": "ssh", "ssh": {"server": {}}},
        {"event_type": "ssh", "ssh": {"server": {}, "client": {}}},
        {"event_type": "tls", "tls": {"version": "TLS 1.2"}},
        {"event_type": "tls", "tls": {"sni": "decoy.example"}},
        {"event_type": "smtp", "smtp": {"helo": "x"}},
        {"event_type": "stats"},
    ]
    eve.write_text("".join(json.dumps(event) + "\n" for event in events))
    side = read_side(eve)
    assert side.understood == dict.fromkeys(UNDERSTOOD, 1)
    assert side.types["http"] == 3
