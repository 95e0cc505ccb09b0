"""What the tests of the packet side share. Nothing here knows how the engine works.

`packets`       a TCP segment as a value, and the frames that carry it over any leg
`legs`          legs of every kind: families, tags, options, link types
`headers`       proxy headers as bytes, written from the formats' specifications
`conversation`  two TCP endpoints, the packets they exchange, and what a bad capture makes of them
`dissect`       a frame back to a value, on dpkt, with its checksums verified
`reassembler`   frames to the two byte streams of each connection, and what is wrong with them
`driver`        the engine under test, with its accounts checked at every step
`transcript`    dialogues as text: `c>s [P.] 0:46 ack 0 -> c>s [P.] 0:18 ack 0`
`ordinary`      programs run as an ordinary user, whoever runs the tests
`naive`         a strip of loss-free conversations, to test these tools without an engine
"""
