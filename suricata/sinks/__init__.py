"""Where corrected events go: a client for each kind of sink, which knows the other side's protocol.

client  what every client does with a batch: hands it over, and waits for the acknowledgement
make    from a sink's settings to its client
file    a file, whole lines whatever the disk does; waits where the disk is full
rotate  a file turned over by size and time, compressed, the oldest removed
stdout  standard output, for a pipe
"""

from .client import Client, LineClient, Outgoing, Partly, Rejected, Unavailable

__all__ = ["Client", "LineClient", "Outgoing", "Partly", "Rejected", "Unavailable"]
