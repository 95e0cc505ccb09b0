"""The page of the live service: what comes in, from whom, at which decoy, for a person to look at.

    relay ──blocks──> Watch ──> Feed ──a queue each──> viewers' browsers (server-sent events)
                                 ├─ alerts   what the page shows of an event
                                 ├─ Decoys   the map: what is there, and what of it was touched
                                 └─ figures  of the service's report
    browser ──token──> Door ──cookie──> Server (aiohttp, one thread with a loop of its own)

While nobody looks the relay's thread keeps a few blocks and nothing is parsed. Nothing here is
waited for by anybody: a block that is not looked at in time, an alert that a slow browser does not
take, are counted and gone.

Every text on the page may be an attacker's. The browser gets JSON and puts it into text nodes; its
policy (`server.HEADERS`) forbids it everything else.
"""
