"""The configuration file: each mistake is led back to its line, and says what is allowed."""

from pathlib import Path

import pytest

from pipeline import config_check
from pipeline.config import LIVE_SECTIONS, Config, load, load_live, parse, parse_live
from pipeline.errors import ConfigError, UsageError
from reassembly.settings import EngineSettings
from suricata.settings import SuricataSettings

MINIMAL = "gateways: [{from: 172.16.23.1, to: 172.16.23.2:9000, headers: [proxy-v2]}]\n"
LEG = """\
gateways:
  - from: 172.16.23.1
    to: 172.16.23.2:9000
    headers: [proxy-v2]
"""
MISSING_GATEWAYS = (
    "p.yaml:1: gateways: missing; name the legs that carry headers: "
    "gateways: [{from: 172.16.23.1, to: 172.16.23.2:9000, headers: [proxy-v2]}]"
)
ROOT_KEYS = (
    "gateways, codecs, mode, midstream, other, superframes, limits, capture, workers, state, "
    "control, metrics, log, run_as, tap, suricata, events, sinks, enrichment, sessions, page, flows"
)
ONE_KIND = (
    "name one kind for each sink: file, stdout, syslog, elasticsearch, splunk, kafka, redis, "
    "webhook; as file: PATH"
)
MISSING_CAPTURE = (
    "p.yaml:1: capture: missing; name the interface that carries the proxied legs: "
    "capture: {interface: br1}"
)
FORMS = (
    "write an address or a network, with or without a port: 172.16.23.1, 172.16.23.0/24, "
    "172.16.23.1:9000, fd00::1, fd00::/64, [fd00::1]:9000"
)

OURS = (
    '[{bytes: "4f555253"}, {u8: length}, {ip: peer}, {u16be: peer_port}, '
    "{ip: destination}, {u16be: destination_port}]"
)

MISTAKES = {
    "an empty file": ("", [MISSING_GATEWAYS]),
    "only comments": ("# nothing\n", [MISSING_GATEWAYS]),
    "a list at the top": (
        "- a\n",
        ["p.yaml:1: must be a mapping with the key gateways, not a list"],
    ),
    "text at the top": (
        "hello\n",
        ["p.yaml:1: must be a mapping with the key gateways, not text"],
    ),
    "no gateways in the list": (
        "gateways: []\n",
        ["p.yaml:1: gateways: is empty; at least 1 needed"],
    ),
    "a number for the gateways": (
        "gateways: 5\n",
        ["p.yaml:1: gateways: must be a list, not the number 5"],
    ),
    "a key misspelt at the top": (
        LEG + "mod: strip\n",
        [f"p.yaml:5: mod: unknown key; did you mean mode? allowed: {ROOT_KEYS}"],
    ),
    "a key nobody knows": (
        LEG + "zzz: 1\n",
        [f"p.yaml:5: zzz: unknown key; allowed: {ROOT_KEYS}"],
    ),
    "a key misspelt in a gateway, so that another is missing": (
        LEG.replace("from:", "frm:"),
        [
            "p.yaml:2: gateways[0].frm: unknown key; did you mean from? "
            "allowed: from, to, headers, required, depth",
            "p.yaml:2: gateways[0].from: missing; gateway1, the side that connects: "
            "an address or network, optionally a port",
        ],
    ),
    "a key misspelt in the limits": (
        LEG + "limits:\n  hold_second: 1\n",
        [
            "p.yaml:6: limits.hold_second: unknown key; did you mean hold_seconds? "
            "allowed: connections, half_open, hold_packets, hold_bytes, hold_seconds, "
            "hold_total_bytes, fragments, fragment_seconds, idle_seconds, half_open_seconds, "
            "closed_seconds"
        ],
    ),
    "a key given twice": (
        LEG + "mode: strip\nmode: restore\n",
        ["p.yaml:6: mode: given twice, first in line 5; keep one"],
    ),
    "a key that is a list": (
        LEG + "? [a]\n: 1\n",
        ["p.yaml:5: a key must be text"],
    ),
    "no such mode": (
        LEG + "mode: stripp\n",
        ["p.yaml:5: mode: 'stripp' is not allowed; allowed: strip, restore"],
    ),
    "a header misspelt": (
        LEG.replace("proxy-v2", "proxy-v3"),
        [
            "p.yaml:4: gateways[0].headers[0]: no codec is called 'proxy-v3'; "
            "did you mean proxy-v2? allowed: proxy-v2, proxy-v1, sslproxy"
        ],
    ),
    "a header named twice": (
        LEG.replace("[proxy-v2]", "[proxy-v2, proxy-v2]"),
        ["p.yaml:4: gateways[0].headers[1]: proxy-v2 is named twice; name it once"],
    ),
    "magic without its value": (
        LEG.replace("proxy-v2", "magic"),
        [
            "p.yaml:4: gateways[0].headers[0]: magic needs the site's own value; add it: "
            'codecs: {magic: {magic: "d1e0c0ffee5eedb5"}}'
        ],
    ),
    "magic with an empty entry": (
        LEG + "codecs: {magic: {}}\n",
        [
            "p.yaml:5: codecs.magic.magic: missing; give the magic bytes in hex: "
            '{magic: "d1e0c0ffee5eedb5"}'
        ],
    ),
    "magic as YAML's number": (
        LEG + "codecs:\n  magic:\n    magic: 1234567812345678\n",
        [
            "p.yaml:7: codecs.magic.magic: must be text, not the number 1234567812345678; "
            'put it in quotes: "1234567812345678"'
        ],
    ),
    "sslproxy without its position": (
        LEG.replace("proxy-v2", "sslproxy"),
        [
            "p.yaml:4: gateways[0].headers[0]: sslproxy needs to know where its line stands; "
            "add it: codecs: {sslproxy: {position: request}} for HTTP, "
            "{position: front} for all else"
        ],
    ),
    "sslproxy with an empty entry": (
        LEG + "codecs: {sslproxy: {}}\n",
        [
            "p.yaml:5: codecs.sslproxy.position: missing; request: behind the first line, "
            "as SSLproxy does for HTTP; front: before all, as it does for everything else"
        ],
    ),
    "no such position": (
        LEG + "codecs: {sslproxy: {position: back}}\n",
        ["p.yaml:5: codecs.sslproxy.position: 'back' is not allowed; allowed: front, request, any"],
    ),
    "a position and a layout": (
        LEG + f"codecs: {{mail: {{position: front, layout: {OURS}}}}}\n",
        [
            "p.yaml:5: codecs.mail.layout: an entry for SSLproxy's line takes position only; "
            "take it out"
        ],
    ),
    "a position of magic": (
        LEG + 'codecs: {magic: {magic: "d1e0c0ffee5eedb5", position: front}}\n',
        ["p.yaml:5: codecs.magic.position: magic ships with its layout; take this out"],
    ),
    "settings for a built-in codec": (
        LEG + "codecs: {proxy-v1: {}}\n",
        [
            "p.yaml:5: codecs.proxy-v1: proxy-v1 is built in and takes no settings; "
            "leave it out, or choose a new name"
        ],
    ),
    "a codec without a layout": (
        LEG + "codecs: {ours: {}}\n",
        [
            "p.yaml:5: codecs.ours.layout: missing; "
            "give the header's fields in the order they are sent"
        ],
    ),
    "a codec's name in capitals": (
        LEG + f"codecs: {{Ours: {{layout: {OURS}}}}}\n",
        [
            "p.yaml:5: codecs.Ours: 'Ours' cannot be a codec's name; allowed: up to 32 of "
            "a-z 0-9 . _ -, beginning with a letter or a digit"
        ],
    ),
    "fields of a layout": (
        LEG
        + "codecs:\n"
        + "  ours:\n"
        + "    layout:\n"
        + '      - {bytes: "4f5"}\n'
        + "      - {u8: familly}\n"
        + "      - {ip: peer, with: 16}\n"
        + "      - u16be\n"
        + "      - {u16be: peer_port, u8: 1}\n",
        [
            'p.yaml:8: codecs.ours.layout[0].bytes: "4f5" is not pairs of hexadecimal digits',
            'p.yaml:9: codecs.ours.layout[1].u8: "familly" is not known; allowed: '
            "family, peer_port, destination_port, length, crc32c, crc32, value",
            "p.yaml:10: codecs.ours.layout[2].ip: nothing before it tells the family: "
            "add a family or a length, or use ipv4 or ipv6",
            "p.yaml:11: codecs.ours.layout[3]: must be an object with one of: "
            "bytes, u8, u16be, u16le, u32be, u32le, ip, ipv4, ipv6, skip, padding",
            "p.yaml:12: codecs.ours.layout[4]: has {u16be, u8}; must have exactly one of: "
            "bytes, u8, u16be, u16le, u32be, u32le, ip, ipv4, ipv6, skip, padding",
        ],
    ),
    "a layout without a port": (
        LEG
        + "codecs:\n"
        + "  ours:\n"
        + '    layout: [{bytes: "4f55"}, {ipv4: peer}, {ipv4: destination}, {u16be: peer_port}]\n',
        ["p.yaml:7: codecs.ours.layout: no field holds destination_port"],
    ),
    "a layout longer than it may be": (
        LEG + f"codecs:\n  ours:\n    max_length: 40\n    layout: {OURS}\n",
        ["p.yaml:7: codecs.ours.max_length: 40 is below the 41 bytes that the fields need"],
    ),
    "an empty codec": (
        LEG + "codecs:\n  ours:\n",
        ["p.yaml:6: codecs.ours: must be a mapping of keys to values, not empty"],
    ),
    "an address out of range": (
        LEG.replace("172.16.23.1", "172.16.23.300"),
        [f"p.yaml:2: gateways[0].from: '172.16.23.300' is not an IP address; {FORMS}"],
    ),
    "a host name": (
        LEG.replace("172.16.23.1", "gateway1"),
        [f"p.yaml:2: gateways[0].from: 'gateway1' is not an IP address; {FORMS}"],
    ),
    "a network with host bits": (
        LEG.replace("172.16.23.1", "172.16.23.1/24"),
        [
            "p.yaml:2: gateways[0].from: '172.16.23.1/24' has address bits beyond its prefix; "
            "write 172.16.23.0/24 or the bare address"
        ],
    ),
    "a port out of range": (
        LEG.replace("9000", "90000"),
        [
            "p.yaml:3: gateways[0].to: '90000' in '172.16.23.2:90000' is not a port; "
            "allowed: 1 to 65535"
        ],
    ),
    "ends of two families": (
        LEG.replace("172.16.23.2:9000", '"[fd00::2]:9000"'),
        [
            "p.yaml:3: gateways[0].to: [fd00::2]:9000 is IPv6 and from is IPv4; "
            "both ends of a leg are of one family"
        ],
    ),
    "an IPv6 address without quotes": (
        LEG.replace("172.16.23.2:9000", "[fd00::2]:9000"),
        [
            "p.yaml:3: not YAML: expected <block end>, but found '<scalar>'; "
            'put an IPv6 address in quotes: "[fd00::2]:9000"'
        ],
    ),
    "the same leg twice": (
        LEG + "  - {from: 172.16.23.1/32, to: 172.16.23.2:9000, headers: [proxy-v1]}\n",
        ["p.yaml:5: gateways[1]: the same leg as gateways[0]; put all its headers into one entry"],
    ),
    "wrong kinds of value": (
        LEG + "    required: 'no'\n    depth: two\nlimits: {hold_seconds: soon}\n",
        [
            "p.yaml:5: gateways[0].required: must be true or false, not 'no'",
            "p.yaml:6: gateways[0].depth: must be a whole number, not 'two'",
            "p.yaml:7: limits.hold_seconds: must be a number, not 'soon'",
        ],
    ),
    "YAML 1.1's no is text": (
        LEG + "    required: no\n",
        ["p.yaml:5: gateways[0].required: must be true or false, not 'no'"],
    ),
    "values out of range": (
        LEG + "    depth: 9\nlimits: {hold_seconds: 0, connections: 0, idle_seconds: .inf}\n",
        [
            "p.yaml:5: gateways[0].depth: 9 is too large; at most 8",
            "p.yaml:6: limits.connections: 0 is too small; at least 1",
            "p.yaml:6: limits.hold_seconds: 0 is too small; more than 0",
            "p.yaml:6: limits.idle_seconds: must be a finite number, not inf",
        ],
    ),
    "mistakes of every kind at once": (
        "mode: both\ngateways:\n  - {from: x, to: 172.16.23.2, headers: [nope]}\n"
        "limits: {fragments: -1}\n",
        [
            "p.yaml:1: mode: 'both' is not allowed; allowed: strip, restore",
            f"p.yaml:3: gateways[0].from: 'x' is not an IP address; {FORMS}",
            "p.yaml:3: gateways[0].headers[0]: no codec is called 'nope'; "
            "allowed: proxy-v2, proxy-v1, sslproxy",
            "p.yaml:4: limits.fragments: -1 is too small; at least 1",
        ],
    ),
    "a tab": (
        "gateways:\n\t- x\n",
        ["p.yaml:2: not YAML: a tab stands where YAML allows only spaces; indent with spaces"],
    ),
    "an anchor nobody set": (
        "gateways: *legs\n",
        ["p.yaml:1: not YAML: found undefined alias 'legs'"],
    ),
    "a value inside itself": (
        "gateways: &legs [*legs]\n",
        ["p.yaml:1: gateways: nested deeper than 32 levels"],
    ),
    "a tag": (
        LEG + "mode: !!binary c3RyaXA=\n",
        [
            "p.yaml:5: mode: 'c3RyaXA=' cannot be read as binary",
            "p.yaml:5: mode: empty is not allowed; allowed: strip, restore",
        ],
    ),
    "a word for suricata": (
        LEG + "suricata: extrenal\n",
        [
            "p.yaml:5: suricata: 'extrenal' is not allowed; allowed: external, or a mapping of"
            " keys to values"
        ],
    ),
    "a key of an external suricata": (
        LEG + "suricata:\n  external: {evee: /x, command_socket: 3}\n  run_as: a b\n",
        [
            "p.yaml:6: suricata.external.command_socket: must be the name of a file, not 3",
            "p.yaml:6: suricata.external.evee: unknown key; did you mean eve? allowed: eve,"
            " command_socket",
            "p.yaml:7: suricata.run_as: 'a b' is no user; allowed: user, user:group",
        ],
    ),
    "a key of suricata misspelt": (LEG + "suricata: {rulez: []}\n", None),
}


@pytest.mark.parametrize(("text", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_each_mistake_names_its_line_and_the_remedy(text: str, expected: list[str] | None) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "p.yaml")
    if expected is None:
        [line] = caught.value.lines
        assert line.startswith(
            "p.yaml:5: suricata.rulez: unknown key; did you mean rules? allowed: "
        )
    else:
        assert caught.value.lines == expected
        assert str(caught.value) == "\n".join(expected)


LIVE = LEG + "capture: {interface: br1}\n"

LIVE_MISTAKES = {
    "no interface": (LEG, [MISSING_CAPTURE]),
    "no interface and more": (
        LEG + "mode: both\n",
        [MISSING_CAPTURE, "p.yaml:5: mode: 'both' is not allowed; allowed: strip, restore"],
    ),
    "an interface without a name": (
        LEG + "capture: {}\n",
        [
            "p.yaml:5: capture.interface: missing; the bridge or interface that carries the "
            "proxied leg"
        ],
    ),
    "an empty section": (
        LEG + "capture:\n",
        [MISSING_CAPTURE.replace(":1:", ":5:")],
    ),
    "no name of an interface": (
        LEG + "capture: {interface: br 1}\n",
        [
            "p.yaml:5: capture.interface: 'br 1' cannot be an interface's name; allowed: up to 15 "
            "characters without spaces, slashes and colons, as ip link shows them"
        ],
    ),
    "a ring without room": (
        LEG + "capture: {interface: br1, ring_mb: 0}\n",
        ["p.yaml:5: capture.ring_mb: 0 is too small; at least 1"],
    ),
    "metrics for everybody": (
        LIVE + "metrics: {listen: '0.0.0.0:9469'}\n",
        [
            "p.yaml:6: metrics.listen: '0.0.0.0:9469' is not on loopback, and the counters tell "
            "what attackers do; listen on 127.0.0.1:9469 or [::1]:9469 and let a proxy with access "
            "control carry it further"
        ],
    ),
    "metrics without a port": (
        LIVE + "metrics: {listen: localhost}\n",
        [
            "p.yaml:6: metrics.listen: 'localhost' is not an address and a port; write "
            "127.0.0.1:9469 or [::1]:9469"
        ],
    ),
    "sinks of no kind and of two": (
        LIVE + "sinks:\n  - {}\n  - {file: x, stdout: true}\n",
        [
            f"p.yaml:7: sinks[0]: {ONE_KIND}",
            f"p.yaml:8: sinks[1]: {ONE_KIND}",
        ],
    ),
    "two sinks of one name": (
        LIVE + "sinks:\n  - {file: x}\n  - {stdout: true, name: a}\n  - {file: x}\n",
        ["p.yaml:9: sinks[2]: x is the name of another sink, too; give each a name: of its own"],
    ),
    "no sinks at all": (
        LIVE + "sinks: []\n",
        ["p.yaml:6: sinks: is empty; at least 1 needed"],
    ),
    "workers as text": (
        LIVE + "workers: two\n",
        ["p.yaml:6: workers: must be a whole number, not 'two'"],
    ),
    "a level that is none": (
        LIVE + "log: {level: loud}\n",
        ["p.yaml:6: log.level: 'loud' is not allowed; allowed: debug, info, warning, error"],
    ),
    "a key misspelt": (
        LIVE + "state: {directry: /x}\n",
        [
            "p.yaml:6: state.directry: unknown key; did you mean directory? allowed: directory, "
            "checkpoint_seconds, records, retention_days"
        ],
    ),
    "a Suricata that goes on without its tap": (
        LIVE + "tap: {persistent: false}\nsuricata: {keep_running: true}\n",
        [
            "p.yaml:7: suricata.keep_running: Suricata cannot go on without its tap; set "
            "tap: {persistent: true}, or take this out"
        ],
    ),
    "a user of Suricata's own": (
        LIVE + "suricata: {run_as: suricata}\n",
        [
            "p.yaml:6: suricata.run_as: live, Suricata runs as the service does, which has given "
            "up changing users; set the key run_as of the whole file instead"
        ],
    ),
    "a tap that is the bridge": (
        LIVE + "tap: {name: br1}\n",
        [
            "p.yaml:6: tap: br1 is the interface that is captured; packets written to it would be "
            "captured again; name another one"
        ],
    ),
    "a number for a file": (
        LIVE + "control: {socket: 7}\n",
        ["p.yaml:6: control.socket: must be the name of a file, not 7"],
    ),
}


@pytest.mark.parametrize(("text", "expected"), LIVE_MISTAKES.values(), ids=LIVE_MISTAKES)
def test_mistakes_of_the_live_service(text: str, expected: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_live(text, "p.yaml")
    assert caught.value.lines == expected


def test_the_least_live_file_has_the_documented_defaults() -> None:
    config, whole = parse_live(LIVE, "p.yaml")
    assert config.engine == parse(LEG, "p.yaml").engine
    assert whole.capture is not None
    assert whole.capture.interface == "br1"
    assert (whole.tap.device, whole.workers) == ("vtap0", 1)
    assert [sink.label for sink in whole.sinks] == ["/var/log/peeltap/events.json"]


def test_work_on_files_does_not_look_at_live_sections() -> None:
    broken = LEG + "capture: {}\nsinks: 7\n"
    assert parse(broken, "p.yaml").engine == parse(LEG, "p.yaml").engine
    with_suricata = broken + "suricata: {home_net: [192.0.2.0/24]}\n"
    assert parse(with_suricata, "p.yaml").suricata.home_net == ["192.0.2.0/24"]


def test_the_live_sections_are_those_of_no_other_use() -> None:
    others = {*EngineSettings.model_fields, "suricata"}
    assert set(LIVE_SECTIONS) == set(config_check.Whole.model_fields) - others


def test_relative_names_are_relative_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "peeltap.yaml"
    path.write_text(
        LIVE + "suricata: {rules: [my.rules]}\nsinks: [{file: out/events.json}]\n"
        "state: {directory: state}\ncontrol: {socket: control.sock}\nevents: {file: eve.json}\n"
    )
    config, whole = load_live(path)
    assert config.suricata.rules == [tmp_path / "my.rules"]
    assert [sink.label for sink in whole.sinks] == [str(tmp_path / "out/events.json")]
    assert whole.state.directory == tmp_path / "state"
    assert whole.control.socket == tmp_path / "control.sock"
    assert whole.events.file == tmp_path / "eve.json"


def test_a_config_error_is_wrong_use() -> None:
    with pytest.raises(UsageError) as caught:
        parse("", "p.yaml")
    assert caught.value.exit_code == 2


def test_the_minimal_file_has_the_documented_defaults() -> None:
    config = parse(MINIMAL, "p.yaml")
    words = [config.engine[key] for key in ("mode", "midstream", "other", "superframes")]
    assert words == ["strip", "pass", "pass", "keep"]
    [leg] = config.engine["gateways"]
    assert (leg["required"], leg["depth"]) == (False, 1)
    assert config.engine["codecs"] == {}
    assert config.suricata == SuricataSettings()


def test_an_external_suricata_is_one_word_or_a_mapping() -> None:
    word = parse(MINIMAL + "suricata: external\n", "p.yaml").suricata
    mapping = parse(MINIMAL + "suricata: {external: {eve: e.json}}\n", "p.yaml")
    assert word.external is not None
    beside = mapping.beside(Path("/etc/peeltap")).suricata.external
    assert beside is not None
    assert beside.eve == Path("/etc/peeltap/e.json")


def test_anchors_are_allowed_and_share_their_lines() -> None:
    config = parse(
        "gateways:\n"
        "  - {from: 172.16.23.1, to: 172.16.23.2, headers: &all [proxy-v2, proxy-v1]}\n"
        "  - {from: 172.16.23.3, to: 172.16.23.4, headers: *all}\n",
        "p.yaml",
    )
    first, second = config.engine["gateways"]
    assert first["headers"] == second["headers"] == ["proxy-v2", "proxy-v1"]


def test_a_section_on_suricata_changes_nothing_of_the_engine() -> None:
    """With it the models read the file, without it plain Python does."""
    with_it = parse(MINIMAL + "suricata: {rules: [my.rules]}\n", "p.yaml")
    assert with_it.engine == parse(MINIMAL, "p.yaml").engine
    assert with_it.beside(Path("/etc/peeltap")).suricata.rules == [Path("/etc/peeltap/my.rules")]


def test_anchors_that_multiply_are_an_error() -> None:
    levels = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for before, name in ("ab", "bc", "cd", "de"):
        levels.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]")
    with pytest.raises(ConfigError, match="more than 100000 values, counting aliases"):
        parse("\n".join(levels), "p.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 5000, "nested deeper than 32 levels"),
        ("a: " + "x" * (1 << 20), "longer than 1048576 characters; this is no configuration file"),
    ],
    ids=["brackets", "size"],
)
def test_what_is_no_configuration_ends_as_one_message(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "p.yaml")
    assert caught.value.lines == [f"p.yaml:1: {message}"]


def test_load_reads_a_file_with_a_byte_order_mark(tmp_path) -> None:
    path = tmp_path / "peeltap.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    assert isinstance(load(path), Config)


def test_load_says_why_a_file_cannot_be_read(tmp_path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "absent.yaml")
    assert caught.value.lines == [
        f"{tmp_path}/absent.yaml: cannot be read: No such file or directory"
    ]


def test_load_names_the_line_that_is_not_utf_8(tmp_path) -> None:
    path = tmp_path / "latin1.yaml"
    path.write_bytes(b"mode: strip\n# caf\xe9\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.lines == [f"{path}:2: not UTF-8 text"]


def test_load_says_what_a_nul_byte_is(tmp_path) -> None:
    path = tmp_path / "nul.yaml"
    path.write_bytes(b"mode: strip\n\0\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    [line] = caught.value.lines
    assert line.startswith(f"{path}:2: not YAML: the character ")
