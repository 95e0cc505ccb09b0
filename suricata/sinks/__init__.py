"""Where corrected events go: a client for each kind of sink, which knows the other side's protocol.

client  what every client does with a batch: hands it over, and waits for the acknowledgement
make    from a sink's settings to its client
file    a file, whole lines whatever the disk does; waits where the disk is full
rotate  a file turned over by size and time, compressed, the oldest removed
stdout  standard output, for a pipe

settings       what may stand under each of the following kinds
syslog         messages of RFC 5424; `syslog_link` is the connection, and what is known of it
elasticsearch  `_bulk` of Elasticsearch and OpenSearch, an event under its id
splunk         the HTTP Event Collector, with the indexers' acknowledgement
webhook        any HTTP server
kafka, redis   a topic; a stream
http, tls      what those over HTTP, or encrypted, have in common
parts          a batch in halves, and what is known of its parts
"""

from .client import Client, LineClient, Outgoing, Partly, Rejected, Unavailable

__all__ = ["Client", "LineClient", "Outgoing", "Partly", "Rejected", "Unavailable"]
