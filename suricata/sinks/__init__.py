"""Where corrected events go: whole lines, taken over or not, and never half of one.

sink    what every sink does: takes numbered blocks, says up to which number it has them for good
file    a file that others rotate; waits where the disk is full
stdout  standard output, for a pipe
"""

from .sink import Sink, SinkError

__all__ = ["Sink", "SinkError"]
