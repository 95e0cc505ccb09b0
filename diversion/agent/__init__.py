"""The agent: accepts peers where decoys are advertised, and brings them to gateway1 with a header.

    config     its file, checked in full before anything starts
    rules      the listeners that it has, those that it shall have, and the last good set on disk
    channel    the conversation with gateway1 from which the rules come
    service    all of it together

It runs on other people's machines: the standard library of Python 3.9 or later is all it needs.
"""
