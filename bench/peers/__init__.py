"""What peeltap is compared with: the same stripping, written the plain way.

* ``headers``: how long a proxy header is; shared, since it runs once a connection.
* ``plain_dpkt``, ``plain_scapy``: a loop over the packets of a capture with that library.

Both take ``IN OUT PORT`` and treat what a quiet network shows: segments in order, a header in one
or several segments, retransmissions. Loss, SACK, wrap-around and bounds are peeltap's business.
"""
