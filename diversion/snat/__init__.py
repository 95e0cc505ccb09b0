"""How a decoy gets to see the peer's address as the source of gateway2's connection.

    own          it does not: gateway2's own address
    transparent  the socket has the peer's address (IP_TRANSPARENT); replies are routed back here
    nftables     the packets get it on their way out: one rule, one map element a connection
    iptables     the same with a rule a connection, for hosts without nftables

    reserve, ports   the local port that each connection has until then, and what it becomes
    conntrack        what the kernel is to forget of connections that are over
    claim            names and tables that one gateway2 of a network namespace has at a time

A `Source` is asked once a connection, before its SYN, and told when the connection is over.
"""
