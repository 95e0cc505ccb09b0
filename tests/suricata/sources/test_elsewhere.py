"""Nothing, without end."""

from suricata.sources.elsewhere import Elsewhere
from suricata.sources.source import Source


def test_it_gives_nothing_and_has_no_backlog() -> None:
    one: Source = Elsewhere("redis://h/suricata")
    assert one.read(100, 0.001) is None
    one.look()
    one.commit([])
    assert one.rereads
    assert one.status() == {"kind": "elsewhere", "path": "redis://h/suricata", "backlog": 0}
    one.close()
