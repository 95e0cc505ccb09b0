"""From a sink's settings to its client. A kind's library is imported when the kind is configured."""

from __future__ import annotations

from .client import Client
from .settings import KINDS, Kinds


def make_client(settings: Kinds) -> Client:
    """Give the client of the one kind that `settings` name; nothing is connected to yet.

    Raises ValueError, with the remedy, where the kind's library is not installed or a certificate
    or secret cannot be read.
    """
    [kind] = [kind for kind in KINDS if getattr(settings, kind) is not None]
    match kind:
        case "syslog":
            from .syslog import SyslogClient as Made
        case "elasticsearch":
            from .elasticsearch import ElasticsearchClient as Made
        case "splunk":
            from .splunk import SplunkClient as Made
        case "kafka":
            from .kafka import KafkaClient as Made
        case "redis":
            from .redis import RedisClient as Made
        case "webhook":
            from .webhook import WebhookClient as Made
    made: Client = Made(getattr(settings, kind))
    return made
