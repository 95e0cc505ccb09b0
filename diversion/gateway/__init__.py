"""The two gateways of the proxied leg; one process can be either or both.

gateway1   agents and diverted connections in, across br1 to gateway2, with the leg's header
gateway2   the leg's header in, to the decoy as the peer

settings       the file of either: models
rules          gateway1's other file: which listeners exist, and to which decoy they lead
agents         gateway1's side of the conversations with agents
parse          headers of others, read by the core
metrics        what happened, for Prometheus
print_haproxy  the same hop as HAProxy's configuration
service        a process: its files, its signals, its end
"""
