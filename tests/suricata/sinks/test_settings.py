"""What may stand under the kinds of sinks that are other machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from suricata.event_settings import SinkSettings
from suricata.secrets import Secret
from suricata.sinks.settings import FACILITIES

GOOD = {
    # a sink -> what it is called
    "syslog over UDP": ({"syslog": {"address": "udp://siem"}}, "syslog udp://siem"),
    "syslog over TLS": (
        {"syslog": {"address": "tls://[2001:db8::1]:6514", "ca": "/a", "cert": "/b"}},
        "syslog tls://[2001:db8::1]:6514",
    ),
    "syslog of this machine": ({"syslog": {"address": "unix:/dev/log"}}, "syslog unix:/dev/log"),
    "elasticsearch": (
        {"elasticsearch": {"url": "https://siem:9200/", "index": "traps"}},
        "elasticsearch https://siem:9200/traps",
    ),
    "several nodes": (
        {"elasticsearch": {"url": ["http://a:9200", "http://b:9200"]}},
        "elasticsearch http://a:9200/peeltap",
    ),
    "splunk": (
        {"splunk": {"url": "https://s:8088", "token": {"env": "T"}}},
        "splunk https://s:8088",
    ),
    "kafka": ({"kafka": {"brokers": ["k:9092"], "topic": "t"}}, "kafka k:9092/t"),
    "redis": ({"redis": {"url": "rediss://r:6379/3"}}, "redis rediss://r:6379/3/peeltap"),
    "webhook": ({"webhook": {"url": "https://w/hook"}}, "webhook https://w/hook"),
}


@pytest.mark.parametrize(("value", "label"), GOOD.values(), ids=GOOD)
def test_each_kind_and_what_it_is_called(value: dict[str, Any], label: str) -> None:
    settings = SinkSettings.model_validate(value)
    assert settings.label == label
    assert settings.kind == next(iter(value))


def test_tls_is_verified_unless_it_is_said() -> None:
    for value, _ in GOOD.values():
        kind, options = next(iter(value.items()))
        settings = SinkSettings.model_validate({kind: options})
        assert getattr(getattr(settings, kind), "verify", True) is True


def test_the_numbers_of_facilities_are_those_of_rfc_5424() -> None:
    assert [FACILITIES[name] for name in ("kern", "daemon", "authpriv", "ftp")] == [0, 3, 10, 11]
    assert [FACILITIES[f"local{number}"] for number in range(8)] == [*range(16, 24)]


def test_options_of_kafka_and_headers_are_plain_or_secret() -> None:
    options = {"ssl.ca.location": "/a", "linger.ms": 50, "x": True, "sasl.password": {"env": "P"}}
    sink = SinkSettings.model_validate({"kafka": {"brokers": ["k"], "options": options}})
    assert sink.kafka is not None
    assert sink.kafka.options == {**options, "x": "true", "sasl.password": Secret(env="P")}
    headers = {"X-Site": "north", "Authorization": {"file": "/t"}}
    hook = SinkSettings.model_validate({"webhook": {"url": "https://w", "headers": headers}})
    assert hook.webhook is not None
    assert hook.webhook.headers == {"X-Site": "north", "Authorization": Secret(file=Path("/t"))}


SECRET = "hunter2-hunter2"
BAD = {
    "a password in an address": (
        {"webhook": {"url": f"https://u:{SECRET}@w"}},
        "a user or password stands in the address",
    ),
    "and in that of Redis": (
        {"redis": {"url": f"redis://:{SECRET}@r"}},
        "a user or password stands in the address",
    ),
    "a secret as it is": (
        {"splunk": {"url": "https://s", "token": SECRET}},
        "a secret does not stand in this file",
    ),
    "a secret option": (
        {"kafka": {"brokers": ["k"], "options": {"sasl.password": SECRET}}},
        "sasl.password is a secret and does not stand in this file",
    ),
    "an option that would tell secrets": (
        {"kafka": {"brokers": ["k"], "options": {"debug": "all"}}},
        "debug is not to be set; it would write secrets to the log",
    ),
    "an option that would lose events": (
        {"kafka": {"brokers": ["k"], "options": {"acks": 0}}},
        "acks is not to be set; it is always all",
    ),
    "an odd option": (
        {"kafka": {"brokers": ["k"], "options": {"x": {"vault": 1}}}},
        "Extra inputs are not permitted",
    ),
    "no brokers": ({"kafka": {"brokers": []}}, "at least 1 item"),
    "a topic": ({"kafka": {"brokers": ["k"], "topic": "a b"}}, "'a b' is no name of a topic"),
    "a scheme": ({"splunk": {"url": "s:8088", "token": {"env": "T"}}}, "is no address of that"),
    "a port": ({"webhook": {"url": "https://w:99999"}}, "this is no address: Port out of range"),
    "a query": ({"webhook": {"url": "https://w/?token=1"}}, "is no address of that kind"),
    "a line break in a header": (
        {"webhook": {"url": "https://w", "headers": {"A": "b\r\nC: d"}}},
        "one line of printable ASCII",
    ),
    "a header's name": (
        {"webhook": {"url": "https://w", "headers": {"A b": "c"}}},
        "'A b' holds a space",
    ),
    "an index": ({"elasticsearch": {"url": "http://e", "index": "Traps"}}, "is no name of an ind"),
    "a user alone": ({"elasticsearch": {"url": "http://e", "user": "u"}}, "belong together"),
    "two proofs": (
        {
            "elasticsearch": {
                "url": "http://e",
                "user": "u",
                "password": {"env": "P"},
                "api_key": {"env": "K"},
            }
        },
        "api_key and user: name one of them",
    ),
    "a key alone": ({"webhook": {"url": "https://w", "key": "/k"}}, "key without cert"),
    "a database": ({"redis": {"url": "redis://r/x"}}, "'x' is no number of a database"),
    "a user of Redis alone": ({"redis": {"url": "redis://r", "user": "u"}}, "user without passw"),
    "replicas in a cluster": (
        {"redis": {"url": "redis://r", "cluster": True, "replicas": 1}},
        "not to be asked for in a cluster",
    ),
    "TLS that is not on": ({"redis": {"url": "redis://r", "ca": "/a"}}, "are of rediss:// only"),
    "the same of syslog": (
        {"syslog": {"address": "tcp://s", "verify": False}},
        "are of tls:// only",
    ),
    "an address of syslog": ({"syslog": {"address": "siem:514"}}, "is no address of that kind"),
    "with a path": ({"syslog": {"address": "tcp://siem/x"}}, "has a path"),
    "a socket": ({"syslog": {"address": "unix:log"}}, "names no socket"),
    "an app": ({"syslog": {"address": "tcp://s", "app": "a b"}}, "holds a space"),
    "two kinds": (
        {"stdout": True, "webhook": {"url": "https://w"}},
        "name one kind for each sink",
    ),
}


@pytest.mark.parametrize(("value", "words"), BAD.values(), ids=BAD)
def test_what_is_refused_and_that_no_secret_is_told(value: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as told:
        SinkSettings.model_validate(value)
    assert all(SECRET not in item["msg"] for item in told.value.errors())
