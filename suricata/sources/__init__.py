"""Where EVE comes from: whole lines in, and a place to go on from.

source    what every source does: batches of lines, each with a token that is committed later
file      follows EVE files through rotation, also those of threaded output
rotation  one path's generations: the renamed, the copied, the one that is written now
follow    one open file: new whole lines, and whether it is still what was read before
position  where each file was left, kept across restarts
sockets   unix stream and datagram sockets that Suricata connects to

Only a file can be read again. From a socket, what was received and not yet written when the
process is killed is gone.
"""

from .source import Batch, Source, SourceError

__all__ = ["Batch", "Source", "SourceError"]
