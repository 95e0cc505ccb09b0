"""`peeltap demo`: what one Suricata says without and with Peeltap, shown to a stranger.

live        the whole system in namespaces of its own: the show from its beginning to its end
offline     recorded attacks through `peeltap replay`, where a live show is not possible

network     the demo's machines and what the play knows of them; the setup stage makes them
proxies     agent, gateway1 and gateway2, those of Peeltap
programs    the real programs on them: decoys, proxies, Suricata, dumpcap, Peeltap
configs     those programs' configurations, as the recordings have them, too
attacks     what is played, and by whom
verdict     what both Suricatas said of each attack, and whether its attacker was named
counters    what the picture counts while the attacks go on
screen      the picture, the counters and the table of the live show
sides       what one Suricata said, added up
offline_view  the screen of the recordings

live ──> network, programs ──> attacks ──> eve.json of both ──> verdict ──> screen
"""
