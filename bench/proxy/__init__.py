"""`make bench-proxy`: one hop of the chain, by each of ours and by HAProxy, in the same run.

    hop        nginx behind, a proxy in the middle, a client in front; what each measurement costs
    __main__   the table, and whether the targets hold

Everything is on loopback. What counts is the proxy's own CPU time, user and system, as the kernel
accounts it: the wall clock of a busy machine says little.
"""
