"""What agent and gateways have in common: one epoll loop, and connections that it brings onward.

    listener    sockets that accept, in whatever network namespace; where a peer really wanted to go
    link        one accepted connection, its header, the connection made for it
    pump        bytes from one end to the other, spliced where there are many
    tls         an end that is encrypted, with the manners of a socket
    headers     the header that is put in front
    control     JSON lines between gateway1 and its agents
    loop        who waits for what, and for how long
    counters    what happened, as numbers and as one line a connection
    addresses   ADDRESS:PORT and ranges of them, as text and as values

Everything here, and `diversion.agent`, needs only the standard library of Python 3.9 or later: the
agent lives on other people's machines, as one file.
"""
